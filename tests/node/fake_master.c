#include "tests/node/fake_master.h"

#include "proto/scope.h"

#include <stdlib.h>
#include <string.h>

struct flow {
    enum act act;
    unsigned messages;
    uint8_t nonce[NONCE_LEN];
    struct tpm_ak ak;
    struct secret credential;
    struct tpm_pcrs pcrs; /* as quoted */
};

static const struct st_err ok = {0};

static void
end(struct rpc_call *call, enum st_code code, enum st_reason reason, const char *text)
{
    struct st_err err = {0};
    if (code)
        (void)st_fail_for(&err, code, reason, "%s", text);
    if (code == ST_RESOURCE_EXHAUSTED)
        err.retry_ms = ((struct flow *)rpc_call_state(call))->act == ACT_BUSY_FOR_LONG
                           ? 10 * 60 * 1000
                           : 300;
    rpc_call_finish(call, code ? &err : &ok);
}

static struct flow *
flow_open(struct rpc_call *call)
{
    struct master *master = rpc_call_context(call);
    struct flow *flow = rpc_call_state(call);
    unsigned n = atomic_fetch_add(&master->calls, 1);
    if (master->script_len)
        flow->act = master->script[n < master->script_len ? n : master->script_len - 1];
    SECRET nonce = {0};
    assert_code(secret_random(&nonce, NONCE_LEN, NULL), ST_OK);
    memcpy(flow->nonce, nonce.bytes, NONCE_LEN);
    return flow;
}

/* The nonce of this act, one byte more or less than it should be. */
static ProtobufCBinaryData
nonce_of(struct flow *flow, uint8_t buffer[NONCE_LEN + 1])
{
    memset(buffer, 7, NONCE_LEN + 1);
    memcpy(buffer, flow->nonce, NONCE_LEN);
    size_t len = flow->act == ACT_SHORT_NONCE  ? NONCE_LEN - 1
                 : flow->act == ACT_LONG_NONCE ? NONCE_LEN + 1
                                               : NONCE_LEN;
    return (ProtobufCBinaryData){len, buffer};
}

/* Acts that end a call without looking at the message; true where it did. */
static bool
misbehave(struct rpc_call *call, struct flow *flow)
{
    switch (flow->act) {
    case ACT_UNAVAILABLE:
        end(call, ST_UNAVAILABLE, ST_REASON_NO_QUORUM, "no-quorum");
        return true;
    case ACT_BUSY:
    case ACT_BUSY_FOR_LONG:
        end(call, ST_RESOURCE_EXHAUSTED, ST_REASON_BUSY, "busy");
        return true;
    case ACT_SILENT:
        return true;
    case ACT_END_AT_OPEN:
        end(call, ST_OK, ST_REASON_NONE, "");
        return true;
    case ACT_END_AT_FIRST:
        if (flow->messages == 1)
            end(call, ST_OK, ST_REASON_NONE, "");
        return flow->messages == 1;
    case ACT_END_AT_SECOND:
        if (flow->messages == 2)
            end(call, ST_UNAVAILABLE, ST_REASON_NONE, "gone");
        return flow->messages == 2;
    default:
        return false;
    }
}

static void
note_chain(struct master *master, const Api__TPM2RegisterRequest *request)
{
    pthread_mutex_lock(&master->lock);
    master->chain_count = request->n_ek_chain;
    if (request->n_ek_chain > 0 && request->ek_chain[0].len <= sizeof(master->chain)) {
        master->chain_len = request->ek_chain[0].len;
        memcpy(master->chain, request->ek_chain[0].data, master->chain_len);
    }
    pthread_mutex_unlock(&master->lock);
}

