/* Calls, one blocking step at a time.  The call's own deadline ends every wait. */
#include "proto/rpc_channel.h"
#include "proto/rpc_wire.h"
#include "proto/scope.h"

#include <stdlib.h>
#include <string.h>

struct rpc_stream {
    struct rpc_channel *channel;
    const grpc_channel *connection; /* to compare only */
    grpc_call *call;
    grpc_metadata_array metadata, trailer;
    grpc_status_code status;
    grpc_slice details;
    grpc_byte_buffer *read;
    bool half_closed;
    bool ended; /* the status is here */
    /* Tags: their addresses only. */
    char opening, sending, reading, ending;
};

static bool
start(struct rpc_stream *stream, const grpc_op *ops, size_t count, void *tag)
{
    return grpc_call_start_batch(stream->call, ops, count, tag, NULL) == GRPC_CALL_OK;
}

static bool
wait_for(struct rpc_stream *stream, void *tag)
{
    return grpc_completion_queue_pluck(stream->channel->queue, tag,
                                       gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL)
               .success != 0;
}

static bool
run(struct rpc_stream *stream, const grpc_op *op, void *tag)
{
    return start(stream, op, 1, tag) && wait_for(stream, tag);
}

/* The value of a trailing key, "" where it is absent; false then. */
static bool
trailer(const struct rpc_stream *stream, const char *key, char out[32])
{
    out[0] = 0;
    for (size_t i = 0; i < stream->trailer.count; i++) {
        const grpc_metadata *entry = &stream->trailer.metadata[i];
        size_t len = GRPC_SLICE_LENGTH(entry->value);
        if (grpc_slice_str_cmp(entry->key, key) != 0 || len >= 32)
            continue;
        memcpy(out, GRPC_SLICE_START_PTR(entry->value), len);
        out[len] = 0;
        return true;
    }
    return false;
}

/* The next message, NULL where the stream has ended. */
static grpc_byte_buffer *
read_message(struct rpc_stream *stream)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &stream->read;
    stream->read = NULL;
    if (!stream->ended)
        run(stream, &op, &stream->reading);
    return TAKE(stream->read);
}

static void
half_close(struct rpc_stream *stream)
{
    grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    if (!stream->ended && !stream->half_closed)
        run(stream, &op, &stream->sending);
    stream->half_closed = true;
}

/* Not a server of ours spoke but the library: it lost the connection, or the time was
 * up. */
static enum st_code
silence(struct rpc_stream *stream, struct st_err *err)
{
    struct rpc_channel *channel = stream->channel;
    char address[ADDRESS_TEXT_MAX];
    address_format_port(&channel->addresses[channel->current], channel->port, address);
    if (channel->grpc == stream->connection)
        rpc_channel_drop(channel);
    if (stream->status == GRPC_STATUS_DEADLINE_EXCEEDED)
        return st_fail(err, ST_DEADLINE_EXCEEDED, "%s did not answer in time", address);
    return st_fail_for(err, ST_UNAVAILABLE, ST_REASON_LOST,
                       "the connection to %s was lost", address);
}

/* The final status, waited for.  Ours come with trailing metadata. */
static enum st_code
status_of(struct rpc_stream *stream, struct st_err *err)
{
    char word[32], retry[32];
    if (!stream->ended)
        wait_for(stream, &stream->ending);
    stream->ended = true;
    if (stream->status == GRPC_STATUS_OK)
        return ST_OK;
    if (!trailer(stream, "smalltown-reason", word) &&
        (stream->status == GRPC_STATUS_UNAVAILABLE ||
         stream->status == GRPC_STATUS_DEADLINE_EXCEEDED))
        return silence(stream, err);
    enum st_reason reason = st_reason_of_word(word);
    int code = (int)stream->status;
    if (code < ST_OK || code > ST_UNAUTHENTICATED)
        code = ST_UNKNOWN;
    code = (int)st_fail_for(err, (enum st_code)code, reason, "%.*s",
                            (int)GRPC_SLICE_LENGTH(stream->details),
                            (const char *)GRPC_SLICE_START_PTR(stream->details));
    if (err && trailer(stream, "smalltown-retry-ms", retry))
        err->retry_ms = (uint32_t)strtoul(retry, NULL, 10);
    return (enum st_code)code;
}

