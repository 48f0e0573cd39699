/* N17: whatever fails underneath, the answer is no.
 *
 * Every function of wolfCrypt, libtss2-mu and the kernel that the judge and proto/cert.c
 * call is wrapped by the linker.  A scenario is run once to count the calls, then once
 * for each call with that call failing.  A verification that fails also claims in its
 * output that the signature was good: whoever looks only there is caught.
 */
#include <wolfssl/options.h>

#include "proto/cert.h"
#include "proto/scope.h"
#include "tests/cmocka.h"
#include "tests/tpm/judge_forge.h"
#include "tpm/approval.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <tss2/tss2_mu.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/ed25519.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/memory.h>
#include <wolfssl/wolfcrypt/rsa.h>

static unsigned calls, failing; /* failing 0: none */

static bool
fails(void)
{
    return ++calls == failing;
}

#define WRAP(type, failure, name, parameters, arguments)                                 \
    type __real_##name parameters;                                                       \
    type __wrap_##name parameters;                                                       \
    type __wrap_##name parameters                                                        \
    {                                                                                    \
        return fails() ? (failure) : __real_##name arguments;                            \
    }
#define WRAP_WOLF(name, parameters, arguments)                                           \
    WRAP(int, BAD_FUNC_ARG, name, parameters, arguments)
#define WRAP_MU(name, parameters, arguments)                                             \
    WRAP(TSS2_RC, TSS2_MU_RC_GENERAL_FAILURE, name, parameters, arguments)

WRAP_WOLF(wc_Sha256Hash, (const byte *in, word32 len, byte *out), (in, len, out))
WRAP_WOLF(wc_Hash,
          (enum wc_HashType type, const byte *in, word32 len, byte *out, word32 out_len),
          (type, in, len, out, out_len))
WRAP_WOLF(wc_InitRsaKey, (RsaKey * key, void *heap), (key, heap))
WRAP_WOLF(wc_RsaPublicKeyDecodeRaw,
          (const byte *n, word32 n_len, const byte *e, word32 e_len, RsaKey *key),
          (n, n_len, e, e_len, key))
WRAP_WOLF(wc_RsaPublicEncrypt_ex,
          (const byte *in, word32 in_len, byte *out, word32 out_len, RsaKey *key,
           WC_RNG *rng, int type, enum wc_HashType hash, int mgf, byte *label,
           word32 label_len),
          (in, in_len, out, out_len, key, rng, type, hash, mgf, label, label_len))
WRAP_WOLF(wc_ecc_init, (ecc_key * key), (key))
WRAP_WOLF(wc_ecc_import_unsigned,
          (ecc_key * key, const byte *x, const byte *y, const byte *d, int curve),
          (key, x, y, d, curve))
WRAP_WOLF(wc_ecc_check_key, (ecc_key * key), (key))
WRAP_WOLF(wc_ecc_rs_raw_to_sig,
          (const byte *r, word32 r_len, const byte *s, word32 s_len, byte *out,
           word32 *out_len),
          (r, r_len, s, s_len, out, out_len))
WRAP_WOLF(wc_ecc_make_key_ex, (WC_RNG * rng, int len, ecc_key *key, int curve),
          (rng, len, key, curve))
WRAP_WOLF(wc_ecc_set_rng, (ecc_key * key, WC_RNG *rng), (key, rng))
WRAP_WOLF(wc_ecc_export_public_raw,
          (ecc_key * key, byte *x, word32 *x_len, byte *y, word32 *y_len),
          (key, x, x_len, y, y_len))
WRAP_WOLF(wc_ecc_shared_secret, (ecc_key * ours, ecc_key *theirs, byte *out, word32 *len),
          (ours, theirs, out, len))
WRAP_WOLF(wc_ecc_export_private_only, (ecc_key * key, byte *out, word32 *len),
          (key, out, len))
WRAP_WOLF(wc_ecc_sign_hash,
          (const byte *in, word32 len, byte *out, word32 *out_len, WC_RNG *rng,
           ecc_key *key),
          (in, len, out, out_len, rng, key))
WRAP_WOLF(wc_ecc_sig_to_rs,
          (const byte *sig, word32 len, byte *r, word32 *r_len, byte *s, word32 *s_len),
          (sig, len, r, r_len, s, s_len))
WRAP_WOLF(wc_InitRng, (WC_RNG * rng), (rng))
WRAP_WOLF(wc_HmacInit, (Hmac * hmac, void *heap, int device), (hmac, heap, device))
WRAP_WOLF(wc_HmacSetKey, (Hmac * hmac, int type, const byte *key, word32 len),
          (hmac, type, key, len))
