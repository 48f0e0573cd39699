/* rpc_client.h - the gRPC door, outside: a blocking client that knows whom it talks to.
 *
 * The server is whoever presents exactly the pinned certificate: its DER is compared,
 * names and dates are not looked at, so a clock that says 1970 changes nothing, and
 * nothing is sent before the comparison.  A channel and its streams belong to one
 * thread at a time.
 */
#ifndef PROTO_RPC_CLIENT_H
#define PROTO_RPC_CLIENT_H

#include "proto/address.h"
#include "proto/cert.h"
#include "proto/err.h"
#include "proto/secret.h"

#include <protobuf-c/protobuf-c.h>

struct rpc_channel;
struct rpc_stream;

struct rpc_channel_config {
    const struct st_address *addresses; /* tried in shuffled order */
    size_t address_count;
    uint16_t port;
    const void *server_cert; /* DER, compared exactly */
    size_t server_cert_len;
    const struct cert *cert;   /* ours, for mutual TLS; NULL: none */
    const struct secret *seed; /* its key */
    size_t answer_max;         /* bytes of one message; 0: as much as a master may say */
};

/* Opens nothing yet: the first call connects. */
enum st_code rpc_channel_open(const struct rpc_channel_config *config,
                              struct rpc_channel **out, struct st_err *err);
void rpc_channel_close(struct rpc_channel *channel);
static inline void
rpc_channel_closep(struct rpc_channel **channel)
{
    rpc_channel_close(*channel);
}

/* Of the server that was asked last; lends. */
const struct st_address *rpc_channel_address(const struct rpc_channel *channel);

/* One request, one answer.  timeout_ms bounds everything including connecting. The
 * failure carries the server's code, reason, retry_ms and sentence; ST_UNAVAILABLE with
 * ST_REASON_UNREACHABLE where nobody answered, ST_REASON_LOST where the connection ended
 * before the answer, and ST_REASON_OTHER_SERVER where the certificate was another.  *out
 * is freed with protobuf_c_message_free_unpacked(out, &secret_allocator). */
enum st_code rpc_unary(struct rpc_channel *channel, const char *path,
                       const ProtobufCMessage *request,
                       const ProtobufCMessageDescriptor *answer, uint32_t timeout_ms,
                       ProtobufCMessage **out, struct st_err *err);

enum st_code rpc_stream_open(struct rpc_channel *channel, const char *path,
                             uint32_t timeout_ms, struct rpc_stream **out,
                             struct st_err *err);
/* Fails with the final status where the server already ended the stream. */
enum st_code rpc_stream_send(struct rpc_stream *stream, const ProtobufCMessage *message,
                             struct st_err *err);
/* The next message.  Where the stream ended instead: the final status if that is a
 * failure, ST_OUT_OF_RANGE if it ended OK. */
enum st_code rpc_stream_receive(struct rpc_stream *stream,
                                const ProtobufCMessageDescriptor *type,
                                ProtobufCMessage **out, struct st_err *err);
/* Half-closes, waits for the final status and returns it.  A message that comes instead
 * is ST_INTERNAL. */
enum st_code rpc_stream_finish(struct rpc_stream *stream, struct st_err *err);
/* Cancels if it has not ended.  NULL is fine. */
void rpc_stream_close(struct rpc_stream *stream);
static inline void
rpc_stream_closep(struct rpc_stream **stream)
{
    rpc_stream_close(*stream);
}

#endif
