/* Keys and quotes of TPMs in software, bare and in the flows of 7833. */
#include <wolfssl/options.h>

#include "tests/fuzz/seeds.h"

#include "proto/api.pb-c.h"
#include "proto/cert.h"
#include "proto/der.h"
#include "tests/fuzz/door.h"
#include "tests/nms/forge.h"
#include "tests/tpm/chain_forge.h"
#include "tests/tpm/judge_forge.h"
#include "tpm/measure.h"

#include <string.h>
#include <wolfssl/wolfcrypt/hash.h>

struct machine_seed {
    const char *name;
    struct forge_ak *ak;
    struct forge_bytes ak_public, ek_spki, quote, signature;
    struct cert ek_cert;
    struct tpm_pcrs pcrs;
    ProtobufCBinaryData pcr_items[TPM_PCR_COUNT];
};

/* The certificate of the masters behind the door, in PCR 12 (tpm/measure.h). */
static void
measure(uint8_t pcr[SHA256_LEN])
{
    struct secret seed = {.len = ED25519_SEED_LEN};
    struct cert masters;
    struct st_err err = {0};
    uint8_t both[2 * SHA256_LEN] = {0};
    memset(seed.bytes, FUZZ_SEED, seed.len);
    assert_ok(cert_self_sign(&seed, DOOR_MASTERS, &masters, &err));
    measure_config_digest(&masters, both + SHA256_LEN);
    assert_int_equal(wc_Sha256Hash(both, sizeof(both), pcr), 0);
}

static void
machine_begin(struct machine_seed *machine, enum forge_kind kind)
{
    memset(machine, 0, sizeof(*machine));
    machine->name = kind == FORGE_RSA ? "rsa" : "ecc";
    machine->ak = forge_ak_make(kind);
    const TPMT_PUBLIC public = forge_ak_public(machine->ak);
    machine->ak_public = forge_public(&public);
    machine->ek_spki = forge_spki(&public);
    for (int i = 0; i < TPM_PCR_COUNT; i++) {
        memset(machine->pcrs.digest[i], i, SHA256_LEN);
        if (i == MEASURE_PCR)
            measure(machine->pcrs.digest[i]);
        machine->pcr_items[i] = seed_lend(machine->pcrs.digest[i], SHA256_LEN);
    }
}

static void
machine_quote(struct machine_seed *machine, const uint8_t nonce[NONCE_LEN])
{
    const TPMS_ATTEST attest = forge_quote(nonce, &machine->pcrs);
    forge_bytes_free(&machine->quote);
    forge_bytes_free(&machine->signature);
    machine->quote = forge_attest(&attest);
    const TPMT_SIGNATURE signature = forge_sign(machine->ak, &machine->quote);
    machine->signature = forge_signature(&signature);
}

static void
machine_end(struct machine_seed *machine)
{
    forge_ak_free(machine->ak);
    forge_bytes_free(&machine->ak_public);
    forge_bytes_free(&machine->ek_spki);
    forge_bytes_free(&machine->quote);
    forge_bytes_free(&machine->signature);
}

static void
judge(struct machine_seed *machine)
{
    machine_quote(machine, (const uint8_t *)"the nonce of the seeds, 32 bytes");
    seed_bytes(machine->ak_public.bytes, machine->ak_public.len);
    seed_write("tpm_ak", machine->name);
    seed_piece(machine->ek_spki.bytes, machine->ek_spki.len);
    seed_write("tpm_ek", machine->name);
    seed_piece(machine->ak_public.bytes, machine->ak_public.len);
    seed_piece(machine->quote.bytes, machine->quote.len);
    seed_piece(machine->signature.bytes, machine->signature.len);
    for (int i = 0; i < TPM_PCR_COUNT; i++)
        seed_piece(machine->pcrs.digest[i], SHA256_LEN);
    seed_write("tpm_quote", machine->name);
}

