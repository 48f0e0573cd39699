#include <wolfssl/options.h>

#include "tests/nms/machine.h"

#include "proto/scope.h"
#include "tpm/measure.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/sha256.h>

enum {
    POINT = 32, /* bytes of a coordinate of P-256 */
};

/* A TPM does one thing after the other, also where several machines of a test share it.
 */
struct machine_ek {
    pthread_mutex_t tpm; /* guards both, and the AK beside it */
    WC_RNG rng;
    ecc_key key;
};

#define must(call) assert_int_equal((call), 0)

static struct machine_ek *
ek_make(struct forge_bytes *out_spki)
{
    struct machine_ek *ek = calloc(1, sizeof(*ek));
    assert_non_null(ek);
    must(pthread_mutex_init(&ek->tpm, NULL));
    must(wc_InitRng(&ek->rng));
    must(wc_ecc_init(&ek->key));
    must(wc_ecc_make_key_ex(&ek->rng, POINT, &ek->key, ECC_SECP256R1));
    must(wc_ecc_set_rng(&ek->key, &ek->rng));
    TPMT_PUBLIC public = {.type = TPM2_ALG_ECC,
                          .parameters.eccDetail.curveID = TPM2_ECC_NIST_P256,
                          .unique.ecc = {.x.size = POINT, .y.size = POINT}};
    word32 x = POINT, y = POINT;
    must(wc_ecc_export_public_raw(&ek->key, public.unique.ecc.x.buffer, &x,
                                  public.unique.ecc.y.buffer, &y));
    *out_spki = forge_spki(&public);
    return ek;
}

static void
ek_free(struct machine_ek *ek)
{
    wc_ecc_free(&ek->key);
    wc_FreeRng(&ek->rng);
    pthread_mutex_destroy(&ek->tpm);
    free(ek);
}

void
machine_rename(struct machine *machine)
{
    uint8_t public_key[ED25519_PUBLIC_LEN];
    assert_code(key_generate(&machine->id_seed, public_key, NULL), ST_OK);
    assert_code(secret_random(&machine->global_key, UNLOCK_KEY_LEN, NULL), ST_OK);
    node_id_of_key(public_key, machine->id);
    assert_code(cert_self_sign(&machine->id_seed, machine->id, &machine->id_cert, NULL),
                ST_OK);
}

void
machine_make(struct machine *machine, enum forge_kind kind)
{
    struct tpm_ak ak;
    struct st_err err = {0};
    memset(machine, 0, sizeof(*machine));
    machine->ek = ek_make(&machine->ek_spki);
    machine->ak = forge_ak_make(kind);
    const TPMT_PUBLIC public = forge_ak_public(machine->ak);
    machine->ak_public = forge_public(&public);
    assert_ok(tpm_ak_check(machine->ak_public.bytes, machine->ak_public.len, &ak, &err));
    memcpy(machine->ak_name, ak.name, TPM_NAME_LEN);
    for (int i = 0; i < TPM_PCR_COUNT; i++)
        memset(machine->pcrs.digest[i], i == MEASURE_PCR ? 0 : 0x40 + i, SHA256_LEN);
    /* As of an AK of the owner hierarchy: two resets before it wraps around. */
    machine->clock = (struct tpm_clock){123456, UINT32_MAX - 1, 0x80000000};
    memcpy(machine->ip, "\x7f\x47\x00\x63", 4);
    machine->ip_len = 4;
    machine->proves_id = true;
    machine_rename(machine);
}

void
machine_free(struct machine *machine)
{
    ek_free(machine->ek);
    forge_ak_free(machine->ak);
    forge_bytes_free(&machine->ek_spki);
    forge_bytes_free(&machine->ak_public);
    forge_bytes_free(&machine->quote);
    forge_bytes_free(&machine->signature);
}

static void
extend(uint8_t pcr[SHA256_LEN], const uint8_t digest[SHA256_LEN])
{
    uint8_t both[2 * SHA256_LEN];
    memcpy(both, pcr, SHA256_LEN);
    memcpy(both + SHA256_LEN, digest, SHA256_LEN);
    must(wc_Sha256Hash(both, sizeof(both), pcr));
}

void
machine_measure(struct machine *machine, const struct cert *masters)
{
    uint8_t config[SHA256_LEN], *pcr = machine->pcrs.digest[MEASURE_PCR];
    measure_config_digest(masters, config);
    memset(pcr, 0, SHA256_LEN);
    extend(pcr, config);
}

void
machine_cap(struct machine *machine)
{
    uint8_t cap[SHA256_LEN];
    measure_cap_digest(cap);
    extend(machine->pcrs.digest[MEASURE_PCR], cap);
}

