/* A quote of ours convinces the judge, and openssl, of nothing but what it says. */
#include "proto/scope.h"
#include "tests/cmocka.h"
#include "tests/tpm/device_peer.h"

#include <stdlib.h>
#include <string.h>

static struct swtpm *chip;
static const uint8_t nonce[NONCE_LEN] = "thirty-two bytes nobody guesses";

static int
set_up(void **state)
{
    (void)state;
    chip = swtpm_make(NULL);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    swtpm_free(chip);
    return 0;
}

static enum st_code
judge(const struct tpm_ak *ak, const struct tpm_quote *quote,
      const uint8_t expected[NONCE_LEN], struct tpm_clock *clock)
{
    const struct tpm_quote_evidence evidence = {quote->quote, quote->quote_len,
                                                quote->signature, quote->signature_len};
    return tpm_quote_check(ak->public, ak->public_len, &evidence, expected, &quote->pcrs,
                           clock, NULL);
}

static void
a_quote_of_ours_convinces_the_judge(void **state)
{
    (void)state;
    for (enum tpm_ak_type type = 0; type < 2; type++) {
        AUTO(tpm_closep) struct tpm *tpm = peer_open(chip);
        struct tpm_ak ak;
        struct tpm_quote quote;
        struct tpm_clock clock;
        struct st_err err = {0};
        assert_ok(tpm_ak_read(tpm, type, &ak, &err));
        assert_ok(tpm_pcr_extend(tpm, 3, (const uint8_t[SHA256_LEN]){type}, &err));
        assert_ok(tpm_quote(tpm, type, nonce, &quote, &err));
        assert_code(judge(&ak, &quote, nonce, &clock), ST_OK);
        assert_code(judge(&ak, &quote, (const uint8_t[NONCE_LEN]){1}, &clock),
                    ST_PERMISSION_DENIED);
        struct tpm_pcrs pcrs;
        assert_ok(tpm_pcrs_read(tpm, &pcrs, &err));
        assert_memory_equal(&pcrs, &quote.pcrs, sizeof(pcrs));
    }
}

static void
N28_a_quote_of_another_ak_is_refused(void **state)
{
    (void)state;
    struct swtpm *other = swtpm_make(NULL);
    AUTO(tpm_closep) struct tpm *tpm = peer_open(chip);
    struct tpm *foreign = peer_open(other);
    struct tpm_ak own, second;
    struct tpm_quote quote;
    struct tpm_clock clock;
    struct st_err err = {0};
    assert_ok(tpm_ak_read(tpm, TPM_AK_ECC_P256, &own, &err));
    assert_ok(tpm_ak_read(tpm, TPM_AK_RSA_2048, &second, &err));
    assert_ok(tpm_quote(foreign, TPM_AK_ECC_P256, nonce, &quote, &err));
    assert_code(judge(&own, &quote, nonce, &clock), ST_PERMISSION_DENIED);
    assert_code(judge(&second, &quote, nonce, &clock), ST_PERMISSION_DENIED);
    assert_ok(tpm_quote(tpm, TPM_AK_RSA_2048, nonce, &quote, &err));
    /* A bare signature is none that an ECC key could have made. */
    assert_int_not_equal(judge(&own, &quote, nonce, &clock), ST_OK);
    assert_code(judge(&second, &quote, nonce, &clock), ST_OK);
    tpm_close(foreign);
    swtpm_free(other);
}

static uint8_t *
put_integer(uint8_t *at, const uint8_t **from)
{
    size_t len = (size_t)(*from)[0] << 8 | (*from)[1];
    assert_in_range(len, 1, 32);
    bool sign = (*from)[2] & 0x80;
    *at++ = 2;
    *at++ = (uint8_t)(len + sign);
    if (sign)
        *at++ = 0;
    at = mempcpy(at, *from + 2, len);
    *from += 2 + len;
    return at;
}

/* TPMT_SIGNATURE of ECDSA with SHA-256 as the DER that openssl reads. */
static size_t
ecdsa_der(const struct tpm_quote *quote, uint8_t out[80])
{
    const uint8_t head[] = {0x00, 0x18, 0x00, 0x0b};
    assert_memory_equal(quote->signature, head, sizeof(head));
    const uint8_t *from = quote->signature + sizeof(head);
    uint8_t *at = put_integer(out + 2, &from);
    at = put_integer(at, &from);
    assert_ptr_equal(from, quote->signature + quote->signature_len);
    out[0] = 0x30;
    out[1] = (uint8_t)(at - out - 2);
    return (size_t)(at - out);
}

