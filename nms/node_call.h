/* node_call.h - one call of a node's NodeService, port 7835, by a thread that may wait.
 */
#ifndef NMS_NODE_CALL_H
#define NMS_NODE_CALL_H

#include "nms/nms.h"

/* The node is whoever presents the id_cert of its record; we are the masters.  What it
 * answers beside its status says nothing.  Errors as of rpc_unary(). */
enum st_code node_call(struct nms *nms, const State__Node *node, const char *path,
                       const ProtobufCMessage *request,
                       const ProtobufCMessageDescriptor *answer, uint32_t timeout_ms,
                       struct st_err *err);

#endif