/* Once in a boot. */
static void
measure_config(struct machine *machine, const ProtobufCBinaryData *masters_cert)
{
    static const uint8_t nothing[SHA256_LEN];
    struct cert masters = {.len = masters_cert->len};
    if (masters.len == 0 ||
        memcmp(machine->pcrs.digest[MEASURE_PCR], nothing, SHA256_LEN) != 0)
        return;
    assert_in_range(masters.len, 1, sizeof(masters.der));
    memcpy(masters.der, masters_cert->data, masters.len);
    machine_measure(machine, &masters);
}

void
machine_quote(struct machine *machine, const uint8_t nonce[NONCE_LEN])
{
    TPMS_ATTEST attest = forge_quote(nonce, &machine->pcrs);
    attest.clockInfo.clock = machine->clock.clock_ms;
    attest.clockInfo.resetCount = machine->clock.reset_count;
    attest.clockInfo.restartCount = machine->clock.restart_count;
    forge_bytes_free(&machine->quote);
    forge_bytes_free(&machine->signature);
    machine->quote = forge_attest(&attest);
    must(pthread_mutex_lock(&machine->ek->tpm));
    const TPMT_SIGNATURE signature = forge_sign(machine->ak, &machine->quote);
    must(pthread_mutex_unlock(&machine->ek->tpm));
    if (forge_ak_kind(machine->ak) == FORGE_RSA) /* bare, as the contract has it */
        machine->signature = forge_copy(signature.signature.rsassa.sig.buffer,
                                        signature.signature.rsassa.sig.size);
    else
        machine->signature = forge_signature(&signature);
    for (int i = 0; i < TPM_PCR_COUNT; i++) {
        machine->pcr_items[i].data = machine->pcrs.digest[i];
        machine->pcr_items[i].len = SHA256_LEN;
    }
}

/* One block of KDFa (Part 1, 11.4.10.2), which is enough for a key of up to 32 bytes. */
static void
kdf_a(const uint8_t seed[32], const char *label, const void *context, size_t context_len,
      uint16_t bits, uint8_t out[32])
{
    const uint8_t counter[] = {0, 0, 0, 1};
    const uint8_t size[] = {0, 0, (uint8_t)(bits >> 8), (uint8_t)bits};
    Hmac hmac;
    must(wc_HmacInit(&hmac, NULL, INVALID_DEVID));
    must(wc_HmacSetKey(&hmac, WC_SHA256, seed, 32));
    must(wc_HmacUpdate(&hmac, counter, 4));
    must(wc_HmacUpdate(&hmac, (const byte *)label, (word32)strlen(label) + 1));
    must(wc_HmacUpdate(&hmac, context, (word32)context_len));
    must(wc_HmacUpdate(&hmac, size, 4));
    must(wc_HmacFinal(&hmac, out));
    wc_HmacFree(&hmac);
}

/* KDFe over the shared point (annex C.6.4).  `point`: 2 bytes of size and x, the same
 * for y. */
static void
seed_recover(struct machine_ek *ek, const uint8_t *point, uint8_t out[32])
{
    uint8_t message[4 + POINT + 9 + POINT + POINT] = {0, 0, 0, 1}, own_y[POINT];
    word32 shared = POINT, x = POINT, y = POINT;
    ecc_key theirs;
    must(wc_ecc_init(&theirs));
    must(wc_ecc_import_unsigned(&theirs, point + 2, point + 2 + POINT + 2, NULL,
                                ECC_SECP256R1));
    must(wc_ecc_shared_secret(&ek->key, &theirs, message + 4, &shared));
    wc_ecc_free(&theirs);
    wc_ecc_fp_free(); /* what it keeps for this thread */
    memcpy(message + 4 + POINT, "IDENTITY", 9);
    memcpy(message + 4 + POINT + 9, point + 2, POINT);
    must(wc_ecc_export_public_raw(&ek->key, message + 4 + POINT + 9 + POINT, &x, own_y,
                                  &y));
    must(wc_Sha256Hash(message, sizeof(message), out));
}

