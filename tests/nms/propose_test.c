/* What is asked again between two leaders, and what is said of it at last. */
#include "nms/later.h"
#include "nms/nms.h"
#include "tests/cmocka.h"

#include <semaphore.h>
#include <string.h>

void __wrap_replica_propose(struct replica *replica, const void *command, size_t len,
                            uint32_t timeout_ms, replica_done done, void *arg);
void __wrap_replica_barrier(struct replica *replica, uint32_t timeout_ms,
                            replica_done done, void *arg);

/* The replica: each call fails as the script says, the last failure of it for ever. */
static struct {
    enum st_reason script[3];
    unsigned calls;
    uint8_t first[64], last[64]; /* commands */
    sem_t called;
} fake;

static void
answer_next(replica_done done, void *arg)
{
    struct st_err err = {0};
    const unsigned n = fake.calls++;
    (void)st_fail_for(&err, ST_UNAVAILABLE, fake.script[n < 3 ? n : 2], "try %u", n + 1);
    done(arg, &err, NULL);
    sem_post(&fake.called);
}

void
__wrap_replica_propose(struct replica *replica, const void *command, size_t len,
                       uint32_t timeout_ms, replica_done done, void *arg)
{
    (void)replica;
    (void)timeout_ms;
    assert_in_range(len, 1, sizeof(fake.last));
    memcpy(fake.calls ? fake.last : fake.first, command, len);
    answer_next(done, arg);
}

void
__wrap_replica_barrier(struct replica *replica, uint32_t timeout_ms, replica_done done,
                       void *arg)
{
    (void)replica;
    (void)timeout_ms;
    answer_next(done, arg);
}

static void
keep(void *arg, const struct st_err *err)
{
    *(struct st_err *)arg = *err;
}

/* Three tries, then the master stops. */
static struct st_err
outcome_of(bool barrier, const enum st_reason script[3])
{
    struct nms nms = {0};
    State__Command command = STATE__COMMAND__INIT;
    struct st_err outcome = {0}, err = {0};
    memset(&fake, 0, sizeof(fake));
    memcpy(fake.script, script, sizeof(fake.script));
    sem_init(&fake.called, 0, 0);
    assert_ok(later_start(&nms.later, &err));
    if (barrier)
        nms_barrier(&nms, keep, &outcome);
    else
        nms_propose(&nms, &command, keep, &outcome);
    for (int i = 0; i < 3; i++)
        sem_wait(&fake.called);
    later_stop(nms.later);
    later_free(nms.later);
    sem_destroy(&fake.called);
    assert_int_equal(outcome.code, ST_UNAVAILABLE);
    return outcome;
}

static void
what_no_leader_was_found_for_was_not_done(void **state)
{
    (void)state;
    const struct st_err outcome = outcome_of(
        false, (const enum st_reason[]){ST_REASON_NO_LEADER, ST_REASON_NO_LEADER,
                                        ST_REASON_NO_LEADER});
    assert_int_equal(outcome.reason, ST_REASON_NO_LEADER);
    assert_memory_equal(fake.first, fake.last, sizeof(fake.first)); /* its request id */
}

/* It may be committed by a leader that this master does not hear of. */
static void
what_is_not_known_once_is_not_known_at_last(void **state)
{
    (void)state;
    const struct st_err outcome = outcome_of(
        false, (const enum st_reason[]){ST_REASON_NO_LEADER, ST_REASON_NO_QUORUM,
                                        ST_REASON_NO_LEADER});
    assert_int_equal(outcome.reason, ST_REASON_NO_QUORUM);
    assert_string_equal(outcome.text, "try 2");
}

static void
what_only_reads_was_not_done_whatever_happens(void **state)
{
    (void)state;
    const struct st_err outcome = outcome_of(
        true, (const enum st_reason[]){ST_REASON_NO_QUORUM, ST_REASON_NO_QUORUM,
                                       ST_REASON_NO_QUORUM});
    assert_int_equal(outcome.reason, ST_REASON_NO_LEADER);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_no_leader_was_found_for_was_not_done),
        cmocka_unit_test(what_is_not_known_once_is_not_known_at_last),
        cmocka_unit_test(what_only_reads_was_not_done_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
