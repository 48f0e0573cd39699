/* The sending half of a call: a short queue, and the status behind it. */
#include "proto/rpc_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool
rpc_call_start(struct rpc_call *call, const grpc_op *ops, size_t count,
               struct rpc_tag *tag)
{
    HANDED_TO_GRPC(tag);
    if (grpc_call_start_batch(call->grpc, ops, count, tag, NULL) != GRPC_CALL_OK)
        return false;
    call->batches++;
    return true;
}

void
rpc_call_drop_queue(struct rpc_call *call)
{
    for (; call->queue_count; call->queue_count--) {
        grpc_byte_buffer_destroy(call->queue[call->queue_first]);
        call->queue_first = (call->queue_first + 1) % SEND_QUEUE_MAX;
    }
}

/* The reason always travels: so a client knows that a server of ours spoke, and not its
 * own library. */
static size_t
status_metadata(const struct st_err *status, grpc_metadata out[2])
{
    char retry[16];
    const char *word = st_reason_word(status ? status->reason : ST_REASON_NONE);
    out[0].key = grpc_slice_from_static_string("smalltown-reason");
    out[0].value = grpc_slice_from_static_string(*word ? word : "none");
    if (!status || !status->retry_ms)
        return 1;
    snprintf(retry, sizeof(retry), "%u", status->retry_ms);
    out[1].key = grpc_slice_from_static_string("smalltown-retry-ms");
    out[1].value = grpc_slice_from_copied_string(retry);
    return 2;
}

/* Hands gRPC the next message, with the status where it is the last. */
static void
push_out(struct rpc_call *call)
{
    if (!call->grpc || call->closed || call->sending || call->status_sent)
        return;
    bool with_status = call->finished && call->queue_count <= 1;
    if (!call->queue_count && !with_status)
        return;
    grpc_op ops[3];
    size_t count = 0;
    grpc_metadata metadata[2] = {0};
    grpc_slice details = grpc_empty_slice();
    memset(ops, 0, sizeof(ops));
    if (!call->metadata_sent)
        ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    if (call->queue_count) {
        call->sent = call->queue[call->queue_first];
        call->queue_first = (call->queue_first + 1) % SEND_QUEUE_MAX;
        call->queue_count--;
        ops[count].op = GRPC_OP_SEND_MESSAGE;
        ops[count++].data.send_message.send_message = call->sent;
    }
    if (with_status) {
        struct grpc_op_send_status_from_server *status =
            &ops[count].data.send_status_from_server;
        ops[count++].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
        if (call->status)
            details = grpc_slice_from_copied_string(call->status->text);
        status->status = (grpc_status_code)(call->status ? call->status->code : ST_OK);
        status->status_details = call->status ? &details : NULL;
        status->trailing_metadata = metadata;
        status->trailing_metadata_count = status_metadata(call->status, metadata);
    }
    call->metadata_sent = true;
    call->status_sent = with_status;
    call->sending = rpc_call_start(call, ops, count, &call->send_tag);
    assert(call->sending);
    grpc_slice_unref(details);
    grpc_slice_unref(metadata[1].value);
}

void
rpc_send_complete(struct rpc_tag *tag, bool ok)
{
    struct rpc_call *call = TAG_OWNER(tag, struct rpc_call, send_tag);
    pthread_mutex_lock(&call->lock);
    call->batches--;
    call->sending = false;
    if (call->sent)
        grpc_byte_buffer_destroy(call->sent);
    call->sent = NULL;
    if (ok)
        push_out(call);
    else
        rpc_call_drop_queue(call);
    rpc_call_pump(call);
}

void
rpc_call_finish_locked(struct rpc_call *call, const struct st_err *err)
{
    if (call->finished)
        return;
    call->finished = true;
    if (err && err->code) {
        call->status = malloc(sizeof(*call->status));
        if (call->status)
            *call->status = *err;
        else /* never OK by accident */
            grpc_call_cancel_with_status(call->grpc, (grpc_status_code)err->code,
                                         "out of memory", NULL);
    }
    push_out(call);
}

/* Takes the message; `call` stays locked. */
static void
enqueue(struct rpc_call *call, grpc_byte_buffer *message)
{
    if (message && call->grpc && !call->finished && !call->closed &&
        call->queue_count < SEND_QUEUE_MAX) {
        call->queue[(call->queue_first + call->queue_count++) % SEND_QUEUE_MAX] = message;
        return;
    }
    if (call->grpc && !call->finished && !call->closed) {
        /* A status would wait behind what the client does not read. */
        call->finished = true;
        grpc_call_cancel_with_status(
            call->grpc, GRPC_STATUS_RESOURCE_EXHAUSTED,
            message ? "the client does not read what it asked for" : "out of memory",
            NULL);
    }
    if (message)
        grpc_byte_buffer_destroy(message);
}

void
rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message)
{
    assert(call->method && message->descriptor == call->method->out);
    grpc_byte_buffer *packed = rpc_pack(message);
    pthread_mutex_lock(&call->lock);
    enqueue(call, packed);
    push_out(call);
    pthread_mutex_unlock(&call->lock);
}

void
rpc_call_finish(struct rpc_call *call, const struct st_err *err)
{
    pthread_mutex_lock(&call->lock);
    if (call->grpc)
        rpc_call_finish_locked(call, err);
    pthread_mutex_unlock(&call->lock);
}

void
rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *message)
{
    assert(call->method && message->descriptor == call->method->out);
    grpc_byte_buffer *packed = rpc_pack(message);
    pthread_mutex_lock(&call->lock);
    enqueue(call, packed);
    if (call->grpc)
        rpc_call_finish_locked(call, NULL);
    pthread_mutex_unlock(&call->lock);
}

void
rpc_call_expire(struct rpc_call *call, int64_t now, const struct st_err *err)
{
    pthread_mutex_lock(&call->lock);
    if (call->grpc && call->expired)
        grpc_call_cancel_with_status(call->grpc, (grpc_status_code)err->code, err->text,
                                     NULL);
    else if (call->grpc) {
        rpc_call_drop_queue(call);
        rpc_call_finish_locked(call, err);
    }
    call->deadline = call->expired ? INT64_MAX : now + STATUS_GRACE_MS;
    call->expired = true;
    pthread_mutex_unlock(&call->lock);
}