static void
openssl_verifies_the_signature_of_a_quote(void **state)
{
    (void)state;
    for (enum tpm_ak_type type = 0; type < 2; type++) {
        struct tpm *tpm = peer_open(chip);
        struct tpm_ak ak;
        struct tpm_quote quote;
        struct st_err err = {0};
        assert_ok(tpm_ak_read(tpm, type, &ak, &err));
        assert_ok(tpm_quote(tpm, type, nonce, &quote, &err));
        tpm_close(tpm);
        swtpm_put(chip, "ak.tpmt", ak.public, ak.public_len);
        swtpm_put(chip, "msg", quote.quote, quote.quote_len);
        swtpm_put(chip, "pcrs", &quote.pcrs, sizeof(quote.pcrs));
        uint8_t der[80];
        if (type == TPM_AK_ECC_P256) {
            swtpm_put(chip, "sig", der, ecdsa_der(&quote, der));
        } else {
            assert_int_equal(quote.signature_len, 256);
            swtpm_put(chip, "sig", quote.signature, quote.signature_len);
        }
        assert_int_equal(
            swtpm_shell(chip,
                        "tpm2_print -t TPMT_PUBLIC -f pem ak.tpmt >ak.pem && "
                        "openssl dgst -sha256 -verify ak.pem -signature sig msg && "
                        "openssl dgst -sha256 -binary pcrs >digest && "
                        "tail -c 32 msg | cmp - digest && "
                        "! openssl dgst -sha256 -verify ak.pem -signature sig ak.tpmt"),
            0);
    }
}

static void
quotes_of_one_boot_count_its_resets_and_go_on_in_time(void **state)
{
    (void)state;
    struct tpm_clock clock[3];
    for (int i = 0; i < 3; i++) {
        AUTO(tpm_closep) struct tpm *tpm = peer_open(chip);
        struct tpm_ak ak;
        struct tpm_quote quote;
        struct st_err err = {0};
        assert_ok(tpm_ak_read(tpm, TPM_AK_ECC_P256, &ak, &err));
        assert_ok(tpm_quote(tpm, TPM_AK_ECC_P256, nonce, &quote, &err));
        assert_code(judge(&ak, &quote, nonce, &clock[i]), ST_OK);
        tpm_closep(&tpm);
        tpm = NULL;
        if (i == 1)
            swtpm_power_cycle(chip);
    }
    assert_int_equal(clock[0].reset_count, clock[1].reset_count);
    assert_true(clock[0].clock_ms <= clock[1].clock_ms);
    assert_int_equal(clock[1].reset_count + 1, clock[2].reset_count);
}

/* Three of each on a bare TPM: nothing here may hold on to more. */
static void
everything_after_everything_fits_into_three_slots(void **state)
{
    (void)state;
    AUTO(tpm_closep) struct tpm *tpm = peer_open(chip);
    for (int i = 0; i < 24; i++) {
        struct tpm_own_ek ek;
        struct tpm_ak ak;
        struct tpm_quote quote;
        struct tpm_sealed sealed;
        struct tpm_challenge challenge;
        struct secret credential = {32, "x"}, out;
        struct st_err err = {0};
        enum tpm_ek_type ek_type = i % TPM_EK_TYPES;
        enum tpm_ak_type ak_type = i / TPM_EK_TYPES % 2;
        assert_ok(tpm_ek_read(tpm, ek_type, &ek, &err));
        assert_ok(tpm_ak_read(tpm, ak_type, &ak, &err));
        assert_ok(tpm_challenge_make(&ek.ek, ak.name, &credential, &challenge, &err));
        if (i % 4 == 0)
            assert_ok(tpm_quote(tpm, 1 - ak_type, nonce, &quote, &err));
        assert_ok(tpm_activate(tpm, ak_type, ek_type, &challenge, &out, &err));
        assert_ok(tpm_quote(tpm, ak_type, nonce, &quote, &err));
        assert_ok(tpm_seal(tpm, &credential, 1 << 4, &sealed, &err));
        assert_ok(tpm_unseal(tpm, &sealed, &out, &err));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quote_of_ours_convinces_the_judge),
        cmocka_unit_test(N28_a_quote_of_another_ak_is_refused),
        cmocka_unit_test(openssl_verifies_the_signature_of_a_quote),
        cmocka_unit_test(quotes_of_one_boot_count_its_resets_and_go_on_in_time),
        cmocka_unit_test(everything_after_everything_fits_into_three_slots),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