void
machine_solve(struct machine *machine, const Api__TPM2AttestRequest *request)
{
    uint8_t seed[32], hmac_key[32], aes_key[32], mac[32], plain[64];
    const uint8_t iv[16] = {0};
    assert_int_equal(request->ak_challenge_secret.len, 2 * (2 + POINT));
    assert_int_equal(request->ak_challenge.len, 2 + 32 + 2 + 32);
    must(pthread_mutex_lock(&machine->ek->tpm));
    seed_recover(machine->ek, request->ak_challenge_secret.data, seed);
    must(pthread_mutex_unlock(&machine->ek->tpm));
    const uint8_t *identity = request->ak_challenge.data + 2 + 32;
    kdf_a(seed, "INTEGRITY", "", 0, 256, hmac_key);
    Hmac hmac;
    must(wc_HmacInit(&hmac, NULL, INVALID_DEVID));
    must(wc_HmacSetKey(&hmac, WC_SHA256, hmac_key, 32));
    must(wc_HmacUpdate(&hmac, identity, 34));
    must(wc_HmacUpdate(&hmac, machine->ak_name, TPM_NAME_LEN));
    must(wc_HmacFinal(&hmac, mac));
    wc_HmacFree(&hmac);
    assert_memory_equal(mac, request->ak_challenge.data + 2, 32);

    kdf_a(seed, "STORAGE", machine->ak_name, TPM_NAME_LEN, 128, aes_key);
    Aes aes;
    must(wc_AesInit(&aes, NULL, INVALID_DEVID));
    must(wc_AesSetKey(&aes, aes_key, 16, iv, AES_ENCRYPTION));
    must(wc_AesCfbDecrypt(&aes, plain, identity, 34));
    wc_AesFree(&aes);
    assert_code(secret_set(&machine->solution, plain + 2, 32, NULL), ST_OK);
}

static void
bytes_of(ProtobufCBinaryData *out, const void *bytes, size_t len)
{
    out->data = (uint8_t *)bytes;
    out->len = len;
}

enum st_code
machine_send_register(struct machine *machine, struct rpc_stream *stream,
                      machine_tamper tamper, struct st_err *err)
{
    Api__TPM2RegisterRequest keys = API__TPM2_REGISTER_REQUEST__INIT;
    Api__TPM2FlowRequest request = API__TPM2_FLOW_REQUEST__INIT;
    bytes_of(&keys.ak_public, machine->ak_public.bytes, machine->ak_public.len);
    bytes_of(&keys.ek_pubkey, machine->ek_spki.bytes, machine->ek_spki.len);
    request.stage_case = API__TPM2_FLOW_REQUEST__STAGE_REGISTER;
    request.register_ = &keys;
    if (tamper)
        tamper(machine, &request);
    return rpc_stream_send(stream, &request.base, err);
}

enum st_code
machine_take_challenge(struct machine *machine, struct rpc_stream *stream,
                       struct st_err *err)
{
    ProtobufCMessage *message;
    enum st_code code =
        rpc_stream_receive(stream, &api__tpm2_flow_response__descriptor, &message, err);
    if (code)
        return code;
    const Api__TPM2FlowResponse *response = (const Api__TPM2FlowResponse *)message;
    assert_int_equal(response->stage_case, API__TPM2_FLOW_RESPONSE__STAGE_ATTEST_REQUEST);
    assert_int_equal(response->attest_request->quote_nonce.len, NONCE_LEN);
    memcpy(machine->nonce, response->attest_request->quote_nonce.data, NONCE_LEN);
    machine_solve(machine, response->attest_request);
    protobuf_c_message_free_unpacked(message, &secret_allocator);
    return ST_OK;
}

enum st_code
machine_send_proof(struct machine *machine, struct rpc_stream *stream,
                   machine_tamper tamper, struct st_err *err)
{
    Api__TPM2AttestResponse proof = API__TPM2_ATTEST_RESPONSE__INIT;
    Api__TPM2FlowRequest request = API__TPM2_FLOW_REQUEST__INIT;
    machine_quote(machine, machine->nonce);
    bytes_of(&proof.quote, machine->quote.bytes, machine->quote.len);
    bytes_of(&proof.quote_signature, machine->signature.bytes, machine->signature.len);
    bytes_of(&proof.ak_challenge_solution, machine->solution.bytes,
             machine->solution.len);
    proof.pcrs = machine->pcr_items;
    proof.n_pcrs = TPM_PCR_COUNT;
    request.stage_case = API__TPM2_FLOW_REQUEST__STAGE_ATTEST_RESPONSE;
    request.attest_response = &proof;
    if (tamper)
        tamper(machine, &request);
    return rpc_stream_send(stream, &request.base, err);
}

static void
prove_id(struct machine *machine, Api__NewNodeInfo *info)
{
    uint8_t message[22 + NONCE_LEN];
    memcpy(message, "smalltown enrolment v1", 22);
    memcpy(message + 22, machine->nonce, NONCE_LEN);
    assert_code(
        key_sign(&machine->id_seed, message, sizeof(message), machine->proof, NULL),
        ST_OK);
    bytes_of(&info->id_proof, machine->proof, sizeof(machine->proof));
}

