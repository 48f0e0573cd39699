/* disk.h - an encrypted volume: LUKS2 in a block device or an image file.  The data
 * volume of a node, and the control volume of a master (control.h), whose id stands where
 * that of the node does.
 *
 * The volume knows its own state, so that a lost or exchanged ESP never makes a node
 * format what is in use.  Its header carries one token of ours,
 *
 *     {"type":"smalltown","keyslots":["0"],"state":"pending","node":"smalltown-..."}
 *
 * ("enrolled" later, "formatting" while it is wiped; slot 2 where the volume was bound to
 * another machine since), and while a format is under way, which takes many writes, its
 * last page names the node that began it, until there is a token:
 *
 *     offset size rounded down to 4096, minus 4096:
 *     "smalltown format v1\n" | node id (42) | zeros
 *
 * Authenticated encryption is AES-256-GCM, its tags kept by dm-integrity: a sector that
 * somebody changed is a read error.  Until every sector was written once each of them is
 * one, so a format wipes the volume, which takes as long as the disk takes to be written.
 * A volume without it (XTS) needs no device-mapper to be formatted.  Either way a fresh
 * volume begins with a MiB of zeros, where this kernel has a device-mapper: no file
 * system is on it yet.
 *
 * Nothing is written to a volume that is not blank, unless it is one's own begun format.
 * The keyslot of the token takes the 32-byte disk key as its passphrase, keyslot 1 the
 * recovery key (proto/recovery.h), where there is one.  Both have full entropy, so PBKDF2
 * with the fewest iterations does, and no argon2 memory is needed.  Where the recovery
 * key is sealed to an administrator a second token holds that, in hex:
 *
 *     {"type":"smalltown-recovery","keyslots":["1"],"sealed":"736d616c6c..."}
 */
#ifndef NODE_DISK_H
#define NODE_DISK_H

#include "node/start.h"
#include "proto/ident.h"
#include "proto/recovery.h"
#include "proto/secret.h"

/* Under /dev/mapper/. */
#define DISK_MAPPING "smalltown-data"
#define DISK_CONTROL_MAPPING "smalltown-control"

enum {
    DISK_SLOT_FIRST = 0,
    DISK_SLOT_RECOVERY = 1,
    DISK_SLOT_SECOND = 2
};

enum disk_encryption {
    DISK_AUTHENTICATED,
    DISK_XTS
};

struct disk_found {
    enum start_volume state;       /* not NONE, not UNREADABLE */
    char node_id[NODE_ID_LEN + 1]; /* TORN, PENDING, ENROLLED */
    int slot;                      /* of the disk key; PENDING, ENROLLED */
    bool has_data;                 /* PENDING: by disk_rebind() */
};

/* Looks, writes nothing.  ST_NOT_FOUND, ST_FAILED_PRECONDITION (too small, no volume). */
enum st_code disk_observe(const char *path, struct disk_found *out, struct st_err *err);

/* A new volume in the state pending.  Says how far it is (progress.h); ST_CANCELLED
 * where the daemon is to stop, and then it is torn.  ST_FAILED_PRECONDITION where it is
 * neither blank nor torn by this node, and where authentication needs a device-mapper
 * that this kernel has not. */
enum st_code disk_format(const char *path, const struct secret *key, const char *node_id,
                         enum disk_encryption encryption, struct st_err *err);
/* What disk_format() does first.  Refuses like it. */
enum st_code disk_begin_format(const char *path, const char *node_id, struct st_err *err);

/* Of a format that is not gone on with: torn, or pending and not yet given to anybody's
 * data, and of this node.  It is blank again, and torn until it is.
 * ST_FAILED_PRECONDITION for any other volume. */
enum st_code disk_give_up(const char *path, const char *node_id, struct st_err *err);

/* From pending to enrolled, and no other disk key opens it any more; cut anywhere, it can
 * be done again.  ST_FAILED_PRECONDITION where the volume is of another node, or torn. */
enum st_code disk_set_enrolled(const char *path, const char *node_id, struct st_err *err);

/* ST_PERMISSION_DENIED where the key does not open it with the slot that its token names,
 * or its header says anything else than what we write. */
enum st_code disk_check_key(const char *path, const struct secret *key,
                            struct st_err *err);

/* What is known of the recovery key without having it.  Refuses a header that is not as
 * we write it, so that nobody types a key for one. */
struct disk_recovery {
    bool there;  /* a key slot is for it */
    bool sealed; /* and a token holds it, sealed: */
    uint8_t bytes[RECOVERY_SEALED_LEN];
    struct recovery_place place;
};
enum st_code disk_recovery_look(const char *path, struct disk_recovery *out,
                                struct st_err *err);

/* Gives a volume that is pending this recovery key, in the place of any other; sealed to
 * `recipient` unless that is NULL.  ST_PERMISSION_DENIED where `key` does not open it. */
enum st_code disk_recovery_set(const char *path, const struct secret *key,
                               const struct secret *recovery,
                               const uint8_t recipient[HPKE_KEY_LEN], struct st_err *err);

/* ST_NOT_FOUND where the volume has no recovery key, ST_PERMISSION_DENIED where this is
 * another or the header is somebody else's. */
enum st_code disk_recovery_check(const char *path, const struct secret *recovery,
                                 struct st_err *err);

/* The volume, data and all, becomes that of another enrolment: pending, of this node,
 * opened by this key, and by the same recovery key as before, which is sealed for that
 * node now, or no longer (recipient NULL).  Until disk_set_enrolled() the slot of the
 * old key is there still, and the token no longer names it; the recovery key opens the
 * volume at every moment.  Cut anywhere, it can be done again.
 * Refuses like disk_recovery_check(). */
enum st_code disk_rebind(const char *path, const struct secret *recovery,
                         const struct secret *key, const char *node_id,
                         const uint8_t recipient[HPKE_KEY_LEN], struct st_err *err);

/* A key that follows from the one that the data is encrypted with: who opens the volume,
 * with its disk key or with its recovery key, has it, before and after a disk_rebind().
 * Refuses like disk_check_key(), and like disk_recovery_check(). */
enum st_code disk_child_key(const char *path, const struct secret *key,
                            struct secret *out, struct st_err *err);
enum st_code disk_child_key_recovered(const char *path, const struct secret *recovery,
                                      struct secret *out, struct st_err *err);

/* Makes `second` a key of a whole volume, in the recovery key's place; does nothing where
 * it is one.  ST_PERMISSION_DENIED where `key` does not open it. */
enum st_code disk_second_set(const char *path, const struct secret *key,
                             const struct secret *second, struct st_err *err);
/* The disk key of a whole volume that has that second one becomes `key`, and its id this;
 * it is enrolled then.  Cut anywhere, it can be done again; refuses like
 * disk_recovery_check(). */
enum st_code disk_rekey(const char *path, const struct secret *second,
                        const struct secret *key, const char *id, struct st_err *err);

/* Checks the key and maps the volume under this name; *out_mapped false where this kernel
 * has no device-mapper.  A mapping of this volume that is there already is fine. */
enum st_code disk_map(const char *path, const char *name, const struct secret *key,
                      bool *out_mapped, struct st_err *err);
bool disk_is_mapped(const char *name);
/* Whether what is mapped under this name is this volume: ST_FAILED_PRECONDITION. */
enum st_code disk_check_mapping(const char *path, const char *name, struct st_err *err);

#endif
