/* A sealed half comes back from one TPM, in one state, and from nothing else. */
#include "proto/scope.h"
#include "tests/cmocka.h"
#include "tests/tpm/swtpm.h"
#include "tpm/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>

enum {
    MASK = 1 << 4 | 1 << 11 | 1 << 12,
};

static struct swtpm *chip;
static struct secret half = {32, "the half that stays with the ..."};

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

static struct tpm *
open_tpm(struct swtpm *swtpm)
{
    struct tpm *tpm = NULL;
    struct st_err err = {0};
    assert_ok(tpm_open(swtpm_tcti(swtpm), &tpm, &err));
    return tpm;
}

static struct tpm_sealed
seal(struct swtpm *swtpm, const struct secret *secret)
{
    AUTO(tpm_closep) struct tpm *tpm = open_tpm(swtpm);
    struct st_err err = {0};
    struct tpm_sealed sealed;
    assert_ok(tpm_seal(tpm, secret, MASK, &sealed, &err));
    return sealed;
}

static enum st_code
unseal(struct swtpm *swtpm, const struct tpm_sealed *sealed, struct secret *out)
{
    AUTO(tpm_closep) struct tpm *tpm = open_tpm(swtpm);
    return tpm_unseal(tpm, sealed, out, NULL);
}

static void
extend(struct swtpm *swtpm, unsigned pcr)
{
    AUTO(tpm_closep) struct tpm *tpm = open_tpm(swtpm);
    struct st_err err = {0};
    assert_ok(tpm_pcr_extend(tpm, pcr, (const uint8_t[SHA256_LEN]){7}, &err));
}

static void
a_secret_of_any_length_comes_back(void **state)
{
    (void)state;
    AUTO(tpm_closep) struct tpm *tpm = open_tpm(chip);
    const size_t lengths[] = {1, 31, 32, TPM_SEAL_SECRET_MAX};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        struct st_err err = {0};
        struct secret secret, back;
        struct tpm_sealed sealed;
        assert_ok(secret_random(&secret, lengths[i], &err));
        assert_ok(tpm_seal(tpm, &secret, MASK, &sealed, &err));
        assert_ok(tpm_unseal(tpm, &sealed, &back, &err));
        assert_true(secret_equal(&secret, &back));
    }
}

static void
what_cannot_be_sealed_is_said_so(void **state)
{
    (void)state;
    AUTO(tpm_closep) struct tpm *tpm = open_tpm(chip);
    struct tpm_sealed sealed;
    struct secret secret = {.len = TPM_SEAL_SECRET_MAX + 1};
    assert_code(tpm_seal(tpm, &secret, MASK, &sealed, NULL), ST_INVALID_ARGUMENT);
    secret.len = 0;
    assert_code(tpm_seal(tpm, &secret, MASK, &sealed, NULL), ST_INVALID_ARGUMENT);
    assert_code(tpm_seal(tpm, &half, 0, &sealed, NULL), ST_INVALID_ARGUMENT);
    assert_code(tpm_seal(tpm, &half, 1 << 16, &sealed, NULL), ST_INVALID_ARGUMENT);
}

static void
after_a_change_of_its_pcrs_it_is_refused_until_the_next_boot(void **state)
{
    (void)state;
    swtpm_power_cycle(chip);
    struct tpm_sealed sealed = seal(chip, &half);
    struct secret back = {0};
    extend(chip, 5);
    assert_code(unseal(chip, &sealed, &back), ST_OK);
    assert_true(secret_equal(&half, &back));
    secret_wipe(&back);
    extend(chip, 12);
    assert_code(unseal(chip, &sealed, &back), ST_PERMISSION_DENIED);
    assert_int_equal(back.len, 0);
    swtpm_power_cycle(chip);
    assert_code(unseal(chip, &sealed, &back), ST_OK);
    assert_true(secret_equal(&half, &back));
}

