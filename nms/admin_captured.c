/* ApproveBoot; ListCapturedSets, RemoveCapturedSet. */
#include "nms/admin_pending.h"
#include "nms/captured.h"

#include <string.h>

static void
approved(void *arg, const struct st_err *err)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    const Api__ApproveBootResponse response = API__APPROVE_BOOT_RESPONSE__INIT;
    admin_answer(pending, "approve-boot", err, &response.base);
}

void
admin_handle_approve_boot(struct rpc_call *call, enum rpc_event what,
                          const ProtobufCMessage *message)
{
    const Api__ApproveBootRequest *request = (const Api__ApproveBootRequest *)message;
    struct tpm_pcrs pcrs;
    struct st_err err = {0};
    if (what != RPC_MESSAGE)
        return;
    if (node_id_check(request->node_id, &err) ||
        tpm_pcrs_unpack(request->pcrs, request->n_pcrs, &pcrs, &err)) {
        rpc_call_finish(call, &err);
        return;
    }
    struct admin_pending *pending = admin_pending_node(call, request->node_id);
    if (!pending)
        return;
    State__ApproveBoot approve_boot = STATE__APPROVE_BOOT__INIT;
    approve_boot.node_id = request->node_id;
    approve_boot.pcrs = (ProtobufCBinaryData){sizeof(pcrs.digest), pcrs.digest[0]};
    State__TpmClock clock = STATE__TPM_CLOCK__INIT;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_APPROVE_BOOT;
    command.approve_boot = &approve_boot;
    if (request->clock) {
        clock.clock_ms = request->clock->clock_ms;
        clock.reset_count = request->clock->reset_count;
        clock.restart_count = request->clock->restart_count;
        approve_boot.clock = &clock;
        command.change_case = STATE__COMMAND__CHANGE_APPROVE_CLOCK;
        command.approve_clock = &approve_boot;
    }
    admin_propose(pending, &command, approved);
}

static void
list_barrier_passed(void *arg, const struct st_err *barrier)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    AUTO(captured_free) struct captured_list list = {0};
    Api__ListCapturedSetsResponse response = API__LIST_CAPTURED_SETS_RESPONSE__INIT;
    struct state *state = pending->nms->state;
    struct st_err err = *barrier;
    if (err.code || state_each_captured(state, NULL, captured_add, &list, &err) ||
        captured_add_nodes(&list, state, &err)) {
        rpc_call_finish(pending->call, &err);
        return;
    }
    response.sets = list.sets;
    response.n_sets = list.count;
    rpc_call_reply(pending->call, &response.base);
}

void
admin_handle_list_captured_sets(struct rpc_call *call, enum rpc_event what,
                                const ProtobufCMessage *message)
{
    (void)message;
    admin_list(call, what, list_barrier_passed);
}

static void
removed(void *arg, const struct st_err *err)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    const Api__RemoveCapturedSetResponse response =
        API__REMOVE_CAPTURED_SET_RESPONSE__INIT;
    admin_answer(pending, "remove-captured", err, &response.base);
}

void
admin_handle_remove_captured_set(struct rpc_call *call, enum rpc_event what,
                                 const ProtobufCMessage *message)
{
    const Api__RemoveCapturedSetRequest *request =
        (const Api__RemoveCapturedSetRequest *)message;
    struct st_err err = {0};
    if (what != RPC_MESSAGE)
        return;
    if (request->sha256.len != SHA256_LEN) {
        (void)st_fail_for(&err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                          "a captured set is named by its SHA-256");
        rpc_call_finish(call, &err);
        return;
    }
    struct admin_pending *pending = admin_pending_digest(call, request->sha256.data);
    if (!pending)
        return;
    State__RemoveCaptured remove_captured = STATE__REMOVE_CAPTURED__INIT;
    remove_captured.sha256 = request->sha256;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_REMOVE_CAPTURED;
    command.remove_captured = &remove_captured;
    admin_propose(pending, &command, removed);
}