/* An EK with its certificate: the key of a certificate that somebody made. */
static void
ek_with_cert(struct machine_seed *machine)
{
    struct ca made;
    struct der_certificate parsed;
    forge_cert(&(struct forge){.name = "an EK", .p256 = true}, &made);
    assert_true(der_certificate(made.cert.der, made.cert.len, &parsed));
    seed_piece(parsed.spki.at, parsed.spki.len);
    seed_piece(made.cert.der, made.cert.len);
    seed_write("tpm_ek", "certificate");
    forge_bytes_free(&machine->ek_spki);
    machine->ek_spki = forge_copy(parsed.spki.at, parsed.spki.len);
    machine->ek_cert = made.cert;
    machine->name = "certificate";
}

/* Two certificates between the EK's own and the CA; and the constraints that they carry.
 */
static void
ek_chain(const struct machine_seed *machine, const char *name, const char *constraints)
{
    FORGE_ISSUER root = {0}, first = {0}, second = {0};
    forge_issuer_make(&(struct forge_chain){.name = "a root"}, &root);
    forge_issuer_make(&(struct forge_chain){.name = "first",
                                            .above = &root,
                                            .constraints = constraints,
                                            .purposes = "2.23.133.8.1"},
                      &first);
    forge_issuer_make(&(struct forge_chain){.name = "second", .above = &first}, &second);
    FORGE_BYTES ek =
        forge_ek_cert(&second, &machine->ek_spki, &(struct forge_chain){.name = "an EK"});
    seed_piece(ek.bytes, ek.len);
    seed_piece(root.der.bytes, root.der.len);
    seed_piece(second.der.bytes, second.der.len);
    seed_piece(first.der.bytes, first.der.len);
    seed_write("ek_chain", name);
}

/* ---- register ---- */

static void
send_keys(const struct machine_seed *machine)
{
    Api__TPM2RegisterRequest keys = API__TPM2_REGISTER_REQUEST__INIT;
    Api__TPM2FlowRequest request = API__TPM2_FLOW_REQUEST__INIT;
    keys.ak_public = seed_lend(machine->ak_public.bytes, machine->ak_public.len);
    keys.ek_pubkey = seed_lend(machine->ek_spki.bytes, machine->ek_spki.len);
    keys.ek_cert = seed_lend(machine->ek_cert.der, machine->ek_cert.len);
    request.stage_case = API__TPM2_FLOW_REQUEST__STAGE_REGISTER;
    request.register_ = &keys;
    seed_message_piece(&request.base);
}

static void
send_proof(struct machine_seed *machine, const uint8_t credential[SHA256_LEN])
{
    Api__TPM2AttestResponse proof = API__TPM2_ATTEST_RESPONSE__INIT;
    Api__TPM2FlowRequest request = API__TPM2_FLOW_REQUEST__INIT;
    proof.quote = seed_lend(machine->quote.bytes, machine->quote.len);
    proof.quote_signature = seed_lend(machine->signature.bytes, machine->signature.len);
    proof.ak_challenge_solution = seed_lend(credential, SHA256_LEN);
    proof.pcrs = machine->pcr_items;
    proof.n_pcrs = TPM_PCR_COUNT;
    request.stage_case = API__TPM2_FLOW_REQUEST__STAGE_ATTEST_RESPONSE;
    request.attest_response = &proof;
    seed_message_piece(&request.base);
}