enum st_code
machine_send_info(struct machine *machine, struct rpc_stream *stream,
                  const Api__EnrolmentConfig *config, machine_tamper tamper,
                  struct st_err *err)
{
    Api__EnrolmentConfig copy = *config;
    Api__NewNodeInfo info = API__NEW_NODE_INFO__INIT;
    Api__TPM2FlowRequest request = API__TPM2_FLOW_REQUEST__INIT;
    info.enrolment_config = &copy;
    bytes_of(&info.ip, machine->ip, machine->ip_len);
    bytes_of(&info.id_cert, machine->id_cert.der, machine->id_cert.len);
    bytes_of(&info.global_unlock_key, machine->global_key.bytes, machine->global_key.len);
    if (machine->proves_id)
        prove_id(machine, &info);
    request.stage_case = API__TPM2_FLOW_REQUEST__STAGE_NEW_NODE_INFO;
    request.new_node_info = &info;
    if (tamper)
        tamper(machine, &request);
    return rpc_stream_send(stream, &request.base, err);
}

enum st_code
machine_enrol(struct machine *machine, struct rpc_channel *channel,
              const Api__EnrolmentConfig *config, machine_tamper tamper,
              struct st_err *err)
{
    AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
    enum st_code code;
    measure_config(machine, &config->masters_cert);
    if ((code = rpc_stream_open(channel, ENROL_PATH, MACHINE_TIMEOUT_MS, &stream, err)) ||
        (code = machine_send_register(machine, stream, tamper, err)) ||
        (code = machine_take_challenge(machine, stream, err)) ||
        (code = machine_send_proof(machine, stream, tamper, err)) ||
        (code = machine_send_info(machine, stream, config, tamper, err)))
        return code;
    return rpc_stream_finish(stream, err);
}

static enum st_code
take_nonce(struct machine *machine, struct rpc_stream *stream, struct st_err *err)
{
    ProtobufCMessage *message;
    enum st_code code = rpc_stream_receive(
        stream, &api__tpm2_unlock_flow_response__descriptor, &message, err);
    if (code)
        return code;
    const Api__TPM2UnlockFlowResponse *response =
        (const Api__TPM2UnlockFlowResponse *)message;
    assert_int_equal(response->stage_case,
                     API__TPM2_UNLOCK_FLOW_RESPONSE__STAGE_UNLOCK_INIT);
    assert_int_equal(response->unlock_init->nonce.len, NONCE_LEN);
    memcpy(machine->nonce, response->unlock_init->nonce.data, NONCE_LEN);
    protobuf_c_message_free_unpacked(message, &secret_allocator);
    return ST_OK;
}

static enum st_code
send_request(struct machine *machine, struct rpc_stream *stream,
             machine_unlock_tamper tamper, struct st_err *err)
{
    Api__TPM2UnlockRequest unlock = API__TPM2_UNLOCK_REQUEST__INIT;
    Api__TPM2UnlockFlowRequeset request = API__TPM2_UNLOCK_FLOW_REQUESET__INIT;
    machine_quote(machine, machine->nonce);
    unlock.node_id = machine->id;
    bytes_of(&unlock.quote, machine->quote.bytes, machine->quote.len);
    bytes_of(&unlock.quote_signature, machine->signature.bytes, machine->signature.len);
    unlock.pcrs = machine->pcr_items;
    unlock.n_pcrs = TPM_PCR_COUNT;
    if (tamper)
        tamper(machine, &unlock);
    request.stage_case = API__TPM2_UNLOCK_FLOW_REQUESET__STAGE_UNLOCK_REQUEST;
    request.unlock_request = &unlock;
    return rpc_stream_send(stream, &request.base, err);
}

enum st_code
machine_unlock(struct machine *machine, struct rpc_channel *channel,
               machine_unlock_tamper tamper, Api__TPM2UnlockFlowResponse **out,
               struct st_err *err)
{
    AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
    ProtobufCMessage *message;
    enum st_code code;
    if ((code =
             rpc_stream_open(channel, UNLOCK_PATH, MACHINE_TIMEOUT_MS, &stream, err)) ||
        (code = take_nonce(machine, stream, err)) ||
        (code = send_request(machine, stream, tamper, err)) ||
        (code = rpc_stream_receive(stream, &api__tpm2_unlock_flow_response__descriptor,
                                   &message, err)))
        return code;
    code = rpc_stream_finish(stream, err);
    if (code) {
        protobuf_c_message_free_unpacked(message, &secret_allocator);
        return code;
    }
    *out = (Api__TPM2UnlockFlowResponse *)message;
    return ST_OK;
}

void
machine_is_refused(struct machine *machine, struct rpc_channel *channel)
{
    Api__TPM2UnlockFlowResponse *answer = NULL;
    struct st_err err = {0};
    assert_code(machine_unlock(machine, channel, NULL, &answer, &err),
                ST_PERMISSION_DENIED);
    assert_string_equal(err.text, "refused");
    assert_null(answer);
}

void
machine_answer_free(Api__TPM2UnlockFlowResponse *answer)
{
    api__tpm2_unlock_flow_response__free_unpacked(answer, &secret_allocator);
}
