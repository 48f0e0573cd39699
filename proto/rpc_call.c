/* A call's life: admitted, its events in order, freed with its last reference. */
#include "proto/rpc_internal.h"

#include "proto/clock.h"
#include "proto/mutant.h"

#include <assert.h>
#include <grpc/support/alloc.h>
#include <stdlib.h>
#include <string.h>

static void
arm_read(struct rpc_call *call)
{
    if (call->reading || call->closed || call->finished || call->half_closed)
        return;
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &call->read;
    call->reading = rpc_call_start(call, &op, 1, &call->receive_tag);
}

/* A unary request is whole when the client has half-closed; only then it is delivered,
 * so that a second message never meets a handler that acted on the first. */
static void
take_message(struct rpc_call *call, grpc_byte_buffer *message)
{
    static const struct st_err second = {.code = ST_INVALID_ARGUMENT,
                                         .reason = ST_REASON_MALFORMED,
                                         .text = "more than one request"};
    if (!call->arrived) {
        call->arrived = message;
        if (!call->method->streaming)
            arm_read(call);
        return;
    }
    grpc_byte_buffer_destroy(message);
    rpc_call_finish_locked(call, &second);
}

static void
take_half_close(struct rpc_call *call)
{
    static const struct st_err none = {
        .code = ST_INVALID_ARGUMENT, .reason = ST_REASON_MALFORMED, .text = "no request"};
    call->half_closed = true;
    if (call->method->streaming || call->arrived)
        return;
    rpc_call_finish_locked(call, &none);
}

static void
receive_complete(struct rpc_tag *tag, bool ok)
{
    struct rpc_call *call = TAG_OWNER(tag, struct rpc_call, receive_tag);
    pthread_mutex_lock(&call->lock);
    call->batches--;
    call->reading = false;
    grpc_byte_buffer *message = call->read;
    call->read = NULL;
    if (message)
        take_message(call, message);
    else if (ok)
        take_half_close(call);
    rpc_call_pump(call);
}

static void
close_complete(struct rpc_tag *tag, bool ok)
{
    (void)ok; /* always */
    struct rpc_call *call = TAG_OWNER(tag, struct rpc_call, close_tag);
    pthread_mutex_lock(&call->lock);
    call->batches--;
    call->closed = true;
    rpc_call_drop_queue(call);
    rpc_call_pump(call);
}

static bool
next_event(struct rpc_call *call, enum rpc_event *out, grpc_byte_buffer **out_message)
{
    bool alive = call->method && !call->closed && !call->finished;
    *out_message = NULL;
    if (call->method && !call->opened) {
        call->opened = true;
        *out = RPC_OPEN;
        return true;
    }
    if (alive && call->arrived && (call->method->streaming || call->half_closed)) {
        *out_message = call->arrived;
        call->arrived = NULL;
        *out = RPC_MESSAGE;
        return true;
    }
    if (alive && call->half_closed && !call->half_close_told) {
        call->half_close_told = true;
        *out = RPC_HALF_CLOSED;
        return true;
    }
    *out = RPC_DONE;
    return call->closed && !call->batches;
}

/* From now on it has the time of the whole call. */
static void
note_first_message(struct rpc_call *call)
{
    struct rpc_server *server = call->server;
    if (!call->method->first_ms)
        return;
    pthread_mutex_lock(&server->lock);
    if (call->last && !call->expired)
        call->deadline = call->last;
    call->last = 0;
    pthread_mutex_unlock(&server->lock);
}

static enum st_code
ask_admit(const struct rpc_call *call, const char *path, bool *out_vouch,
          struct st_err *err)
{
    const struct rpc_server *server = call->server;
    *out_vouch = server->want_client_cert;
    if (!server->admit)
        return ST_OK;
    return server->admit(server->context, path, call->peer, call->client_cert,
                         call->client_cert_len, out_vouch, err);
}

/* Whoever was heard when the call began may have lost that right since; and who says
 * nothing is vouched for by nobody. */
