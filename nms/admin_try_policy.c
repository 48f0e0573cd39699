/* TestPolicy: what a policy, or the one in force, says of a node as it is. */
#include "nms/admin_pending.h"
#include "proto/scope.h"

#include <stdlib.h>
#include <string.h>

static enum st_code
policy_to_test(struct admin_pending *pending, struct policy **out, struct st_err *err)
{
    AUTO(state_policy_freep) State__Policy *in_force = NULL;
    if (*pending->text)
        return policy_parse(pending->text, strlen(pending->text), out, NULL, err);
    enum st_code code = state_policy(pending->nms->state, 0, &in_force, err);
    return code ? code
                : policy_parse(in_force->text, strlen(in_force->text), out, NULL, err);
}

/* By the boot that was sent, else by that of its enrolment. */
static enum st_code
unlock_judge(const struct admin_pending *pending, const struct policy *policy,
             const State__Node *node, struct st_err *err)
{
    struct tpm_pcrs pcrs = pending->pcrs;
    if (!pending->has_pcrs && node->pcrs.len == sizeof(pcrs))
        memcpy(&pcrs, node->pcrs.data, sizeof(pcrs));
    else if (!pending->has_pcrs && policy_looks_at_boots(policy, node->node_id))
        return st_fail(err, ST_PERMISSION_DENIED,
                       "what it boots is not known until it asks for its key");
    return state_judge_boot_by(pending->nms->state, policy, node->node_id, &pcrs, err);
}

static void
verdict_send(struct admin_pending *pending, const struct policy *policy,
             State__Node *node)
{
    struct st_err adopt = {0}, unlock = {0};
    struct state_evidence evidence;
    Api__TestPolicyResponse response = API__TEST_POLICY_RESPONSE__INIT;
    state_find_evidence(pending->nms->state, node, &evidence);
    node->evidence = evidence.found;
    node->evidence = policy_evidence(policy, node);
    response.evidence_now = (Api__Node__Evidence)node->evidence;
    if (policy_judge_node(policy, node, &adopt))
        response.adopt = adopt.text;
    if (unlock_judge(pending, policy, node, &unlock))
        response.unlock = unlock.text;
    rpc_call_reply(pending->call, &response.base);
}

static void
barrier_passed(void *arg, const struct st_err *barrier)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    AUTO(state_node_freep) State__Node *node = NULL;
    AUTO(policy_freep) struct policy *policy = NULL;
    struct st_err err = *barrier;
    if (err.code || state_node(pending->nms->state, pending->name, &node, &err) ||
        policy_to_test(pending, &policy, &err))
        rpc_call_finish(pending->call, &err);
    else
        verdict_send(pending, policy, node);
}

void
admin_handle_test_policy(struct rpc_call *call, enum rpc_event what,
                         const ProtobufCMessage *message)
{
    const Api__TestPolicyRequest *request = (const Api__TestPolicyRequest *)message;
    struct st_err err = {0};
    if (what != RPC_MESSAGE)
        return;
    AUTO(st_freep) char *text = strdup(request->text);
    struct tpm_pcrs pcrs = {0};
    if (!text)
        (void)st_fail(&err, ST_RESOURCE_EXHAUSTED, "no memory for a policy");
    if (err.code || node_id_check(request->node_id, &err) ||
        (request->n_pcrs > 0 &&
         tpm_pcrs_unpack(request->pcrs, request->n_pcrs, &pcrs, &err))) {
        rpc_call_finish(call, &err);
        return;
    }
    struct admin_pending *pending = admin_pending_new(call, request->node_id);
    if (!pending)
        return;
    pending->text = TAKE(text);
    pending->has_pcrs = request->n_pcrs > 0;
    pending->pcrs = pcrs;
    admin_barrier(pending, barrier_passed);
}
