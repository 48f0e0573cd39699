/* enrol_keys.h - what an enrolment makes, and what is kept of it until it is done.
 *
 * `sealed` holds the local half; `pending` is, sealed the same way,
 *
 *     global half (32) | id key (32) | SHA-256 of:
 *         "smalltown pending v2" | whose (1) | by (32) | local half (32)
 *
 * Whose the recovery key of their disk is, when they were made:
 *
 *     1  an administrator's: the recipient in enrolment.pb
 *     2  of whoever stands before the terminal: SHA-256 of the secret in enrolment.pb
 *     0  nobody's, as --recovery-key none says: zeros
 *
 * So no two enrolment.pb that differ there get a recovery key of one disk: what was
 * sealed to the one says nothing of the other's, and what was shown for the one is not
 * what whoever brings the other is shown.
 */
#ifndef NODE_ENROL_KEYS_H
#define NODE_ENROL_KEYS_H

#include "node/identity.h"
#include "node/node.h"

#include <string.h>

struct keys {
    struct secret local_half, global_half, disk_key;
    struct identity identity;
    bool fit;  /* whose the recovery key is was the same when they were made */
    bool ours; /* this machine made them, by what it boots */
};
static inline void
keys_wipe(struct keys *keys)
{
    explicit_bzero(keys, sizeof(*keys));
}
#define KEYS AUTO(keys_wipe) struct keys

enum st_code keys_make(struct keys *out, struct st_err *err);
/* Writes `pending`, then `sealed`. */
enum st_code keys_seal(const struct node *node, struct tpm *tpm, const struct keys *keys,
                       struct st_err *err);
/* Errors as half_unseal().  A `pending` that does not say whose does not fit. */
enum st_code keys_unseal(const struct node *node, struct tpm *tpm, struct keys *out,
                         struct st_err *err);

#endif