static void
it_is_sealed_to_the_pcrs_of_that_moment(void **state)
{
    (void)state;
    swtpm_power_cycle(chip);
    extend(chip, 12);
    struct tpm_sealed sealed = seal(chip, &half);
    struct secret back = {0};
    swtpm_power_cycle(chip);
    assert_code(unseal(chip, &sealed, &back), ST_PERMISSION_DENIED);
    extend(chip, 12);
    assert_code(unseal(chip, &sealed, &back), ST_OK);
    assert_true(secret_equal(&half, &back));
}

static void
every_single_pcr_can_be_the_one_that_differs(void **state)
{
    (void)state;
    swtpm_power_cycle(chip);
    AUTO(tpm_closep) struct tpm *tpm = open_tpm(chip);
    for (unsigned pcr = 0; pcr < TPM_PCR_COUNT; pcr++) {
        struct st_err err = {0};
        struct tpm_sealed sealed;
        struct secret back;
        assert_ok(tpm_seal(tpm, &half, 1u << pcr, &sealed, &err));
        assert_ok(tpm_unseal(tpm, &sealed, &back, &err));
        assert_ok(tpm_pcr_extend(tpm, pcr, (const uint8_t[SHA256_LEN]){1}, &err));
        assert_code(tpm_unseal(tpm, &sealed, &back, &err), ST_PERMISSION_DENIED);
    }
}

static void
no_power_cut_brings_the_tpm_nearer_to_lockout(void **state)
{
    (void)state;
    swtpm_power_cycle(chip);
    struct tpm_sealed sealed = seal(chip, &half);
    for (int i = 0; i < 4; i++) {
        struct secret back;
        struct tpm *tpm = open_tpm(chip);
        struct st_err err = {0};
        struct tpm_quote quote;
        assert_ok(tpm_quote(tpm, TPM_AK_ECC_P256, (uint8_t[NONCE_LEN]){0}, &quote, &err));
        assert_ok(tpm_unseal(tpm, &sealed, &back, &err));
        swtpm_power_cycle(chip); /* with everything open */
        tpm_close(tpm);
    }
    assert_int_equal(swtpm_shell(chip, "tpm2_getcap properties-variable >vars && "
                                       "grep -q 'TPM2_PT_LOCKOUT_COUNTER: 0x0$' vars && "
                                       "grep -q 'inLockout: *0' vars"),
                     0);
    struct secret back;
    assert_code(unseal(chip, &sealed, &back), ST_OK);
    assert_true(secret_equal(&half, &back));
}

static void
a_cleared_tpm_is_another_with_another_ak(void **state)
{
    (void)state;
    struct swtpm *other = swtpm_make(NULL);
    struct tpm_sealed sealed = seal(other, &half);
    struct tpm_ak before, after;
    struct st_err err = {0};
    struct tpm *tpm = open_tpm(other);
    assert_ok(tpm_ak_read(tpm, TPM_AK_ECC_P256, &before, &err));
    tpm_close(tpm);
    assert_int_equal(swtpm_shell(other, "tpm2_clear"), 0);
    struct secret back = {0};
    assert_code(unseal(other, &sealed, &back), ST_FAILED_PRECONDITION);
    tpm = open_tpm(other);
    assert_ok(tpm_ak_read(tpm, TPM_AK_ECC_P256, &after, &err));
    tpm_close(tpm);
    assert_memory_not_equal(before.name, after.name, TPM_NAME_LEN);
    swtpm_free(other);
}

static void
a_hierarchy_with_a_password_is_the_wrong_state(void **state)
{
    (void)state;
    struct swtpm *other = swtpm_make(NULL);
    assert_int_equal(swtpm_shell(other, "tpm2_changeauth -c o secret"), 0);
    struct tpm *tpm = open_tpm(other);
    struct tpm_sealed sealed;
    assert_code(tpm_seal(tpm, &half, MASK, &sealed, NULL), ST_FAILED_PRECONDITION);
    tpm_close(tpm);
    swtpm_free(other);
}