static enum st_code
open_message(struct rpc_call *call, grpc_byte_buffer *packed, ProtobufCMessage **out,
             struct st_err *err)
{
    bool vouch;
    enum st_code code = ask_admit(call, call->method->path, &vouch, err);
    if (REFUSES(0x5003, code)) {
        grpc_byte_buffer_destroy(packed);
        return code;
    }
    code = rpc_unpack(call->method->in, packed, out, err);
    if (!code && vouch)
        rpc_call_vouch(call);
    return code;
}

static void
deliver_message(struct rpc_call *call, grpc_byte_buffer *packed)
{
    struct st_err err = {0};
    ProtobufCMessage *message = NULL;
    note_first_message(call);
    if (open_message(call, packed, &message, &err)) {
        rpc_call_finish(call, &err);
        return;
    }
    call->method->handle(call, RPC_MESSAGE, message);
    protobuf_c_message_free_unpacked(message, &secret_allocator);
}

static void
end(struct rpc_call *call)
{
    struct rpc_server *server = call->server;
    if (call->method)
        call->method->handle(call, RPC_DONE, NULL);
    pthread_mutex_lock(&call->lock);
    if (call->arrived)
        grpc_byte_buffer_destroy(call->arrived);
    call->arrived = NULL;
    grpc_call_unref(call->grpc);
    call->grpc = NULL;
    pthread_mutex_unlock(&call->lock);

    pthread_mutex_lock(&server->lock);
    if (call->previous)
        call->previous->next = call->next;
    else
        server->calls = call->next;
    if (call->next)
        call->next->previous = call->previous;
    rpc_room_leave(server, call);
    server->leaving_count--;
    call->server = NULL;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    rpc_call_release(call);
}

void
rpc_call_pump(struct rpc_call *call)
{
    enum rpc_event event;
    grpc_byte_buffer *message;
    if (call->in_handler) {
        pthread_mutex_unlock(&call->lock);
        return;
    }
    call->in_handler = true;
    while (next_event(call, &event, &message)) {
        pthread_mutex_unlock(&call->lock);
        if (event == RPC_DONE) {
            end(call); /* in_handler stays: there is no event after this one */
            return;
        }
        if (event == RPC_MESSAGE)
            deliver_message(call, message);
        else
            call->method->handle(call, event, NULL);
        pthread_mutex_lock(&call->lock);
        arm_read(call);
    }
    call->in_handler = false;
    pthread_mutex_unlock(&call->lock);
}

/* "ipv6:%5B::1%5D:40000" becomes "[::1]:40000". */
static void
format_peer(grpc_call *grpc, char *out, size_t size)
{
    char *uri = grpc_call_get_peer(grpc);
    const char *from = strchr(uri, ':') ? strchr(uri, ':') + 1 : uri;
    size_t used = 0;
    for (; *from && used + 1 < size; from++) {
        bool open = !strncmp(from, "%5B", 3), shut = !strncmp(from, "%5D", 3);
        out[used++] = open ? '[' : shut ? ']' : *from;
        from += open || shut ? 2 : 0;
    }
    out[used] = 0;
    gpr_free(uri);
}

/* Puts the call into the list in any case, so that a stop waits for it. */
static enum st_code
enlist(struct rpc_server *server, struct rpc_call *call, const struct rpc_method *method,
       struct st_err *err)
{
    enum st_code code;
    pthread_mutex_lock(&server->lock);
    server->leaving_count++;
    if (server->phase != SERVER_RUNNING)
        code = st_fail_for(err, ST_UNAVAILABLE, ST_REASON_NONE, "shutting down");
    else
        code = rpc_room_take(server, call, method, err);
    call->next = server->calls;
    if (call->next)
        call->next->previous = call;
    server->calls = call;
    pthread_mutex_unlock(&server->lock);
    return code;
}

/* What is refused takes no room while its status leaves; false where it gets none. */
static bool
show_out(struct rpc_server *server, struct rpc_call *call)
{
    pthread_mutex_lock(&server->lock);
    const bool crowded = rpc_room_crowded(server);
    rpc_room_leave(server, call);
    call->deadline = clock_ms() + STATUS_GRACE_MS;
    pthread_mutex_unlock(&server->lock);
    return !crowded;
}

