/* One decision is one line, whatever a stranger sends, and a cut line is none. */
#include "nms/audit_line.h"
#include "tests/cmocka.h"

#include <string.h>

#define NODE "smalltown-00112233445566778899aabbccddeeff"

/* Everything that there is. */
static struct audit_line
full(void)
{
    struct audit_line line = {
        .time_ms = 1769860800123,
        .number = 1769860800123456,
        .what = "unlock",
        .subject = NODE,
        .member = 3,
        .admin = "0123456789abcdef",
        .peer = "127.0.0.9:4711",
        .has_ek = true,
        .policy = 12,
        .more = 1204,
        .step = "vote",
        .approved = "no-set",
        .decision = ST_PERMISSION_DENIED,
        .reason = "PCR 4 differs from set \"blue\"",
    };
    for (size_t i = 0; i < SHA256_LEN; i++)
        line.ek[i] = (uint8_t)(i * 9);
    return line;
}

static void
a_line_reads_as_it_is_documented(void **state)
{
    (void)state;
    const struct audit_line line = full();
    char text[AUDIT_LINE_MAX], words[AUDIT_LINE_MAX];
    const size_t len = audit_line_format(&line, text);
    assert_string_equal(
        text,
        "2026-01-31T12:00:00.123Z 1769860800123456 unlock node=" NODE
        " member=3 admin=0123456789abcdef peer=127.0.0.9:4711 "
        "ek=0009121b242d363f48515a636c757e879099a2abb4bdc6cfd8e1eaf3fc050e17 policy=12 "
        "more=1204 step=vote approved=no-set decision=PERMISSION_DENIED "
        "reason=\"PCR 4 differs from set 'blue'\"\n");
    assert_int_equal(len, strlen(text));
    audit_line_words(&line, words);
    assert_non_null(strstr(text, words));
    assert_memory_equal(words, "node=", 5);
}

static void
what_is_not_known_is_left_out(void **state)
{
    (void)state;
    const struct st_err ok = {0};
    struct audit_line line;
    char text[AUDIT_LINE_MAX];
    audit_line_fill(&line, "set-policy", "4", "[::1]:9", &ok);
    line.number = 7;
    audit_line_format(&line, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z 7 set-policy name=4 "
                              "peer=[::1]:9 policy=0 decision=OK\n");
    audit_line_fill(&line, "join", "127.0.0.2", NULL, &ok);
    audit_line_words(&line, text);
    assert_string_equal(text, "address=127.0.0.2 policy=0 decision=OK");
    audit_line_fill(&line, "unlock", "?", NULL, &ok);
    audit_line_words(&line, text);
    assert_string_equal(text, "node=? policy=0 decision=OK");
}

static void
what_spoke_against_it_stands_before_the_decision(void **state)
{
    (void)state;
    const struct st_err ok = {0};
    struct audit_line line, again;
    char text[AUDIT_LINE_MAX];
    audit_line_fill(&line, "capture-boot", NODE, NULL, &ok);
    strcpy(line.reason, "PCR 4 differs from \"s1\" decision=OK");
    line.number = 7;
    const size_t len = audit_line_format(&line, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z 7 capture-boot node=" NODE
                              " policy=0 reason=\"PCR 4 differs from 's1' "
                              "decision=OK\" decision=OK\n");
    assert_true(audit_line_parse(text, len - 1, &again));
    assert_int_equal(again.decision, ST_OK);
    assert_string_equal(again.reason, "PCR 4 differs from 's1' decision=OK");
}

static void
what_was_written_is_read_again(void **state)
{
    (void)state;
    struct audit_line line = full(), again;
    char text[AUDIT_LINE_MAX], same[AUDIT_LINE_MAX];
    const size_t len = audit_line_format(&line, text);
    assert_true(audit_line_parse(text, len - 1, &again));
    assert_int_equal(audit_line_format(&again, same), len);
    assert_memory_equal(text, same, len);
    assert_int_equal(again.time_ms, line.time_ms);
    assert_int_equal(again.number, line.number);
    assert_int_equal(again.more, 1204);
    assert_int_equal(again.decision, ST_PERMISSION_DENIED);
    assert_memory_equal(again.ek, line.ek, SHA256_LEN);
    assert_int_equal(audit_line_number(text, len - 1), line.number);
}

/* With a reason as with none, whatever a crash leaves. */
static void
a_line_that_was_cut_anywhere_is_none(void **state)
{
    (void)state;
    struct audit_line lines[3] = {full(), full(), full()}, again;
    lines[1].decision = ST_OK;
    lines[2].decision = ST_OUT_OF_RANGE;
    for (size_t i = 0; i < 3; i++) {
        char text[AUDIT_LINE_MAX];
        const size_t len = audit_line_format(&lines[i], text);
        for (size_t cut = 0; cut < len - 1; cut++)
            assert_false(audit_line_parse(text, cut, &again));
        assert_true(audit_line_parse(text, len - 1, &again));
    }
}