static void
stream_begin(struct rpc_stream *stream)
{
    grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    status.data.recv_status_on_client.trailing_metadata = &stream->trailer;
    status.data.recv_status_on_client.status = &stream->status;
    status.data.recv_status_on_client.status_details = &stream->details;
    grpc_op open[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                       {.op = GRPC_OP_RECV_INITIAL_METADATA}};
    open[1].data.recv_initial_metadata.recv_initial_metadata = &stream->metadata;
    start(stream, &status, 1, &stream->ending);
    start(stream, open, 2, &stream->opening);
}

enum st_code
rpc_stream_open(struct rpc_channel *channel, const char *path, uint32_t timeout_ms,
                struct rpc_stream **out, struct st_err *err)
{
    gpr_timespec deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                         gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
    enum st_code code = rpc_channel_connect(channel, deadline, err);
    if (code)
        return code;
    struct rpc_stream *stream = calloc(1, sizeof(*stream));
    if (!stream)
        return st_fail(err, ST_INTERNAL, "out of memory");
    stream->channel = channel;
    stream->connection = channel->grpc;
    stream->details = grpc_empty_slice();
    grpc_metadata_array_init(&stream->metadata);
    grpc_metadata_array_init(&stream->trailer);
    grpc_slice method = grpc_slice_from_copied_string(path);
    stream->call = grpc_channel_create_call(channel->grpc, NULL, GRPC_PROPAGATE_DEFAULTS,
                                            channel->queue, method, NULL, deadline, NULL);
    grpc_slice_unref(method);
    stream_begin(stream);
    *out = stream;
    return ST_OK;
}

enum st_code
rpc_stream_send(struct rpc_stream *stream, const ProtobufCMessage *message,
                struct st_err *err)
{
    grpc_byte_buffer *packed = rpc_pack(message);
    if (!packed)
        return st_fail(err, ST_INTERNAL, "out of memory");
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
    op.data.send_message.send_message = packed;
    bool sent =
        !stream->ended && !stream->half_closed && run(stream, &op, &stream->sending);
    grpc_byte_buffer_destroy(packed);
    if (sent)
        return ST_OK;
    /* The status comes behind what the server sent before it. */
    for (grpc_byte_buffer *unread; (unread = read_message(stream));)
        grpc_byte_buffer_destroy(unread);
    enum st_code code = status_of(stream, err);
    return code ? code : st_fail(err, ST_OUT_OF_RANGE, "the server ended the stream");
}

enum st_code
rpc_stream_receive(struct rpc_stream *stream, const ProtobufCMessageDescriptor *type,
                   ProtobufCMessage **out, struct st_err *err)
{
    grpc_byte_buffer *message = read_message(stream);
    if (message) {
        enum st_code bad = rpc_unpack(type, message, out, err);
        return bad ? st_wrap(err, "the server's answer") : ST_OK;
    }
    enum st_code code = status_of(stream, err);
    return code ? code : st_fail(err, ST_OUT_OF_RANGE, "the server ended the stream");
}

enum st_code
rpc_stream_finish(struct rpc_stream *stream, struct st_err *err)
{
    half_close(stream);
    grpc_byte_buffer *message = read_message(stream);
    if (!message)
        return status_of(stream, err);
    grpc_byte_buffer_destroy(message);
    return st_fail(err, ST_INTERNAL, "the server sent more than was expected");
}

void
rpc_stream_close(struct rpc_stream *stream)
{
    if (!stream)
        return;
    if (!stream->ended) {
        grpc_call_cancel(stream->call, NULL);
        wait_for(stream, &stream->ending);
    }
    wait_for(stream, &stream->opening);
    grpc_call_unref(stream->call);
    grpc_metadata_array_destroy(&stream->metadata);
    grpc_metadata_array_destroy(&stream->trailer);
    grpc_slice_unref(stream->details);
    free(stream);
}

enum st_code
rpc_unary(struct rpc_channel *channel, const char *path, const ProtobufCMessage *request,
          const ProtobufCMessageDescriptor *answer, uint32_t timeout_ms,
          ProtobufCMessage **out, struct st_err *err)
{
    AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
    ProtobufCMessage *message = NULL;
    enum st_code code = rpc_stream_open(channel, path, timeout_ms, &stream, err);
    if (!code)
        code = rpc_stream_send(stream, request, err);
    if (code)
        return code;
    half_close(stream);
    code = rpc_stream_receive(stream, answer, &message, err);
    if (code == ST_OUT_OF_RANGE && stream->status == GRPC_STATUS_OK)
        return st_fail(err, ST_INTERNAL, "the server sent no answer");
    if (code)
        return code;
    code = rpc_stream_finish(stream, err);
    if (code)
        protobuf_c_message_free_unpacked(message, &secret_allocator);
    else
        *out = message;
    return code;
}
