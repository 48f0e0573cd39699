/* unlock.h - after a reboot: the masters release their half, the disk opens.
 * The other end is nms/unlock.c.
 */
#ifndef NODE_UNLOCK_H
#define NODE_UNLOCK_H

#include "node/approvals.h"
#include "node/identity.h"
#include "node/node.h"

/* What a master answers. */
struct unlock_answer {
    struct secret half;         /* the global one */
    struct node_config masters; /* where they are now; address_count 0: nothing that can
                                 * be used */
    struct approvals said;
};
void unlock_answer_wipe(struct unlock_answer *answer);
#define UNLOCK_ANSWER __attribute__((cleanup(unlock_answer_wipe))) struct unlock_answer

/* One talk with a master.  The TPM's PCR 12 is measured already. */
enum st_code unlock_ask(const struct node *node, struct tpm *tpm,
                        struct unlock_answer *out, struct st_err *err);

/* The row START_UNLOCK.  Returns when the volume is open and PCR 12 capped.  Masters are
 * asked for ever.  *out_identity_known is false, and *out untouched, where this boot's
 * key was spent by a predecessor whose mapping is still there.  ST_CANCELLED where the
 * daemon is to stop; any other failure is one that waiting does not cure. */
enum st_code unlock_run(struct node *node, struct identity *out, bool *out_identity_known,
                        struct st_err *err);

#endif
