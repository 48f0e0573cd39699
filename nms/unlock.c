/* TPM2Unlock: a node that restarted gets back the half of its disk key.
 *
 *   OPEN --nonce--> UNLOCK_REQUEST --unlock_request--> UNLOCK_BARRIER --key or refused
 *                                 quote by the AK in the   the record again, as of now,
 *                                 record, over this nonce, also for a refusal; the policy
 *                                 with our PCR 12          (and the window: boot.h)
 *
 * What comes after the proof is in unlock_release.c.
 *
 * Whether a node exists is not for strangers: an unknown id is judged against a key that
 * nobody holds, and is refused with the same words after the same work.
 */
#include "nms/unlock_internal.h"
#include "proto/mutant.h"
#include "proto/scope.h"
#include "proto/secret.h"
#include "tpm/measure.h"

#include <stdlib.h>
#include <string.h>

enum unlock_stage {
    UNLOCK_REQUEST = 0,
    UNLOCK_BARRIER,
    UNLOCK_ENDED,
};

struct unlocking {
    enum unlock_stage stage;
    uint8_t nonce[NONCE_LEN];
};

static enum st_code
nonce_send(struct rpc_call *call, struct st_err *err)
{
    struct unlocking *unlocking = rpc_call_state(call);
    SECRET nonce = {0};
    enum st_code code = secret_random(&nonce, NONCE_LEN, err);
    if (code)
        return code;
    memcpy(unlocking->nonce, nonce.bytes, NONCE_LEN);

    Api__TPM2UnlockInit init = API__TPM2_UNLOCK_INIT__INIT;
    init.nonce.data = unlocking->nonce;
    init.nonce.len = NONCE_LEN;
    Api__TPM2UnlockFlowResponse response = API__TPM2_UNLOCK_FLOW_RESPONSE__INIT;
    response.stage_case = API__TPM2_UNLOCK_FLOW_RESPONSE__STAGE_UNLOCK_INIT;
    response.unlock_init = &init;
    rpc_call_send(call, &response.base);
    return ST_OK;
}

/* The proof: which node, by the AK in its record, over this stream's nonce, in a boot
 * that asks for a key of this cluster.  What is relayed, or asked after the cap, is a
 * stranger's: no window is for it, and nobody is shown it to approve. */
static enum st_code
proof_check(struct nms *nms, const struct unlocking *unlocking,
            const Api__TPM2UnlockRequest *request, struct releasing *out,
            struct st_err *err)
{
    struct boot_proof *proof = &out->proof;
    const struct tpm_quote_evidence evidence = {
        .quote = request->quote.data,
        .quote_len = request->quote.len,
        .signature = request->quote_signature.data,
        .signature_len = request->quote_signature.len,
    };
    enum st_code code;
    if ((code = node_id_check(request->node_id, err)))
        return code;
    strcpy(proof->node, request->node_id);
    /* One that makes no sense costs nobody his disk: it is as if there were none. */
    if (address_unpack(&request->address, &out->address, NULL) ||
        !address_is_host(&out->address))
        out->address.len = 0;
    if ((code = tpm_pcrs_unpack(request->pcrs, request->n_pcrs, &proof->pcrs, err)))
        return code;
    const bool known = unlock_ak_find(nms, request->node_id, proof);
    code = tpm_quote_check(proof->ak, proof->ak_len, &evidence, unlocking->nonce,
                           &proof->pcrs, &proof->clock, err);
    if (code == ST_INVALID_ARGUMENT)
        return code;
    if (REFUSES(0x42a, !known))
        return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED,
                           "no node has this id");
    if (REFUSES(0x41a, code))
        return code;
    code = measure_check(&proof->pcrs, &nms->masters_cert, err);
    return REFUSES(0x4803, code) ? code : ST_OK;
}

static enum st_code
step_request(struct rpc_call *call, const Api__TPM2UnlockRequest *request,
             struct releasing *releasing, struct st_err *err)
{
    struct nms *nms = rpc_call_context(call);
    struct unlocking *unlocking = rpc_call_state(call);
    enum st_code code =
        proof_check(nms, unlocking, request, releasing, &releasing->judgement);
    if (code && code != ST_PERMISSION_DENIED) {
        *err = releasing->judgement;
        return code;
    }
    releasing->judgement.code = code;
    releasing->nms = nms;
    releasing->call = rpc_call_hold(call);
    unlocking->stage = UNLOCK_BARRIER;
    unlock_release(releasing);
    return ST_OK;
}

static void
refuse(struct rpc_call *call, const char *node, const struct st_err *err)
{
    struct unlocking *unlocking = rpc_call_state(call);
    unlocking->stage = UNLOCK_ENDED;
    unlock_say_stranger(call, node, err);
    stranger_finish(call, err);
}

static void
on_message(struct rpc_call *call, const Api__TPM2UnlockFlowRequeset *request)
{
    const struct unlocking *unlocking = rpc_call_state(call);
    struct st_err err = {0};
    if (unlocking->stage == UNLOCK_ENDED)
        return;
    if (unlocking->stage != UNLOCK_REQUEST ||
        request->stage_case != API__TPM2_UNLOCK_FLOW_REQUESET__STAGE_UNLOCK_REQUEST) {
        (void)st_fail(&err, ST_INVALID_ARGUMENT, "a message out of its turn");
        refuse(call, "?", &err);
        return;
    }
    AUTO(st_freep) struct releasing *releasing = calloc(1, sizeof(*releasing));
    if (!releasing) {
        (void)st_fail(&err, ST_RESOURCE_EXHAUSTED, "no memory for an unlock");
        refuse(call, "?", &err);
        return;
    }
    if (step_request(call, request->unlock_request, releasing, &err))
        refuse(call, *releasing->proof.node ? releasing->proof.node : "?", &err);
    else
        releasing = NULL; /* the barrier's */
}

static void
on_half_closed(struct rpc_call *call)
{
    const struct unlocking *unlocking = rpc_call_state(call);
    struct st_err err = {0};
    if (unlocking->stage != UNLOCK_REQUEST)
        return;
    (void)st_fail(&err, ST_INVALID_ARGUMENT, "the stream ended before the request");
    refuse(call, "?", &err);
}

static void
on_open(struct rpc_call *call)
{
    struct st_err err = {0};
    if (nonce_send(call, &err))
        refuse(call, "?", &err);
}

static void
handle(struct rpc_call *call, enum rpc_event what, const ProtobufCMessage *message)
{
    switch (what) {
    case RPC_OPEN:
        on_open(call);
        return;
    case RPC_MESSAGE:
        on_message(call, (const Api__TPM2UnlockFlowRequeset *)message);
        return;
    case RPC_HALF_CLOSED:
        on_half_closed(call);
        return;
    case RPC_DONE:
        return;
    }
}

const struct rpc_method unlock_method = {
    .path = "/api.NodeManagementService/TPM2Unlock",
    .in = &api__tpm2_unlock_flow_requeset__descriptor,
    .out = &api__tpm2_unlock_flow_response__descriptor,
    .streaming = true,
    .deadline_ms = NMS_UNLOCK_MS,
    .first_ms = NMS_FIRST_MS,
    .max_calls = NMS_UNLOCKS,
    .state_size = sizeof(struct unlocking),
    .handle = handle,
};
