/* NewTPM2NodeRegister, the node's end:
 *
 *   1 -> register: AK, EK, certificate of the EK if the TPM has one, and its chain
 *   2 <- attest_request: a challenge for this AK in the TPM of this EK, and a nonce; who
 *        will approve of other boots
 *   3 -> attest_response: its solution; a quote over the nonce; the PCRs
 *   4 -> new_node_info: the config with its secret, who this node is, the global half;
 *        the recovery key of its volume, sealed to an administrator
 *   5 <- status: OK means committed
 */
#include "node/register.h"

#include "node/disk.h"
#include "node/talk.h"
#include "proto/api.pb-c.h"
#include "proto/mutant.h"
#include "proto/proof.h"

#include <string.h>

#define PATH "/api.NodeManagementService/NewTPM2NodeRegister"

enum {
    SOLUTION_LEN = 32
};

static ProtobufCBinaryData
bytes(const void *data, size_t len)
{
    return (ProtobufCBinaryData){len, (uint8_t *)data};
}

static enum st_code
send_register(struct talk *talk, const struct tpm_ak *ak, const struct tpm_own_ek *ek,
              const struct tpm_own_chain *chain, struct st_err *err)
{
    ProtobufCBinaryData certs[TPM_EK_CHAIN_CERTS];
    size_t at = 0;
    for (size_t i = 0; i < chain->count; i++) {
        certs[i] = bytes(chain->bytes + at, chain->lens[i]);
        at += chain->lens[i];
    }
    Api__TPM2RegisterRequest request = API__TPM2_REGISTER_REQUEST__INIT;
    request.ak_public = bytes(ak->public, ak->public_len);
    request.ek_pubkey = bytes(ek->ek.spki, ek->ek.spki_len);
    request.ek_cert = bytes(ek->cert, ek->cert_len);
    request.ek_chain = certs;
    request.n_ek_chain = chain->count;
    Api__TPM2FlowRequest flow = API__TPM2_FLOW_REQUEST__INIT;
    flow.stage_case = API__TPM2_FLOW_REQUEST__STAGE_REGISTER;
    flow.register_ = &request;
    return talk_send(talk, &flow.base, err);
}

struct attest {
    struct tpm_challenge challenge;
    uint8_t nonce[NONCE_LEN];
    struct approvals said;
};

static enum st_code
take_attest(const Api__TPM2FlowResponse *flow, struct attest *out, struct st_err *err)
{
    if (flow->stage_case != API__TPM2_FLOW_RESPONSE__STAGE_ATTEST_REQUEST)
        return st_fail(err, ST_INTERNAL, "the master sent no attest_request");
    const Api__TPM2AttestRequest *request = flow->attest_request;
    const ProtobufCBinaryData *id_object = &request->ak_challenge,
                              *secret = &request->ak_challenge_secret;
    if (REFUSES(0x33f, request->quote_nonce.len != NONCE_LEN))
        return st_fail(err, ST_INTERNAL, "the master sent a nonce of %zu bytes",
                       request->quote_nonce.len);
    if (!id_object->len || id_object->len > sizeof(out->challenge.id_object) ||
        !secret->len || secret->len > sizeof(out->challenge.encrypted_secret))
        return st_fail(err, ST_INTERNAL,
                       "the master sent a challenge of %zu and %zu bytes", id_object->len,
                       secret->len);
    memcpy(out->challenge.id_object, id_object->data, id_object->len);
    memcpy(out->challenge.encrypted_secret, secret->data, secret->len);
    out->challenge.id_object_len = id_object->len;
    out->challenge.encrypted_secret_len = secret->len;
    memcpy(out->nonce, request->quote_nonce.data,
           request->quote_nonce.len < NONCE_LEN ? request->quote_nonce.len : NONCE_LEN);
    approvals_take_authority(&request->seal_authority, &out->said);
    return ST_OK;
}

static enum st_code
receive_attest(struct talk *talk, struct attest *out, struct st_err *err)
{
    TALK_MESSAGE *message = NULL;
    enum st_code code =
        talk_receive(talk, &api__tpm2_flow_response__descriptor, &message, err);
    memset(out, 0, sizeof(*out));
    return code ? code : take_attest((const Api__TPM2FlowResponse *)message, out, err);
}

static enum st_code
send_proof(struct talk *talk, const struct tpm_quote *quote,
           const struct secret *solution, struct st_err *err)
{
    ProtobufCBinaryData pcrs[TPM_PCR_COUNT];
    talk_pcrs(&quote->pcrs, pcrs);
    Api__TPM2AttestResponse response = API__TPM2_ATTEST_RESPONSE__INIT;
    response.quote = bytes(quote->quote, quote->quote_len);
    response.quote_signature = bytes(quote->signature, quote->signature_len);
    response.ak_challenge_solution = bytes(solution->bytes, solution->len);
    response.n_pcrs = TPM_PCR_COUNT;
    response.pcrs = pcrs;
    Api__TPM2FlowRequest flow = API__TPM2_FLOW_REQUEST__INIT;
    flow.stage_case = API__TPM2_FLOW_REQUEST__STAGE_ATTEST_RESPONSE;
    flow.attest_response = &response;
    return talk_send(talk, &flow.base, err);
}

