/* NewTPM2NodeRegister: a machine that nobody knows becomes a node.
 *
 *   ENROL_REGISTER --register--> ENROL_PROOF --attest_response--> ENROL_INFO
 *                 AK and EK good;             solution good,        | new_node_info
 *                 challenge and nonce sent    quote by that AK,     v
 *                                             with our PCR 12
 *   ENROL_ENDED <--committed or refused-- ENROL_COMMIT <--secret, id key, proposed--
 *
 * A message that is not the expected one ends the stream; so does its end before
 * new_node_info.  The status OK is sent by the commit and by nothing else.
 *
 * new_node_info, and what becomes of it, is in register_commit.c.
 */
#include "nms/approve.h"
#include "nms/register_internal.h"
#include "proto/mutant.h"
#include "proto/secret.h"
#include "tpm/measure.h"

#include <stdlib.h>
#include <string.h>

static void
wipe(void *state)
{
    struct enrolling *enrolling = state;
    secret_wipe(&enrolling->credential);
    free(enrolling->ek_cert);
    free(enrolling->ek_chain);
}

static void
say_stranger(struct rpc_call *call, const char *node, const struct st_err *err)
{
    const struct enrolling *enrolling = rpc_call_state(call);
    struct audit_line line;
    audit_line_fill(&line, "enrol", node, rpc_call_peer(call), err);
    audit_line_ek(&line, enrolling->ek.spki, enrolling->ek.spki_len);
    nms_decided(rpc_call_context(call), AUDIT_STRANGER, &line);
}

static void
refuse(struct rpc_call *call, const char *node, const struct st_err *err)
{
    struct enrolling *enrolling = rpc_call_state(call);
    enrolling->stage = ENROL_ENDED;
    say_stranger(call, node, err);
    stranger_finish(call, err);
}

/* Only what can lead from the EK certificate to a CA, one that is added later too. */
static enum st_code
keep_chain(struct enrolling *enrolling, const Api__TPM2RegisterRequest *request,
           struct st_err *err)
{
    struct tpm_ek_chain chain;
    tpm_ek_chain_read(request->ek_cert.data, request->ek_cert.len, request->ek_chain,
                      request->n_ek_chain, &chain);
    if (chain.count == 0)
        return ST_OK;
    uint8_t *at = enrolling->ek_chain = malloc(TPM_EK_CHAIN_MAX);
    if (!at)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory for a chain");
    for (size_t i = 0; i < chain.count; i++) {
        const struct der *cert = &chain.links[i].cert;
        memcpy(at, cert->at, cert->len);
        enrolling->ek_chain_certs[i] = (ProtobufCBinaryData){cert->len, at};
        at += cert->len;
    }
    enrolling->ek_chain_count = chain.count;
    return ST_OK;
}

static enum st_code
keys_check(struct enrolling *enrolling, const Api__TPM2RegisterRequest *request,
           struct st_err *err)
{
    enum st_code code;
    if ((code = tpm_ak_check(request->ak_public.data, request->ak_public.len,
                             &enrolling->ak, err)) ||
        (code = tpm_ek_check(request->ek_pubkey.data, request->ek_pubkey.len,
                             &enrolling->ek, err)))
        return code;
    const ProtobufCBinaryData *ek_cert = &request->ek_cert;
    if (ek_cert->len == 0)
        return ST_OK;
    if (ek_cert->len > CERT_MAX_LEN)
        return st_fail(err, ST_INVALID_ARGUMENT, "an EK certificate of %zu bytes",
                       ek_cert->len);
    if (REFUSES(0x23f, (code = tpm_ek_cert_check(ek_cert->data, ek_cert->len,
                                                 &enrolling->ek, err))))
        return code;
    enrolling->ek_cert = malloc(ek_cert->len);
    if (!enrolling->ek_cert)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory for an EK certificate");
    memcpy(enrolling->ek_cert, ek_cert->data, ek_cert->len);
    enrolling->ek_cert_len = ek_cert->len;
    return keep_chain(enrolling, request, err);
}

static enum st_code
challenge_send(struct rpc_call *call, struct enrolling *enrolling, struct st_err *err)
{
    SECRET nonce = {0};
    struct tpm_challenge challenge;
    uint8_t authority[TPM_AUTHORITY_LEN];
    enum st_code code;
    if ((code = secret_random(&enrolling->credential, SHA256_LEN, err)) ||
        (code = secret_random(&nonce, NONCE_LEN, err)) ||
        (code = tpm_challenge_make(&enrolling->ek, enrolling->ak.name,
                                   &enrolling->credential, &challenge, err)))
        return code;
    memcpy(enrolling->nonce, nonce.bytes, NONCE_LEN);

    Api__TPM2AttestRequest attest = API__TPM2_ATTEST_REQUEST__INIT;
    attest.ak_challenge.data = challenge.id_object;
    attest.ak_challenge.len = challenge.id_object_len;
    attest.ak_challenge_secret.data = challenge.encrypted_secret;
    attest.ak_challenge_secret.len = challenge.encrypted_secret_len;
    attest.quote_nonce.data = enrolling->nonce;
    attest.quote_nonce.len = NONCE_LEN;
    if (approve_authority(rpc_call_context(call), authority, NULL)) {
        attest.seal_authority.data = authority;
        attest.seal_authority.len = sizeof(authority);
    }
    Api__TPM2FlowResponse response = API__TPM2_FLOW_RESPONSE__INIT;
    response.stage_case = API__TPM2_FLOW_RESPONSE__STAGE_ATTEST_REQUEST;
    response.attest_request = &attest;
    rpc_call_send(call, &response.base);
    return ST_OK;
}

