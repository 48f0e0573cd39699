/* NewTPM2NodeRegister: a machine that nobody knows becomes a node.
 *
 *   AWAIT_REGISTER --register--> AWAIT_PROOF --attest_response--> AWAIT_INFO
 *                 AK and EK good;             solution good,        | new_node_info
 *                 challenge and nonce sent    quote by that AK,     v
 *                                             with our PCR 12
 *   ENDED <--committed or refused-- AWAIT_COMMIT <--secret, id key, proposed--
 *
 * A message that is not the expected one ends the stream; so does its end before
 * new_node_info.  The status OK is sent by the commit and by nothing else.
 */
#include "nms/approve.h"
#include "nms/digest.h"
#include "nms/nms.h"
#include "proto/mutant.h"
#include "proto/scope.h"
#include "proto/secret.h"
#include "tpm/measure.h"

#include <stdlib.h>
#include <string.h>

enum stage {
    AWAIT_REGISTER = 0,
    AWAIT_PROOF,
    AWAIT_INFO,
    AWAIT_COMMIT,
    ENDED,
};

struct enrolling {
    enum stage stage;
    struct tpm_ak ak;
    struct tpm_ek ek;
    uint8_t *ek_cert; /* malloc'ed; NULL: none */
    size_t ek_cert_len;
    uint8_t *ek_chain; /* malloc'ed, one after the other; NULL: none */
    ProtobufCBinaryData ek_chain_certs[TPM_EK_CHAIN_CERTS]; /* in it */
    size_t ek_chain_count;
    struct secret credential; /* the challenge's answer */
    struct tpm_pcrs pcrs;     /* as quoted */
    struct tpm_clock clock;
    uint8_t nonce[NONCE_LEN];
};

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
    enrolling->stage = ENDED;
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
    enrolling->stage = AWAIT_PROOF;
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
    enrolling->stage = AWAIT_INFO;
    return ST_OK;
}

static enum st_code
id_proof_check(const struct enrolling *enrolling, const ProtobufCBinaryData *proof,
               const uint8_t id_key[ED25519_PUBLIC_LEN], struct st_err *err)
{
    static const char label[22] = "smalltown enrolment v1";
    uint8_t message[sizeof(label) + NONCE_LEN];
    if (proof->len == 0)
        return ST_OK; /* the original contract has no proof */
    memcpy(message, label, sizeof(label));
    memcpy(message + sizeof(label), enrolling->nonce, NONCE_LEN);
    if (proof->len != ED25519_SIGNATURE_LEN ||
        key_verify(id_key, message, sizeof(message), proof->data, NULL))
        return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED,
                           "the sender does not hold the key of its id_cert");
    return ST_OK;
}

static bool
all_zero(const ProtobufCBinaryData *bytes)
{
    uint8_t any = 0;
    for (size_t i = 0; i < bytes->len; i++)
        any |= bytes->data[i];
    return any == 0;
}

static enum st_code
global_key_check(const ProtobufCBinaryData *key, struct st_err *err)
{
    if (REFUSES(0x30c, key->len != UNLOCK_KEY_LEN))
        return st_fail(err, ST_INVALID_ARGUMENT, "a global key of %zu bytes", key->len);
    if (REFUSES(0x30d, all_zero(key)))
        return st_fail(err, ST_INVALID_ARGUMENT, "a global key of zeroes");
    return ST_OK;
}

static enum st_code
config_check(const struct nms *nms, const Api__EnrolmentConfig *config, const char *id,
             struct st_err *err)
{
    const ProtobufCBinaryData *cert = &config->masters_cert;
    if (*config->node_id && strcmp(config->node_id, id) != 0)
        return st_fail(err, ST_INVALID_ARGUMENT, "calls itself %s", config->node_id);
    if (REFUSES(0x31d, cert->len > 0 &&
                           (cert->len != nms->masters_cert.len ||
                            memcmp(cert->data, nms->masters_cert.der, cert->len) != 0)))
        return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED,
                           "an enrolment of another cluster");
    return ST_OK;
}

/* Everything in new_node_info that can be judged without the records. */
static enum st_code
info_check(const struct nms *nms, const struct enrolling *enrolling,
           const Api__NewNodeInfo *info, char out_id[NODE_ID_LEN + 1], struct st_err *err)
{
    uint8_t id_key[ED25519_PUBLIC_LEN];
    struct st_address address;
    enum st_code code;
    if (!info->enrolment_config)
        return st_fail(err, ST_INVALID_ARGUMENT, "no enrolment_config");
    if (info->id_cert.len > STATE_ID_CERT_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "an id_cert of %zu bytes",
                       info->id_cert.len);
    if ((code = cert_public_key(info->id_cert.data, info->id_cert.len, id_key, err)))
        return st_wrap(err, "id_cert");
    node_id_of_key(id_key, out_id);
    if (REFUSES(0x30a, (code = id_proof_check(enrolling, &info->id_proof, id_key, err))))
        return code;
    if (REFUSES(0x30b, (code = address_unpack(&info->ip, &address, err))))
        return code;
    if ((code = global_key_check(&info->global_unlock_key, err)))
        return code;
    return config_check(nms, info->enrolment_config, out_id, err);
}

