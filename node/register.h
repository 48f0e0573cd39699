/* register.h - one talk with a master, to become a node of its cluster.
 * The other end is nms/register.c.
 */
#ifndef NODE_REGISTER_H
#define NODE_REGISTER_H

#include "node/approvals.h"
#include "node/identity.h"
#include "node/node.h"

/* ST_OK only where the master closed the stream with OK: the record is committed.  Any
 * failure means that nothing is known of it: ask again, with the same keys.  out_said:
 * the authority of the cluster, where it has one. */
enum st_code register_node(const struct node *node, const struct identity *identity,
                           const struct secret *global_half, struct approvals *out_said,
                           struct st_err *err);

#endif
