/* What a machine shows at its enrolment: EK, certificate, AK, solved challenge. */
#include "proto/scope.h"
#include "tests/cmocka.h"
#include "tests/tpm/device_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct swtpm_ca *vendor;
static struct swtpm *chip;

static int
set_up(void **state)
{
    (void)state;
    vendor = swtpm_ca_make();
    chip = swtpm_make(vendor);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    swtpm_free(chip);
    swtpm_ca_free(vendor);
    return 0;
}

static struct tpm_own_ek
ek_of(struct tpm *tpm, enum tpm_ek_type type)
{
    struct tpm_own_ek ek;
    struct st_err err = {0};
    assert_ok(tpm_ek_read(tpm, type, &ek, &err));
    return ek;
}

static struct tpm_ak
ak_of(struct tpm *tpm, enum tpm_ak_type type)
{
    struct tpm_ak ak;
    struct st_err err = {0};
    assert_ok(tpm_ak_read(tpm, type, &ak, &err));
    return ak;
}

static void
every_ek_solves_a_challenge_for_every_ak(void **state)
{
    (void)state;
    AUTO(tpm_closep) struct tpm *tpm = peer_open(chip);
    for (enum tpm_ek_type ek_type = 0; ek_type < TPM_EK_TYPES; ek_type++)
        for (enum tpm_ak_type ak_type = 0; ak_type < 2; ak_type++) {
            struct tpm_own_ek ek = ek_of(tpm, ek_type);
            struct tpm_ak ak = ak_of(tpm, ak_type);
            struct tpm_challenge challenge;
            struct secret credential, solution;
            struct st_err err = {0};
            assert_ok(secret_random(&credential, 32, &err));
            assert_ok(tpm_challenge_make(&ek.ek, ak.name, &credential, &challenge, &err));
            assert_ok(tpm_activate(tpm, ak_type, ek_type, &challenge, &solution, &err));
            assert_true(secret_equal(&credential, &solution));
        }
}

static void
a_challenge_of_tpm2_makecredential_is_solved(void **state)
{
    (void)state;
    const struct secret credential = {32, "by a hand that never saw our own"};
    for (enum tpm_ek_type ek_type = 0; ek_type < TPM_EK_TYPES; ek_type++)
        for (enum tpm_ak_type ak_type = 0; ak_type < 2; ak_type++) {
            struct tpm *tpm = peer_open(chip);
            struct tpm_ak ak = ak_of(tpm, ak_type);
            tpm_close(tpm);
            char name[2 * TPM_NAME_LEN + 1];
            for (int i = 0; i < TPM_NAME_LEN; i++)
                sprintf(name + 2 * i, "%02x", ak.name[i]);
            swtpm_put(chip, "credential", credential.bytes, credential.len);
            assert_int_equal(swtpm_shell(chip,
                                         "%s && tpm2_makecredential -T none -u ek.pub "
                                         "-s credential -n %s -o blob",
                                         peer_ek[ek_type], name),
                             0);
            struct tpm_challenge challenge = peer_challenge_get(chip, "blob");
            struct secret solution;
            struct st_err err = {0};
            tpm = peer_open(chip);
            assert_ok(tpm_activate(tpm, ak_type, ek_type, &challenge, &solution, &err));
            tpm_close(tpm);
            assert_true(secret_equal(&credential, &solution));
        }
}