/* What the commit needs; the call's own state belongs to the server's threads. */
struct committing {
    struct nms *nms;
    struct rpc_call *call;
    State__Node *node;
    struct state_evidence evidence; /* that the node has */
    unsigned tries;
    bool again; /* it is adopted already, and did not hear its OK */
};

static void
committing_free(struct committing *committing)
{
    if (committing->call)
        rpc_call_release(committing->call);
    if (committing->node)
        state__node__free_unpacked(committing->node, &secret_allocator);
    free(committing);
}
AUTO_DEFINE(struct committing *, committing_freep, committing_free)

static bool
is_adopted(const struct committing *committing)
{
    AUTO(state_node_freep) State__Node *now = NULL;
    return !state_node(committing->nms->state, committing->node->node_id, &now, NULL) &&
           now->role != STATE__ROLE__REGISTERED;
}

/* Where the policy adopts nobody else says so. */
static void
say(const struct committing *committing, const struct st_err *err)
{
    struct nms *nms = committing->nms;
    const State__Node *node = committing->node;
    const bool known = !err->code || state_knows_secret(nms->state, &node->secret_hash);
    struct audit_line line;
    audit_line_fill(&line, "enrol", node->node_id, rpc_call_peer(committing->call), err);
    audit_line_ek(&line, node->ek_pubkey.data, node->ek_pubkey.len);
    nms_decided(nms, known ? AUDIT_NODE : AUDIT_STRANGER, &line);
    if (err->code || committing->again || !is_adopted(committing))
        return;
    strcpy(line.what, "adopt");
    strcpy(line.step, "auto");
    nms_decided(nms, AUDIT_NODE, &line);
}

static void
committed(struct committing *committing, const struct st_err *err)
{
    say(committing, err);
    stranger_finish(committing->call, err);
    committing_free(committing);
}

/* What Enrol would be told, as far as this master knows.  A stranger's certificates are
 * followed to the CAs, up to 256 of them, only where that decides: not before he would be
 * in with the best evidence that there is, and not again while the CAs are the same.  It
 * is the replica's thread that comes back from a barrier. */
static enum st_code
enrol_check(struct committing *committing, struct st_err *err)
{
    struct state *state = committing->nms->state;
    State__Node *node = committing->node;
    enum st_code code;
    node->evidence = STATE__EVIDENCE__CHAIN;
    if ((code = state_enrol_check(state, node, nms_now(), err)))
        return code;
    if (!state_evidence_holds(state, &committing->evidence))
        state_find_evidence(state, node, &committing->evidence);
    node->evidence = committing->evidence.found;
    return state_enrol_check(state, node, nms_now(), err);
}

static void commit(struct committing *committing);

static void
check_again(void *arg, const struct st_err *barrier)
{
    struct committing *committing = arg;
    struct st_err err = *barrier;
    if (err.code || enrol_check(committing, &err))
        committed(committing, &err);
    else
        commit(committing);
}

static void
answered(void *arg, const struct st_err *outcome)
{
    struct committing *committing = arg;
    struct st_err err = *outcome;
    if (err.reason == ST_REASON_CHANGED && ++committing->tries < STATE_EVIDENCE_TRIES) {
        nms_barrier(committing->nms, check_again, committing);
        return;
    }
    if (err.reason == ST_REASON_CHANGED)
        (void)st_fail(&err, ST_RESOURCE_EXHAUSTED, "the CAs keep changing");
    committed(committing, &err);
}

static void
commit(struct committing *committing)
{
    State__Enrol enrol = STATE__ENROL__INIT;
    State__Command command = STATE__COMMAND__INIT;
    State__Node node = *committing->node; /* which may have to look again */
    if (committing->evidence.directly)
        node.n_ek_chain = 0;
    enrol.node = &node;
    enrol.ek_cas = (ProtobufCBinaryData){SHA256_LEN, committing->evidence.ek_cas};
    command.change_case = STATE__COMMAND__CHANGE_ENROL;
    command.enrol = &enrol;
    nms_propose(committing->nms, &command, answered, committing);
}

