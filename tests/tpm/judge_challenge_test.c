/* A challenge, opened again by another hand: TPM2_ActivateCredential as Part 1, 24 and
 * annexes B and C describe it, with the private EK in software. */
#include <wolfssl/options.h>

#include "tests/cmocka.h"
#include "tests/tpm/judge_forge.h"

#include <stdlib.h>
#include <string.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/rsa.h>

enum ek_type {
    EK_RSA,
    EK_P256,
    EK_P384,
    EK_TYPES
};

static const struct {
    enum wc_HashType hash;
    word32 digest_len, aes_len;
    size_t point_len; /* of one coordinate */
    size_t encrypted_len;
} profile[EK_TYPES] = {
    [EK_RSA] = {WC_HASH_TYPE_SHA256, 32, 16, 0, 256},
    [EK_P256] = {WC_HASH_TYPE_SHA256, 32, 16, 32, 2 * (2 + 32)},
    [EK_P384] = {WC_HASH_TYPE_SHA384, 48, 32, 48, 2 * (2 + 48)},
};

static WC_RNG rng;
static RsaKey rsa;
static ecc_key ecc[EK_TYPES];
static struct tpm_ek eks[EK_TYPES];

static const uint8_t ak_name[TPM_NAME_LEN] = {0x00, 0x0b, 0xaa, 0xbb};

/* KDFa and KDFe byte by byte as 11.4.10 writes them, as many rounds as it takes. */
static void
kdf_a(enum ek_type type, const uint8_t *key, const char *label, const uint8_t *context,
      word32 context_len, word32 bits, uint8_t *out)
{
    const word32 digest_len = profile[type].digest_len;
    for (uint8_t round = 1; 8 * digest_len * (round - 1u) < bits; round++) {
        const uint8_t counter[] = {0, 0, 0, round};
        const uint8_t size[] = {0, 0, (uint8_t)(bits >> 8), (uint8_t)bits};
        uint8_t block[64];
        Hmac hmac;
        assert_int_equal(wc_HmacInit(&hmac, NULL, INVALID_DEVID), 0);
        assert_int_equal(wc_HmacSetKey(&hmac, (int)profile[type].hash, key, digest_len),
                         0);
        assert_int_equal(wc_HmacUpdate(&hmac, counter, 4), 0);
        assert_int_equal(
            wc_HmacUpdate(&hmac, (const byte *)label, (word32)strlen(label) + 1), 0);
        assert_int_equal(wc_HmacUpdate(&hmac, context, context_len), 0);
        assert_int_equal(wc_HmacUpdate(&hmac, size, 4), 0);
        assert_int_equal(wc_HmacFinal(&hmac, block), 0);
        wc_HmacFree(&hmac);
        word32 left = bits / 8 - digest_len * (round - 1u);
        memcpy(out + digest_len * (round - 1u), block,
               left < digest_len ? left : digest_len);
    }
}

static void
seed_by_rsa(const struct tpm_challenge *challenge, uint8_t *out)
{
    byte label[] = "IDENTITY";
    assert_int_equal(wc_RsaPrivateDecrypt_ex(
                         challenge->encrypted_secret,
                         (word32)challenge->encrypted_secret_len, out, 48, &rsa,
                         WC_RSA_OAEP_PAD, WC_HASH_TYPE_SHA256, WC_MGF1SHA256, label, 9),
                     32);
}

static void
seed_by_ecc(enum ek_type type, const struct tpm_challenge *challenge, uint8_t *out)
{
    const size_t len = profile[type].point_len;
    const uint8_t size[] = {0, (uint8_t)len};
    const uint8_t *x = challenge->encrypted_secret + 2, *y = x + len + 2;
    assert_memory_equal(x - 2, size, 2);
    assert_memory_equal(y - 2, size, 2);
    ecc_key theirs;
    assert_int_equal(wc_ecc_init(&theirs), 0);
    assert_int_equal(wc_ecc_import_unsigned(&theirs, x, y, NULL, ecc[type].dp->id), 0);
    assert_int_equal(wc_ecc_check_key(&theirs), 0);
    uint8_t message[4 + 48 + 9 + 48 + 48] = {0, 0, 0, 1}, own_y[48];
    word32 shared_len = 48, x_len = 48, y_len = 48;
    assert_int_equal(wc_ecc_shared_secret(&ecc[type], &theirs, message + 4, &shared_len),
                     0);
    wc_ecc_free(&theirs);
    assert_int_equal(shared_len, len);
    uint8_t *at = message + 4 + len;
    at = mempcpy(at, "IDENTITY", 9);
    at = mempcpy(at, x, len);
    assert_int_equal(wc_ecc_export_public_raw(&ecc[type], at, &x_len, own_y, &y_len), 0);
    at += len;
    assert_int_equal(wc_Hash(profile[type].hash, message, (word32)(at - message), out,
                             profile[type].digest_len),
                     0);
}

