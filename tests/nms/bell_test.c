/* Who sleeps is woken by a ring, by the time and by the stop, and misses none of them. */
#include "nms/bell.h"
#include "proto/clock.h"
#include "tests/cmocka.h"

#include <errno.h>
#include <sched.h>
#include <semaphore.h>

enum {
    FOREVER_MS = 3600 * 1000,
};

static sem_t asleep, woken;
static bool no_threads;
static unsigned joins;

int __real_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock);
int __real_pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *lock,
                                  clockid_t clock, const struct timespec *until);
int __wrap_pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *lock,
                                  clockid_t clock, const struct timespec *until);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*run)(void *arg), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*run)(void *arg), void *arg);
int __real_pthread_join(pthread_t thread, void **out);
int __wrap_pthread_join(pthread_t thread, void **out);

/* Said with the lock held: whoever has it next finds the thread asleep. */
int
__wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock)
{
    sem_post(&asleep);
    return __real_pthread_cond_wait(cond, lock);
}

int
__wrap_pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *lock,
                              clockid_t clock, const struct timespec *until)
{
    sem_post(&asleep);
    return __real_pthread_cond_clockwait(cond, lock, clock, until);
}

int
__wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                      void *(*run)(void *arg), void *arg)
{
    return no_threads ? EAGAIN : __real_pthread_create(thread, attr, run, arg);
}

int
__wrap_pthread_join(pthread_t thread, void **out)
{
    joins++;
    return __real_pthread_join(thread, out);
}

struct sleeper {
    struct bell bell;
    int64_t pause_ms; /* 0: until it is rung for */
    unsigned rings, waits;
};

static void *
sleep_on(void *arg)
{
    struct sleeper *sleeper = arg;
    bool rung = false;
    while (bell_wait(&sleeper->bell,
                     sleeper->pause_ms ? clock_ms() + sleeper->pause_ms : 0, &rung)) {
        sleeper->rings += rung;
        sleeper->waits++;
        rung = false;
        sem_post(&woken);
    }
    return NULL;
}

static int
sleeper_new(void **state)
{
    static struct sleeper sleeper;
    sleeper = (struct sleeper){0};
    sem_init(&asleep, 0, 0);
    sem_init(&woken, 0, 0);
    joins = 0;
    bell_init(&sleeper.bell);
    *state = &sleeper;
    return 0;
}

static int
sleeper_free(void **state)
{
    struct sleeper *sleeper = *state;
    bell_end(&sleeper->bell);
    sem_destroy(&asleep);
    sem_destroy(&woken);
    return 0;
}

static void
the_first_wait_returns_at_once(void **state)
{
    struct sleeper *sleeper = *state;
    bool rung = false;
    assert_true(bell_wait(&sleeper->bell, 0, &rung));
    assert_true(rung);
}

static void
rings_before_the_wait_are_one_that_is_not_lost(void **state)
{
    struct sleeper *sleeper = *state;
    bool rung = false;
    assert_true(bell_wait(&sleeper->bell, 0, NULL));
    bell_ring(&sleeper->bell);
    bell_ring(&sleeper->bell);
    assert_true(bell_wait(&sleeper->bell, 0, &rung));
    assert_true(rung);
    rung = false;
    assert_true(bell_wait(&sleeper->bell, clock_ms(), &rung));
    assert_false(rung);
}

static void
the_time_ends_a_wait_that_nobody_rang_for(void **state)
{
    struct sleeper *sleeper = *state;
    const int64_t until_ms = clock_ms() + 30;
    bool rung = false, known = true;
    assert_true(bell_wait(&sleeper->bell, until_ms, NULL));
    assert_true(bell_wait(&sleeper->bell, until_ms, &rung));
    assert_false(rung);
    assert_true(clock_ms() >= until_ms);
    assert_true(bell_wait(&sleeper->bell, until_ms, &known));
    assert_true(known); /* of an earlier ring: it stays */
}

/* Each ring finds the thread asleep. */
static void
rings_end_waits(struct sleeper *sleeper)
{
    struct st_err err = {0};
    assert_ok(bell_start(&sleeper->bell, sleep_on, sleeper, "the test", &err));
    for (unsigned i = 0; i < 3; i++) {
        sem_wait(&woken);
        sem_wait(&asleep);
        bell_ring(&sleeper->bell);
    }
    sem_wait(&woken);
    sem_wait(&asleep);
    bell_stop(&sleeper->bell);
    assert_int_equal(sleeper->waits, 4);
    assert_int_equal(sleeper->rings, 4);
}

static void
a_ring_and_a_stop_end_a_wait_for_ever(void **state)
{
    rings_end_waits(*state);
}

static void
a_ring_and_a_stop_end_a_wait_for_a_time(void **state)
{
    struct sleeper *sleeper = *state;
    sleeper->pause_ms = FOREVER_MS;
    rings_end_waits(sleeper);
}

static void *
see_the_stop(void *arg)
{
    struct sleeper *sleeper = arg;
    sleeper->rings = bell_wait(&sleeper->bell, 0, NULL);
    sem_post(&woken);
    while (!sleeper->bell.stopping)
        sched_yield();
    sleeper->waits = !bell_wait(&sleeper->bell, 0, NULL);
    return NULL;
}

static void
a_stop_is_seen_before_the_wait_and_by_it(void **state)
{
    struct sleeper *sleeper = *state;
    struct st_err err = {0};
    assert_ok(bell_start(&sleeper->bell, see_the_stop, sleeper, "the test", &err));
    sem_wait(&woken);
    bell_stop(&sleeper->bell);
    assert_int_equal(sleeper->rings, 1);
    assert_int_equal(sleeper->waits, 1);
    bell_stop(&sleeper->bell); /* is over */
    bell_ring(&sleeper->bell); /* reaches nobody */
    assert_int_equal(joins, 1);
}

static void
a_thread_that_there_is_not_needs_no_stop(void **state)
{
    struct sleeper *sleeper = *state;
    struct st_err err = {0};
    no_threads = true;
    assert_code(bell_start(&sleeper->bell, sleep_on, sleeper, "the test", &err),
                ST_RESOURCE_EXHAUSTED);
    no_threads = false;
    assert_string_equal(err.text, "no thread for the test");
    bell_stop(&sleeper->bell);
    assert_int_equal(joins, 0);
}

#define BELL_TEST(test) cmocka_unit_test_setup_teardown(test, sleeper_new, sleeper_free)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        BELL_TEST(the_first_wait_returns_at_once),
        BELL_TEST(rings_before_the_wait_are_one_that_is_not_lost),
        BELL_TEST(the_time_ends_a_wait_that_nobody_rang_for),
        BELL_TEST(a_ring_and_a_stop_end_a_wait_for_ever),
        BELL_TEST(a_ring_and_a_stop_end_a_wait_for_a_time),
        BELL_TEST(a_stop_is_seen_before_the_wait_and_by_it),
        BELL_TEST(a_thread_that_there_is_not_needs_no_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
