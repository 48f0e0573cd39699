/* The command line of smalltown-nms. */
#include "nms/arguments.h"
#include "tests/cmocka.h"

#include <string.h>

#define WORDS(...) ((const char *const[]){"smalltown-nms", __VA_ARGS__, NULL})
#define TODAY(date) WORDS("recover", "--data", "/m", "--yes", "--today", date)
#define JOIN "join", "--data", "/m", "--address", "192.0.2.7"

static enum st_code
read_words(const char *const *words, struct arguments *out, struct st_err *err)
{
    int count = 0;
    while (words[count])
        count++;
    return arguments_read(count, (char **)words, out, err);
}

static void
a_good_command_line_is_understood(void **state)
{
    (void)state;
    struct arguments arguments;
    struct st_err err = {0};
    assert_ok(read_words(WORDS("init", "--data", "/m", "--name", "town", "--address",
                               "::1", "--admin-cert", "a.pem", "--policy", "p.json",
                               "--admin-cert", "b.pem"),
                         &arguments, &err));
    assert_int_equal(arguments.command, COMMAND_INIT);
    assert_string_equal(arguments.init.name, "town");
    assert_string_equal(arguments.init.policy, "p.json");
    assert_int_equal(arguments.init.address.len, 16);
    assert_int_equal(arguments.init.admin_count, 2);
    assert_string_equal(arguments.init.admins[1].file, "b.pem");
    assert_int_equal(arguments.init.admins[1].role, STATE__ADMIN_ROLE__ADMIN);
    assert_ok(read_words(WORDS(JOIN, "--ticket", "t"), &arguments, &err));
    assert_int_equal(arguments.command, COMMAND_JOIN);
    assert_string_equal(arguments.ticket, "t");
    assert_false(arguments.certificates);
    assert_int_equal(arguments.init.address.bytes[3], 7);
    assert_ok(read_words(WORDS(JOIN, "--certificates", "-"), &arguments, &err));
    assert_null(arguments.ticket);
    assert_true(arguments.certificates);
    assert_ok(read_words(WORDS("run", "--data", "/m"), &arguments, &err));
    assert_int_equal(arguments.command, COMMAND_RUN);
    assert_string_equal(arguments.init.dir, "/m");
    assert_false(arguments.yes);
    assert_int_equal(arguments.init.address.len, 0);
    assert_ok(read_words(WORDS("run", "--data", "/m", "--address", "192.0.2.9"),
                         &arguments, &err));
    assert_int_equal(arguments.init.address.bytes[3], 9);
    assert_int_equal(arguments.master_count, 0);
    assert_ok(read_words(
        WORDS("run", "--master", "::1", "--data", "/m", "--master", "192.0.2.8"),
        &arguments, &err));
    assert_string_equal(arguments.init.dir, "/m");
    assert_int_equal(arguments.master_count, 2);
    assert_int_equal(arguments.masters[0].len, 16);
    assert_int_equal(arguments.masters[1].bytes[3], 8);
    assert_ok(read_words(
        WORDS("move", "--member", "2=::1", "--data", "/m", "--member", "1=192.0.2.1"),
        &arguments, &err));
    assert_int_equal(arguments.command, COMMAND_MOVE);
    assert_string_equal(arguments.init.dir, "/m");
    assert_int_equal(arguments.place_count, 2);
    assert_int_equal(arguments.places[0].id, 2);
    assert_int_equal(arguments.places[0].address.len, 16);
    assert_int_equal(arguments.places[1].id, 1);
    assert_ok(read_words(WORDS("move", "--data", "/m"), &arguments, &err));
    assert_int_equal(arguments.place_count, 0);
    assert_ok(read_words(WORDS("recover", "--yes", "--data", "/m"), &arguments, &err));
    assert_int_equal(arguments.command, COMMAND_RECOVER);
    assert_true(arguments.yes);
    assert_int_equal(arguments.today, 0);
    assert_string_equal(arguments.init.dir, "/m");
    assert_ok(read_words(TODAY("2026-03-01"), &arguments, &err));
    assert_true(arguments.yes);
    assert_int_equal(arguments.today, 1772323200);
    assert_ok(read_words(WORDS("--version"), &arguments, &err));
    assert_int_equal(arguments.command, COMMAND_VERSION);
    assert_ok(read_words(WORDS("join", "--help"), &arguments, &err));
    assert_int_equal(arguments.command, COMMAND_HELP);
}

static void
masters_may_be_at_as_many_places_as_a_list_has(void **state)
{
    (void)state;
    const char *words[3 + 2 * (ADDRESSES_MAX + 1) + 1] = {"smalltown-nms", "run",
                                                          "--data", "/m"};
    struct arguments arguments;
    struct st_err err = {0};
    for (size_t i = 0; i < ADDRESSES_MAX; i++) {
        words[4 + 2 * i] = "--master";
        words[5 + 2 * i] = "192.0.2.1";
    }
    assert_ok(read_words(words, &arguments, &err));
    assert_int_equal(arguments.master_count, ADDRESSES_MAX);
    const char *more[sizeof(words) / sizeof(*words) + 2];
    memcpy(more, words, sizeof(words));
    more[4 + 2 * ADDRESSES_MAX] = "--master";
    more[5 + 2 * ADDRESSES_MAX] = "192.0.2.1";
    more[6 + 2 * ADDRESSES_MAX] = NULL;
    assert_code(read_words(more, &arguments, &err), ST_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "at most 32 times"));
}

