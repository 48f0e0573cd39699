/* service.h - NodeService, port 7835: what a node lets the masters do with it.
 *
 * JoinCluster makes it one of them (the other end is nms/carrier_step.c), SetMasters says
 * where they are (nms/tell_round.c).  The handlers run on gRPC's threads, service_wait()
 * on the daemon's.
 */
#ifndef NODE_SERVICE_H
#define NODE_SERVICE_H

#include "node/identity.h"
#include "node/node.h"
#include "proto/rpc_server.h"

struct service;

/* Serves as this identity; whoever does not present exactly masters_cert is refused
 * before anything of a call is read.  Owns: service_stop().  Borrows node, whose list of
 * masters changes when they say so. */
enum st_code service_start(struct node *node, const struct identity *identity,
                           struct service **out, struct st_err *err);
uint16_t service_port(const struct service *service);
/* Passes on what becomes of calls, until the daemon is to stop. */
void service_wait(struct service *service);
void service_stop(struct service *service);

#endif