/* False where the outer HMAC does not hold. */
static bool
activate(enum ek_type type, const uint8_t name[TPM_NAME_LEN],
         const struct tpm_challenge *challenge, uint8_t out[64], size_t *out_len)
{
    const word32 digest_len = profile[type].digest_len;
    uint8_t seed[48], hmac_key[48], aes_key[32], hmac[48], plain[64], iv[16] = {0};
    if (type == EK_RSA)
        seed_by_rsa(challenge, seed);
    else
        seed_by_ecc(type, challenge, seed);

    const uint8_t size[] = {0, (uint8_t)digest_len};
    assert_memory_equal(challenge->id_object, size, 2);
    const uint8_t *identity = challenge->id_object + 2 + digest_len;
    word32 identity_len = (word32)(challenge->id_object_len - 2 - digest_len);
    kdf_a(type, seed, "INTEGRITY", seed, 0, 8 * digest_len, hmac_key);
    Hmac state;
    assert_int_equal(wc_HmacInit(&state, NULL, INVALID_DEVID), 0);
    assert_int_equal(wc_HmacSetKey(&state, (int)profile[type].hash, hmac_key, digest_len),
                     0);
    assert_int_equal(wc_HmacUpdate(&state, identity, identity_len), 0);
    assert_int_equal(wc_HmacUpdate(&state, name, TPM_NAME_LEN), 0);
    assert_int_equal(wc_HmacFinal(&state, hmac), 0);
    wc_HmacFree(&state);
    if (memcmp(hmac, challenge->id_object + 2, digest_len) != 0)
        return false;

    kdf_a(type, seed, "STORAGE", name, TPM_NAME_LEN, 8 * profile[type].aes_len, aes_key);
    Aes aes;
    assert_int_equal(wc_AesInit(&aes, NULL, INVALID_DEVID), 0);
    assert_int_equal(
        wc_AesSetKey(&aes, aes_key, profile[type].aes_len, iv, AES_ENCRYPTION), 0);
    assert_int_equal(wc_AesCfbDecrypt(&aes, plain, identity, identity_len), 0);
    wc_AesFree(&aes);
    *out_len = (size_t)(plain[0] << 8 | plain[1]);
    assert_int_equal(*out_len + 2, identity_len);
    memcpy(out, plain + 2, *out_len);
    return true;
}

static void
expect_opened(enum ek_type type, size_t credential_len)
{
    struct st_err err = {0};
    SECRET credential = {0};
    struct tpm_challenge challenge;
    uint8_t found[64];
    size_t found_len;
    assert_ok(secret_random(&credential, credential_len, &err));
    assert_ok(tpm_challenge_make(&eks[type], ak_name, &credential, &challenge, &err));
    assert_int_equal(challenge.id_object_len,
                     2 + profile[type].digest_len + 2 + credential_len);
    assert_int_equal(challenge.encrypted_secret_len, profile[type].encrypted_len);
    assert_true(activate(type, ak_name, &challenge, found, &found_len));
    assert_int_equal(found_len, credential_len);
    assert_memory_equal(found, credential.bytes, credential_len);
}

static void
the_holder_of_the_ek_recovers_the_credential(void **state)
{
    (void)state;
    for (enum ek_type type = 0; type < EK_TYPES; type++)
        for (size_t len = 1; len <= 32; len++)
            expect_opened(type, len);
}

/* One in 128 has a coordinate or a shared secret that begins with a zero byte. */
static void
a_leading_zero_is_not_lost(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++)
        expect_opened(EK_P256, 32);
}

static void
N27_a_challenge_is_for_one_ak_and_one_ek(void **state)
{
    (void)state;
    for (enum ek_type type = 0; type < EK_TYPES; type++) {
        struct st_err err = {0};
        SECRET credential = {0};
        struct tpm_challenge challenge;
        uint8_t found[64], other[TPM_NAME_LEN];
        size_t found_len;
        assert_ok(secret_random(&credential, 32, &err));
        assert_ok(tpm_challenge_make(&eks[type], ak_name, &credential, &challenge, &err));
        assert_null(memmem(&challenge, sizeof(challenge), credential.bytes, 32));
        for (size_t i = 0; i < TPM_NAME_LEN; i++) {
            memcpy(other, ak_name, sizeof(other));
            other[i] ^= 1;
            assert_false(activate(type, other, &challenge, found, &found_len));
        }
    }
}