static void
tpm2_activatecredential_solves_a_challenge_of_ours(void **state)
{
    (void)state;
    for (enum tpm_ek_type ek_type = 0; ek_type < TPM_EK_TYPES; ek_type++)
        for (enum tpm_ak_type ak_type = 0; ak_type < 2; ak_type++) {
            struct tpm *tpm = peer_open(chip);
            struct tpm_own_ek ek = ek_of(tpm, ek_type);
            tpm_close(tpm);
            assert_int_equal(swtpm_shell(chip, "%s", peer_ak[ak_type]), 0);
            uint8_t name[TPM_NAME_LEN], solution[64];
            assert_int_equal(swtpm_get(chip, "ak.name", name, sizeof(name)),
                             TPM_NAME_LEN);
            struct secret credential;
            struct tpm_challenge challenge;
            struct st_err err = {0};
            assert_ok(secret_random(&credential, 32, &err));
            assert_ok(tpm_challenge_make(&ek.ek, name, &credential, &challenge, &err));
            peer_challenge_put(chip, "blob", &challenge);
            assert_int_equal(swtpm_shell(chip, "rm -f solution && %s && %s",
                                         peer_ek[ek_type], peer_activate[ek_type]),
                             0);
            assert_int_equal(swtpm_get(chip, "solution", solution, sizeof(solution)), 32);
            assert_memory_equal(solution, credential.bytes, 32);
        }
}

/* An AK below the EK, as tpm2_createak makes them. */
static void
tpm2_createak_takes_our_challenge_and_its_quote_is_judged(void **state)
{
    (void)state;
    const struct {
        enum tpm_ek_type ek;
        const char *algorithm;
    } cases[] = {{TPM_EK_RSA_2048, "-G rsa -g sha256 -s rsassa"},
                 {TPM_EK_ECC_P256, "-G ecc -g sha256 -s ecdsa"}};
    for (size_t i = 0; i < 2; i++) {
        struct tpm *tpm = peer_open(chip);
        struct tpm_own_ek ek = ek_of(tpm, cases[i].ek);
        struct tpm_pcrs pcrs;
        struct st_err err = {0};
        assert_ok(tpm_pcrs_read(tpm, &pcrs, &err));
        tpm_close(tpm);
        assert_int_equal(
            swtpm_shell(chip,
                        "rm -f ak.ctx && %s && tpm2_createak -C $EK -c ak.ctx "
                        "%s -u ak.pub -n ak.name && tpm2_flushcontext -t",
                        peer_ek[cases[i].ek], cases[i].algorithm),
            0);
        uint8_t public[TPM_PUBLIC_MAX], name[TPM_NAME_LEN], solution[64];
        size_t public_len = swtpm_get(chip, "ak.pub", public, sizeof(public));
        assert_int_equal(swtpm_get(chip, "ak.name", name, sizeof(name)), TPM_NAME_LEN);
        struct tpm_ak ak;
        assert_ok(tpm_ak_check(public + 2, public_len - 2, &ak, &err));
        assert_memory_equal(ak.name, name, TPM_NAME_LEN);
        struct secret credential;
        struct tpm_challenge challenge;
        assert_ok(secret_random(&credential, 32, &err));
        assert_ok(tpm_challenge_make(&ek.ek, ak.name, &credential, &challenge, &err));
        peer_challenge_put(chip, "blob", &challenge);
        assert_int_equal(swtpm_shell(chip, "rm -f solution && %s && %s",
                                     peer_ek[cases[i].ek], peer_activate[cases[i].ek]),
                         0);
        assert_int_equal(swtpm_get(chip, "solution", solution, sizeof(solution)), 32);
        assert_memory_equal(solution, credential.bytes, 32);

        assert_int_equal(
            swtpm_shell(chip,
                        "tpm2_quote -c ak.ctx -g sha256 -q %064d -m msg -s sig "
                        "-l sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15 && "
                        "tpm2_flushcontext -t",
                        7),
            0);
        uint8_t quote[TPM_QUOTE_MAX], signature[TPM_SIGNATURE_MAX];
        const uint8_t nonce[NONCE_LEN] = {[NONCE_LEN - 1] = 7};
        struct tpm_quote_evidence evidence = {
            .quote = quote,
            .quote_len = swtpm_get(chip, "msg", quote, sizeof(quote)),
            .signature = signature,
            .signature_len = swtpm_get(chip, "sig", signature, sizeof(signature)),
        };
        struct tpm_clock clock;
        assert_ok(tpm_quote_check(ak.public, ak.public_len, &evidence, nonce, &pcrs,
                                  &clock, &err));
        pcrs.digest[3][0] ^= 1;
        assert_code(tpm_quote_check(ak.public, ak.public_len, &evidence, nonce, &pcrs,
                                    &clock, NULL),
                    ST_PERMISSION_DENIED);
    }
}

