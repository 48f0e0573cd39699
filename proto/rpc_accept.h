/* rpc_accept.h - how many connections the process takes, in all and from one network,
 * and what it does with more: it closes them.
 *
 * Only proto/rpc_*.c use it.  Every function here may be called from any thread.
 */
#ifndef PROTO_RPC_ACCEPT_H
#define PROTO_RPC_ACCEPT_H

#include <stdint.h>

/* Before the first port: as many descriptors as we are allowed and can use. */
void rpc_accept_prepare(void);

/* From now on connections to this port leave descriptors to the rest of the process. */
void rpc_accept_guard(uint16_t port);

#endif
