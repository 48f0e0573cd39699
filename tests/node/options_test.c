/* What an operator may type, and what is said to what he may not; how long a node waits.
 */
#include "node/options.h"
#include "node/retry.h"
#include "tests/cmocka.h"

#include <stdlib.h>
#include <string.h>

enum {
    WORDS_MAX = 100
};

static enum st_code
read_words(const char *const *words, struct options *out, struct st_err *err)
{
    char *argv[WORDS_MAX + 2] = {(char *)"smalltown-node"};
    int argc = 1;
    for (; words[argc - 1]; argc++)
        argv[argc] = (char *)words[argc - 1];
    return options_read(argc, argv, out, err);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define GOOD                                                                             \
    "run", "--esp", "/efi", "--tpm", "device:/dev/tpmrm0", "--address", "192.0.2.7",     \
        "--data-volume", "none"
#define RECOVER "recover", "--esp", "/efi", "--tpm", "t", "--data-volume", "/v"
#define MASTERS "masters", "--esp", "/efi", "--master", "::1"

static void
the_volume_of_a_key_is_all_that_is_needed(void **state)
{
    (void)state;
    struct options options;
    struct st_err err = {0};
    assert_ok(read_words(WORDS("crypttab-key", "vault"), &options, &err));
    assert_string_equal(options.crypttab_volume, "vault");
}

static void
a_good_command_line_is_understood(void **state)
{
    (void)state;
    struct options options;
    struct st_err err = {0};
    assert_ok(read_words(WORDS(GOOD, "--ak=rsa", "--bootstrap", "town", "--master-data",
                               "/m", "--admin-cert", "a.pem", "--admin-cert", "b.pem"),
                         &options, &err));
    assert_string_equal(options.esp, "/efi");
    assert_string_equal(options.tcti, "device:/dev/tpmrm0");
    assert_int_equal(options.address.len, 4);
    assert_int_equal(options.ak, TPM_AK_RSA_2048);
    assert_string_equal(options.bootstrap, "town");
    assert_int_equal(options.admin_cert_count, 2);
    assert_string_equal(options.admin_certs[1], "b.pem");
    assert_ok(read_words(WORDS(GOOD), &options, &err));
    assert_int_equal(options.ak, TPM_AK_ECC_P256);
    assert_int_equal(options.encryption, DISK_AUTHENTICATED);
    assert_ok(read_words(WORDS(GOOD, "--encryption", "xts"), &options, &err));
    assert_int_equal(options.encryption, DISK_XTS);
    assert_ok(read_words(WORDS(GOOD, "--encryption=authenticated"), &options, &err));
    assert_int_equal(options.encryption, DISK_AUTHENTICATED);
    assert_null(options.bootstrap);
    assert_null(options.recovery_terminal);
    assert_false(options.no_recovery || options.recover);
    assert_ok(read_words(WORDS(GOOD, "--recovery-key", "none"), &options, &err));
    assert_true(options.no_recovery);
    assert_null(options.recovery_terminal);
    assert_ok(read_words(WORDS(GOOD, "--recovery-key=/dev/tty1"), &options, &err));
    assert_string_equal(options.recovery_terminal, "/dev/tty1");
    assert_ok(read_words(WORDS("recover", "--esp", "/efi", "--tpm", "device:/dev/tpmrm0",
                               "--data-volume", "/dev/vda3"),
                         &options, &err));
    assert_true(options.recover);
    assert_null(options.control);
    assert_ok(
        read_words(WORDS("recover", "--esp", "/efi", "--tpm", "device:/dev/tpmrm0",
                         "--data-volume", "/dev/vda3", "--control-volume=/dev/vda2"),
                   &options, &err));
    assert_string_equal(options.control, "/dev/vda2");
    assert_ok(read_words(WORDS(GOOD, "--data-volume", "/dev/vda3", "--master-data", "/m",
                               "--control-volume", "/dev/vda2"),
                         &options, &err));
    assert_string_equal(options.control, "/dev/vda2");
    assert_false(options.masters);
    assert_ok(read_words(WORDS("masters", "--esp", "/efi", "--master", "192.0.2.1",
                               "--master=2001:db8::2"),
                         &options, &err));
    assert_true(options.masters);
    assert_false(options.recover);
    assert_int_equal(options.masters_now_count, 2);
    assert_int_equal(options.masters_now[0].bytes[3], 1);
    assert_int_equal(options.masters_now[1].len, 16);
    assert_ok(read_words(WORDS("--help"), &options, &err));
    assert_true(options.help);
    assert_ok(read_words(WORDS("--version"), &options, &err));
    assert_true(options.version);
}

static void
every_slip_gets_a_sentence(void **state)
{
    (void)state;
    const struct {
        const char *const *words;
        const char *says;
    } slips[] = {
        {(const char *const[]){NULL}, "what shall it do"},
        {WORDS("rnu"), "there is no 'rnu'"},
        {WORDS("run"), "needs --esp DIR"},
        {WORDS("run", "--esp", "/efi"), "needs --tpm TCTI"},
        {WORDS("run", "--esp"), "--esp needs a value"},
        {WORDS(GOOD, "more"), "'more' is one word too many"},
        {WORDS("crypttab-key"), "takes the name of a volume"},
        {WORDS("crypttab-key", ""), "takes the name of a volume"},
        {WORDS("crypttab-key", "vault", "more"), "takes the name of a volume"},
        {WORDS("crypttab-key", "--esp", "/efi", "vault"), "takes the name of a volume"},
        {WORDS(GOOD, "--edp", "x"), "no option '--edp'"},
        {WORDS(GOOD, "-x"), "no option '-x'"},
        {WORDS(GOOD, "--ak", "ed25519"), "ecc or rsa, not 'ed25519'"},
        {WORDS(GOOD, "--encryption", "none"), "authenticated or xts, not 'none'"},
        {WORDS(GOOD, "--bootstrap", "town"), "needs --master-data"},
        {WORDS(GOOD, "--bootstrap", "../x", "--master-data", "/m"), "--bootstrap"},
        {WORDS(GOOD, "--admin-cert", "a.pem"), "goes with --bootstrap"},
        {WORDS(GOOD, "--recovery-key", ""), "--recovery-key is a terminal, or none"},
        {WORDS(GOOD, "--control-volume", "/dev/vda2"), "needs --master-data DIR, where"},
        {WORDS(GOOD, "--control-volume", "", "--master-data", "/m"), "PATH needs"},
        {WORDS(GOOD, "--data-volume", "none", "--control-volume", "/dev/vda2",
               "--master-data", "/m"),
         "its recovery key opens both"},
        {WORDS("recover"), "smalltown-node recover needs --esp DIR"},
        {WORDS("recover", "--esp", "/efi", "--tpm", "t"), "needs --data-volume"},
        {WORDS("recover", "--esp", "/efi", "--tpm", "t", "--data-volume", "none"),
         "nothing to recover"},
        {WORDS(RECOVER, "--address", "::1"), "recover does not take --address"},
        {WORDS(RECOVER, "--bootstrap", "x"), "recover does not take --bootstrap"},
        {WORDS(RECOVER, "--master-data", "x"), "recover does not take --master-data"},
        {WORDS(RECOVER, "--admin-cert", "x"), "recover does not take --admin-cert"},
        {WORDS(RECOVER, "--recovery-key", "x"), "recover does not take --recovery-key"},
        {WORDS(RECOVER, "--encryption", "authenticated"),
         "recover does not take --encryption"},
        {WORDS(RECOVER, "--ak", "rsa"), "recover does not take --ak"},
        {WORDS(RECOVER, "--master", "::1"), "recover does not take --master"},
        {WORDS("masters"), "smalltown-node masters needs --esp DIR"},
        {WORDS("masters", "--esp", "/efi"), "masters needs --master IP"},
        {WORDS("masters", "--esp", "/efi", "--master", "192.0.2"), "--master"},
        {WORDS("masters", "--esp", "/efi", "--master", "0.0.0.0"), "no host has that"},
        {WORDS(MASTERS, "--master", "::1"), "comes twice"},
        {WORDS(MASTERS, "--tpm", "t"), "masters does not take --tpm"},
        {WORDS(MASTERS, "--address", "::1"), "masters does not take --address"},
        {WORDS(MASTERS, "--data-volume", "/v"), "masters does not take --data-volume"},
        {WORDS(MASTERS, "--control-volume", "/v"),
         "masters does not take --control-volume"},
        {WORDS(MASTERS, "--bootstrap", "x"), "masters does not take --bootstrap"},
        {WORDS(MASTERS, "--master-data", "x"), "masters does not take --master-data"},
        {WORDS(MASTERS, "--admin-cert", "x"), "masters does not take --admin-cert"},
        {WORDS(MASTERS, "--recovery-key", "x"), "masters does not take --recovery-key"},
        {WORDS(MASTERS, "--encryption=authenticated"),
         "masters does not take --encryption"},
        {WORDS(MASTERS, "--ak", "ecc"), "masters does not take --ak"},
        {WORDS(GOOD, "--master", "::1"), "run does not take --master"},
        {WORDS(GOOD, "--master-data", ""), "needs a folder"},
        {WORDS(GOOD, "--address", "192.0.2"), "--address"},
        {WORDS(GOOD, "--address", "192.0.2.7:7835"), "--address"},
        {WORDS(GOOD, "--esp", ""), "needs --esp DIR"},
    };
    for (size_t i = 0; i < sizeof(slips) / sizeof(*slips); i++) {
        struct options options;
        struct st_err err = {0};
        assert_code(read_words(slips[i].words, &options, &err), ST_INVALID_ARGUMENT);
        if (!strstr(err.text, slips[i].says))
            fail_msg("'%s' does not say '%s'", err.text, slips[i].says);
    }
}

static void
the_help_fits_into_80_columns(void **state)
{
    (void)state;
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    FILE *help = tmpfile();
    assert_non_null(help);
    options_help(help);
    rewind(help);
    while ((len = getline(&line, &size, help)) > 0)
        if (len > 80 + 1)
            fail_msg("%zd columns: %s", len - 1, line);
    free(line);
    fclose(help);
}

static void
a_wait_grows_is_spread_and_is_bounded(void **state)
{
    (void)state;
    const struct retry retry = {.first_ms = 1000, .max_ms = 30000};
    uint32_t least = UINT32_MAX, most = 0;
    for (uint32_t n = 1; n < 100; n++) {
        uint32_t full = n > 5 ? 30000 : 1000u << (n - 1);
        uint32_t delay = retry_delay(&retry, n, 0);
        assert_true(delay >= full / 2 && delay <= full);
        if (n > 5) {
            least = delay < least ? delay : least;
            most = delay > most ? delay : most;
        }
    }
    assert_true(most - least > 5000);
    assert_true(retry_delay(&retry, UINT32_MAX, 0) <= 30000);
}

static void
a_hint_is_never_undercut(void **state)
{
    (void)state;
    const struct retry retry = {.first_ms = 1000, .max_ms = 30000};
    for (int i = 0; i < 100; i++) {
        uint32_t delay = retry_delay(&retry, 1, 40000);
        assert_true(delay >= 40000 && delay <= 50000);
        delay = retry_delay(&retry, 1, UINT32_MAX);
        assert_true(delay >= 600000 && delay <= 750000);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_command_line_is_understood),
        cmocka_unit_test(the_volume_of_a_key_is_all_that_is_needed),
        cmocka_unit_test(every_slip_gets_a_sentence),
        cmocka_unit_test(the_help_fits_into_80_columns),
        cmocka_unit_test(a_wait_grows_is_spread_and_is_bounded),
        cmocka_unit_test(a_hint_is_never_undercut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
