/* unlock.h - after a reboot: the masters release their half, the disk opens.
 * The other end is nms/unlock.c.
 */
#ifndef NODE_UNLOCK_H
#define NODE_UNLOCK_H

#include "node/identity.h"
#include "node/node.h"

/* The row START_UNLOCK.  Returns when the volume is open and PCR 12 capped.  Masters are
 * asked for ever.  *out_identity_known is false, and *out untouched, where this boot's
 * key was spent by a predecessor whose mapping is still there.  ST_CANCELLED where the
 * daemon is to stop; any other failure is one that waiting does not cure. */
enum st_code unlock_run(struct node *node, struct identity *out, bool *out_identity_known,
                        struct st_err *err);

#endif