static enum st_code
prove(const struct node *node, struct tpm *tpm, const struct tpm_own_ek *ek,
      const struct attest *attest, struct talk *talk, struct st_err *err)
{
    struct tpm_quote quote;
    SECRET solution = {0};
    enum st_code code;
    if ((code =
             tpm_activate(tpm, node->ak, ek->type, &attest->challenge, &solution, err)))
        return st_wrap(err, "solve the master's challenge");
    if (solution.len != SOLUTION_LEN)
        return st_fail(err, ST_INTERNAL, "the master's challenge has %zu bytes",
                       solution.len);
    if ((code = tpm_quote(tpm, node->ak, attest->nonce, &quote, err)))
        return code;
    return send_proof(talk, &quote, &solution, err);
}

static enum st_code
sign_proof(const struct identity *identity, const uint8_t nonce[NONCE_LEN],
           uint8_t out[ED25519_SIGNATURE_LEN], struct st_err *err)
{
    uint8_t message[PROOF_NODE_LEN];
    proof_of_node(nonce, message);
    return key_sign(&identity->seed, message, sizeof(message), out, err);
}

static enum st_code
send_info(const struct node *node, const struct identity *identity,
          const struct secret *global_half, const struct disk_recovery *recovery,
          const uint8_t nonce[NONCE_LEN], struct talk *talk, struct st_err *err)
{
    const struct node_config *config = &node->config;
    uint8_t proof[ED25519_SIGNATURE_LEN];
    ProtobufCBinaryData addresses[ADDRESSES_MAX];
    enum st_code code = sign_proof(identity, nonce, proof, err);
    if (code)
        return code;
    for (size_t i = 0; i < config->address_count; i++)
        addresses[i] = bytes(config->addresses[i].bytes, config->addresses[i].len);
    Api__EnrolmentConfig enrolment = API__ENROLMENT_CONFIG__INIT;
    enrolment.enrolment_secret = bytes(config->secret.bytes, config->secret.len);
    enrolment.masters_cert = bytes(config->masters.der, config->masters.len);
    enrolment.n_master_ips = config->address_count;
    enrolment.masters_number = config->masters_number;
    enrolment.master_ips = addresses;
    Api__NewNodeInfo info = API__NEW_NODE_INFO__INIT;
    info.enrolment_config = &enrolment;
    info.ip = bytes(node->address.bytes, node->address.len);
    info.id_cert = bytes(identity->cert.der, identity->cert.len);
    info.global_unlock_key = bytes(global_half->bytes, global_half->len);
    info.id_proof = bytes(proof, sizeof(proof));
    if (recovery->sealed && !strcmp(recovery->place.node_id, identity->node_id))
        info.recovery = bytes(recovery->bytes, sizeof(recovery->bytes));
    info.without_volume = !node->volume;
    Api__TPM2FlowRequest flow = API__TPM2_FLOW_REQUEST__INIT;
    flow.stage_case = API__TPM2_FLOW_REQUEST__STAGE_NEW_NODE_INFO;
    flow.new_node_info = &info;
    return talk_send(talk, &flow.base, err);
}

/* A chip may need seconds for its keys: they are made before the master's clock runs. */
static enum st_code
prepare(const struct node *node, struct tpm *tpm, struct tpm_ak *ak,
        struct tpm_own_ek *ek, struct tpm_own_chain *chain, struct st_err *err)
{
    enum st_code code = tpm_ek_choose(tpm, ek, err);
    chain->count = 0;
    if (!code && ek->cert_len > 0)
        tpm_ek_chain_find(tpm, chain);
    return code ? code : tpm_ak_read(tpm, node->ak, ak, err);
}

enum st_code
register_node(const struct node *node, const struct identity *identity,
              const struct secret *global_half, struct approvals *out_said,
              struct st_err *err)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    TALK talk = {0};
    struct tpm_ak ak;
    struct tpm_own_ek ek;
    struct tpm_own_chain chain;
    struct attest attest;
    struct disk_recovery recovery = {0};
    enum st_code code;
    if ((node->volume && (code = disk_recovery_look(node->volume, &recovery, err))) ||
        (code = tpm_open(node->tcti, &tpm, err)) ||
        (code = prepare(node, tpm, &ak, &ek, &chain, err)) ||
        (code = talk_open(node, PATH, &talk, err)) ||
        (code = send_register(&talk, &ak, &ek, &chain, err)) ||
        (code = receive_attest(&talk, &attest, err)) ||
        (code = prove(node, tpm, &ek, &attest, &talk, err)) ||
        (code = send_info(node, identity, global_half, &recovery, attest.nonce, &talk,
                          err)) ||
        (code = rpc_stream_finish(talk.stream, err)))
        return code;
    *out_said = attest.said;
    return ST_OK;
}