static void
node_fill(const struct nms *nms, const struct enrolling *enrolling,
          const Api__NewNodeInfo *info, char *id, uint8_t secret_hash[SHA256_LEN],
          State__TpmClock *clock, State__Node *out)
{
    state__node__init(out);
    out->node_id = id;
    out->id_cert = info->id_cert;
    out->global_unlock_key = info->global_unlock_key;
    out->address = info->ip;
    out->ak_public.data = (uint8_t *)enrolling->ak.public;
    out->ak_public.len = enrolling->ak.public_len;
    out->ek_pubkey.data = (uint8_t *)enrolling->ek.spki;
    out->ek_pubkey.len = enrolling->ek.spki_len;
    out->ek_cert.data = enrolling->ek_cert;
    out->ek_cert.len = enrolling->ek_cert_len;
    out->ek_chain = (ProtobufCBinaryData *)enrolling->ek_chain_certs;
    out->n_ek_chain = enrolling->ek_chain_count;
    out->recovery = info->recovery;
    out->without_volume = info->without_volume;
    if (info->enrolment_config->masters_number == state_masters_number(nms->state))
        out->masters_number = info->enrolment_config->masters_number;
    out->secret_hash.data = secret_hash;
    out->secret_hash.len = SHA256_LEN;
    out->pcrs.data = (uint8_t *)enrolling->pcrs.digest;
    out->pcrs.len = sizeof(enrolling->pcrs.digest);
    state_clock_pack(&enrolling->clock, clock);
    out->clock = clock;
}

static State__Node *
node_copy(const State__Node *node)
{
    const size_t len = state__node__get_packed_size(node);
    uint8_t *packed = secret_allocator.alloc(NULL, len);
    if (!packed)
        return NULL;
    state__node__pack(node, packed);
    State__Node *copy = state__node__unpack(&secret_allocator, len, packed);
    secret_allocator.free(NULL, packed);
    return copy;
}

/* What this master would refuse costs no entry in the log; but it may not have heard yet
 * of an enrolment that another one made, so it asks before it says so. */
static enum st_code
node_propose(struct rpc_call *call, const State__Node *node, struct st_err *err)
{
    struct nms *nms = rpc_call_context(call);
    struct enrolling *enrolling = rpc_call_state(call);
    AUTO(committing_freep) struct committing *committing = calloc(1, sizeof(*committing));
    if (!committing || !(committing->node = node_copy(node)))
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory for an enrolment");
    committing->nms = nms;
    committing->call = rpc_call_hold(call);
    committing->again = is_adopted(committing);
    enrolling->stage = AWAIT_COMMIT;
    const bool good = !enrol_check(committing, NULL);
    if (REFUSES(0x46f, good))
        rpc_call_vouch(call);
    if (good)
        commit(TAKE(committing));
    else
        nms_barrier(nms, check_again, TAKE(committing));
    return ST_OK;
}

static enum st_code
step_info(struct rpc_call *call, const Api__NewNodeInfo *info,
          char out_id[], /* for say */
          struct st_err *err)
{
    struct nms *nms = rpc_call_context(call);
    const struct enrolling *enrolling = rpc_call_state(call);
    char id[NODE_ID_LEN + 1];
    uint8_t secret_hash[SHA256_LEN];
    State__TpmClock clock;
    State__Node node;
    enum st_code code;
    if ((code = info_check(nms, enrolling, info, id, err)))
        return code;
    strcpy(out_id, id);
    const ProtobufCBinaryData *secret = &info->enrolment_config->enrolment_secret;
    if ((code = digest_enrolment_secret(secret->data, secret->len, secret_hash, err)))
        return code;
    node_fill(nms, enrolling, info, id, secret_hash, &clock, &node);
    return node_propose(call, &node, err);
}

/* Which stage a message is for; ENDED for one that says nothing. */
static enum stage
stage_of(const Api__TPM2FlowRequest *request)
{
    switch (request->stage_case) {
    case API__TPM2_FLOW_REQUEST__STAGE_REGISTER:
        return AWAIT_REGISTER;
    case API__TPM2_FLOW_REQUEST__STAGE_ATTEST_RESPONSE:
        return AWAIT_PROOF;
    case API__TPM2_FLOW_REQUEST__STAGE_NEW_NODE_INFO:
        return AWAIT_INFO;
    case API__TPM2_FLOW_REQUEST__STAGE__NOT_SET:
    case _API__TPM2_FLOW_REQUEST__STAGE__CASE_IS_INT_SIZE:
        break;
    }
    return ENDED;
}

static void
on_message(struct rpc_call *call, const Api__TPM2FlowRequest *request)
{
    struct enrolling *enrolling = rpc_call_state(call);
    char node[NODE_ID_LEN + 1] = "?";
    struct st_err err = {0};
    enum st_code code = ST_OK;
    const enum stage stage = stage_of(request);
    if (enrolling->stage == ENDED)
        return;
    if (REFUSES(0x33a, stage != enrolling->stage)) {
        (void)st_fail(&err, ST_INVALID_ARGUMENT, "a message out of its turn");
        refuse(call, node, &err);
        return;
    }
    if (stage == AWAIT_REGISTER)
        code = step_register(call, request->register_, &err);
    else if (stage == AWAIT_PROOF)
        code = step_proof(call, request->attest_response, &err);
    else if (stage == AWAIT_INFO)
        code = step_info(call, request->new_node_info, node, &err);
    if (code)
        refuse(call, node, &err);
}

static void
on_half_closed(struct rpc_call *call)
{
    const struct enrolling *enrolling = rpc_call_state(call);
    struct st_err err = {0};
    if (enrolling->stage >= AWAIT_COMMIT)
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
