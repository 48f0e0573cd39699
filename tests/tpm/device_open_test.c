/* A TPM is opened whatever its last user left behind. */
#include "proto/scope.h"
#include "tests/cmocka.h"
#include "tests/tpm/swtpm.h"
#include "tpm/device.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct swtpm *chip;

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

static void
where_no_tpm_answers_opening_is_unavailable(void **state)
{
    (void)state;
    struct tpm *tpm = NULL;
    assert_code(tpm_open("swtpm:path=/tmp/no-such-socket", &tpm, NULL), ST_UNAVAILABLE);
    assert_code(tpm_open("device:/dev/null", &tpm, NULL), ST_UNAVAILABLE);
    assert_code(tpm_open("no-such-tcti:", &tpm, NULL), ST_UNAVAILABLE);
    assert_null(tpm);
    tpm_close(NULL);
}

static void
a_tpm_that_nobody_started_is_started(void **state)
{
    (void)state;
    swtpm_power_off(chip);
    swtpm_power_on_bare(chip);
    for (int i = 0; i < 2; i++) {
        AUTO(tpm_closep) struct tpm *tpm = NULL;
        struct st_err err = {0};
        struct tpm_pcrs pcrs;
        assert_ok(tpm_open(swtpm_tcti(chip), &tpm, &err));
        assert_ok(tpm_pcrs_read(tpm, &pcrs, &err));
    }
}

static void
what_a_killed_client_left_loaded_is_flushed(void **state)
{
    (void)state;
    assert_int_equal(swtpm_shell(chip,
                                 "for i in 1 2 3; do tpm2_startauthsession -S s$i && "
                                 "tpm2_createprimary -C n -G ecc -c p$i || exit 1; "
                                 "done; ! tpm2_createprimary -C n -G ecc -c p4"),
                     0);
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    struct st_err err = {0};
    assert_ok(tpm_open(swtpm_tcti(chip), &tpm, &err));
    tpm_closep(&tpm);
    tpm = NULL;
    assert_int_equal(swtpm_shell(chip, "test -z \"$(tpm2_getcap handles-transient; "
                                       "tpm2_getcap handles-loaded-session)\""),
                     0);
}

/* Our own client this time, killed between its commands. */
static void
a_client_may_be_killed_at_any_moment(void **state)
{
    (void)state;
    for (int delay_ms = 1; delay_ms < 60; delay_ms += 4) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (!pid) {
            struct tpm *tpm;
            struct tpm_sealed sealed;
            struct secret secret = {.len = 32};
            alarm(60);
            if (tpm_open(swtpm_tcti(chip), &tpm, NULL))
                _exit(1);
            while (tpm_seal(tpm, &secret, 1, &sealed, NULL) == ST_OK)
                ;
            _exit(1);
        }
        usleep((useconds_t)delay_ms * 1000);
        kill(pid, SIGKILL);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        AUTO(tpm_closep) struct tpm *tpm = NULL;
        struct st_err err = {0};
        struct tpm_sealed sealed;
        struct secret secret = {.len = 32}, opened;
        assert_ok(tpm_open(swtpm_tcti(chip), &tpm, &err));
        assert_ok(tpm_seal(tpm, &secret, 1 << 7, &sealed, &err));
        assert_ok(tpm_unseal(tpm, &sealed, &opened, &err));
    }
}

static void
an_extended_pcr_is_read_and_starts_from_zero_again(void **state)
{
    (void)state;
    swtpm_power_cycle(chip);
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    struct st_err err = {0};
    struct tpm_pcrs before, after;
    const uint8_t measured[SHA256_LEN] = {1, 2, 3};
    assert_ok(tpm_open(swtpm_tcti(chip), &tpm, &err));
    assert_ok(tpm_pcrs_read(tpm, &before, &err));
    assert_ok(tpm_pcr_extend(tpm, 12, measured, &err));
    assert_ok(tpm_pcrs_read(tpm, &after, &err));
    assert_code(tpm_pcr_extend(tpm, TPM_PCR_COUNT, measured, NULL), ST_INVALID_ARGUMENT);
    for (int i = 0; i < TPM_PCR_COUNT; i++)
        assert_int_equal(!memcmp(before.digest[i], after.digest[i], SHA256_LEN), i != 12);
    /* SHA-256 over the old value, 32 zeros, and 01 02 03 00... */
    tpm_closep(&tpm);
    tpm = NULL;
    swtpm_put(chip, "after", after.digest[12], SHA256_LEN);
    assert_int_equal(swtpm_shell(chip, "{ head -c 32 /dev/zero; printf '\\1\\2\\3'; "
                                       "head -c 29 /dev/zero; } | openssl dgst -sha256 "
                                       "-binary | cmp - after"),
                     0);
    swtpm_power_cycle(chip);
    assert_ok(tpm_open(swtpm_tcti(chip), &tpm, &err));
    assert_ok(tpm_pcrs_read(tpm, &after, &err));
    assert_memory_equal(&before, &after, sizeof(before));
}

static void
without_the_sha256_bank_there_is_nothing_to_attest(void **state)
{
    (void)state;
    struct swtpm *other = swtpm_make(NULL);
    assert_int_equal(swtpm_shell(other, "tpm2_pcrallocate sha1:all+sha256:none"), 0);
    swtpm_power_cycle(other);
    struct tpm *tpm;
    struct st_err err = {0};
    struct tpm_pcrs pcrs;
    assert_ok(tpm_open(swtpm_tcti(other), &tpm, &err));
    assert_code(tpm_pcrs_read(tpm, &pcrs, &err), ST_FAILED_PRECONDITION);
    tpm_close(tpm);
    swtpm_free(other);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_no_tpm_answers_opening_is_unavailable),
        cmocka_unit_test(a_tpm_that_nobody_started_is_started),
        cmocka_unit_test(what_a_killed_client_left_loaded_is_flushed),
        cmocka_unit_test(a_client_may_be_killed_at_any_moment),
        cmocka_unit_test(an_extended_pcr_is_read_and_starts_from_zero_again),
        cmocka_unit_test(without_the_sha256_bank_there_is_nothing_to_attest),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
