/* What is there of a control volume, and what that means: every combination. */
#include "node/control.h"
#include "tests/cmocka.h"

#include <string.h>

static const char *const files[] = {"absent", "unreadable", "present"};

static void
each(void (*check)(const struct control_facts *facts, enum control_row row))
{
    struct control_facts facts = {0};
    for (int plain = 0; plain < 2; plain++)
        for (int control = 0; control < START_FILE_COUNT; control++)
            for (int pending = 0; pending < START_FILE_COUNT; pending++)
                for (int volume = 0; volume < START_VOLUME_COUNT; volume++) {
                    facts.plain = plain;
                    facts.control = (enum start_file)control;
                    facts.pending = (enum start_file)pending;
                    facts.volume = (enum start_volume)volume;
                    const struct control_verdict verdict = control_decide(&facts);
                    assert_int_equal(verdict.row == CONTROL_REFUSED,
                                     verdict.sentence != NULL);
                    check(&facts, verdict.row);
                }
}

static void
fail_at(const struct control_facts *facts)
{
    fail_msg("plain %d, control %s, control-pending %s, volume %d", facts->plain,
             files[facts->control], files[facts->pending], facts->volume);
}

static bool
is_opened(const struct control_facts *facts)
{
    return !facts->plain && facts->control == START_FILE_PRESENT &&
           facts->volume == START_VOLUME_ENROLLED;
}

static bool
is_free(const struct control_facts *facts)
{
    const bool begun = facts->volume == START_VOLUME_TORN ||
                       facts->volume == START_VOLUME_PENDING ||
                       facts->volume == START_VOLUME_ENROLLED;
    return !facts->plain && facts->control == START_FILE_ABSENT &&
           (facts->volume == START_VOLUME_BLANK ||
            (begun && facts->pending == START_FILE_PRESENT));
}

static void
check_row(const struct control_facts *facts, enum control_row row)
{
    const bool left = facts->plain && facts->control == START_FILE_ABSENT;
    const enum control_row expected = is_opened(facts) ? CONTROL_OPENS
                                      : is_free(facts) ? CONTROL_FREE
                                      : left           ? CONTROL_LEFT
                                                       : CONTROL_REFUSED;
    if (row != expected)
        fail_at(facts);
}

static void
N34_N48_every_combination_is_a_row_of_the_table_or_refused(void **state)
{
    (void)state;
    each(check_row);
}

static void
check_free(const struct control_facts *facts, enum control_row row)
{
    if (row == CONTROL_FREE &&
        (facts->control != START_FILE_ABSENT || facts->plain ||
         (facts->volume != START_VOLUME_BLANK && facts->pending != START_FILE_PRESENT)))
        fail_at(facts);
}

static void
N34_N48_nothing_is_made_where_a_volume_was_made_or_records_lie(void **state)
{
    (void)state;
    each(check_free);
}

static void
an_id_follows_from_the_key(void **state)
{
    (void)state;
    struct secret key = {.len = UNLOCK_KEY_LEN};
    char one[NODE_ID_LEN + 1], two[NODE_ID_LEN + 1];
    control_id(&key, one);
    assert_int_equal(node_id_check(one, NULL), ST_OK);
    /* (printf 'smalltown control v1'; head -c 32 /dev/zero) | sha256sum */
    assert_string_equal(one, "smalltown-052c12f41b2c1f93792993deac95f056");
    key.bytes[31] = 1;
    control_id(&key, two);
    assert_string_not_equal(one, two);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(N34_N48_every_combination_is_a_row_of_the_table_or_refused),
        cmocka_unit_test(N34_N48_nothing_is_made_where_a_volume_was_made_or_records_lie),
        cmocka_unit_test(an_id_follows_from_the_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