static enum st_code
admit(struct rpc_server *server, struct rpc_call *call, const struct rpc_method *method,
      struct st_err *err)
{
    bool vouch;
    enum st_code code = enlist(server, call, method, err);
    if (code)
        return code;
    if (!method)
        return st_fail(err, ST_UNIMPLEMENTED, "no such method");
    if (server->want_client_cert)
        code = rpc_tls_client_cert(call->grpc, &call->client_cert, &call->client_cert_len,
                                   err);
    return code ? code : ask_admit(call, method->path, &vouch, err);
}

static struct rpc_call *
call_new(struct rpc_server *server, grpc_call *grpc, const struct rpc_method *method)
{
    struct rpc_call *call = calloc(1, sizeof(*call) + (method ? method->state_size : 0));
    if (!call)
        return NULL;
    call->server = server;
    call->context = server->context;
    call->grpc = grpc;
    call->receive_tag.complete = receive_complete;
    call->send_tag.complete = rpc_send_complete;
    call->close_tag.complete = close_complete;
    atomic_init(&call->references, 1);
    pthread_mutex_init(&call->lock, NULL);
    format_peer(grpc, call->peer, sizeof(call->peer));
    const int64_t now = clock_ms();
    uint32_t limit = method ? method->deadline_ms : STATUS_GRACE_MS;
    call->deadline = limit ? now + limit : INT64_MAX;
    call->patience = method && method->first_ms ? now + method->first_ms / 2 : INT64_MAX;
    if (REFUSES(0x44a, method && method->first_ms && method->first_ms < limit)) {
        call->last = call->deadline;
        call->deadline = now + method->first_ms;
    }
    return call;
}

void
rpc_call_begin(struct rpc_accept *accept)
{
    char *path = grpc_slice_to_c_string(accept->details.method);
    const struct rpc_method *method = rpc_method_find(accept->server, path);
    gpr_free(path);
    struct rpc_call *call = call_new(accept->server, accept->call, method);
    if (!call) {
        grpc_call_cancel_with_status(accept->call, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                     "out of memory", NULL);
        grpc_call_unref(accept->call);
        return;
    }
    struct st_err err = {0};
    enum st_code refused = admit(accept->server, call, method, &err);
    const bool curtly = refused && !show_out(accept->server, call);
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    op.data.recv_close_on_server.cancelled = &call->cancelled;
    pthread_mutex_lock(&call->lock);
    bool started = rpc_call_start(call, &op, 1, &call->close_tag);
    assert(started);
    (void)started;
    if (curtly) {
        call->finished = true;
        grpc_call_cancel_with_status(call->grpc, (grpc_status_code)err.code, err.text,
                                     NULL);
    } else if (refused)
        rpc_call_finish_locked(call, &err);
    else
        call->method = method;
    rpc_call_pump(call);
}

struct rpc_call *
rpc_call_hold(struct rpc_call *call)
{
    atomic_fetch_add(&call->references, 1);
    return call;
}

void
rpc_call_release(struct rpc_call *call)
{
    if (atomic_fetch_sub(&call->references, 1) != 1)
        return;
    if (call->method && call->method->wipe)
        call->method->wipe(call->state);
    pthread_mutex_destroy(&call->lock);
    free(call->client_cert);
    free(call->status);
    free(call);
}

void
rpc_call_vouch(struct rpc_call *call)
{
    struct rpc_server *server = call->server;
    pthread_mutex_lock(&server->lock);
    rpc_room_vouch(call);
    pthread_mutex_unlock(&server->lock);
}

void *
rpc_call_context(const struct rpc_call *call)
{
    return call->context;
}

void *
rpc_call_state(struct rpc_call *call)
{
    return call->state;
}

const char *
rpc_call_path(const struct rpc_call *call)
{
    return call->method->path;
}

const char *
rpc_call_peer(const struct rpc_call *call)
{
    return call->peer;
}

const void *
rpc_call_client_cert(const struct rpc_call *call, size_t *out_len)
{
    *out_len = call->client_cert_len;
    return call->client_cert;
}
