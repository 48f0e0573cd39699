/* GetPolicy, SetPolicy, ListPolicyHistory. */
#include "nms/admin_pending.h"
#include "proto/scope.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void
version_fill(Api__PolicyVersion *out, const State__Policy *policy, bool with_text)
{
    api__policy_version__init(out);
    out->version = policy->version;
    out->changed_at = policy->changed_at;
    out->changed_by = policy->changed_by;
    if (with_text)
        out->text = policy->text;
}

static void
get_barrier_passed(void *arg, const struct st_err *barrier)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    AUTO(state_policy_freep) State__Policy *policy = NULL;
    AUTO(state_window_freep) State__Window *window = NULL;
    Api__GetPolicyResponse response = API__GET_POLICY_RESPONSE__INIT;
    Api__PolicyVersion version;
    Api__Window open;
    struct st_err err = *barrier;
    if (err.code || state_policy(pending->nms->state, pending->version, &policy, &err)) {
        rpc_call_finish(pending->call, &err);
        return;
    }
    version_fill(&version, policy, true);
    response.policy = &version;
    if (!state_window(pending->nms->state, nms_now(), &window, NULL)) {
        admin_window_fill(&open, window);
        response.window = &open;
    }
    rpc_call_reply(pending->call, &response.base);
}

void
admin_handle_get_policy(struct rpc_call *call, enum rpc_event what,
                        const ProtobufCMessage *message)
{
    const Api__GetPolicyRequest *request = (const Api__GetPolicyRequest *)message;
    if (what != RPC_MESSAGE)
        return;
    struct admin_pending *pending = admin_pending_new(call, "");
    if (!pending)
        return;
    pending->version = request->version;
    admin_barrier(pending, get_barrier_passed);
}

static void
policy_set(void *arg, const struct st_err *err)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    Api__SetPolicyResponse response = API__SET_POLICY_RESPONSE__INIT;
    response.version = pending->version + 1;
    admin_answer(pending, "set-policy", err, &response.base);
}

void
admin_handle_set_policy(struct rpc_call *call, enum rpc_event what,
                        const ProtobufCMessage *message)
{
    const Api__SetPolicyRequest *request = (const Api__SetPolicyRequest *)message;
    AUTO(policy_freep) struct policy *parsed = NULL;
    AUTO(st_freep) char *text = NULL;
    struct st_err err = {0};
    char name[24];
    if (what != RPC_MESSAGE)
        return;
    /* What the machine would refuse costs no entry in the log. */
    if (policy_parse(request->text, strlen(request->text), &parsed, &text, &err)) {
        rpc_call_finish(call, &err);
        return;
    }
    snprintf(name, sizeof(name), "%" PRIu64, request->expected_version + 1);
    struct admin_pending *pending = admin_pending_new(call, name);
    if (!pending)
        return;
    pending->version = request->expected_version;
    State__SetPolicy set_policy = STATE__SET_POLICY__INIT;
    set_policy.text = text;
    set_policy.schema = POLICY_SCHEMA;
    set_policy.expected_version = request->expected_version;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_SET_POLICY;
    command.set_policy = &set_policy;
    admin_propose(pending, &command, policy_set);
}

struct history {
    Api__PolicyVersion versions[STATE_POLICIES_KEPT];
    uint8_t by[STATE_POLICIES_KEPT][SHA256_LEN];
    Api__PolicyVersion *list[STATE_POLICIES_KEPT]; /* the newest first */
    size_t count;
};

static enum st_code
history_add(void *arg, const State__Policy *policy, struct st_err *err)
{
    (void)err;
    struct history *history = arg;
    if (history->count == STATE_POLICIES_KEPT || policy->changed_by.len != SHA256_LEN)
        return ST_OK;
    Api__PolicyVersion *version = &history->versions[history->count];
    version_fill(version, policy, false);
    memcpy(history->by[history->count], policy->changed_by.data, SHA256_LEN);
    version->changed_by.data = history->by[history->count++];
    return ST_OK;
}

static void
history_barrier_passed(void *arg, const struct st_err *barrier)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    struct history history = {0};
    struct st_err err = *barrier;
    Api__ListPolicyHistoryResponse response = API__LIST_POLICY_HISTORY_RESPONSE__INIT;
    if (err.code || state_each_policy(pending->nms->state, history_add, &history, &err)) {
        rpc_call_finish(pending->call, &err);
        return;
    }
    for (size_t i = 0; i < history.count; i++)
        history.list[i] = &history.versions[history.count - 1 - i];
    response.versions = history.list;
    response.n_versions = history.count;
    rpc_call_reply(pending->call, &response.base);
}

void
admin_handle_list_policy_history(struct rpc_call *call, enum rpc_event what,
                                 const ProtobufCMessage *message)
{
    (void)message;
    admin_list(call, what, history_barrier_passed);
}
