/* crypttab.h - further volumes of this machine, in /etc/crypttab, that open with its
 * disk.
 *
 * systemd-cryptsetup takes a key from a socket, see crypttab(5), and says in the name of
 * its own end for which volume:
 *
 *     \0 random "/cryptsetup/" volume
 *
 * systemd listens for us (smalltown-crypttab.socket): who asks before the disk is open
 * waits.  The key of a volume is HKDF-SHA256 (RFC 5869) of the disk key, info "smalltown
 * crypttab v1 " and the volume's name, in hex; one key says nothing of another, nor of
 * the disk's.  It is nowhere but in the memory of the daemon that opened the disk: its
 * successor in the same boot refuses, because PCR 12 is capped.
 */
#ifndef NODE_CRYPTTAB_H
#define NODE_CRYPTTAB_H

#include "proto/secret.h"

#define CRYPTTAB_SOCKET "/run/smalltown/crypttab"

enum {
    CRYPTTAB_NAME_MAX = 64,
    CRYPTTAB_KEY_LEN = 64 /* characters, without an end */
};

struct crypttab {
    int fd;                 /* listens; -1: nobody asked for that */
    struct secret disk_key; /* len 0: of a predecessor */
};

/* What systemd hands on to this process (sd_listen_fds(3)): a stream socket that listens,
 * or -1.  Once, before there is a child. */
int crypttab_take_socket(void);

/* Answers, in a thread of its own that ends with the process, which owns *crypttab until
 * then.  Only root, or whoever the daemon runs as, is given anything.  Does nothing
 * without a socket. */
enum st_code crypttab_serve(struct crypttab *crypttab, struct st_err *err);

/* A volume's name as a device mapping may have it: 1 to 64 printable characters, no space
 * and no slash. */
bool crypttab_name_good(const char *name, size_t len);

/* Asks at `path` as systemd-cryptsetup would, and waits; for a person who adds the key to
 * a volume.  ST_FAILED_PRECONDITION where the daemon gives none. */
enum st_code crypttab_ask(const char *path, const char *name, struct secret *out,
                          struct st_err *err);

#endif