static void
our_eks_are_those_of_everybody(void **state)
{
    (void)state;
    for (enum tpm_ek_type type = 0; type < TPM_EK_TYPES; type++) {
        struct tpm *tpm = peer_open(chip);
        struct tpm_own_ek ek = ek_of(tpm, type);
        tpm_close(tpm);
        assert_int_equal(ek.type, type);
        swtpm_put(chip, "spki", ek.ek.spki, ek.ek.spki_len);
        assert_int_equal(
            swtpm_shell(chip,
                        "%s && tpm2_print -t TPM2B_PUBLIC -f der ek.pub >der "
                        "&& cmp der spki",
                        peer_ek[type]),
            0);
    }
}

static void
a_certificate_comes_whole_and_without_padding(void **state)
{
    (void)state;
    const enum tpm_ek_type types[] = {TPM_EK_RSA_2048, TPM_EK_ECC_P384};
    for (size_t i = 0; i < 2; i++) {
        struct tpm *tpm = peer_open(chip);
        struct tpm_own_ek ek = ek_of(tpm, types[i]);
        tpm_close(tpm);
        struct st_err err = {0};
        assert_ok(tpm_ek_cert_check(ek.cert, ek.cert_len, &ek.ek, &err));
        swtpm_put(chip, "cert", ek.cert, ek.cert_len);
        swtpm_put(chip, "spki", ek.ek.spki, ek.ek.spki_len);
        assert_int_equal(
            swtpm_shell(chip,
                        "openssl x509 -inform der -in cert -out cert.pem && "
                        "openssl x509 -in cert.pem -outform der | cmp - cert && "
                        "openssl x509 -in cert.pem -noout -pubkey | "
                        "openssl pkey -pubin -outform der | cmp - spki && "
                        "openssl verify -CAfile %s -untrusted %s cert.pem",
                        swtpm_ca_root(vendor), swtpm_ca_issuer(vendor)),
            0);
    }
}

static void
the_ek_with_a_certificate_is_chosen(void **state)
{
    (void)state;
    struct tpm_own_ek ek;
    struct st_err err = {0};
    struct tpm *tpm = peer_open(chip);
    assert_int_equal(ek_of(tpm, TPM_EK_ECC_P256).cert_len, 0);
    assert_ok(tpm_ek_choose(tpm, &ek, &err));
    assert_int_equal(ek.type, TPM_EK_RSA_2048);
    assert_true(ek.cert_len > 0);
    tpm_close(tpm);

    struct swtpm *ecc_only = swtpm_make(vendor);
    assert_int_equal(swtpm_shell(ecc_only, "tpm2_nvundefine -C p 0x01c00002"), 0);
    tpm = peer_open(ecc_only);
    assert_ok(tpm_ek_choose(tpm, &ek, &err));
    assert_int_equal(ek.type, TPM_EK_ECC_P384);
    assert_true(ek.cert_len > 0);
    tpm_close(tpm);
    swtpm_free(ecc_only);

    struct swtpm *bare = swtpm_make(NULL);
    tpm = peer_open(bare);
    assert_ok(tpm_ek_choose(tpm, &ek, &err));
    assert_int_equal(ek.type, TPM_EK_RSA_2048);
    assert_int_equal(ek.cert_len, 0);
    tpm_close(tpm);
    swtpm_free(bare);
}