static void
what_nobody_wrote_is_no_line(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "hello",
        "2026-01-31T12:00:00.123Z 7 unlock node=? policy=0 decision=OK ",
        "2026-01-31T12:00:00.123Z 7  unlock node=? policy=0 decision=OK",
        "2026-01-31T12:00:00.123Z 07 unlock node=? policy=0 decision=OK",
        "2026-01-31T12:00:00.123Z 0 unlock node=? policy=0 decision=OK",
        "2026-01-31T12:00:00.123Z 99999999999999999999 unlock policy=0 decision=OK",
        "2026-02-31T12:00:00.123Z 7 unlock node=? policy=0 decision=OK",
        "2026-01-31T12:00:00.123+ 7 unlock node=? policy=0 decision=OK",
        "2026-01-31T12:00:00.123Z 7 unlock policy=0 node=? decision=OK",
        "2026-01-31T12:00:00.123Z 7 unlock node=? node=? policy=0 decision=OK",
        "2026-01-31T12:00:00.123Z 7 unlock name=? policy=0 decision=OK",
        "2026-01-31T12:00:00.123Z 7 unlock node=? policy=0 decision=FINE",
        "2026-01-31T12:00:00.123Z 7 unlock node=? policy=0 decision=INTERNAL",
        "2026-01-31T12:00:00.123Z 7 unlock node=? policy=0 decision=OK reason=\"x\"",
        "2026-01-31T12:00:00.123Z 7 unlock node=? policy=0 reason=\"x\"decision=OK",
        "2026-01-31T12:00:00.123Z 7 unlock node=? policy=0 reason=\"\" decision=OK",
        "2026-01-31T12:00:00.123Z 7 unlock node=? policy=0 reason=\"x decision=OK",
        "2026-01-31T12:00:00.123Z 7 unlock node=? ek=0g policy=0 decision=OK",
        "2026-01-31T12:00:00.123Z 7 unlock node=? x=1 policy=0 decision=OK",
        "2026-01-31T12:00:00.123Z 7 unlock node=? policy=0",
    };
    static const char good[] =
        "2026-01-31T12:00:00.123Z 7 unlock node=? policy=0 decision=OK";
    struct audit_line line;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        assert_false(audit_line_parse(texts[i], strlen(texts[i]), &line));
    assert_true(audit_line_parse(good, sizeof(good) - 1, &line));
    assert_false(audit_line_parse(good, sizeof(good), &line)); /* with its NUL */
}

static void
N35_one_line_stays_one_line(void **state)
{
    (void)state;
    struct st_err err = {.code = ST_INVALID_ARGUMENT};
    struct audit_line line, again;
    char text[AUDIT_LINE_MAX];
    strcpy(err.text, "calls itself \"x\"\n2026 \x1b[2J \xc3\xbc\x7f decision=OK");
    audit_line_fill(&line, "enrol", "a b\nc=\"\xff", "1.2.3.4:5 decision=OK\n", &err);
    line.number = 7;
    const size_t len = audit_line_format(&line, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z 7 enrol name=a?b?c=?? "
                              "peer=1.2.3.4:5?decision=OK? policy=0 "
                              "decision=INVALID_ARGUMENT reason=\"calls itself 'x'?2026 "
                              "?[2J ??? decision=OK\"\n");
    assert_true(audit_line_parse(text, len - 1, &again));
    assert_int_equal(again.decision, ST_INVALID_ARGUMENT);
}

static void
N35_the_longest_line_has_room(void **state)
{
    (void)state;
    struct audit_line line = full(), again;
    char text[AUDIT_LINE_MAX];
    memset(line.what, 'w', sizeof(line.what) - 1);
    memset(line.subject, 's', sizeof(line.subject) - 1);
    memset(line.peer, 'p', sizeof(line.peer) - 1);
    memset(line.step, 't', sizeof(line.step) - 1);
    memset(line.approved, 'a', sizeof(line.approved) - 1);
    memset(line.reason, '"', sizeof(line.reason) - 1);
    line.number = line.member = line.policy = line.more = UINT64_MAX;
    line.time_ms = INT64_MAX;
    line.decision = ST_FAILED_PRECONDITION;
    const size_t len = audit_line_format(&line, text);
    assert_true(len < AUDIT_LINE_MAX);
    assert_true(audit_line_parse(text, len - 1, &again));
    assert_string_equal(again.subject, line.subject);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_reads_as_it_is_documented),
        cmocka_unit_test(what_is_not_known_is_left_out),
        cmocka_unit_test(what_spoke_against_it_stands_before_the_decision),
        cmocka_unit_test(what_was_written_is_read_again),
        cmocka_unit_test(a_line_that_was_cut_anywhere_is_none),
        cmocka_unit_test(what_nobody_wrote_is_no_line),
        cmocka_unit_test(N35_one_line_stays_one_line),
        cmocka_unit_test(N35_the_longest_line_has_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