static void
no_two_challenges_are_alike(void **state)
{
    (void)state;
    for (enum ek_type type = 0; type < EK_TYPES; type++) {
        struct st_err err = {0};
        SECRET credential = {.len = 32};
        struct tpm_challenge a, b;
        assert_ok(tpm_challenge_make(&eks[type], ak_name, &credential, &a, &err));
        assert_ok(tpm_challenge_make(&eks[type], ak_name, &credential, &b, &err));
        assert_memory_not_equal(a.encrypted_secret, b.encrypted_secret,
                                a.encrypted_secret_len);
        assert_memory_not_equal(a.id_object, b.id_object, a.id_object_len);
    }
}

static void
a_credential_has_1_to_32_bytes(void **state)
{
    (void)state;
    const size_t lens[] = {0, 33, 48, 64, SECRET_MAX};
    for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
        struct tpm_challenge challenge = {0};
        struct secret credential = {.len = lens[i]};
        assert_code(
            tpm_challenge_make(&eks[EK_P256], ak_name, &credential, &challenge, NULL),
            ST_INVALID_ARGUMENT);
        assert_int_equal(challenge.id_object_len, 0);
    }
}

/* Whatever a record says, a key that tpm_ek_check() refuses is not encrypted to. */
static void
N22_an_ek_that_is_none_gets_no_challenge(void **state)
{
    (void)state;
    const struct secret credential = {.len = 32};
    for (enum ek_type type = 0; type < EK_TYPES; type++) {
        struct tpm_challenge challenge;
        struct tpm_ek bad = eks[type];
        bad.spki[bad.spki_len - 1] ^= 1; /* off its curve; another exponent */
        assert_code(tpm_challenge_make(&bad, ak_name, &credential, &challenge, NULL),
                    ST_INVALID_ARGUMENT);
        bad = eks[type];
        bad.spki_len--;
        assert_code(tpm_challenge_make(&bad, ak_name, &credential, &challenge, NULL),
                    ST_INVALID_ARGUMENT);
        bad.spki_len = 0;
        assert_code(tpm_challenge_make(&bad, ak_name, &credential, &challenge, NULL),
                    ST_INVALID_ARGUMENT);
    }
}

static int
make_eks(void **state)
{
    (void)state;
    uint8_t spki[TPM_SPKI_MAX];
    assert_int_equal(wc_InitRng(&rng), 0);
    assert_int_equal(wc_InitRsaKey(&rsa, NULL), 0);
    assert_int_equal(wc_MakeRsaKey(&rsa, 2048, 65537, &rng), 0);
    assert_int_equal(wc_RsaSetRNG(&rsa, &rng), 0);
    int len = wc_RsaKeyToPublicDer(&rsa, spki, sizeof(spki));
    assert_int_equal(tpm_ek_check(spki, (size_t)len, &eks[EK_RSA], NULL), ST_OK);
    for (enum ek_type type = EK_P256; type < EK_TYPES; type++) {
        assert_int_equal(wc_ecc_init(&ecc[type]), 0);
        assert_int_equal(
            wc_ecc_make_key_ex(&rng, (int)profile[type].point_len, &ecc[type],
                               type == EK_P256 ? ECC_SECP256R1 : ECC_SECP384R1),
            0);
        assert_int_equal(wc_ecc_set_rng(&ecc[type], &rng), 0);
        len = wc_EccPublicKeyToDer(&ecc[type], spki, sizeof(spki), 1);
        assert_int_equal(tpm_ek_check(spki, (size_t)len, &eks[type], NULL), ST_OK);
    }
    return 0;
}

static int
free_eks(void **state)
{
    (void)state;
    wc_FreeRsaKey(&rsa);
    for (enum ek_type type = EK_P256; type < EK_TYPES; type++)
        wc_ecc_free(&ecc[type]);
    wc_FreeRng(&rng);
    wc_ecc_fp_free();
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_holder_of_the_ek_recovers_the_credential),
        cmocka_unit_test(a_leading_zero_is_not_lost),
        cmocka_unit_test(N27_a_challenge_is_for_one_ak_and_one_ek),
        cmocka_unit_test(no_two_challenges_are_alike),
        cmocka_unit_test(a_credential_has_1_to_32_bytes),
        cmocka_unit_test(N22_an_ek_that_is_none_gets_no_challenge),
    };
    return cmocka_run_group_tests(tests, make_eks, free_eks);
}