WRAP_WOLF(wc_HmacUpdate, (Hmac * hmac, const byte *in, word32 len), (hmac, in, len))
WRAP_WOLF(wc_HmacFinal, (Hmac * hmac, byte *out), (hmac, out))
WRAP_WOLF(wc_AesInit, (Aes * aes, void *heap, int device), (aes, heap, device))
WRAP_WOLF(wc_AesSetKey,
          (Aes * aes, const byte *key, word32 len, const byte *iv, int direction),
          (aes, key, len, iv, direction))
WRAP_WOLF(wc_AesCfbEncrypt, (Aes * aes, byte *out, const byte *in, word32 len),
          (aes, out, in, len))
WRAP_WOLF(wc_ed25519_init, (ed25519_key * key), (key))
WRAP_WOLF(wc_ed25519_import_public, (const byte *in, word32 len, ed25519_key *key),
          (in, len, key))
WRAP_WOLF(wc_ed25519_import_private_only, (const byte *in, word32 len, ed25519_key *key),
          (in, len, key))
WRAP_WOLF(wc_ed25519_import_private_key,
          (const byte *priv, word32 priv_len, const byte *pub, word32 pub_len,
           ed25519_key *key),
          (priv, priv_len, pub, pub_len, key))
WRAP_WOLF(wc_ed25519_make_public, (ed25519_key * key, unsigned char *out, word32 len),
          (key, out, len))
WRAP_WOLF(wc_ed25519_sign_msg,
          (const byte *in, word32 len, byte *out, word32 *out_len, ed25519_key *key),
          (in, len, out, out_len, key))
WRAP_MU(Tss2_MU_TPMT_PUBLIC_Unmarshal,
        (uint8_t const in[], size_t size, size_t *offset, TPMT_PUBLIC *out),
        (in, size, offset, out))
WRAP_MU(Tss2_MU_TPMS_ATTEST_Unmarshal,
        (uint8_t const in[], size_t size, size_t *offset, TPMS_ATTEST *out),
        (in, size, offset, out))
WRAP_MU(Tss2_MU_TPMT_SIGNATURE_Unmarshal,
        (uint8_t const in[], size_t size, size_t *offset, TPMT_SIGNATURE *out),
        (in, size, offset, out))
WRAP_MU(Tss2_MU_TPMT_PUBLIC_Marshal,
        (TPMT_PUBLIC const *in, uint8_t out[], size_t size, size_t *offset),
        (in, out, size, offset))
WRAP_MU(Tss2_MU_TPMS_ATTEST_Marshal,
        (TPMS_ATTEST const *in, uint8_t out[], size_t size, size_t *offset),
        (in, out, size, offset))
WRAP_MU(Tss2_MU_TPMT_SIGNATURE_Marshal,
        (TPMT_SIGNATURE const *in, uint8_t out[], size_t size, size_t *offset),
        (in, out, size, offset))

ssize_t __real_getrandom(void *out, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *out, size_t len, unsigned flags);
ssize_t
__wrap_getrandom(void *out, size_t len, unsigned flags)
{
    if (!fails())
        return __real_getrandom(out, len, flags);
    errno = ENOSYS;
    return -1;
}

int __real_wc_ecc_verify_hash(const byte *sig, word32 sig_len, const byte *hash,
                              word32 hash_len, int *good, ecc_key *key);
int __wrap_wc_ecc_verify_hash(const byte *sig, word32 sig_len, const byte *hash,
                              word32 hash_len, int *good, ecc_key *key);
int
__wrap_wc_ecc_verify_hash(const byte *sig, word32 sig_len, const byte *hash,
                          word32 hash_len, int *good, ecc_key *key)
{
    if (!fails())
        return __real_wc_ecc_verify_hash(sig, sig_len, hash, hash_len, good, key);
    *good = 1;
    return MEMORY_E;
}

int __real_wc_ed25519_verify_msg(const byte *sig, word32 sig_len, const byte *in,
                                 word32 len, int *good, ed25519_key *key);
int __wrap_wc_ed25519_verify_msg(const byte *sig, word32 sig_len, const byte *in,
                                 word32 len, int *good, ed25519_key *key);
int
__wrap_wc_ed25519_verify_msg(const byte *sig, word32 sig_len, const byte *in, word32 len,
                             int *good, ed25519_key *key)
{
    if (!fails())
        return __real_wc_ed25519_verify_msg(sig, sig_len, in, len, good, key);
    *good = 1;
    return MEMORY_E;
}

/* Fails with everything in `out` that a good signature would leave there. */
int __real_wc_RsaSSL_Verify(const byte *in, word32 in_len, byte *out, word32 out_len,
                            RsaKey *key);
int __wrap_wc_RsaSSL_Verify(const byte *in, word32 in_len, byte *out, word32 out_len,
                            RsaKey *key);
int
__wrap_wc_RsaSSL_Verify(const byte *in, word32 in_len, byte *out, word32 out_len,
                        RsaKey *key)
{
    int len = __real_wc_RsaSSL_Verify(in, in_len, out, out_len, key);
    return fails() ? MEMORY_E : len;
}