static void
send_attest(struct rpc_call *call, struct flow *flow,
            const Api__TPM2RegisterRequest *request)
{
    struct master *master = rpc_call_context(call);
    struct tpm_ek ek;
    struct tpm_challenge challenge;
    struct st_err err = {0};
    uint8_t nonce[NONCE_LEN + 1];
    uint8_t *huge = NULL;
    assert_ok(
        tpm_ak_check(request->ak_public.data, request->ak_public.len, &flow->ak, &err));
    assert_ok(tpm_ek_check(request->ek_pubkey.data, request->ek_pubkey.len, &ek, &err));
    if (request->ek_cert.len)
        assert_ok(
            tpm_ek_cert_check(request->ek_cert.data, request->ek_cert.len, &ek, &err));
    note_chain(master, request);
    assert_ok(secret_random(&flow->credential, 32, &err));
    if (flow->act == ACT_OTHER_CHALLENGE)
        flow->ak.name[TPM_NAME_LEN - 1] ^= 1;
    assert_ok(
        tpm_challenge_make(&ek, flow->ak.name, &flow->credential, &challenge, &err));
    Api__TPM2AttestRequest attest = API__TPM2_ATTEST_REQUEST__INIT;
    attest.ak_challenge =
        (ProtobufCBinaryData){challenge.id_object_len, challenge.id_object};
    attest.ak_challenge_secret =
        (ProtobufCBinaryData){challenge.encrypted_secret_len, challenge.encrypted_secret};
    attest.quote_nonce = nonce_of(flow, nonce);
    if (master->authority_count)
        attest.seal_authority =
            (ProtobufCBinaryData){TPM_AUTHORITY_LEN, master->authorities[0].point};
    if (flow->act == ACT_HUGE) {
        huge = calloc(1, 10 << 20);
        attest.ak_challenge = (ProtobufCBinaryData){10 << 20, huge};
    }
    Api__TPM2FlowResponse response = API__TPM2_FLOW_RESPONSE__INIT;
    if (flow->act != ACT_WRONG_STAGE) {
        response.stage_case = API__TPM2_FLOW_RESPONSE__STAGE_ATTEST_REQUEST;
        response.attest_request = &attest;
    }
    rpc_call_send(call, &response.base);
    free(huge);
}

static bool
quote_is_good(const struct tpm_ak *ak, struct flow *flow,
              const ProtobufCBinaryData *quote, const ProtobufCBinaryData *signature,
              const ProtobufCBinaryData *items, size_t count)
{
    struct tpm_clock clock;
    const struct tpm_quote_evidence evidence = {quote->data, quote->len, signature->data,
                                                signature->len};
    return !tpm_pcrs_unpack(items, count, &flow->pcrs, NULL) &&
           !tpm_quote_check(ak->public, ak->public_len, &evidence, flow->nonce,
                            &flow->pcrs, &clock, NULL);
}

static void
check_proof(struct flow *flow, const Api__TPM2AttestResponse *response)
{
    struct secret solution = {0};
    assert_code(secret_set(&solution, response->ak_challenge_solution.data,
                           response->ak_challenge_solution.len, NULL),
                ST_OK);
    assert_true(secret_equal(&solution, &flow->credential));
    assert_true(quote_is_good(&flow->ak, flow, &response->quote,
                              &response->quote_signature, response->pcrs,
                              response->n_pcrs));
}

/* The same node with the same keys, or nobody yet. */
static bool
commit(struct master *master, const struct flow *flow, const Api__NewNodeInfo *info,
       const char *node_id)
{
    pthread_mutex_lock(&master->lock);
    bool same =
        master->has_record && !strcmp(master->node_id, node_id) &&
        !memcmp(master->global_half, info->global_unlock_key.data, UNLOCK_KEY_LEN) &&
        master->id_cert_len == info->id_cert.len &&
        !memcmp(master->id_cert, info->id_cert.data, info->id_cert.len) &&
        !memcmp(master->ak.name, flow->ak.name, TPM_NAME_LEN);
    bool good = same || !master->has_record;
    if (!master->has_record) {
        master->has_record = true;
        strcpy(master->node_id, node_id);
        memcpy(master->global_half, info->global_unlock_key.data, UNLOCK_KEY_LEN);
        master->id_cert_len = info->id_cert.len;
        memcpy(master->id_cert, info->id_cert.data, info->id_cert.len);
        master->ak = flow->ak;
    }
    pthread_mutex_unlock(&master->lock);
    if (good)
        atomic_fetch_add(&master->commits, 1);
    return good;
}

