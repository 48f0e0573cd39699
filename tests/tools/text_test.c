/* How an administrator writes durations, counts and ids, and how he reads tables. */
#include "proto/ident.h"
#include "proto/scope.h"
#include "tests/cmocka.h"
#include "tools/config.h"
#include "tools/stctl.h"
#include "tools/table.h"
#include "tools/text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void
a_duration_is_a_number_and_a_unit(void **state)
{
    (void)state;
    struct st_err err = {0};
    uint64_t ms;
    assert_ok(text_duration("--expires", "24h", &ms, &err));
    assert_int_equal(ms, 86400000);
    assert_ok(text_duration("--expires", "500ms", &ms, &err));
    assert_int_equal(ms, 500);
    assert_ok(text_duration("--expires", "3650d", &ms, &err));
    const char *bad[] = {"",      "24",    "h",     "0s",
                         "-1h",   "1.5h",  "24 h",  "24hh",
                         "3651d", "1h30m", "+24h",  "99999999999999999999d",
                         " 24h",  "24H",   "1e3ms", "18446744073709551615ms"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_code(text_duration("--expires", bad[i], &ms, NULL), ST_INVALID_ARGUMENT);
}

static void
a_count_is_a_whole_number_in_its_range(void **state)
{
    (void)state;
    struct st_err err = {0};
    uint32_t count;
    assert_ok(text_count("--uses", "100", 100, &count, &err));
    assert_int_equal(count, 100);
    const char *bad[] = {"", "0", "101", "-1", "1x", " 1", "0x10", "4294967297"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_code(text_count("--uses", bad[i], 100, &count, NULL), ST_INVALID_ARGUMENT);
}

static void
a_node_is_named_by_the_beginning_of_its_id(void **state)
{
    (void)state;
    struct st_err err = {0};
    char prefix[NODE_ID_LEN + 1];
    assert_ok(text_node_prefix("DEAD", prefix, &err));
    assert_string_equal(prefix, "smalltown-dead");
    assert_ok(text_node_prefix("smalltown-dead0", prefix, &err));
    assert_string_equal(prefix, "smalltown-dead0");
    assert_ok(text_node_prefix("00112233445566778899aabbccddeeff", prefix, &err));
    assert_int_equal(strlen(prefix), NODE_ID_LEN);
    const char *bad[] = {"",           "dea",   "smalltown-",
                         "smalltown-", "../..", "00112233445566778899aabbccddeeff0",
                         "dead beef",  "nodes", "dead\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_code(text_node_prefix(bad[i], prefix, NULL), ST_INVALID_ARGUMENT);
}

static void
an_age_is_told_in_its_largest_unit(void **state)
{
    (void)state;
    const struct {
        int64_t from, to;
        const char *text;
    } cases[] = {
        {1000, 1000, "0s"},
        {1000, 1090, "90s"},
        {1000, 1300, "5m"},
        {1000, 1000 + 9000, "2h"},
        {1000, 1000 + 40 * 86400, "40d"},
        {0, 1000, "-"},
        {1000, 0, "-"},
        {1000, 900, "0s"}, /* clocks differ */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char age[TEXT_AGE_MAX];
        text_age(cases[i].from, cases[i].to, age);
        assert_string_equal(age, cases[i].text);
    }
}

static void
what_has_expired_is_said_to_have(void **state)
{
    (void)state;
    char text[TEXT_AGE_MAX];
    text_expires(1000, 1001, text);
    assert_string_equal(text, "1s");
    text_expires(1000, 1000, text);
    assert_string_equal(text, "expired");
    text_expires(1000, 0, text);
    assert_string_equal(text, "-");
}

static void
a_fingerprint_fits_as_people_write_it(void **state)
{
    (void)state;
    char sha256[TEXT_SHA256_MAX], typed[128] = "SHA256:";
    text_sha256("abc", 3, sha256);
    assert_string_equal(sha256,
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f"
                        "20015ad");
    assert_true(text_is_sha256(sha256, sha256));
    for (int i = 0; i < 32; i++)
        sprintf(typed + strlen(typed), "%s%c%c", i ? ":" : "", toupper(sha256[2 * i]),
                sha256[2 * i + 1]);
    assert_true(text_is_sha256(typed, sha256));
    typed[strlen(typed) - 1] ^= 1;
    assert_false(text_is_sha256(typed, sha256));
    assert_false(text_is_sha256("", sha256));
    assert_false(text_is_sha256("ba78", sha256));
    typed[strlen(typed) - 1] ^= 1;
    strcat(typed, "0");
    assert_false(text_is_sha256(typed, sha256));
}

static void
print_into(char *out, size_t size, const struct table *table, size_t width)
{
    FILE *file = fmemopen(out, size, "w");
    assert_non_null(file);
    table_print(table, file, width);
    fclose(file);
}

static void
a_digest_is_in_hex_or_a_dash(void **state)
{
    (void)state;
    uint8_t bytes[SHA256_LEN + 1] = {0x0a, 0xff};
    char hex[TEXT_SHA256_MAX];
    assert_true(text_hex(&(ProtobufCBinaryData){SHA256_LEN, bytes}, hex));
    assert_int_equal(strlen(hex), 2 * SHA256_LEN);
    assert_memory_equal(hex, "0aff00", 6);
    for (size_t len = 0; len <= sizeof(bytes); len++)
        if (len != SHA256_LEN) {
            assert_false(text_hex(&(ProtobufCBinaryData){len, bytes}, hex));
            assert_string_equal(hex, "-");
        }
}

static void
a_table_of_nodes_fits_80_columns(void **state)
{
    (void)state;
    char out[1024] = "";
    AUTO(table_freep)
    struct table *table =
        table_new(4, (const char *[]){"NODE", "STATE", "AGE", "ADDRESS"});
    table_row(table, (const char *[]){"smalltown-00112233445566778899aabbccddeeff",
                                      "registered", "119s", "255.255.255.255"});
    print_into(out, sizeof(out), table, 80);
    assert_null(strchr(out, '~'));
    for (char *line = strtok(out, "\n"); line; line = strtok(NULL, "\n"))
        assert_true(strlen(line) <= 80);
}

static void
only_a_terminal_cuts_the_last_column(void **state)
{
    (void)state;
    char out[1024] = "";
    AUTO(table_freep) struct table *table = table_new(2, (const char *[]){"A", "B"});
    table_row(table, (const char *[]){"one", "2001:db8:1111:2222:3333:4444:5555:6666"});
    print_into(out, sizeof(out), table, 0);
    assert_non_null(strstr(out, "one  2001:db8:1111:2222:3333:4444:5555:6666\n"));
    print_into(out, sizeof(out), table, 20);
    assert_non_null(strstr(out, "one  2001:db8:1111:~\n"));
}

static void
N35_a_cell_cannot_steer_the_terminal(void **state)
{
    (void)state;
    char out[256] = "";
    AUTO(table_freep) struct table *table = table_new(2, (const char *[]){"A", "B"});
    table_row(table, (const char *[]){"a\x1b[2J\nb", ""});
    print_into(out, sizeof(out), table, 0);
    assert_non_null(strstr(out, "a?[2J?b  -\n"));
}

static void
a_slip_of_the_finger_is_understood(void **state)
{
    (void)state;
    const char *words[] = {"list", "show", "adopt", "remove"};
    char guess[64];
    suggest_word("lst", words, 4, guess, sizeof(guess));
    assert_string_equal(guess, ", did you mean 'list'?");
    suggest_word("adpot", words, 4, guess, sizeof(guess));
    assert_string_equal(guess, ", did you mean 'adopt'?");
    suggest_word("frobnicate", words, 4, guess, sizeof(guess));
    assert_string_equal(guess, "");
    char typed[200];
    memset(typed, 'x', sizeof(typed) - 1);
    typed[sizeof(typed) - 1] = 0;
    suggest_word(typed, words, 4, guess, sizeof(guess));
    assert_string_equal(guess, "");
}

static void
addresses_are_a_list_with_commas(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct context context = {0};
    char text[256];
    assert_ok(config_addresses_parse("192.0.2.1,2001:db8::1", &context, &err));
    assert_int_equal(context.address_count, 2);
    config_addresses_format(&context, text, sizeof(text));
    assert_string_equal(text, "192.0.2.1,2001:db8::1");
    const char *bad[] = {"",         ",", "192.0.2.1,", ",192.0.2.1", "192.0.2.1:7833",
                         "localhost"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_code(config_addresses_parse(bad[i], &context, NULL), ST_INVALID_ARGUMENT);
}

static void
every_code_has_the_exit_status_of_the_manual(void **state)
{
    (void)state;
    const struct {
        enum st_code code;
        int status;
    } cases[] = {
        {ST_OK, 0},
        {ST_INTERNAL, 1},
        {ST_DATA_LOSS, 1},
        {ST_UNIMPLEMENTED, 1},
        {ST_INVALID_ARGUMENT, 2},
        {ST_NOT_FOUND, 3},
        {ST_PERMISSION_DENIED, 4},
        {ST_UNAUTHENTICATED, 4},
        {ST_UNAVAILABLE, 5},
        {ST_DEADLINE_EXCEEDED, 5},
        {ST_RESOURCE_EXHAUSTED, 6}, /* full */
        {ST_ALREADY_EXISTS, 6},
        {ST_FAILED_PRECONDITION, 6},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_int_equal(exit_status(&(struct st_err){.code = cases[i].code}),
                         cases[i].status);
    const struct st_err busy = {.code = ST_RESOURCE_EXHAUSTED, .retry_ms = 900};
    assert_int_equal(exit_status(&busy), 5);
    assert_int_equal(exit_status(&(struct st_err){.code = (enum st_code)99}), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_duration_is_a_number_and_a_unit),
        cmocka_unit_test(a_count_is_a_whole_number_in_its_range),
        cmocka_unit_test(a_node_is_named_by_the_beginning_of_its_id),
        cmocka_unit_test(an_age_is_told_in_its_largest_unit),
        cmocka_unit_test(what_has_expired_is_said_to_have),
        cmocka_unit_test(a_fingerprint_fits_as_people_write_it),
        cmocka_unit_test(a_digest_is_in_hex_or_a_dash),
        cmocka_unit_test(a_table_of_nodes_fits_80_columns),
        cmocka_unit_test(only_a_terminal_cuts_the_last_column),
        cmocka_unit_test(N35_a_cell_cannot_steer_the_terminal),
        cmocka_unit_test(a_slip_of_the_finger_is_understood),
        cmocka_unit_test(addresses_are_a_list_with_commas),
        cmocka_unit_test(every_code_has_the_exit_status_of_the_manual),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