static void
send_info(const uint8_t nonce[NONCE_LEN])
{
    uint8_t secret[32], message[22 + NONCE_LEN], proof[ED25519_SIGNATURE_LEN];
    struct secret seed = {.len = ED25519_SEED_LEN};
    struct cert cert;
    struct st_err err = {0};
    Api__EnrolmentConfig config = API__ENROLMENT_CONFIG__INIT;
    Api__NewNodeInfo info = API__NEW_NODE_INFO__INIT;
    Api__TPM2FlowRequest request = API__TPM2_FLOW_REQUEST__INIT;
    memset(seed.bytes, FUZZ_SEED, seed.len);
    memset(secret, DOOR_ENROLMENT, sizeof(secret));
    memcpy(message, "smalltown enrolment v1", 22);
    memcpy(message + 22, nonce, NONCE_LEN);
    assert_ok(cert_self_sign(&seed, "a node", &cert, &err));
    assert_ok(key_sign(&seed, message, sizeof(message), proof, &err));
    config.enrolment_secret = seed_lend(secret, sizeof(secret));
    info.enrolment_config = &config;
    info.ip = seed_lend("\xc0\x00\x02\x09", 4);
    info.id_cert = seed_lend(cert.der, cert.len);
    info.global_unlock_key = seed_lend("a half of a key that is 32 bytes", 32);
    info.id_proof = seed_lend(proof, sizeof(proof));
    request.stage_case = API__TPM2_FLOW_REQUEST__STAGE_NEW_NODE_INFO;
    request.new_node_info = &info;
    seed_message_piece(&request.base);
}

static void
enrol(struct machine_seed *machine, bool late)
{
    uint8_t credential[SHA256_LEN], nonce[NONCE_LEN];
    char name[32];
    memset(credential, DOOR_FIRST_RANDOM, sizeof(credential));
    memset(nonce, DOOR_FIRST_RANDOM + 1, sizeof(nonce));
    machine_quote(machine, nonce);
    seed_byte(late);
    send_keys(machine);
    send_proof(machine, credential);
    send_info(nonce);
    seed_piece("", 0); /* and another one, who does not get that far */
    send_keys(machine);
    snprintf(name, sizeof(name), "%s%s", machine->name, late ? "-late" : "");
    seed_write("register", name);
}

/* ---- unlock ---- */

static void
unlock(struct machine_seed *machine, bool adopted)
{
    uint8_t nonce[NONCE_LEN], public_key[ED25519_PUBLIC_LEN];
    struct secret seed = {.len = ED25519_SEED_LEN};
    char id[NODE_ID_LEN + 1], name[32];
    struct st_err err = {0};
    Api__TPM2UnlockRequest unlock = API__TPM2_UNLOCK_REQUEST__INIT;
    Api__TPM2UnlockFlowRequeset request = API__TPM2_UNLOCK_FLOW_REQUESET__INIT;
    memset(seed.bytes, FUZZ_SEED, seed.len);
    assert_ok(key_public(&seed, public_key, &err));
    node_id_of_key(public_key, id);
    memset(nonce, DOOR_FIRST_RANDOM, sizeof(nonce));
    machine_quote(machine, nonce);
    unlock.node_id = id;
    unlock.quote = seed_lend(machine->quote.bytes, machine->quote.len);
    unlock.quote_signature = seed_lend(machine->signature.bytes, machine->signature.len);
    unlock.pcrs = machine->pcr_items;
    unlock.n_pcrs = TPM_PCR_COUNT;
    unlock.address = seed_lend("\x0a\x00\x00\x02", 4);
    request.stage_case = API__TPM2_UNLOCK_FLOW_REQUESET__STAGE_UNLOCK_REQUEST;
    request.unlock_request = &unlock;
    seed_byte(adopted);
    seed_piece(machine->ak_public.bytes, machine->ak_public.len);
    seed_message_piece(&request.base);
    snprintf(name, sizeof(name), "%s%s", machine->name, adopted ? "" : "-waiting");
    seed_write("unlock", name);
}

void
seeds_tpm(void)
{
    struct machine_seed machine;
    for (enum forge_kind kind = 0; kind < FORGE_KINDS; kind++) {
        machine_begin(&machine, kind);
        judge(&machine);
        enrol(&machine, false);
        enrol(&machine, true);
        unlock(&machine, true);
        unlock(&machine, false);
        machine_end(&machine);
    }
    machine_begin(&machine, FORGE_ECC);
    ek_chain(&machine, "chain", NULL);
    ek_chain(&machine, "constrained", "critical,CA:TRUE,pathlen:0");
    ek_with_cert(&machine);
    enrol(&machine, false);
    machine_end(&machine);
}
