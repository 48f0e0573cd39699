/* What comes later comes in order, once, and also where it is never to come. */
#include "nms/later.h"
#include "tests/cmocka.h"

#include <semaphore.h>
#include <string.h>

enum {
    FOREVER_MS = 3600 * 1000,
};

struct noted {
    struct later_call item;
    struct later *later;
    char name;
    char *notes;
    bool stopping;
    sem_t *end;
};

/* One thread calls them all. */
static void
note(void *arg, bool stopping)
{
    struct noted *noted = arg;
    noted->notes[strlen(noted->notes)] = noted->name;
    noted->stopping = stopping;
    if (noted->end)
        sem_post(noted->end);
}

static void
who_is_due_first_is_called_first(void **state)
{
    (void)state;
    struct later *later;
    struct st_err err = {0};
    sem_t end;
    char notes[8] = "";
    struct noted a = {.name = 'a', .notes = notes, .end = &end};
    struct noted b = {.name = 'b', .notes = notes};
    struct noted c = {.name = 'c', .notes = notes};
    sem_init(&end, 0, 0);
    assert_ok(later_start(&later, &err));
    assert_true(later_in(later, 300, &a.item, note, &a));
    assert_true(later_in(later, 100, &b.item, note, &b));
    assert_true(later_in(later, 200, &c.item, note, &c));
    sem_wait(&end);
    assert_string_equal(notes, "bca");
    assert_false(a.stopping);
    later_stop(later);
    assert_string_equal(notes, "bca");
    later_free(later);
    sem_destroy(&end);
}

static void
a_stop_calls_whoever_waits_and_takes_nobody_new(void **state)
{
    (void)state;
    struct later *later;
    struct st_err err = {0};
    char notes[8] = "";
    struct noted a = {.name = 'a', .notes = notes}, b = {.name = 'b', .notes = notes};
    assert_ok(later_start(&later, &err));
    assert_true(later_in(later, FOREVER_MS, &a.item, note, &a));
    later_stop(later);
    assert_string_equal(notes, "a");
    assert_true(a.stopping);
    assert_false(later_in(later, 0, &b.item, note, &b));
    later_stop(later);
    later_free(later);
    assert_string_equal(notes, "a");
}

/* Waits again from inside its call, until it is told that it is over. */
static void
wait_again(void *arg, bool stopping)
{
    struct noted *noted = arg;
    if (!later_in(noted->later, 1, &noted->item, wait_again, noted))
        noted->stopping = stopping;
}

static void
who_waits_again_for_ever_does_not_hold_a_stop_up(void **state)
{
    (void)state;
    struct later *later;
    struct st_err err = {0};
    assert_ok(later_start(&later, &err));
    struct noted a = {.later = later};
    assert_true(later_in(later, 1, &a.item, wait_again, &a));
    later_stop(later);
    assert_true(a.stopping);
    later_free(later);
}

static void
jitter_is_at_most_half_of_the_pause(void **state)
{
    (void)state;
    uint32_t least = UINT32_MAX, most = 0;
    for (int i = 0; i < 2000; i++) {
        const uint32_t ms = later_jitter(100);
        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
    }
    assert_in_range(least, 50, 60);
    assert_in_range(most, 140, 150);
    assert_int_equal(later_jitter(0), 0);
}

static void
a_pause_in_vain_is_doubled_up_to_the_longest(void **state)
{
    (void)state;
    assert_int_equal(later_longer(0, 300, 1000), 300);
    assert_int_equal(later_longer(300, 300, 1000), 600);
    assert_int_equal(later_longer(600, 300, 1000), 1000);
    assert_int_equal(later_longer(1000, 300, 1000), 1000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_due_first_is_called_first),
        cmocka_unit_test(a_stop_calls_whoever_waits_and_takes_nobody_new),
        cmocka_unit_test(who_waits_again_for_ever_does_not_hold_a_stop_up),
        cmocka_unit_test(jitter_is_at_most_half_of_the_pause),
        cmocka_unit_test(a_pause_in_vain_is_doubled_up_to_the_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
