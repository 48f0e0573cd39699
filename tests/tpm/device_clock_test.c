/* What a real TPM counts over power cuts, suspends and a snapshot that comes back. */
#include "proto/scope.h"
#include "tests/cmocka.h"
#include "tests/tpm/device_peer.h"

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

static struct tpm_clock
quoted_now(enum tpm_ak_type type)
{
    AUTO(tpm_closep) struct tpm *tpm = peer_open(chip);
    struct tpm_ak ak;
    struct tpm_quote quote;
    struct tpm_clock clock;
    struct st_err err = {0};
    assert_ok(tpm_ak_read(tpm, type, &ak, &err));
    assert_ok(tpm_quote(tpm, type, nonce, &quote, &err));
    const struct tpm_quote_evidence evidence = {quote.quote, quote.quote_len,
                                                quote.signature, quote.signature_len};
    assert_ok(tpm_quote_check(ak.public, ak.public_len, &evidence, nonce, &quote.pcrs,
                              &clock, &err));
    return clock;
}

static void
goes_on(const struct tpm_clock *before, const struct tpm_clock *now)
{
    struct st_err err = {0};
    assert_ok(tpm_clock_check(before, now, &err));
}

static void
shell(const char *command)
{
    assert_int_equal(swtpm_shell(chip, "%s", command), 0);
}

/* Each boot is up for a day, of which nothing was written when its power is cut. */
static void
N15_power_cuts_turn_nothing_back(void **state)
{
    (void)state;
    struct tpm_clock last = quoted_now(TPM_AK_ECC_P256);
    for (int i = 0; i < 4; i++) {
        shell("tpm2_setclock 86400000");
        const struct tpm_clock before = quoted_now(TPM_AK_ECC_P256);
        goes_on(&last, &before);
        swtpm_power_cycle(chip);
        last = quoted_now(TPM_AK_ECC_P256);
        goes_on(&before, &last);
        assert_true(last.clock_ms < before.clock_ms); /* or this showed nothing */
    }
}

static void
N15_each_AK_has_numbers_of_its_own_and_they_stay(void **state)
{
    (void)state;
    const struct tpm_clock ecc = quoted_now(TPM_AK_ECC_P256);
    const struct tpm_clock rsa = quoted_now(TPM_AK_RSA_2048);
    assert_int_not_equal(ecc.reset_count, rsa.reset_count);
    swtpm_power_cycle(chip);
    const struct tpm_clock ecc_later = quoted_now(TPM_AK_ECC_P256);
    const struct tpm_clock rsa_later = quoted_now(TPM_AK_RSA_2048);
    assert_int_equal(ecc_later.reset_count - ecc.reset_count, 1);
    assert_int_equal(rsa_later.reset_count - rsa.reset_count, 1);
    assert_int_equal(ecc_later.restart_count, ecc.restart_count);
}

static void
N15_a_TPM_that_came_back_from_a_snapshot_is_behind(void **state)
{
    (void)state;
    swtpm_power_off(chip);
    shell("cp tpm2-00.permall snapshot");
    swtpm_power_on(chip);
    (void)quoted_now(TPM_AK_ECC_P256);
    swtpm_power_cycle(chip);
    const struct tpm_clock before = quoted_now(TPM_AK_ECC_P256);
    swtpm_power_off(chip);
    shell("cp snapshot tpm2-00.permall");
    swtpm_power_on(chip);
    const struct tpm_clock now = quoted_now(TPM_AK_ECC_P256);
    assert_code(tpm_clock_check(&before, &now, NULL), ST_PERMISSION_DENIED);
    swtpm_power_cycle(chip);
    (void)quoted_now(TPM_AK_ECC_P256);
    swtpm_power_cycle(chip);
    const struct tpm_clock caught_up = quoted_now(TPM_AK_ECC_P256);
    goes_on(&before, &caught_up); /* which nobody can tell */
}

static void
N49_a_suspend_is_counted(void **state)
{
    (void)state;
    const struct tpm_clock before = quoted_now(TPM_AK_ECC_P256);
    shell("tpm2_shutdown");
    swtpm_power_off(chip);
    swtpm_power_on_bare(chip);
    shell("tpm2_startup");
    const struct tpm_clock after = quoted_now(TPM_AK_ECC_P256);
    assert_int_equal(after.reset_count, before.reset_count);
    assert_int_equal(after.restart_count - before.restart_count, 1);
    goes_on(&before, &after);
    assert_code(tpm_clock_check(&after, &before, NULL), ST_PERMISSION_DENIED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(N15_power_cuts_turn_nothing_back),
        cmocka_unit_test(N15_each_AK_has_numbers_of_its_own_and_they_stay),
        cmocka_unit_test(N15_a_TPM_that_came_back_from_a_snapshot_is_behind),
        cmocka_unit_test(N49_a_suspend_is_counted),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