/* 0xFF around a certificate, nothing but padding, nothing written at all. */
static void
what_is_no_certificate_in_nv_counts_as_none(void **state)
{
    (void)state;
    struct swtpm *odd = swtpm_make(vendor);
    struct tpm *tpm = peer_open(odd);
    struct tpm_own_ek rsa = ek_of(tpm, TPM_EK_RSA_2048);
    tpm_close(tpm);
    swtpm_put(odd, "cert", rsa.cert, rsa.cert_len);
    assert_int_equal(
        swtpm_shell(odd,
                    "tpm2_nvundefine -C p 0x01c00002 && "
                    "{ cat cert; head -c 100 /dev/zero | tr '\\0' '\\377'; } >padded && "
                    "A='ppwrite|ppread|ownerread|authread|no_da|platformcreate' && "
                    "tpm2_nvdefine -C p -a $A -s $(wc -c <padded) 0x01c00002 && "
                    "tpm2_nvwrite -C p -i padded 0x01c00002 && "
                    "tpm2_nvdefine -C p -a $A -s 600 0x01c0000a && "
                    "tpm2_nvundefine -C p 0x01c00016 && "
                    "tpm2_nvdefine -C p -a $A -s 600 0x01c00016 && "
                    "head -c 600 /dev/zero | tr '\\0' '\\377' >blank && "
                    "tpm2_nvwrite -C p -i blank 0x01c00016"),
        0);
    tpm = peer_open(odd);
    struct tpm_own_ek again = ek_of(tpm, TPM_EK_RSA_2048);
    assert_int_equal(again.cert_len, rsa.cert_len);
    assert_memory_equal(again.cert, rsa.cert, rsa.cert_len);
    assert_int_equal(ek_of(tpm, TPM_EK_ECC_P256).cert_len, 0);
    assert_int_equal(ek_of(tpm, TPM_EK_ECC_P384).cert_len, 0);
    tpm_close(tpm);
    swtpm_free(odd);
}

#define NV                                                                               \
    "nv() { tpm2_nvdefine -C p -a "                                                      \
    "'ppwrite|ppread|ownerread|authread|no_da|platformcreate' -s $(wc -c <$2) $1 && "    \
    "tpm2_nvwrite -C p -i $2 $1; } && "

static size_t
certificate_of(const struct swtpm *swtpm, const char *pem, uint8_t out[CERT_MAX_LEN])
{
    assert_int_equal(swtpm_shell(swtpm, "openssl x509 -in %s -outform der -out der", pem),
                     0);
    return swtpm_get(swtpm, "der", out, CERT_MAX_LEN);
}

static struct tpm_own_chain
chain_of(const struct swtpm *swtpm)
{
    struct tpm_own_chain chain;
    AUTO(tpm_closep) struct tpm *tpm = peer_open(swtpm);
    tpm_ek_chain_find(tpm, &chain);
    return chain;
}

/* One that goes on in the next index, padding, one more; and what is beside the range. */
static void
the_chain_in_nv_leads_to_the_root(void **state)
{
    (void)state;
    struct swtpm *full = swtpm_make(vendor);
    uint8_t issuer[CERT_MAX_LEN], root[CERT_MAX_LEN];
    assert_int_equal(chain_of(full).count, 0);
    const size_t root_len = certificate_of(full, swtpm_ca_root(vendor), root);
    swtpm_put(full, "second", root, root_len);
    const size_t issuer_len = certificate_of(full, swtpm_ca_issuer(vendor), issuer);
    assert_int_equal(
        swtpm_shell(full,
                    NV "head -c 300 der >a && { tail -c +301 der; head -c 60 /dev/zero | "
                       "tr '\\0' '\\377'; } >b && { cat second; head -c 60 /dev/zero; } "
                       ">c && nv 0x01c001ff c && nv 0x01c00101 b && nv 0x01c00100 a && "
                       "nv 0x01c00200 a && nv 0x01c000ff a"),
        0);
    const struct tpm_own_chain chain = chain_of(full);
    assert_int_equal(chain.count, 2);
    assert_int_equal(chain.lens[0], issuer_len);
    assert_memory_equal(chain.bytes, issuer, issuer_len);
    assert_int_equal(chain.lens[1], root_len);
    assert_memory_equal(chain.bytes + issuer_len, root, root_len);

    struct tpm *tpm = peer_open(full);
    const struct tpm_own_ek ek = ek_of(tpm, TPM_EK_RSA_2048);
    tpm_close(tpm);
    const ProtobufCBinaryData given[] = {{issuer_len, (uint8_t *)chain.bytes}};
    struct tpm_ek_chain between;
    struct st_err err = {0};
    assert_code(tpm_ek_chain_check(ek.cert, ek.cert_len, root, root_len, NULL),
                ST_PERMISSION_DENIED);
    tpm_ek_chain_read(ek.cert, ek.cert_len, given, 1, &between);
    assert_int_equal(between.count, 1);
    assert_ok(tpm_ek_path_check(ek.cert, ek.cert_len, &between, root, root_len, &err));
    swtpm_free(full);
}

