/* The table of states: every combination of what can be found, against the table as the
 * design writes it. */
#include "node/start.h"
#include "tests/cmocka.h"

#include <stdio.h>
#include <string.h>

enum {
    ANY = -1
};

/* A row of the table; what no row allows is refused. */
struct allowed {
    int config, sealed, pending, identity, volume, ours, bootstrap;
    enum start_row row;
};

#define ABSENT START_FILE_ABSENT
#define PRESENT START_FILE_PRESENT

static const struct allowed table[] = {
    /* No config: only a machine on which nothing is, and only where it is allowed. */
    {START_CONFIG_ABSENT, ABSENT, ABSENT, ABSENT, START_VOLUME_NONE, ANY, 1,
     START_BOOTSTRAP},
    {START_CONFIG_ABSENT, ABSENT, ABSENT, ABSENT, START_VOLUME_BLANK, ANY, 1,
     START_BOOTSTRAP},
    /* A secret, and nothing of an enrolment, or nothing that left the machine. */
    {START_CONFIG_SECRET, ABSENT, ABSENT, ABSENT, START_VOLUME_NONE, ANY, ANY,
     START_ENROL},
    {START_CONFIG_SECRET, ABSENT, ABSENT, ABSENT, START_VOLUME_BLANK, ANY, ANY,
     START_ENROL},
    {START_CONFIG_SECRET, ABSENT, PRESENT, ABSENT, START_VOLUME_NONE, ANY, ANY,
     START_ENROL},
    {START_CONFIG_SECRET, ABSENT, PRESENT, ABSENT, START_VOLUME_BLANK, ANY, ANY,
     START_ENROL},
    {START_CONFIG_SECRET, PRESENT, PRESENT, ABSENT, START_VOLUME_BLANK, ANY, ANY,
     START_ENROL},
    /* A secret, and a half-done enrolment. */
    {START_CONFIG_SECRET, PRESENT, PRESENT, ANY, START_VOLUME_NONE, ANY, ANY,
     START_RESUME},
    {START_CONFIG_SECRET, PRESENT, PRESENT, ABSENT, START_VOLUME_TORN, ANY, ANY,
     START_RESUME},
    {START_CONFIG_SECRET, PRESENT, PRESENT, ANY, START_VOLUME_PENDING, ANY, ANY,
     START_RESUME},
    {START_CONFIG_SECRET, PRESENT, PRESENT, PRESENT, START_VOLUME_ENROLLED, ANY, ANY,
     START_RESUME},
    /* Enrolled; what `pending` looks like is of no matter any more. */
    {START_CONFIG_ENROLLED, PRESENT, ANY, PRESENT, START_VOLUME_NONE, ANY, ANY,
     START_UNLOCK},
    {START_CONFIG_ENROLLED, PRESENT, ANY, PRESENT, START_VOLUME_PENDING, 1, ANY,
     START_UNLOCK},
    {START_CONFIG_ENROLLED, PRESENT, ANY, PRESENT, START_VOLUME_ENROLLED, 1, ANY,
     START_UNLOCK},
};

static bool
fits(int wanted, int is)
{
    return wanted == ANY || wanted == is;
}

static enum start_row
expected(const struct start_facts *facts)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        const struct allowed *row = &table[i];
        bool damaged = facts->identity == START_FILE_UNREADABLE ||
                       (facts->pending == START_FILE_UNREADABLE &&
                        facts->config != START_CONFIG_ENROLLED);
        if (!damaged && fits(row->config, facts->config) &&
            fits(row->sealed, facts->sealed) && fits(row->pending, facts->pending) &&
            fits(row->identity, facts->identity) && fits(row->volume, facts->volume) &&
            fits(row->ours, facts->volume_is_ours) &&
            fits(row->bootstrap, facts->bootstrap))
            return row->row;
    }
    return START_REFUSE;
}

static void
check(const struct start_facts *facts)
{
    struct start_verdict verdict = start_decide(facts);
    if (verdict.row != expected(facts))
        fail_msg("config %d sealed %d pending %d identity %d volume %d ours %d "
                 "bootstrap %d: row %d (%s), not %d",
                 (int)facts->config, (int)facts->sealed, (int)facts->pending,
                 (int)facts->identity, (int)facts->volume, (int)facts->volume_is_ours,
                 (int)facts->bootstrap, (int)verdict.row, verdict.sentence,
                 (int)expected(facts));
    assert_true(verdict.sentence && strlen(verdict.sentence) < 300);
}