static enum st_code
step_register(struct rpc_call *call, const Api__TPM2RegisterRequest *request,
              struct st_err *err)
{
    struct enrolling *enrolling = rpc_call_state(call);
    enum st_code code;
    if ((code = keys_check(enrolling, request, err)) ||
        (code = challenge_send(call, enrolling, err)))
        return code;
    enrolling->stage = ENROL_PROOF;
    return ST_OK;
}

static enum st_code
solution_check(const struct enrolling *enrolling, const ProtobufCBinaryData *solution,
               struct st_err *err)
{
    SECRET given = {0};
    if (solution->len == 0 || secret_set(&given, solution->data, solution->len, NULL) ||
        !secret_equal(&given, &enrolling->credential))
        return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED,
                           "the challenge was not solved: this AK is not in the TPM of "
                           "this EK");
    return ST_OK;
}

static enum st_code
step_proof(struct rpc_call *call, const Api__TPM2AttestResponse *response,
           struct st_err *err)
{
    struct enrolling *enrolling = rpc_call_state(call);
    struct tpm_pcrs pcrs;
    struct tpm_clock clock;
    const struct tpm_quote_evidence evidence = {
        .quote = response->quote.data,
        .quote_len = response->quote.len,
        .signature = response->quote_signature.data,
        .signature_len = response->quote_signature.len,
    };
    enum st_code code;
    const struct nms *nms = rpc_call_context(call);
    if ((code = tpm_pcrs_unpack(response->pcrs, response->n_pcrs, &pcrs, err)) ||
        REFUSES(0x26f, (code = solution_check(enrolling, &response->ak_challenge_solution,
                                              err))) ||
        REFUSES(0x28f, (code = tpm_quote_check(enrolling->ak.public,
                                               enrolling->ak.public_len, &evidence,
                                               enrolling->nonce, &pcrs, &clock, err))) ||
        REFUSES(0x4809, (code = measure_check(&pcrs, &nms->masters_cert, err))))
        return code;
    enrolling->pcrs = pcrs;
    enrolling->clock = clock;
    enrolling->stage = ENROL_INFO;
    return ST_OK;
}

/* Which stage a message is for; ENROL_ENDED for one that says nothing. */
static enum enrol_stage
stage_of(const Api__TPM2FlowRequest *request)
{
    switch (request->stage_case) {
    case API__TPM2_FLOW_REQUEST__STAGE_REGISTER:
        return ENROL_REGISTER;
    case API__TPM2_FLOW_REQUEST__STAGE_ATTEST_RESPONSE:
        return ENROL_PROOF;
    case API__TPM2_FLOW_REQUEST__STAGE_NEW_NODE_INFO:
        return ENROL_INFO;
    case API__TPM2_FLOW_REQUEST__STAGE__NOT_SET:
    case _API__TPM2_FLOW_REQUEST__STAGE__CASE_IS_INT_SIZE:
        break;
    }
    return ENROL_ENDED;
}

static void
on_message(struct rpc_call *call, const Api__TPM2FlowRequest *request)
{
    struct enrolling *enrolling = rpc_call_state(call);
    char node[NODE_ID_LEN + 1] = "?";
    struct st_err err = {0};
    enum st_code code = ST_OK;
    const enum enrol_stage stage = stage_of(request);
    if (enrolling->stage == ENROL_ENDED)
        return;
    if (REFUSES(0x33a, stage != enrolling->stage)) {
        (void)st_fail(&err, ST_INVALID_ARGUMENT, "a message out of its turn");
        refuse(call, node, &err);
        return;
    }
    if (stage == ENROL_REGISTER)
        code = step_register(call, request->register_, &err);
    else if (stage == ENROL_PROOF)
        code = step_proof(call, request->attest_response, &err);
    else if (stage == ENROL_INFO)
        code = register_commit(call, request->new_node_info, node, &err);
    if (code)
        refuse(call, node, &err);
}

static void
on_half_closed(struct rpc_call *call)
{
    const struct enrolling *enrolling = rpc_call_state(call);
    struct st_err err = {0};
    if (enrolling->stage >= ENROL_COMMIT)
        return;
    (void)st_fail(&err, ST_INVALID_ARGUMENT, "the stream ended before its last message");
    refuse(call, "?", &err);
}

static void
handle(struct rpc_call *call, enum rpc_event what, const ProtobufCMessage *message)
{
    switch (what) {
    case RPC_MESSAGE:
        on_message(call, (const Api__TPM2FlowRequest *)message);
        return;
    case RPC_HALF_CLOSED:
        on_half_closed(call);
        return;
    case RPC_OPEN:
    case RPC_DONE:
        return;
    }
}

const struct rpc_method register_method = {
    .path = "/api.NodeManagementService/NewTPM2NodeRegister",
    .in = &api__tpm2_flow_request__descriptor,
    .out = &api__tpm2_flow_response__descriptor,
    .streaming = true,
    .deadline_ms = NMS_REGISTER_MS,
    .first_ms = NMS_FIRST_MS,
    .max_calls = NMS_REGISTERS,
    .state_size = sizeof(struct enrolling),
    .wipe = wipe,
    .handle = handle,
};