/* Cut off, never written, something else; and more than anybody needs. */
static void
what_is_no_chain_in_nv_counts_as_none(void **state)
{
    (void)state;
    struct swtpm *odd = swtpm_make(vendor);
    uint8_t issuer[CERT_MAX_LEN];
    const size_t issuer_len = certificate_of(odd, swtpm_ca_issuer(vendor), issuer);
    assert_int_equal(swtpm_shell(odd, NV "head -c 700 der >cut && nv 0x01c00100 cut"), 0);
    assert_int_equal(chain_of(odd).count, 0);
    assert_int_equal(swtpm_shell(odd, NV "tpm2_nvundefine -C p 0x01c00100 && "
                                         "echo rubbish >r && cat der r >both && "
                                         "nv 0x01c00100 both && nv 0x01c00101 der && "
                                         "tpm2_nvdefine -C p -a 'ppwrite|ownerread|"
                                         "platformcreate' -s 600 0x01c00102"),
                     0);
    const struct tpm_own_chain chain = chain_of(odd);
    assert_int_equal(chain.count, 1);
    assert_int_equal(chain.lens[0], issuer_len);
    assert_int_equal(swtpm_shell(odd, NV "tpm2_nvundefine -C p 0x01c00100 && "
                                         "tpm2_nvundefine -C p 0x01c00101 && "
                                         "tpm2_nvundefine -C p 0x01c00102 && "
                                         "{ printf '\\060\\202\\001\\000'; "
                                         "head -c 256 /dev/zero; } >small && "
                                         "cat small small small small small >five && "
                                         "nv 0x01c00100 five && nv 0x01c00101 five"),
                     0);
    assert_int_equal(chain_of(odd).count, TPM_EK_CHAIN_CERTS);
    swtpm_free(odd);
}

static void
N26_a_challenge_that_was_changed_is_refused(void **state)
{
    (void)state;
    AUTO(tpm_closep) struct tpm *tpm = peer_open(chip);
    for (enum tpm_ek_type type = 0; type < TPM_EK_TYPES; type++) {
        struct tpm_own_ek ek = ek_of(tpm, type);
        struct tpm_ak ak = ak_of(tpm, TPM_AK_ECC_P256);
        const struct secret credential = {32, "a credential that stays unknown."};
        struct tpm_challenge good;
        struct secret solution = {0};
        struct st_err err = {0};
        assert_ok(tpm_challenge_make(&ek.ek, ak.name, &credential, &good, &err));
        struct tpm_challenge bad[] = {good, good, good, good, good, good};
        bad[0].id_object[good.id_object_len - 1] ^= 1;
        bad[1].id_object[2] ^= 1;
        bad[2].encrypted_secret[good.encrypted_secret_len - 1] ^= 1;
        bad[3].id_object_len--;
        bad[4].encrypted_secret_len--;
        bad[5].id_object_len = bad[5].encrypted_secret_len = 0;
        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
            assert_code(
                tpm_activate(tpm, TPM_AK_ECC_P256, type, &bad[i], &solution, NULL),
                ST_PERMISSION_DENIED);
            assert_int_equal(solution.len, 0);
        }
    }
}

