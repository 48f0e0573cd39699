/* GetNodePcrs: what a node booted when it enrolled, and since this master started; what
 * was refused, and what was let in. */
#include "nms/admin_pending.h"
#include "nms/captured.h"
#include "proto/scope.h"

#include <string.h>

struct wire_pcrs {
    ProtobufCBinaryData items[TPM_PCR_COUNT];
};

/* 0 where there are none. */
static size_t
pcrs_fill(struct wire_pcrs *out, const uint8_t *digests)
{
    for (size_t i = 0; digests && i < TPM_PCR_COUNT; i++)
        out->items[i] =
            (ProtobufCBinaryData){SHA256_LEN, (uint8_t *)digests + i * SHA256_LEN};
    return digests ? TPM_PCR_COUNT : 0;
}

/* As of now: where it would be accepted there is nothing to say. */
static void
why_refused(struct state *state, const State__Refused *refused, struct st_err *out)
{
    if (!refused->clock)
        return;
    const struct tpm_clock clock = {.clock_ms = refused->clock->clock_ms,
                                    .reset_count = refused->clock->reset_count,
                                    .restart_count = refused->clock->restart_count};
    (void)!state_clock_check(state, refused->node_id, &clock, out);
}

static void
pcrs_send(struct admin_pending *pending, const State__Node *node)
{
    AUTO(captured_free) struct captured_list list = {0};
    AUTO(state_refused_freep) State__Refused *last = NULL;
    struct state *state = pending->nms->state;
    struct state_boot boot;
    struct st_err err = {0}, why = {0};
    struct wire_pcrs enrolled, accepted, refused;
    Api__TpmClock clock = API__TPM_CLOCK__INIT;
    Api__GetNodePcrsResponse response = API__GET_NODE_PCRS_RESPONSE__INIT;
    if (state_each_captured(state, node->node_id, captured_add, &list, &err)) {
        rpc_call_finish(pending->call, &err);
        return;
    }
    response.captured = list.sets;
    response.n_captured = list.count;
    response.enrolled = enrolled.items;
    response.n_enrolled = pcrs_fill(
        &enrolled, node->pcrs.len == sizeof(struct tpm_pcrs) ? node->pcrs.data : NULL);
    state_node_boot(state, node->node_id, &boot);
    response.accepted = accepted.items;
    response.n_accepted = pcrs_fill(&accepted, boot.at ? boot.pcrs.digest[0] : NULL);
    response.accepted_at = boot.at;
    if (!state_refused(state, node->node_id, &last, NULL)) {
        response.refused = refused.items;
        response.n_refused = pcrs_fill(&refused, last->pcrs.data);
        response.refused_at = last->at;
        why_refused(state, last, &why);
        response.refused_why = why.text;
    }
    if (last && last->clock) {
        clock.clock_ms = last->clock->clock_ms;
        clock.reset_count = last->clock->reset_count;
        clock.restart_count = last->clock->restart_count;
        response.refused_clock = &clock;
    }
    rpc_call_reply(pending->call, &response.base);
}

static void
barrier_passed(void *arg, const struct st_err *barrier)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    AUTO(state_node_freep) State__Node *node = NULL;
    struct st_err err = *barrier;
    if (err.code || state_node(pending->nms->state, pending->name, &node, &err))
        rpc_call_finish(pending->call, &err);
    else
        pcrs_send(pending, node);
}

void
admin_handle_get_node_pcrs(struct rpc_call *call, enum rpc_event what,
                           const ProtobufCMessage *message)
{
    const Api__GetNodePcrsRequest *request = (const Api__GetNodePcrsRequest *)message;
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