/* Where the parts begin, see tpm/device_sealed.c. */
enum {
    AT_MASK = 8,
    AT_NAME = 12,
    AT_POLICY = 46,
    AT_UNIQUE = 78,
    AT_PRIVATE_LEN = 110,
    AT_PRIVATE = 112,
};

/* The object as tpm2_load wants it: the public area written out again from Part 2, so
 * that an object with other attributes does not load. */
static void
tpm2_unseal_opens_it_by_its_pcrs_and_by_nothing_else(void **state)
{
    (void)state;
    swtpm_power_cycle(chip);
    const struct tpm_sealed sealed = seal(chip, &half);
    const uint8_t head[] = {0x00, 78,                    /* size */
                            0x00, 0x08,      0x00, 0x0b, /* KEYEDHASH, SHA-256 */
                            0x00, 0x00,      0x04, 0x92, /* noDA, adminWithPolicy, ... */
                            0x00, SHA256_LEN};           /* authPolicy */
    const uint8_t middle[] = {0x00, 0x10, 0x00, SHA256_LEN}; /* no scheme; unique */
    uint8_t public[80];
    uint8_t *at = mempcpy(public, head, sizeof(head));
    at = mempcpy(at, sealed.bytes + AT_POLICY, SHA256_LEN);
    at = mempcpy(at, middle, sizeof(middle));
    at = mempcpy(at, sealed.bytes + AT_UNIQUE, SHA256_LEN);
    assert_int_equal(at - public, sizeof(public));
    swtpm_put(chip, "public", public, sizeof(public));
    const uint8_t *private = sealed.bytes + AT_PRIVATE_LEN;
    swtpm_put(chip, "private", private, 2 + (size_t)(private[0] << 8 | private[1]));
    swtpm_put(chip, "half", half.bytes, half.len);
    assert_int_equal(
        swtpm_shell(chip,
                    "{ printf '\\40\\0'; head -c 128 /dev/zero; printf '\\40\\0'; "
                    "head -c 128 /dev/zero; } >unique && " /* TPMS_ECC_POINT of C */
                    "tpm2_createprimary -C o -g sha256 -G ecc256:aes128cfb -u unique -a "
                    "'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|"
                    "restricted|decrypt' -c srk && tpm2_flushcontext -t && "
                    "tpm2_load -C srk -u public -r private -c object && "
                    "tpm2_flushcontext -t && "
                    "tpm2_unseal -c object -p pcr:sha256:4,11,12 | cmp - half && "
                    "tpm2_flushcontext -t && "
                    "! tpm2_unseal -c object && tpm2_flushcontext -t && "
                    "! tpm2_unseal -c object -p pcr:sha256:4,11"),
        0);
}

static void
fix_digest(struct tpm_sealed *sealed)
{
    size_t body = sealed->len - SHA256_LEN;
    assert_int_equal(wc_Sha256Hash(sealed->bytes, (word32)body, sealed->bytes + body), 0);
}

static void
a_rotten_file_is_known_before_the_tpm_is_asked(void **state)
{
    (void)state;
    const struct tpm_sealed sealed = seal(chip, &half);
    for (size_t i = 0; i < sealed.len; i++) {
        struct tpm_sealed bad = sealed;
        struct secret back = {0};
        bad.bytes[i] ^= 1;
        /* No TPM is there to be asked. */
        assert_code(tpm_unseal(NULL, &bad, &back, NULL), ST_DATA_LOSS);
        bad = sealed;
        bad.len = i;
        assert_code(tpm_unseal(NULL, &bad, &back, NULL), ST_DATA_LOSS);
    }
    struct tpm_sealed longer = sealed;
    struct secret back = {0};
    longer.bytes[longer.len++] = 0;
    assert_code(tpm_unseal(NULL, &longer, &back, NULL), ST_DATA_LOSS);
    fix_digest(&longer);
    assert_code(tpm_unseal(NULL, &longer, &back, NULL), ST_DATA_LOSS);
    longer.len = TPM_SEALED_MAX + 1;
    assert_code(tpm_unseal(NULL, &longer, &back, NULL), ST_DATA_LOSS);
}

