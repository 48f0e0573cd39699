#include <wolfssl/options.h>

#include "proto/der.h"
#include "tests/cmocka.h"
#include "tests/tpm/judge_forge.h"

#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_mu.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/rsa.h>

struct forge_ak {
    enum forge_kind kind;
    WC_RNG rng;
    ecc_key ecc;
    RsaKey rsa;
    TPMT_PUBLIC public;
};

enum {
    ATTRIBUTES = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                 TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                 TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_SIGN_ENCRYPT,
};

static void
make_ecc(struct forge_ak *ak)
{
    assert_int_equal(wc_ecc_init(&ak->ecc), 0);
    assert_int_equal(wc_ecc_make_key_ex(&ak->rng, 32, &ak->ecc, ECC_SECP256R1), 0);
    ak->public = (TPMT_PUBLIC){
        .type = TPM2_ALG_ECC,
        .nameAlg = TPM2_ALG_SHA256,
        .objectAttributes = ATTRIBUTES,
        .parameters.eccDetail = {.symmetric.algorithm = TPM2_ALG_NULL,
                                 .scheme.scheme = TPM2_ALG_ECDSA,
                                 .scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256,
                                 .curveID = TPM2_ECC_NIST_P256,
                                 .kdf.scheme = TPM2_ALG_NULL},
        .unique.ecc = {.x.size = 32, .y.size = 32},
    };
    TPMS_ECC_POINT *point = &ak->public.unique.ecc;
    word32 x = 32, y = 32;
    assert_int_equal(
        wc_ecc_export_public_raw(&ak->ecc, point->x.buffer, &x, point->y.buffer, &y), 0);
}

static void
make_rsa(struct forge_ak *ak)
{
    assert_int_equal(wc_InitRsaKey(&ak->rsa, NULL), 0);
    assert_int_equal(wc_MakeRsaKey(&ak->rsa, 2048, 65537, &ak->rng), 0);
    assert_int_equal(wc_RsaSetRNG(&ak->rsa, &ak->rng), 0);
    ak->public = (TPMT_PUBLIC){
        .type = TPM2_ALG_RSA,
        .nameAlg = TPM2_ALG_SHA256,
        .objectAttributes = ATTRIBUTES,
        .parameters.rsaDetail = {.symmetric.algorithm = TPM2_ALG_NULL,
                                 .scheme.scheme = TPM2_ALG_RSASSA,
                                 .scheme.details.rsassa.hashAlg = TPM2_ALG_SHA256,
                                 .keyBits = 2048},
        .unique.rsa.size = 256,
    };
    byte e[4];
    word32 e_len = sizeof(e), n_len = 256;
    assert_int_equal(
        wc_RsaFlattenPublicKey(&ak->rsa, e, &e_len, ak->public.unique.rsa.buffer, &n_len),
        0);
    assert_int_equal(n_len, 256);
}

struct forge_ak *
forge_ak_make(enum forge_kind kind)
{
    struct forge_ak *ak = calloc(1, sizeof(*ak));
    assert_non_null(ak);
    ak->kind = kind;
    assert_int_equal(wc_InitRng(&ak->rng), 0);
    if (kind == FORGE_RSA)
        make_rsa(ak);
    else
        make_ecc(ak);
    return ak;
}

void
forge_ak_free(struct forge_ak *ak)
{
    if (!ak)
        return;
    if (ak->kind == FORGE_RSA)
        wc_FreeRsaKey(&ak->rsa);
    else
        wc_ecc_free(&ak->ecc);
    wc_ecc_fp_free();
    wc_FreeRng(&ak->rng);
    free(ak);
}

enum forge_kind
forge_ak_kind(const struct forge_ak *ak)
{
    return ak->kind;
}

TPMT_PUBLIC
forge_ak_public(const struct forge_ak *ak)
{
    return ak->public;
}

struct forge_bytes
forge_copy(const void *bytes, size_t len)
{
    struct forge_bytes copy = {.len = len, .bytes = malloc(len ? len : 1)};
    assert_non_null(copy.bytes);
    if (len > 0)
        memcpy(copy.bytes, bytes, len);
    return copy;
}

void
forge_bytes_free(struct forge_bytes *bytes)
{
    free(bytes->bytes);
    bytes->bytes = NULL;
}

struct forge_bytes
forge_public(const TPMT_PUBLIC *public)
{
    uint8_t bytes[2000];
    size_t len = 0;
    assert_int_equal(Tss2_MU_TPMT_PUBLIC_Marshal(public, bytes, sizeof(bytes), &len), 0);
    return forge_copy(bytes, len);
}

struct forge_bytes
forge_attest(const TPMS_ATTEST *attest)
{
    uint8_t bytes[4000];
    size_t len = 0;
    assert_int_equal(Tss2_MU_TPMS_ATTEST_Marshal(attest, bytes, sizeof(bytes), &len), 0);
    return forge_copy(bytes, len);
}

struct forge_bytes
forge_signature(const TPMT_SIGNATURE *signature)
{
    uint8_t bytes[2000];
    size_t len = 0;
    assert_int_equal(
        Tss2_MU_TPMT_SIGNATURE_Marshal(signature, bytes, sizeof(bytes), &len), 0);
    return forge_copy(bytes, len);
}

