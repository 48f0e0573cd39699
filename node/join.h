/* join.h - NodeService, port 7835: what a node lets the masters do with it.
 */
#ifndef NODE_JOIN_H
#define NODE_JOIN_H

#include "node/identity.h"
#include "node/node.h"
#include "proto/rpc_server.h"

/* Serves as this identity; whoever does not present exactly masters_cert is refused
 * before anything of a call is read.  Owns: join_stop().  Borrows node. */
enum st_code join_start(const struct node *node, const struct identity *identity,
                        struct rpc_server **out, struct st_err *err);
void join_stop(struct rpc_server *server);

#endif
