/* How many lines one name may have, and what comes of those that it did not have. */
#include "nms/audit_limit.h"
#include "tests/cmocka.h"

#include <stdio.h>
#include <string.h>

enum {
    NOW = 1000000
};

static struct audit_limit *
limit_of(struct audit_rate each, struct audit_rate all)
{
    static struct audit_limit limit;
    limit = (struct audit_limit){.each = each, .all = all};
    return &limit;
}

static struct audit_line
refused_from(const char *peer)
{
    const struct st_err err = {.code = ST_PERMISSION_DENIED, .text = "no"};
    struct audit_line line;
    audit_line_fill(&line, "unlock", "?", peer, &err);
    return line;
}

static bool
pass(struct audit_limit *limit, const char *name, int64_t now)
{
    char peer[ADDRESS_TEXT_MAX];
    snprintf(peer, sizeof(peer), "%.40s:4711", name);
    const struct audit_line line = refused_from(peer);
    return audit_limit_pass(limit, name, &line, now);
}

static unsigned
passes(struct audit_limit *limit, const char *name, unsigned tries, int64_t now)
{
    unsigned passed = 0;
    for (unsigned i = 0; i < tries; i++)
        passed += pass(limit, name, now);
    return passed;
}

static void
N46_a_name_has_a_burst_and_then_one_at_a_time(void **state)
{
    (void)state;
    struct audit_limit *limit =
        limit_of((struct audit_rate){10, 1000}, (struct audit_rate){0});
    assert_int_equal(passes(limit, "127.0.0.1", 1000, NOW), 10);
    assert_int_equal(passes(limit, "127.0.0.2", 1000, NOW), 10);
    assert_int_equal(passes(limit, "127.0.0.1", 1000, NOW + 999), 0);
    assert_int_equal(passes(limit, "127.0.0.1", 1000, NOW + 3000), 3);
    assert_int_equal(passes(limit, "127.0.0.1", 1000, NOW + 1000000), 10);
}

static void
N46_all_names_together_have_a_burst(void **state)
{
    (void)state;
    struct audit_limit *limit =
        limit_of((struct audit_rate){10, 1000}, (struct audit_rate){25, 100});
    unsigned passed = 0;
    for (int i = 0; i < 40; i++) {
        char name[24];
        snprintf(name, sizeof(name), "127.0.0.%d", i);
        passed += passes(limit, name, 5, NOW);
    }
    assert_int_equal(passed, 25);
    assert_int_equal(passes(limit, "127.0.1.1", 5, NOW + 300), 3);
}

static void
without_a_limit_everything_passes(void **state)
{
    (void)state;
    struct audit_limit *limit = limit_of((struct audit_rate){0}, (struct audit_rate){0});
    assert_int_equal(passes(limit, "x", 10000, NOW), 10000);
    assert_int_equal(audit_limit_due(limit), INT64_MAX);
}

static void
what_was_not_written_is_one_line_a_minute_later(void **state)
{
    (void)state;
    struct audit_limit *limit =
        limit_of((struct audit_rate){10, 1000}, (struct audit_rate){0});
    struct audit_line more;
    passes(limit, "127.0.0.9", 1214, NOW);
    passes(limit, "127.0.0.8", 10, NOW);
    assert_int_equal(audit_limit_due(limit), NOW + AUDIT_MORE_MS);
    assert_false(audit_limit_more(limit, NOW + AUDIT_MORE_MS - 1, false, &more));
    assert_true(audit_limit_more(limit, NOW + AUDIT_MORE_MS, false, &more));
    assert_int_equal(more.more, 1204);
    assert_string_equal(more.peer, "127.0.0.9");
    assert_string_equal(more.reason, "no");
    assert_false(audit_limit_more(limit, NOW + AUDIT_MORE_MS, false, &more));
    assert_int_equal(audit_limit_due(limit), INT64_MAX);
    /* Nobody waits for a minute at the end. */
    passes(limit, "127.0.0.9", 1000, NOW + AUDIT_MORE_MS);
    assert_true(audit_limit_more(limit, NOW + AUDIT_MORE_MS + 1, true, &more));
}

/* No name is forgotten before its line is written, and nobody gets a place by coming as
 * many. */
static void
more_names_than_there_are_places_are_counted_as_one(void **state)
{
    (void)state;
    struct audit_limit *limit =
        limit_of((struct audit_rate){1, 1000}, (struct audit_rate){0});
    struct audit_line more;
    uint64_t counted = 0, elsewhere = 0;
    unsigned passed = 0;
    for (int i = 0; i < 1000; i++) {
        char name[24];
        snprintf(name, sizeof(name), "10.0.%d.%d", i / 250, i % 250);
        passed += passes(limit, name, 10, NOW);
    }
    assert_int_equal(passed, AUDIT_NAMES + 1);
    for (int lines = 0; audit_limit_more(limit, NOW, true, &more); lines++) {
        assert_true(lines <= AUDIT_NAMES);
        counted += more.more;
        if (!strcmp(more.peer, AUDIT_ELSEWHERE))
            elsewhere += more.more;
    }
    assert_int_equal(counted + passed, 10000);
    assert_int_equal(elsewhere, 10000 - 10 * AUDIT_NAMES - 1);
}

static void
whoever_has_been_quiet_makes_room_for_the_next(void **state)
{
    (void)state;
    struct audit_limit *limit =
        limit_of((struct audit_rate){2, 1000}, (struct audit_rate){0});
    for (int i = 0; i < 10000; i++) {
        char name[24];
        snprintf(name, sizeof(name), "node %d", i);
        assert_true(pass(limit, name, NOW + i));
    }
    assert_int_equal(audit_limit_due(limit), INT64_MAX);
}

static void
network_is(const char *peer, const char *network)
{
    char out[NAME_MAX_LEN + 1];
    audit_limit_network(peer, out);
    assert_string_equal(out, network);
}

static void
a_network_is_an_IPv4_address_or_a_64(void **state)
{
    (void)state;
    network_is("127.0.0.9:4711", "127.0.0.9");
    network_is("[2001:db8:1:2:3:4:5:6]:4711", "2001:db8:1:2::/64");
    network_is("[::ffff:192.0.2.1]:4711", "::ffff:192.0.2.1");
    network_is("", "");
    network_is("unix:/x", "unix:/x");
    network_is("0123456789012345678901234567890123456789012345678901234567890123456789",
               "012345678901234567890123456789012345678901234567890123456789012");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(N46_a_name_has_a_burst_and_then_one_at_a_time),
        cmocka_unit_test(N46_all_names_together_have_a_burst),
        cmocka_unit_test(without_a_limit_everything_passes),
        cmocka_unit_test(what_was_not_written_is_one_line_a_minute_later),
        cmocka_unit_test(more_names_than_there_are_places_are_counted_as_one),
        cmocka_unit_test(whoever_has_been_quiet_makes_room_for_the_next),
        cmocka_unit_test(a_network_is_an_IPv4_address_or_a_64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
