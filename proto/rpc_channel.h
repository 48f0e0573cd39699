/* rpc_channel.h - the connection below a client's calls.
 *
 * Only proto/rpc_*.c use it.  One thread at a time.
 */
#ifndef PROTO_RPC_CHANNEL_H
#define PROTO_RPC_CHANNEL_H

#include "proto/rpc_client.h"
#include "proto/rpc_pin.h"

#include <grpc/grpc.h>

struct rpc_channel {
    struct st_address addresses[ADDRESSES_MAX]; /* shuffled */
    size_t address_count;
    size_t current; /* the address of `grpc`, or the next to try */
    uint16_t port;
    size_t answer_max;
    struct rpc_pin *pin;
    grpc_channel_credentials *credentials;
    grpc_completion_queue *queue; /* plucked from */
    grpc_channel *grpc;           /* NULL: not connected */
};

/* A connection whose server is the pinned one, before `deadline` (monotonic).
 * ST_UNAVAILABLE with the reason that rpc_unary() promises. */
enum st_code rpc_channel_connect(struct rpc_channel *channel, gpr_timespec deadline,
                                 struct st_err *err);

/* The connection went silent or broke: the next call begins with another address. */
void rpc_channel_drop(struct rpc_channel *channel);

#endif