/* What the scenarios are played with, made before anything fails. */
static struct forge_ak *aks[FORGE_KINDS];
static struct evidence {
    struct forge_bytes public, quote, signature, forged;
} evidence[FORGE_KINDS];
static const uint8_t nonce[NONCE_LEN] = {1, 2, 3};
static struct tpm_pcrs pcrs;
static struct tpm_ek eks[FORGE_KINDS];
static struct secret seed;
static uint8_t public_key[ED25519_PUBLIC_LEN], id_signature[ED25519_SIGNATURE_LEN];
static struct cert cert;

static enum st_code
check_ak(enum forge_kind kind)
{
    struct tpm_ak ak;
    return tpm_ak_check(evidence[kind].public.bytes, evidence[kind].public.len, &ak,
                        NULL);
}

static enum st_code
check_ek(enum forge_kind kind)
{
    struct tpm_ek ek;
    return tpm_ek_check(eks[kind].spki, eks[kind].spki_len, &ek, NULL);
}

static enum st_code
make_challenge(enum forge_kind kind)
{
    static const uint8_t name[TPM_NAME_LEN];
    const struct secret credential = {.len = 32};
    struct tpm_challenge challenge;
    return tpm_challenge_make(&eks[kind], name, &credential, &challenge, NULL);
}

static enum st_code
check_signed(enum forge_kind kind, const struct forge_bytes *signature)
{
    const struct evidence *with = &evidence[kind];
    const struct tpm_quote_evidence given = {with->quote.bytes, with->quote.len,
                                             signature->bytes, signature->len};
    struct tpm_clock clock;
    return tpm_quote_check(with->public.bytes, with->public.len, &given, nonce, &pcrs,
                           &clock, NULL);
}

static enum st_code
check_quote(enum forge_kind kind)
{
    return check_signed(kind, &evidence[kind].signature);
}

static enum st_code
check_forged_quote(enum forge_kind kind)
{
    return check_signed(kind, &evidence[kind].forged);
}

static enum st_code
verify_id(enum forge_kind kind)
{
    (void)kind;
    return key_verify(public_key, "proof", 5, id_signature, NULL);
}

static enum st_code
verify_forged_id(enum forge_kind kind)
{
    (void)kind;
    return key_verify(public_key, "prooF", 5, id_signature, NULL);
}

static enum st_code
read_cert(enum forge_kind kind)
{
    (void)kind;
    uint8_t key[ED25519_PUBLIC_LEN];
    return cert_public_key(cert.der, cert.len, key, NULL);
}

static enum st_code
make_key_and_cert(enum forge_kind kind)
{
    (void)kind;
    SECRET fresh = {0};
    uint8_t key[ED25519_PUBLIC_LEN];
    struct cert made;
    enum st_code code = key_generate(&fresh, key, NULL);
    return code ? code : cert_self_sign(&fresh, "node", &made, NULL);
}

static enum st_code
make_authority_and_approve(enum forge_kind kind)
{
    (void)kind;
    SECRET key = {0};
    uint8_t point[TPM_AUTHORITY_LEN];
    struct tpm_authority authority;
    struct tpm_approval approval;
    enum st_code code;
    if ((code = tpm_authority_make(&key, point, NULL)) ||
        (code = tpm_authority_check(point, NULL)) ||
        (code = tpm_authority_for(point, "smalltown-", &authority, NULL)))
        return code;
    return tpm_approve(&key, &authority, &pcrs, &approval, NULL);
}

/* What the object of a seal is made with. */
static enum st_code
make_policy(enum forge_kind kind)
{
    (void)kind;
    const struct tpm_authority authority = {0};
    uint8_t of_pcrs[SHA256_LEN], authorized[SHA256_LEN], policy[SHA256_LEN];
    enum st_code code;
    if ((code = tpm_policy_pcrs(&pcrs, TPM_APPROVED_PCRS, of_pcrs, NULL)) ||
        (code = tpm_policy_authorize(&authority, authorized, NULL)))
        return code;
    return tpm_policy_or(of_pcrs, authorized, policy, NULL);
}

static const struct scenario {
    enum st_code (*play)(enum forge_kind kind);
    enum st_code undisturbed;
    unsigned calls_min; /* that it must make, or the wrapping does not work */
} scenarios[] = {
    {check_ak, ST_OK, 3},
    {check_ek, ST_OK, 1},
    {make_challenge, ST_OK, 20},
    {check_quote, ST_OK, 10},
    {check_forged_quote, ST_PERMISSION_DENIED, 10},
    {verify_id, ST_OK, 3},
    {verify_forged_id, ST_PERMISSION_DENIED, 3},
    {read_cert, ST_OK, 3},
    {make_key_and_cert, ST_OK, 12},
    {make_authority_and_approve, ST_OK, 14},
    {make_policy, ST_OK, 6},
};