static void
take_info(struct rpc_call *call, struct flow *flow, const Api__NewNodeInfo *info)
{
    static const char label[] = "smalltown enrolment v1";
    struct master *master = rpc_call_context(call);
    uint8_t key[ED25519_PUBLIC_LEN], message[22 + NONCE_LEN];
    char node_id[NODE_ID_LEN + 1];
    struct st_err err = {0};
    assert_ok(cert_public_key(info->id_cert.data, info->id_cert.len, key, &err));
    node_id_of_key(key, node_id);
    memcpy(message, label, 22);
    memcpy(message + 22, flow->nonce, NONCE_LEN);
    assert_int_equal(info->id_proof.len, ED25519_SIGNATURE_LEN);
    assert_ok(key_verify(key, message, sizeof(message), info->id_proof.data, &err));
    assert_int_equal(info->global_unlock_key.len, UNLOCK_KEY_LEN);
    assert_int_equal(info->ip.len, 4);
    assert_int_equal(info->enrolment_config->enrolment_secret.len,
                     sizeof(master->secret));
    assert_memory_equal(info->enrolment_config->enrolment_secret.data, master->secret,
                        sizeof(master->secret));
    assert_in_range(info->recovery.len, 0, sizeof(master->recovery));
    master->recovery_len = info->recovery.len;
    if (info->recovery.len)
        memcpy(master->recovery, info->recovery.data, info->recovery.len);
    master->without_volume = info->without_volume;
    if (flow->act == ACT_REFUSE)
        end(call, ST_PERMISSION_DENIED, ST_REASON_REFUSED, "refused");
    else if (!commit(master, flow, info, node_id))
        end(call, ST_ALREADY_EXISTS, ST_REASON_EXISTS, "exists");
    else if (flow->act == ACT_LOSE_OK)
        end(call, ST_UNAVAILABLE, ST_REASON_NONE, "lost");
    else
        end(call, ST_OK, ST_REASON_NONE, "");
}

static void
on_register(struct rpc_call *call, enum rpc_event event, const ProtobufCMessage *message)
{
    struct master *master = rpc_call_context(call);
    struct flow *flow = rpc_call_state(call);
    const Api__TPM2FlowRequest *request = (const Api__TPM2FlowRequest *)message;
    if (event == RPC_OPEN) {
        flow = flow_open(call);
        if (flow->act == ACT_END_AT_OPEN)
            misbehave(call, flow);
    }
    if (event == RPC_DONE)
        atomic_fetch_add(&master->ended, 1);
    if (event != RPC_MESSAGE)
        return;
    flow->messages++;
    if (misbehave(call, flow))
        return;
    if (flow->messages == 1) {
        assert_int_equal(request->stage_case, API__TPM2_FLOW_REQUEST__STAGE_REGISTER);
        atomic_fetch_add(&master->registers, 1);
        send_attest(call, flow, request->register_);
    } else if (flow->messages == 2) {
        assert_int_equal(request->stage_case,
                         API__TPM2_FLOW_REQUEST__STAGE_ATTEST_RESPONSE);
        check_proof(flow, request->attest_response);
    } else {
        assert_int_equal(request->stage_case,
                         API__TPM2_FLOW_REQUEST__STAGE_NEW_NODE_INFO);
        take_info(call, flow, request->new_node_info);
    }
}

static void
send_nonce(struct rpc_call *call, struct flow *flow)
{
    uint8_t buffer[NONCE_LEN + 1];
    uint8_t *huge = NULL;
    Api__TPM2UnlockInit init = API__TPM2_UNLOCK_INIT__INIT;
    Api__TPM2UnlockFlowResponse response = API__TPM2_UNLOCK_FLOW_RESPONSE__INIT;
    init.nonce = nonce_of(flow, buffer);
    if (flow->act == ACT_HUGE) {
        huge = calloc(1, 10 << 20);
        init.nonce = (ProtobufCBinaryData){10 << 20, huge};
    }
    if (flow->act != ACT_WRONG_STAGE) {
        response.stage_case = API__TPM2_UNLOCK_FLOW_RESPONSE__STAGE_UNLOCK_INIT;
        response.unlock_init = &init;
    }
    rpc_call_send(call, &response.base);
    free(huge);
}