static void
every_slip_gets_a_sentence(void **state)
{
    (void)state;
    const struct {
        const char *const *words, *says;
    } slips[] = {
        {(const char *const[]){"smalltown-nms", NULL},
         "say init, join, run, move or recover"},
        {WORDS("rnu"), "no such command: rnu"},
        {WORDS("run"), "--data is missing"},
        {WORDS("run", "--data", "/m", "--yes"), "run does not know --yes"},
        {WORDS("recover", "--data", "/m", "--address", "::1"), "does not know --address"},
        {WORDS("run", "--data", "/m", "--today", "2026-03-01"), "not know --today"},
        {WORDS("recover", "--data", "/m", "--today"), "wants a value: --today"},
        {TODAY("1.3.2026"), "wants YYYY-MM-DD"},
        {TODAY("2026-03-01Z"), "wants YYYY-MM-DD"},
        {TODAY("2026-02-31"), "no such day"},
        {TODAY("1970-01-01"), "no clock is right"},
        {WORDS("recover", "--data", "/m", "--today", "2026-03-01"), "goes with --yes"},
        {WORDS("run", "--data"), "wants a value: --data"},
        {WORDS("run", "--data", ""), "wants a value: --data"},
        {WORDS("run", "--data", "/m", "--data", "/n"), "given twice: --data"},
        {WORDS("run", "--data", "/m", "--address", "1.2"), "1.2"},
        {WORDS("run", "--data", "/m", "--member", "1=::1"), "run does not know --member"},
        {WORDS("run", "--data", "/m", "--master"), "wants a value: --master"},
        {WORDS("run", "--data", "/m", "--master", "town"), "town"},
        {WORDS("run", "--data", "/m", "--master", "224.0.0.1"), "no host has that"},
        {WORDS("run", "--master", "::1"), "--data is missing"},
        {WORDS("move", "--data", "/m", "--master", "::1"), "does not know --master"},
        {WORDS("move", "--member", "1=::1"), "--data is missing"},
        {WORDS("move", "--data", "/m", "--address", "::1"), "does not know --address"},
        {WORDS("move", "--data", "/m", "--member"), "--member wants ID=IP"},
        {WORDS("move", "--data", "/m", "--member", "::1"), "--member wants ID=IP"},
        {WORDS("move", "--data", "/m", "--member", "=::1"), "--member wants ID=IP"},
        {WORDS("move", "--data", "/m", "--member", "0=::1"), "--member wants ID=IP"},
        {WORDS("move", "--data", "/m", "--member", "-1=::1"), "--member wants ID=IP"},
        {WORDS("move", "--data", "/m", "--member", "1x=::1"), "no number of a master"},
        {WORDS("move", "--data", "/m", "--member", "99999999999999999999=::1"),
         "no number of a master"},
        {WORDS("move", "--data", "/m", "--member", "1=town"), "town"},
        {WORDS("move", "--data", "/m", "--member", "1=::1", "--member", "2=::2",
               "--member", "3=::3", "--member", "4=::4", "--member", "5=::5", "--member",
               "6=::6", "--member", "7=::7", "--member", "8=::8", "--member", "9=::9",
               "--member", "10=::a"),
         "at most 9 times"},
        {WORDS("run", "--data", "/m", "more"), "run does not know more"},
        {WORDS("init", "--data", "/m", "--address", "::1"), "--name is missing"},
        {WORDS("init", "--data", "/m", "--name", "town"), "--address is missing"},
        {WORDS("init", "--data", "/m", "--name", "../x", "--address", "::1"), "cluster"},
        {WORDS("init", "--data", "/m", "--name", "town", "--address", "1.2"), "1.2"},
        {WORDS("init", "--ticket", "t"), "init does not know --ticket"},
        {WORDS(JOIN), "--ticket is missing"},
        {WORDS(JOIN, "--name", "town"), "join does not know --name"},
        {WORDS(JOIN, "--ticket", "t", "--certificates", "-"), "not both"},
        {WORDS(JOIN, "--certificates", "file"), "--certificates is -"},
        {WORDS("join", "--data", "/m", "--ticket", "t"), "--address is missing"},
    };
    for (size_t i = 0; i < sizeof(slips) / sizeof(*slips); i++) {
        struct arguments arguments;
        struct st_err err = {0};
        assert_code(read_words(slips[i].words, &arguments, &err), ST_INVALID_ARGUMENT);
        if (!strstr(err.text, slips[i].says))
            fail_msg("'%s' does not say '%s'", err.text, slips[i].says);
    }
}

static void
the_help_fits_into_80_columns(void **state)
{
    (void)state;
    for (const char *line = arguments_usage; *line;) {
        const size_t len = strcspn(line, "\n");
        if (len > 80)
            fail_msg("%zu columns: %.*s", len, (int)len, line);
        line += len + (line[len] != 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_command_line_is_understood),
        cmocka_unit_test(masters_may_be_at_as_many_places_as_a_list_has),
        cmocka_unit_test(every_slip_gets_a_sentence),
        cmocka_unit_test(the_help_fits_into_80_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