TPMS_ATTEST
forge_quote(const uint8_t nonce[NONCE_LEN], const struct tpm_pcrs *pcrs)
{
    TPMS_ATTEST quote = {
        .magic = TPM2_GENERATED_VALUE,
        .type = TPM2_ST_ATTEST_QUOTE,
        .qualifiedSigner = {34, {0x00, 0x0b, 0x51}},
        .extraData.size = NONCE_LEN,
        .clockInfo = {.clock = 123456, .resetCount = 7, .restartCount = 2, .safe = 1},
        .firmwareVersion = 0x2019102300163636,
        .attested.quote = {.pcrSelect = {1, {{TPM2_ALG_SHA256, 3, {0xff, 0xff, 0}}}},
                           .pcrDigest.size = SHA256_LEN},
    };
    memcpy(quote.extraData.buffer, nonce, NONCE_LEN);
    assert_int_equal(wc_Sha256Hash(pcrs->digest[0], sizeof(pcrs->digest),
                                   quote.attested.quote.pcrDigest.buffer),
                     0);
    return quote;
}

void
forge_digest(const struct forge_bytes *message, uint8_t out[SHA256_LEN])
{
    assert_int_equal(wc_Sha256Hash(message->bytes, (word32)message->len, out), 0);
}

TPM2B_PUBLIC_KEY_RSA
forge_rsa_raw(const struct forge_ak *ak, const void *content, size_t len)
{
    TPM2B_PUBLIC_KEY_RSA out = {.size = 256};
    assert_int_equal(wc_RsaSSL_Sign(content, (word32)len, out.buffer, 256,
                                    (RsaKey *)&ak->rsa, (WC_RNG *)&ak->rng),
                     256);
    return out;
}

TPM2B_PUBLIC_KEY_RSA
forge_rsa_pss(const struct forge_ak *ak, const struct forge_bytes *message)
{
    uint8_t digest[32];
    TPM2B_PUBLIC_KEY_RSA out = {.size = 256};
    forge_digest(message, digest);
    assert_int_equal(wc_RsaPSS_Sign(digest, sizeof(digest), out.buffer, 256,
                                    WC_HASH_TYPE_SHA256, WC_MGF1SHA256,
                                    (RsaKey *)&ak->rsa, (WC_RNG *)&ak->rng),
                     256);
    return out;
}

TPMT_SIGNATURE
forge_sign(const struct forge_ak *ak, const struct forge_bytes *message)
{
    static const uint8_t digest_info[19] = "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65"
                                           "\x03\x04\x02\x01\x05\x00\x04\x20";
    uint8_t content[sizeof(digest_info) + 32];
    uint8_t *digest = content + sizeof(digest_info);
    memcpy(content, digest_info, sizeof(digest_info));
    forge_digest(message, digest);
    if (ak->kind == FORGE_RSA)
        return (TPMT_SIGNATURE){
            .sigAlg = TPM2_ALG_RSASSA,
            .signature.rsassa = {TPM2_ALG_SHA256,
                                 forge_rsa_raw(ak, content, sizeof(content))}};
    TPMT_SIGNATURE out = {.sigAlg = TPM2_ALG_ECDSA,
                          .signature.ecdsa.hash = TPM2_ALG_SHA256};
    TPMS_SIGNATURE_ECDSA *ecdsa = &out.signature.ecdsa;
    uint8_t der[80], r[32], s[32];
    word32 len = sizeof(der), r_len = sizeof(r), s_len = sizeof(s);
    assert_int_equal(
        wc_ecc_sign_hash(digest, 32, der, &len, (WC_RNG *)&ak->rng, (ecc_key *)&ak->ecc),
        0);
    wc_ecc_fp_free();
    assert_int_equal(wc_ecc_sig_to_rs(der, len, r, &r_len, s, &s_len), 0);
    ecdsa->signatureR.size = ecdsa->signatureS.size = 32;
    memcpy(ecdsa->signatureR.buffer + 32 - r_len, r, r_len);
    memcpy(ecdsa->signatureS.buffer + 32 - s_len, s, s_len);
    return out;
}

static void
write_integer(struct der_writer *out, const uint8_t *bytes, size_t len)
{
    while (len > 1 && *bytes == 0)
        bytes++, len--;
    size_t mark = out->at;
    der_write(out, bytes, len);
    if (*bytes & 0x80)
        der_write(out, "", 1);
    der_wrap(out, DER_INTEGER, mark);
}

struct forge_bytes
forge_spki(const TPMT_PUBLIC *public)
{
    static const uint8_t rsa[] = "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
                                 "\x05";
    static const uint8_t p256[] = "\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08"
                                  "\x2a\x86\x48\xce\x3d\x03\x01\x07";
    uint8_t bytes[1000];
    struct der_writer out = {bytes, sizeof(bytes), sizeof(bytes), false};
    if (public->type == TPM2_ALG_RSA) {
        static const uint8_t e[] = {1, 0, 1};
        write_integer(&out, e, sizeof(e));
        write_integer(&out, public->unique.rsa.buffer, public->unique.rsa.size);
        der_wrap(&out, DER_SEQUENCE, sizeof(bytes));
    } else {
        der_write(&out, public->unique.ecc.y.buffer, 32);
        der_write(&out, public->unique.ecc.x.buffer, 32);
        der_write(&out, "\x04", 1);
    }
    der_write(&out, "", 1);
    der_wrap(&out, DER_BIT_STRING, sizeof(bytes));
    if (public->type == TPM2_ALG_RSA)
        der_write(&out, rsa, sizeof(rsa));
    else
        der_write(&out, p256, sizeof(p256) - 1);
    der_wrap(&out, DER_SEQUENCE, sizeof(bytes));
    assert_false(out.full);
    return forge_copy(bytes + out.at, sizeof(bytes) - out.at);
}