/* What a response points to. */
struct approving {
    struct tpm_approval made[2];
    Api__SealApproval messages[2], *list[2];
};

static void
approve_one(const struct master *master, const struct flow *flow, size_t i,
            struct tpm_approval *out)
{
    static const char other[] = "smalltown-00000000000000000000000000000001";
    struct secret key = master->authorities[i].key;
    struct tpm_authority authority;
    struct st_err err = {0};
    uint8_t point[TPM_AUTHORITY_LEN];
    assert_ok(tpm_authority_for(
        master->authorities[i].point,
        master->approve == APPROVE_OTHER ? other : master->node_id, &authority, &err));
    if (master->approve == APPROVE_FORGED) {
        assert_ok(tpm_authority_make(&key, point, &err));
        memcpy(authority.point, point, sizeof(point));
    }
    assert_ok(tpm_approve(&key, &authority, &flow->pcrs, out, &err));
    memcpy(out->point, master->authorities[i].point, TPM_AUTHORITY_LEN);
}

static void
approve(struct master *master, const struct flow *flow, struct approving *with,
        Api__TPM2UnlockResponse *response)
{
    if (!master->authority_count)
        return;
    response->seal_authority =
        (ProtobufCBinaryData){TPM_AUTHORITY_LEN, master->authorities[0].point};
    if (master->approve == APPROVE_NOTHING)
        return;
    for (size_t i = 0; i < master->authority_count; i++) {
        struct tpm_approval *made = &with->made[i];
        Api__SealApproval *message = with->list[i] = &with->messages[i];
        const size_t cut = master->approve == APPROVE_JUNK;
        approve_one(master, flow, i, made);
        api__seal_approval__init(message);
        message->authority = (ProtobufCBinaryData){TPM_AUTHORITY_LEN, made->point};
        message->policy = (ProtobufCBinaryData){SHA256_LEN, made->policy};
        message->signature =
            (ProtobufCBinaryData){TPM_APPROVAL_SIGNATURE_LEN - cut, made->signature};
    }
    response->seal_approvals = with->list;
    response->n_seal_approvals = master->authority_count;
}

static void
release(struct rpc_call *call, struct flow *flow)
{
    struct master *master = rpc_call_context(call);
    uint8_t key[UNLOCK_KEY_LEN];
    ProtobufCBinaryData masters[4];
    memcpy(key, master->global_half, sizeof(key));
    if (flow->act == ACT_OTHER_KEY)
        key[31] ^= 1;
    Api__TPM2UnlockResponse response = API__TPM2_UNLOCK_RESPONSE__INIT;
    response.global_unlock_key = (ProtobufCBinaryData){
        flow->act == ACT_SHORT_KEY ? UNLOCK_KEY_LEN - 1 : UNLOCK_KEY_LEN, key};
    for (size_t i = 0; i < master->master_count; i++)
        masters[i] =
            (ProtobufCBinaryData){master->masters[i].len, master->masters[i].bytes};
    struct approving approving;
    approve(master, flow, &approving, &response);
    response.n_master_ips = master->master_count;
    response.master_ips = masters;
    Api__TPM2UnlockFlowResponse flow_response = API__TPM2_UNLOCK_FLOW_RESPONSE__INIT;
    flow_response.stage_case = API__TPM2_UNLOCK_FLOW_RESPONSE__STAGE_UNLOCK_RESPONSE;
    flow_response.unlock_response = &response;
    rpc_call_send(call, &flow_response.base);
    atomic_fetch_add(&master->releases, 1);
    if (flow->act == ACT_KEY_THEN_ERROR)
        end(call, ST_UNAVAILABLE, ST_REASON_NO_QUORUM, "no-quorum");
    else
        end(call, ST_OK, ST_REASON_NONE, "");
}