static void
N17_a_failing_call_is_a_refusal(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(*scenarios); i++) {
        for (enum forge_kind kind = 0; kind < FORGE_KINDS; kind++) {
            calls = failing = 0;
            assert_code(scenarios[i].play(kind), scenarios[i].undisturbed);
            const unsigned count = calls;
            assert_in_range(count, scenarios[i].calls_min, 100);
            for (unsigned n = 1; n <= count; n++) {
                calls = 0;
                failing = n;
                enum st_code code = scenarios[i].play(kind);
                failing = 0;
                if (code == ST_OK)
                    fail_msg("scenario %zu, kind %d, call %u", i, (int)kind, n);
            }
        }
    }
}

static unsigned allocations, failing_allocation;

static bool
allocation_fails(void)
{
    return ++allocations == failing_allocation;
}

static void *
failing_malloc(size_t size)
{
    return allocation_fails() ? NULL : malloc(size);
}

static void
plain_free(void *pointer)
{
    free(pointer);
}

static void *
failing_realloc(void *pointer, size_t size)
{
    return allocation_fails() ? NULL : realloc(pointer, size);
}

/* wolfSSL may do without what it wanted memory for; never may that make bad good. */
static void
N17_without_memory_nothing_forged_is_taken(void **state)
{
    (void)state;
    unsigned failed = 0;
    assert_int_equal(wolfSSL_SetAllocators(failing_malloc, plain_free, failing_realloc),
                     0);
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(*scenarios); i++) {
        for (enum forge_kind kind = 0; kind < FORGE_KINDS; kind++) {
            for (unsigned n = 1;; n++) {
                allocations = 0;
                failing_allocation = n;
                enum st_code code = scenarios[i].play(kind);
                failing_allocation = 0;
                if (allocations < n)
                    break;
                failed++;
                if (scenarios[i].undisturbed)
                    assert_int_not_equal(code, ST_OK);
            }
            assert_code(scenarios[i].play(kind), scenarios[i].undisturbed);
        }
    }
    assert_int_not_equal(failed, 0);
    assert_int_equal(wolfSSL_SetAllocators(malloc, plain_free, realloc), 0);
}

static void
N05_without_entropy_the_answer_is_unavailable(void **state)
{
    (void)state;
    for (enum forge_kind kind = 0; kind < FORGE_KINDS; kind++) {
        calls = failing = 0;
        assert_code(make_challenge(kind), ST_OK);
        const unsigned count = calls;
        unsigned unavailable = 0;
        for (unsigned n = 1; n <= count; n++) {
            calls = 0;
            failing = n;
            unavailable += make_challenge(kind) == ST_UNAVAILABLE;
            failing = 0;
        }
        assert_int_equal(unavailable, kind == FORGE_RSA ? 2 : 1);
    }
}

static int
prepare(void **state)
{
    (void)state;
    struct st_err err = {0};
    assert_ok(key_generate(&seed, public_key, &err));
    assert_ok(key_sign(&seed, "proof", 5, id_signature, &err));
    assert_ok(cert_self_sign(&seed, "node", &cert, &err));
    for (enum forge_kind kind = 0; kind < FORGE_KINDS; kind++) {
        struct evidence *with = &evidence[kind];
        aks[kind] = forge_ak_make(kind);
        const TPMT_PUBLIC public = forge_ak_public(aks[kind]);
        with->public = forge_public(&public);
        const TPMS_ATTEST quote = forge_quote(nonce, &pcrs);
        with->quote = forge_attest(&quote);
        TPMT_SIGNATURE signature = forge_sign(aks[kind], &with->quote);
        with->signature = forge_signature(&signature);
        with->forged = forge_signature(&signature);
        with->forged.bytes[with->forged.len - 1] ^= 1;
        FORGE_BYTES spki = forge_spki(&public);
        assert_ok(tpm_ek_check(spki.bytes, spki.len, &eks[kind], &err));
    }
    return 0;
}

static int
clear(void **state)
{
    (void)state;
    for (enum forge_kind kind = 0; kind < FORGE_KINDS; kind++) {
        forge_ak_free(aks[kind]);
        forge_bytes_free(&evidence[kind].public);
        forge_bytes_free(&evidence[kind].quote);
        forge_bytes_free(&evidence[kind].signature);
        forge_bytes_free(&evidence[kind].forged);
    }
    wc_ecc_fp_free();
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(N17_a_failing_call_is_a_refusal),
        cmocka_unit_test(N17_without_memory_nothing_forged_is_taken),
        cmocka_unit_test(N05_without_entropy_the_answer_is_unavailable),
    };
    return cmocka_run_group_tests(tests, prepare, clear);
}
