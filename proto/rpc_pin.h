/* rpc_pin.h - channel credentials for exactly one certificate.
 *
 * Only proto/rpc_*.c use it.
 */
#ifndef PROTO_RPC_PIN_H
#define PROTO_RPC_PIN_H

#include "proto/rpc_client.h"

#include <grpc/grpc_security.h>
#include <stdatomic.h>

/* Shared by the channel's owner and gRPC, which may look at it after the channel is
 * closed. */
struct rpc_pin {
    atomic_uint references;
    atomic_bool refused; /* somebody answered who is not whom we pinned */
    size_t len;
    uint8_t der[];
};

enum st_code rpc_pin_new(const struct rpc_channel_config *config, struct rpc_pin **out,
                         grpc_channel_credentials **out_credentials, struct st_err *err);
void rpc_pin_release(struct rpc_pin *pin);

#endif
