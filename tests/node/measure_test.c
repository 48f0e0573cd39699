/* PCR 12: fresh, measured, capped, and nothing else. */
#include <wolfssl/options.h>

#include "node/measure.h"
#include "proto/file.h"
#include "tests/cmocka.h"
#include "tests/tpm/swtpm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <wolfssl/wolfcrypt/hash.h>

static struct swtpm *chip;
static struct cert masters, others;

static int
set_up(void **state)
{
    (void)state;
    struct secret seed;
    uint8_t public_key[ED25519_PUBLIC_LEN];
    chip = swtpm_make(NULL);
    return key_generate(&seed, public_key, NULL) ||
           cert_self_sign(&seed, "smalltown-master", &masters, NULL) ||
           key_generate(&seed, public_key, NULL) ||
           cert_self_sign(&seed, "smalltown-master", &others, NULL);
}

static int
tear_down(void **state)
{
    (void)state;
    swtpm_free(chip);
    return 0;
}

static struct tpm *
open_tpm(void)
{
    struct tpm *tpm = NULL;
    struct st_err err = {0};
    assert_ok(tpm_open(swtpm_tcti(chip), &tpm, &err));
    return tpm;
}

static void
hash2(const void *a, size_t a_len, const void *b, size_t b_len, uint8_t out[SHA256_LEN])
{
    uint8_t joined[2048];
    memcpy(joined, a, a_len);
    memcpy(joined + a_len, b, b_len);
    assert_int_equal(wc_Sha256Hash(joined, (word32)(a_len + b_len), out), 0);
}

/* What the contract says, in its own words. */
static void
expect(uint8_t config[SHA256_LEN], uint8_t done[SHA256_LEN], uint8_t capped[SHA256_LEN])
{
    static const char label[] = "smalltown enrolment config v1",
                      cap[] = "smalltown cap v1";
    static const uint8_t zeros[SHA256_LEN];
    uint8_t cap_hash[SHA256_LEN];
    hash2(label, strlen(label), masters.der, masters.len, config);
    hash2(zeros, sizeof(zeros), config, SHA256_LEN, done);
    hash2(cap, strlen(cap), "", 0, cap_hash);
    hash2(done, SHA256_LEN, cap_hash, SHA256_LEN, capped);
}

static void
N48_PCR_12_has_three_good_values(void **state)
{
    (void)state;
    uint8_t config[SHA256_LEN], ours[SHA256_LEN], done[SHA256_LEN], capped[SHA256_LEN];
    uint8_t pcr[SHA256_LEN] = {0};
    expect(config, done, capped);
    measure_config_digest(&masters, ours);
    assert_memory_equal(ours, config, SHA256_LEN);
    assert_int_equal(measure_judge(pcr, config), MEASURE_FRESH);
    assert_int_equal(measure_judge(done, config), MEASURE_DONE);
    assert_int_equal(measure_judge(capped, config), MEASURE_CAPPED);
    const uint8_t *good[] = {pcr, done, capped};
    for (int i = 0; i < 3; i++)
        for (int bit = 0; bit < 8 * SHA256_LEN; bit++) {
            uint8_t other[SHA256_LEN];
            memcpy(other, good[i], SHA256_LEN);
            other[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(measure_judge(other, config), MEASURE_OTHER);
        }
}

static void
a_boot_is_measured_once_and_capped_once(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct tpm *tpm = open_tpm();
    struct tpm_pcrs pcrs;
    enum measure_state measured;
    uint8_t config[SHA256_LEN], done[SHA256_LEN], capped[SHA256_LEN];
    expect(config, done, capped);
    for (int i = 0; i < 2; i++) {
        assert_ok(measure_config(tpm, &masters, &measured, &err));
        assert_int_equal(measured, MEASURE_DONE);
        assert_ok(tpm_pcrs_read(tpm, &pcrs, &err));
        assert_memory_equal(pcrs.digest[MEASURE_PCR], done, SHA256_LEN);
    }
    for (int i = 0; i < 2; i++) {
        assert_ok(measure_cap(tpm, &masters, &err));
        assert_ok(tpm_pcrs_read(tpm, &pcrs, &err));
        assert_memory_equal(pcrs.digest[MEASURE_PCR], capped, SHA256_LEN);
    }
    assert_ok(measure_config(tpm, &masters, &measured, &err));
    assert_int_equal(measured, MEASURE_CAPPED);
    tpm_close(tpm);
}

static void
N48_another_config_in_the_same_boot_is_refused(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct tpm *tpm = open_tpm();
    struct tpm_pcrs before, after;
    enum measure_state measured;
    assert_ok(measure_config(tpm, &masters, &measured, &err));
    assert_ok(tpm_pcrs_read(tpm, &before, &err));
    assert_code(measure_config(tpm, &others, &measured, &err), ST_FAILED_PRECONDITION);
    assert_code(measure_cap(tpm, &others, &err), ST_FAILED_PRECONDITION);
    assert_ok(tpm_pcrs_read(tpm, &after, &err));
    assert_memory_equal(&before, &after, sizeof(before));
    tpm_close(tpm);
}

static void
the_seal_follows_secure_boot(void **state)
{
    (void)state;
    char path[128];
    struct st_err err = {0};
    const char *folder = swtpm_folder(chip);
    snprintf(path, sizeof(path), "%.40s/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
             folder);
    assert_false(measure_secure_boot(folder));
    const struct {
        const char *bytes;
        size_t len;
        bool on;
    } cases[] = {{"\x06\0\0\0\x01", 5, true},
                 {"\x06\0\0\0\0", 5, false},
                 {"\x06\0\0\0\x01\x01", 6, false},
                 {"\x06\0\0\0", 4, false},
                 {"", 0, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_ok(file_write(path, 0600, cases[i].bytes, cases[i].len, &err));
        assert_int_equal(measure_secure_boot(folder), cases[i].on);
    }
    assert_int_equal(measure_mask(true), measure_mask(false) | 1 << 7);
    assert_int_equal(measure_mask(false), 1 << 2 | 1 << 4 | 1 << 11 | 1 << 12);
    assert_int_equal(measure_control_mask(true), measure_control_mask(false) | 1 << 7);
    assert_int_equal(measure_control_mask(false), 1 << 2 | 1 << 4 | 1 << 9 | 1 << 11);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(N48_PCR_12_has_three_good_values),
        TEST(a_boot_is_measured_once_and_capped_once),
        TEST(N48_another_config_in_the_same_boot_is_refused),
        TEST(the_seal_follows_secure_boot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
