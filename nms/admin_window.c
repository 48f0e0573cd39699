/* OpenWindow, CloseWindow. */
#include "nms/admin_pending.h"

#include <inttypes.h>
#include <stdio.h>

void
admin_window_fill(Api__Window *out, const State__Window *window)
{
    api__window__init(out);
    out->opened_at = window->opened_at;
    out->closes_at = window->closes_at;
    out->opened_by = window->opened_by;
    out->node_ids = window->node_ids;
    out->n_node_ids = window->n_node_ids;
    out->captured = window->captured;
}

static void
opened(void *arg, const struct st_err *err)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    AUTO(state_window_freep) State__Window *window = NULL;
    Api__OpenWindowResponse response = API__OPEN_WINDOW_RESPONSE__INIT;
    Api__Window message;
    admin_say(pending, "open-window", err);
    if (err->code) {
        rpc_call_finish(pending->call, err);
        return;
    }
    /* One of a second may be over before it is on the disks. */
    if (!state_window(pending->nms->state, nms_now(), &window, NULL)) {
        admin_window_fill(&message, window);
        response.window = &message;
    }
    rpc_call_reply(pending->call, &response.base);
}

static enum st_code
open_check(const Api__OpenWindowRequest *request, struct st_err *err)
{
    if (request->seconds == 0 || request->seconds > STATE_WINDOW_MAX_S)
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "a window is open for at least a second and at most %d days",
                           STATE_WINDOW_MAX_S / 86400);
    if (request->n_node_ids > STATE_WINDOW_NODES_MAX)
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "a window for %zu nodes: %d is the limit, or all",
                           request->n_node_ids, STATE_WINDOW_NODES_MAX);
    for (size_t i = 0; i < request->n_node_ids; i++) {
        enum st_code code = node_id_check(request->node_ids[i], err);
        if (code)
            return code;
    }
    return ST_OK;
}

/* The log says for whom, and for how long: nobody closes a window whose time is up. */
static struct admin_pending *
open_pending(struct rpc_call *call, const Api__OpenWindowRequest *request)
{
    char name[NAME_MAX_LEN + 1] = "all";
    struct admin_pending *pending;
    if (request->n_node_ids > 1)
        snprintf(name, sizeof(name), "%zu-nodes", request->n_node_ids);
    pending = request->n_node_ids == 1 ? admin_pending_node(call, request->node_ids[0])
                                       : admin_pending_new(call, name);
    if (pending)
        snprintf(pending->step, sizeof(pending->step), "%" PRIu64 "s", request->seconds);
    return pending;
}

void
admin_handle_open_window(struct rpc_call *call, enum rpc_event what,
                         const ProtobufCMessage *message)
{
    const Api__OpenWindowRequest *request = (const Api__OpenWindowRequest *)message;
    struct st_err err = {0};
    if (what != RPC_MESSAGE)
        return;
    if (open_check(request, &err)) {
        rpc_call_finish(call, &err);
        return;
    }
    struct admin_pending *pending = open_pending(call, request);
    if (!pending)
        return;
    State__OpenWindow open_window = STATE__OPEN_WINDOW__INIT;
    open_window.seconds = request->seconds;
    open_window.node_ids = request->node_ids;
    open_window.n_node_ids = request->n_node_ids;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_OPEN_WINDOW;
    command.open_window = &open_window;
    admin_propose(pending, &command, opened);
}

static void
closed(void *arg, const struct st_err *err)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    const Api__CloseWindowResponse response = API__CLOSE_WINDOW_RESPONSE__INIT;
    admin_answer(pending, "close-window", err, &response.base);
}

void
admin_handle_close_window(struct rpc_call *call, enum rpc_event what,
                          const ProtobufCMessage *message)
{
    (void)message;
    if (what != RPC_MESSAGE)
        return;
    struct admin_pending *pending = admin_pending_new(call, "");
    if (!pending)
        return;
    State__CloseWindow close_window = STATE__CLOSE_WINDOW__INIT;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_CLOSE_WINDOW;
    command.close_window = &close_window;
    admin_propose(pending, &command, closed);
}
