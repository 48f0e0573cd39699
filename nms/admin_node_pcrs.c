/* GetNodePcrs: what a node booted when it enrolled, and since this master started. */
#include "nms/admin.h"
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

static const uint8_t *
boot_digests(const struct state_boot *boot)
{
    return boot->at ? boot->pcrs.digest[0] : NULL;
}

static void
pcrs_send(struct admin_pending *pending, const State__Node *node)
{
    struct state_boot boots[BOOT_KINDS];
    struct wire_pcrs enrolled, accepted, refused;
    Api__GetNodePcrsResponse response = API__GET_NODE_PCRS_RESPONSE__INIT;
    state_node_boots(pending->nms->state, node->node_id, boots);
    response.enrolled = enrolled.items;
    response.n_enrolled = pcrs_fill(
        &enrolled, node->pcrs.len == sizeof(struct tpm_pcrs) ? node->pcrs.data : NULL);
    response.accepted = accepted.items;
    response.n_accepted = pcrs_fill(&accepted, boot_digests(&boots[BOOT_ACCEPTED]));
    response.accepted_at = boots[BOOT_ACCEPTED].at;
    response.refused = refused.items;
    response.n_refused = pcrs_fill(&refused, boot_digests(&boots[BOOT_REFUSED]));
    response.refused_at = boots[BOOT_REFUSED].at;
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
        nms_barrier(pending->nms, barrier_passed, pending);
}