static void
a_forged_file_opens_nothing(void **state)
{
    (void)state;
    swtpm_power_cycle(chip);
    const struct tpm_sealed sealed = seal(chip, &half);
    extend(chip, 12);
    AUTO(tpm_closep) struct tpm *tpm = open_tpm(chip);
    const struct {
        size_t at;
        enum st_code expected;
    } cases[] = {
        {AT_MASK, ST_DATA_LOSS},             /* PCR 24: never sealed to */
        {AT_MASK + 2, ST_PERMISSION_DENIED}, /* without PCR 12 ... */
        {AT_NAME + 1, ST_FAILED_PRECONDITION},
        {AT_NAME + 20, ST_FAILED_PRECONDITION},
        {AT_POLICY, ST_DATA_LOSS},
        {AT_UNIQUE + 31, ST_DATA_LOSS},
        {AT_PRIVATE_LEN, ST_DATA_LOSS},
        {AT_PRIVATE_LEN + 1, ST_DATA_LOSS},
        {AT_PRIVATE, ST_DATA_LOSS},
        {AT_PRIVATE + 1, ST_DATA_LOSS},
        {AT_PRIVATE + 10, ST_DATA_LOSS},
        {AT_PRIVATE + 60, ST_DATA_LOSS},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct tpm_sealed bad = sealed;
        struct secret back = {0};
        bad.bytes[cases[i].at] ^= 0x10;
        fix_digest(&bad);
        assert_code(tpm_unseal(tpm, &bad, &back, NULL), cases[i].expected);
        assert_int_equal(back.len, 0);
    }
}

/* An empty private part, and one of all that fits, with lengths that agree. */
static void
a_private_part_of_another_length_is_corrupt(void **state)
{
    (void)state;
    const struct tpm_sealed sealed = seal(chip, &half);
    AUTO(tpm_closep) struct tpm *tpm = open_tpm(chip);
    const size_t lengths[] = {0, 1, 2, 33, TPM_SEALED_MAX - AT_PRIVATE - SHA256_LEN};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        struct tpm_sealed bad = sealed;
        struct secret back = {0};
        bad.bytes[AT_PRIVATE_LEN] = (uint8_t)(lengths[i] >> 8);
        bad.bytes[AT_PRIVATE_LEN + 1] = (uint8_t)lengths[i];
        bad.len = AT_PRIVATE + lengths[i] + SHA256_LEN;
        fix_digest(&bad);
        assert_code(tpm_unseal(tpm, &bad, &back, NULL), ST_DATA_LOSS);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_of_any_length_comes_back),
        cmocka_unit_test(what_cannot_be_sealed_is_said_so),
        cmocka_unit_test(after_a_change_of_its_pcrs_it_is_refused_until_the_next_boot),
        cmocka_unit_test(it_is_sealed_to_the_pcrs_of_that_moment),
        cmocka_unit_test(every_single_pcr_can_be_the_one_that_differs),
        cmocka_unit_test(no_power_cut_brings_the_tpm_nearer_to_lockout),
        cmocka_unit_test(a_cleared_tpm_is_another_with_another_ak),
        cmocka_unit_test(a_hierarchy_with_a_password_is_the_wrong_state),
        cmocka_unit_test(tpm2_unseal_opens_it_by_its_pcrs_and_by_nothing_else),
        cmocka_unit_test(a_rotten_file_is_known_before_the_tpm_is_asked),
        cmocka_unit_test(a_forged_file_opens_nothing),
        cmocka_unit_test(a_private_part_of_another_length_is_corrupt),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