/* Counts through all combinations, one digit for each fact. */
static struct start_facts
combination(int n)
{
    struct start_facts facts = {0};
    facts.bootstrap = n % 2, n /= 2;
    facts.volume_is_ours = n % 2, n /= 2;
    facts.config = (enum start_config)(n % START_CONFIG_COUNT), n /= START_CONFIG_COUNT;
    facts.sealed = (enum start_file)(n % START_FILE_COUNT), n /= START_FILE_COUNT;
    facts.pending = (enum start_file)(n % START_FILE_COUNT), n /= START_FILE_COUNT;
    facts.identity = (enum start_file)(n % START_FILE_COUNT), n /= START_FILE_COUNT;
    facts.volume = (enum start_volume)(n % START_VOLUME_COUNT);
    return facts;
}

static void
N34_every_combination_is_the_row_of_the_table_or_refused(void **state)
{
    (void)state;
    const int all = 2 * 2 * START_CONFIG_COUNT * START_FILE_COUNT * START_FILE_COUNT *
                    START_FILE_COUNT * START_VOLUME_COUNT;
    for (int n = 0; n < all; n++) {
        struct start_facts facts = combination(n);
        check(&facts);
    }
}

static void
N34_only_an_unused_volume_is_ever_formatted_anew(void **state)
{
    (void)state;
    const int all = 2 * 2 * START_CONFIG_COUNT * START_FILE_COUNT * START_FILE_COUNT *
                    START_FILE_COUNT * START_VOLUME_COUNT;
    for (int n = 0; n < all; n++) {
        struct start_facts facts = combination(n);
        enum start_row row = start_decide(&facts).row;
        bool unused =
            facts.volume == START_VOLUME_NONE || facts.volume == START_VOLUME_BLANK;
        if (row == START_ENROL || row == START_BOOTSTRAP)
            assert_true(unused);
        if (row == START_RESUME)
            assert_true(facts.volume != START_VOLUME_FOREIGN);
    }
}

static bool
names_recover(struct start_facts facts)
{
    return strstr(start_decide(&facts).sentence, "`smalltown-node recover`");
}

static void
a_refusal_says_what_to_do(void **state)
{
    (void)state;
    struct start_facts facts = {0};
    assert_non_null(strstr(start_decide(&facts).sentence, "stctl enrolment create"));
    facts.sealed = START_FILE_PRESENT;
    assert_non_null(strstr(start_decide(&facts).sentence, "restore"));
    facts.config = START_CONFIG_SECRET;
    assert_non_null(strstr(start_decide(&facts).sentence, "EFI/smalltown/sealed"));
    assert_true(names_recover(facts));
}

/* Of the ESP, or of the way through a recovery. */
static void
who_lost_all_but_the_data_is_told_how_to_keep_it(void **state)
{
    (void)state;
    const enum start_volume volumes[] = {START_VOLUME_PENDING, START_VOLUME_ENROLLED};
    for (size_t i = 0; i < sizeof(volumes) / sizeof(*volumes); i++) {
        struct start_facts facts = {.volume = volumes[i]};
        assert_true(names_recover(facts));
        assert_non_null(strstr(start_decide(&facts).sentence, "fresh enrolment.pb"));
        facts.config = START_CONFIG_SECRET;
        assert_true(names_recover(facts));
        facts.sealed = PRESENT;
        assert_true(names_recover(facts));
    }
    const enum start_file lost[] = {ABSENT, START_FILE_UNREADABLE};
    for (size_t i = 0; i < 4; i++) {
        struct start_facts facts = {.config = START_CONFIG_ENROLLED,
                                    .sealed = PRESENT,
                                    .identity = PRESENT,
                                    .volume = START_VOLUME_ENROLLED};
        *(i / 2 ? &facts.sealed : &facts.identity) = lost[i % 2];
        assert_true(names_recover(facts));
        facts.volume = START_VOLUME_NONE;
        assert_false(names_recover(facts));
    }
    for (size_t i = 0; i < 2; i++)
        assert_true(names_recover((struct start_facts){
            .config = i ? START_CONFIG_UNREADABLE : START_CONFIG_ABSENT,
            .sealed = PRESENT,
            .volume = START_VOLUME_PENDING}));
    assert_true(names_recover((struct start_facts){.config = START_CONFIG_SECRET,
                                                   .sealed = PRESENT,
                                                   .pending = PRESENT,
                                                   .volume = START_VOLUME_ENROLLED}));
    assert_false(names_recover((struct start_facts){.volume = START_VOLUME_FOREIGN}));
    assert_false(names_recover((struct start_facts){.config = START_CONFIG_SECRET,
                                                    .volume = START_VOLUME_FOREIGN}));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(N34_every_combination_is_the_row_of_the_table_or_refused),
        cmocka_unit_test(N34_only_an_unused_volume_is_ever_formatted_anew),
        cmocka_unit_test(a_refusal_says_what_to_do),
        cmocka_unit_test(who_lost_all_but_the_data_is_told_how_to_keep_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
