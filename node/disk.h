/* disk.h - the data volume: LUKS2 in a block device or an image file.
 *
 * The volume knows its own state, so that a lost or exchanged ESP never makes a node
 * format what is in use.  Its header carries one token of ours,
 *
 *     {"type":"smalltown","keyslots":["0"],"state":"pending","node":"smalltown-..."}
 *
 * ("enrolled" later; slot 2 where the volume was bound to another machine since), and
 * while a format is under way, which takes many writes, its last page names the node that
 * began it:
 *
 *     offset size rounded down to 4096, minus 4096:
 *     "smalltown format v1\n" | node id (42) | zeros
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

#define DISK_MAPPING "smalltown-data"

enum {
    DISK_SLOT_FIRST = 0,
    DISK_SLOT_RECOVERY = 1,
    DISK_SLOT_SECOND = 2
};

struct disk_found {
    enum start_volume state;       /* not NONE, not UNREADABLE */
    char node_id[NODE_ID_LEN + 1]; /* TORN, PENDING, ENROLLED */
    int slot;                      /* of the disk key; PENDING, ENROLLED */
};

/* Looks, writes nothing.  ST_NOT_FOUND, ST_FAILED_PRECONDITION (too small, no volume). */
enum st_code disk_observe(const char *path, struct disk_found *out, struct st_err *err);

/* A new volume in the state pending.  ST_FAILED_PRECONDITION where it is neither blank
 * nor torn by this node. */
enum st_code disk_format(const char *path, const struct secret *key, const char *node_id,
                         struct st_err *err);
/* What disk_format() does first.  Refuses like it. */
enum st_code disk_begin_format(const char *path, const char *node_id, struct st_err *err);

/* From pending to enrolled, and no other disk key opens it any more; does nothing if it
 * is.  ST_FAILED_PRECONDITION where the volume is of another node, or in another state.
 */
enum st_code disk_set_enrolled(const char *path, const char *node_id, struct st_err *err);

/* ST_PERMISSION_DENIED where the key does not open it. */
enum st_code disk_check_key(const char *path, const struct secret *key,
                            struct st_err *err);

/* What is known of the recovery key without having it. */
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
 * another. */
enum st_code disk_recovery_check(const char *path, const struct secret *recovery,
                                 struct st_err *err);

/* The volume, data and all, becomes that of another enrolment: pending, of this node,
 * opened by this key, and by the same recovery key as before, which is sealed for that
 * node now, or no longer (recipient NULL).  Until disk_set_enrolled() the old key opens
 * it, too; the recovery key does at every moment.  Cut anywhere, it can be done again.
 * Refuses like disk_recovery_check(). */
enum st_code disk_rebind(const char *path, const struct secret *recovery,
                         const struct secret *key, const char *node_id,
                         const uint8_t recipient[HPKE_KEY_LEN], struct st_err *err);

/* Checks the key and makes /dev/mapper/smalltown-data of the volume; *out_mapped false
 * where this kernel has no device-mapper.  A mapping of this volume that is there already
 * is fine. */
enum st_code disk_map(const char *path, const struct secret *key, bool *out_mapped,
                      struct st_err *err);
bool disk_is_mapped(void);

#endif
