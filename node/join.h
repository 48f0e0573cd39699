/* join.h - NodeService, port 7835: what a node lets the masters do with it.
 */
#ifndef NODE_JOIN_H
#define NODE_JOIN_H

#include "node/identity.h"
#include "node/node.h"
#include "proto/rpc_server.h"

struct join;

/* Serves as this identity; whoever does not present exactly masters_cert is refused
 * before anything of a call is read.  Owns: join_stop().  Borrows node, whose list of
 * masters changes when they say so. */
enum st_code join_start(struct node *node, const struct identity *identity,
                        struct join **out, struct st_err *err);
uint16_t join_port(const struct join *join);
/* Passes on what becomes of calls, until the daemon is to stop. */
void join_wait(struct join *join);
void join_stop(struct join *join);

#endif