static void
N27_a_challenge_for_another_ak_or_another_tpm_is_refused(void **state)
{
    (void)state;
    struct swtpm *other = swtpm_make(NULL);
    AUTO(tpm_closep) struct tpm *tpm = peer_open(chip);
    AUTO(tpm_closep) struct tpm *foreign = peer_open(other);
    for (enum tpm_ek_type type = 0; type < TPM_EK_TYPES; type++) {
        struct tpm_own_ek own = ek_of(tpm, type), other_ek = ek_of(foreign, type);
        struct tpm_ak ak = ak_of(tpm, TPM_AK_ECC_P256);
        struct tpm_ak other_ak = ak_of(foreign, TPM_AK_ECC_P256);
        const struct secret credential = {32, "a credential that stays unknown."};
        const struct {
            const struct tpm_ek *ek;
            const uint8_t *ak_name;
        } cases[] = {{&own.ek, other_ak.name},
                     {&other_ek.ek, ak.name},
                     {&own.ek, ak_of(tpm, TPM_AK_RSA_2048).name}};
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
            struct tpm_challenge challenge;
            struct secret solution = {0};
            struct st_err err = {0};
            assert_ok(tpm_challenge_make(cases[i].ek, cases[i].ak_name, &credential,
                                         &challenge, &err));
            assert_code(
                tpm_activate(tpm, TPM_AK_ECC_P256, type, &challenge, &solution, NULL),
                ST_PERMISSION_DENIED);
            assert_int_equal(solution.len, 0);
        }
    }
    tpm_closep(&foreign);
    foreign = NULL;
    swtpm_free(other);
}

static void
the_same_tpm_has_the_same_keys_at_every_boot(void **state)
{
    (void)state;
    struct tpm_ak ak[2];
    struct tpm_own_ek ek[TPM_EK_TYPES];
    for (int boot = 0; boot < 3; boot++) {
        AUTO(tpm_closep) struct tpm *tpm = peer_open(chip);
        for (enum tpm_ak_type type = 0; type < 2; type++) {
            struct tpm_ak now = ak_of(tpm, type);
            if (boot)
                assert_memory_equal(now.name, ak[type].name, TPM_NAME_LEN);
            ak[type] = now;
        }
        for (enum tpm_ek_type type = 0; type < TPM_EK_TYPES; type++) {
            struct tpm_own_ek now = ek_of(tpm, type);
            if (boot)
                assert_memory_equal(now.ek.hash, ek[type].ek.hash, SHA256_LEN);
            ek[type] = now;
        }
        tpm_closep(&tpm);
        tpm = NULL;
        swtpm_power_cycle(chip);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_ek_solves_a_challenge_for_every_ak),
        cmocka_unit_test(a_challenge_of_tpm2_makecredential_is_solved),
        cmocka_unit_test(tpm2_activatecredential_solves_a_challenge_of_ours),
        cmocka_unit_test(tpm2_createak_takes_our_challenge_and_its_quote_is_judged),
        cmocka_unit_test(our_eks_are_those_of_everybody),
        cmocka_unit_test(a_certificate_comes_whole_and_without_padding),
        cmocka_unit_test(the_ek_with_a_certificate_is_chosen),
        cmocka_unit_test(what_is_no_certificate_in_nv_counts_as_none),
        cmocka_unit_test(the_chain_in_nv_leads_to_the_root),
        cmocka_unit_test(what_is_no_chain_in_nv_counts_as_none),
        cmocka_unit_test(N26_a_challenge_that_was_changed_is_refused),
        cmocka_unit_test(N27_a_challenge_for_another_ak_or_another_tpm_is_refused),
        cmocka_unit_test(the_same_tpm_has_the_same_keys_at_every_boot),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
