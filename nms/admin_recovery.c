/* FetchRecoveryKey: what only an administrator's private key opens. */
#include "nms/admin_pending.h"
#include "proto/scope.h"

static void
barrier_passed(void *arg, const struct st_err *barrier)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    AUTO(state_node_freep) State__Node *node = NULL;
    Api__FetchRecoveryKeyResponse response = API__FETCH_RECOVERY_KEY_RESPONSE__INIT;
    struct st_err err = *barrier;
    if (!err.code)
        (void)!state_node(pending->nms->state, pending->name, &node, &err);
    admin_say(pending, "recovery-key", &err);
    if (err.code) {
        rpc_call_finish(pending->call, &err);
        return;
    }
    response.sealed = node->recovery;
    rpc_call_reply(pending->call, &response.base);
}

void
admin_handle_fetch_recovery_key(struct rpc_call *call, enum rpc_event what,
                                const ProtobufCMessage *message)
{
    const Api__FetchRecoveryKeyRequest *request =
        (const Api__FetchRecoveryKeyRequest *)message;
    struct st_err err = {0};
    if (what != RPC_MESSAGE)
        return;
    if (node_id_check(request->node_id, &err)) {
        rpc_call_finish(call, &err);
        return;
    }
    struct admin_pending *pending = admin_pending_new(call, request->node_id);
    if (pending)
        admin_barrier(pending, barrier_passed);
}