static void
on_unlock(struct rpc_call *call, enum rpc_event event, const ProtobufCMessage *message)
{
    struct master *master = rpc_call_context(call);
    struct flow *flow = rpc_call_state(call);
    if (event == RPC_OPEN) {
        flow = flow_open(call);
        bool at_once = flow->act == ACT_END_AT_OPEN || flow->act == ACT_SILENT ||
                       flow->act == ACT_UNAVAILABLE || flow->act == ACT_BUSY ||
                       flow->act == ACT_BUSY_FOR_LONG;
        if (!at_once || !misbehave(call, flow))
            send_nonce(call, flow);
    }
    if (event == RPC_DONE)
        atomic_fetch_add(&master->ended, 1);
    if (event != RPC_MESSAGE)
        return;
    const Api__TPM2UnlockRequest *request =
        ((const Api__TPM2UnlockFlowRequeset *)message)->unlock_request;
    flow->messages++;
    if (misbehave(call, flow))
        return;
    assert_non_null(request);
    bool good = flow->act != ACT_REFUSE && master->has_record &&
                !strcmp(request->node_id, master->node_id) &&
                quote_is_good(&master->ak, flow, &request->quote,
                              &request->quote_signature, request->pcrs, request->n_pcrs);
    if (!good)
        end(call, ST_PERMISSION_DENIED, ST_REASON_REFUSED, "refused");
    else if (!master->adopted)
        end(call, ST_FAILED_PRECONDITION, ST_REASON_NOT_ADOPTED, "not-adopted");
    else
        release(call, flow);
}

static const struct rpc_method methods[] = {
    {.path = "/api.NodeManagementService/NewTPM2NodeRegister",
     .in = &api__tpm2_flow_request__descriptor,
     .out = &api__tpm2_flow_response__descriptor,
     .streaming = true,
     .deadline_ms = 20000,
     .state_size = sizeof(struct flow),
     .handle = on_register},
    {.path = "/api.NodeManagementService/TPM2Unlock",
     .in = &api__tpm2_unlock_flow_requeset__descriptor,
     .out = &api__tpm2_unlock_flow_response__descriptor,
     .streaming = true,
     .deadline_ms = 20000,
     .state_size = sizeof(struct flow),
     .handle = on_unlock},
};

void
master_new_authority(struct master *master)
{
    struct authority *authorities = master->authorities;
    struct st_err err = {0};
    authorities[1] = authorities[0];
    assert_ok(tpm_authority_make(&authorities[0].key, authorities[0].point, &err));
    if (master->authority_count < 2)
        master->authority_count++;
}

void
master_start(struct master *master)
{
    static const struct st_address loopback = {{127, 0, 0, 1}, 4};
    uint8_t public_key[ED25519_PUBLIC_LEN];
    struct st_err err = {0};
    if (!master->cert.len) {
        pthread_mutex_init(&master->lock, NULL);
        assert_ok(key_generate(&master->seed, public_key, &err));
        assert_ok(cert_self_sign(&master->seed, "smalltown-master", &master->cert, &err));
        memcpy(master->secret, public_key, sizeof(master->secret));
        master_new_authority(master);
        master->approve = APPROVE_ALL;
    }
    const struct rpc_server_config config = {
        .addresses = &loopback,
        .address_count = 1,
        .cert = &master->cert,
        .seed = &master->seed,
        .methods = methods,
        .method_count = sizeof(methods) / sizeof(*methods),
        .context = master,
    };
    assert_ok(rpc_server_start(&config, &master->server, &err));
}

void
master_stop(struct master *master)
{
    rpc_server_free(master->server);
    master->server = NULL;
}

uint16_t
master_port(const struct master *master)
{
    return rpc_server_port(master->server);
}

void
master_script(struct master *master, const enum act *acts, size_t count)
{
    assert_true(count <= SCRIPT_MAX);
    atomic_store(&master->calls, 0);
    memcpy(master->script, acts, count * sizeof(*acts));
    master->script_len = count;
}
