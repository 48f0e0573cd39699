/* One member: begin, propose, read, end, and again. */
#include "proto/clock.h"
#include "store/store.h"
#include "tests/cmocka.h"
#include "tests/raft/member.h"

#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int
set_up(void **state)
{
    struct member *m = calloc(1, sizeof(*m));
    struct st_err err = {0};
    assert_non_null(m);
    member_init(m);
    assert_ok(member_open(m, true, &err));
    *state = m;
    return 0;
}

static int
tear_down(void **state)
{
    member_end(*state);
    free(*state);
    return 0;
}

static void
a_command_is_applied_and_answered(void **state)
{
    struct member *m = *state;
    struct st_err err = {0};
    assert_int_equal(member_propose(m, "a"), 1);
    assert_int_equal(member_propose(m, "a"), 2);
    assert_int_equal(member_propose(m, "b"), 1);
    assert_ok(replica_barrier_wait(m->replica, 5000, &err));
    assert_int_equal(counters_get(&m->counters, "a"), 2);
}

static void
a_sole_voter_leads_at_once_and_in_a_new_term(void **state)
{
    struct member *m = *state;
    struct replica_status before, after;
    struct st_err err = {0};
    replica_status(m->replica, &before);
    /* An election takes over 1000 ms each time, a busy machine only now and then. */
    int64_t fastest = INT64_MAX;
    for (int i = 0; i < 10 && fastest > 900; i++) {
        member_close(m);
        const int64_t began = clock_ms();
        assert_ok(member_open(m, false, &err));
        member_propose(m, "a");
        const int64_t took = clock_ms() - began;
        fastest = took < fastest ? took : fastest;
    }
    assert_in_range(fastest, 0, 900);
    replica_status(m->replica, &after);
    assert_int_equal(after.id, 1);
    assert_int_equal(after.leader_id, 1);
    assert_int_equal(after.members, 1);
    assert_true(after.term > before.term);
    assert_true(after.applied_index > before.applied_index);
    assert_true(after.commit_index >= after.applied_index);
}

static void
what_was_acknowledged_is_there_after_a_restart(void **state)
{
    struct member *m = *state;
    struct st_err err = {0};
    for (int i = 0; i < 20; i++)
        member_propose(m, "a");
    member_propose(m, "gone");
    member_propose(m, "- gone");
    for (unsigned round = 0; round < 3; round++) {
        member_close(m);
        assert_ok(member_open(m, false, &err));
        assert_ok(replica_barrier_wait(m->replica, 5000, &err));
        assert_int_equal(counters_get(&m->counters, "a"), 20 + round);
        assert_int_equal(counters_get(&m->counters, "gone"), 0);
        assert_int_equal(member_propose(m, "a"), 21 + round);
    }
}

static void
a_restart_loads_the_records_and_applies_nothing_twice(void **state)
{
    struct member *m = *state;
    struct st_err err = {0};
    for (int i = 0; i < 50; i++)
        member_propose(m, i % 2 ? "a" : "b");
    member_close(m);
    assert_ok(member_open(m, false, &err));
    assert_ok(replica_barrier_wait(m->replica, 5000, &err));
    member_close(m); /* and the counters are ours again */
    assert_int_equal(m->counters.loaded, 2);
    assert_int_equal(m->counters.applied, 0);
    assert_int_equal(counters_get(&m->counters, "a"), 25);
}

static void
a_group_begins_once(void **state)
{
    struct member *m = *state;
    member_close(m);
    struct st_err err = {0};
    assert_code(member_open(m, true, &err), ST_ALREADY_EXISTS);
    assert_ok(member_open(m, false, &err));
}

static void
an_empty_folder_is_no_group_and_stays_empty(void **state)
{
    (void)state;
    struct member m;
    member_init(&m);
    assert_code(member_open(&m, false, NULL), ST_NOT_FOUND);
    assert_int_equal(rmdir(m.dir), 0);
    assert_code(member_open(&m, false, NULL), ST_NOT_FOUND);
    assert_int_equal(mkdir(m.dir, 0700), 0);
    member_end(&m);
}

static void
the_folder_of_another_member_is_refused(void **state)
{
    struct member *m = *state;
    member_close(m);
    struct replica_config config = {.dir = m->dir,
                                    .id = 2,
                                    .address = "127.0.0.1:7834",
                                    .machine = counters_machine(&m->counters)};
    assert_code(replica_open(&config, &m->replica, NULL), ST_FAILED_PRECONDITION);
}

extern char **environ;

/* What opening the folder gives in another process. */
static int
open_elsewhere(const char *dir)
{
    char name[] = "replica_test", verb[] = "open", folder[40];
    char *argv[] = {name, verb, folder, NULL};
    snprintf(folder, sizeof(folder), "%s", dir);
    pid_t pid;
    int status;
    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
a_second_process_is_refused(void **state)
{
    struct member *m = *state;
    assert_int_equal(open_elsewhere(m->dir), ST_UNAVAILABLE);
    member_close(m);
    assert_int_equal(open_elsewhere(m->dir), ST_OK);
}

static void
a_second_opening_names_the_process_that_has_it(void **state)
{
    struct member *m = *state;
    struct member other = *m;
    struct st_err err = {0};
    char pid[32];
    assert_code(member_open(&other, false, &err), ST_UNAVAILABLE);
    snprintf(pid, sizeof(pid), "(pid %ld)", (long)getpid());
    assert_non_null(strstr(err.text, pid));
}

static void
a_command_that_is_too_large_is_refused(void **state)
{
    struct member *m = *state;
    struct st_err err = {0};
    static char large[REPLICA_COMMAND_MAX + 1];
    memset(large, 'x', sizeof(large));
    assert_code(replica_propose_wait(m->replica, large, sizeof(large), 5000, NULL, &err),
                ST_INVALID_ARGUMENT);
    assert_ok(
        replica_propose_wait(m->replica, large, sizeof(large) - 1, 5000, NULL, &err));
}

/* ---- many at once ---- */

enum {
    THREADS = 8,
    TOTAL = 10000,
};

struct proposer {
    struct member *member;
    int number;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int answered, failed;
    uint64_t highest;
};

static void
count_answer(void *arg, const struct st_err *err, const struct replica_result *result)
{
    struct proposer *p = arg;
    char text[24];
    pthread_mutex_lock(&p->lock);
    p->answered++;
    if (err->code) {
        p->failed++;
    } else {
        snprintf(text, sizeof(text), "%.*s", (int)result->len, (char *)result->bytes);
        uint64_t value = strtoull(text, NULL, 10);
        if (value != p->highest + 1)
            p->failed++; /* out of order, or twice */
        p->highest = value;
    }
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static void *
propose_many(void *arg)
{
    struct proposer *p = arg;
    char name[16];
    snprintf(name, sizeof(name), "t%d", p->number);
    for (int i = 0; i < TOTAL / THREADS; i++) {
        pthread_mutex_lock(&p->lock);
        while (i - p->answered >= 100)
            pthread_cond_wait(&p->changed, &p->lock);
        pthread_mutex_unlock(&p->lock);
        replica_propose(p->member->replica, name, strlen(name), 60000, count_answer, p);
    }
    pthread_mutex_lock(&p->lock);
    while (p->answered < TOTAL / THREADS)
        pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static void
ten_thousand_proposals_of_many_threads_are_applied_once_and_in_order(void **state)
{
    struct member *m = *state;
    struct proposer proposers[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        proposers[i] = (struct proposer){.member = m,
                                         .number = i,
                                         .lock = PTHREAD_MUTEX_INITIALIZER,
                                         .changed = PTHREAD_COND_INITIALIZER};
        assert_int_equal(pthread_create(&threads[i], NULL, propose_many, &proposers[i]),
                         0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(proposers[i].failed, 0);
        assert_int_equal(proposers[i].answered, TOTAL / THREADS);
    }
    struct replica_status status;
    replica_status(m->replica, &status);
    assert_in_range(status.applied_index, 1, TOTAL / 4); /* group commit */
    struct st_err err = {0};
    member_close(m);
    assert_ok(member_open(m, false, &err));
    assert_ok(replica_barrier_wait(m->replica, 5000, &err));
    for (int i = 0; i < THREADS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%d", i);
        assert_int_equal(counters_get(&m->counters, name), TOTAL / THREADS);
    }
}

struct seen {
    struct member *member;
    uint64_t at_barrier;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
};

/* On the loop thread, where the counters may be read. */
static void
look(void *arg, const struct st_err *err, const struct replica_result *result)
{
    struct seen *seen = arg;
    pthread_mutex_lock(&seen->lock);
    seen->at_barrier =
        err->code || result ? 0 : counters_get(&seen->member->counters, "a");
    seen->done = true;
    pthread_cond_signal(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

static void
a_barrier_sees_everything_acknowledged_before_it(void **state)
{
    struct member *m = *state;
    for (uint64_t i = 1; i <= 100; i++) {
        assert_int_equal(member_propose(m, "a"), i);
        struct seen seen = {.member = m,
                            .lock = PTHREAD_MUTEX_INITIALIZER,
                            .changed = PTHREAD_COND_INITIALIZER};
        replica_barrier(m->replica, 5000, look, &seen);
        pthread_mutex_lock(&seen.lock);
        while (!seen.done)
            pthread_cond_wait(&seen.changed, &seen.lock);
        pthread_mutex_unlock(&seen.lock);
        assert_int_equal(seen.at_barrier, i);
    }
}

struct chain {
    struct replica *replica;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int left;
    int code;
};

static void
propose_next(void *arg, const struct st_err *err, const struct replica_result *result)
{
    struct chain *chain = arg;
    (void)result;
    pthread_mutex_lock(&chain->lock);
    chain->code |= (int)err->code;
    int left = --chain->left;
    pthread_cond_signal(&chain->changed);
    pthread_mutex_unlock(&chain->lock);
    if (left > 0)
        replica_propose(chain->replica, "a", 1, 5000, propose_next, chain);
}

static void
an_answer_may_propose_again(void **state)
{
    struct member *m = *state;
    struct chain chain = {.replica = m->replica,
                          .lock = PTHREAD_MUTEX_INITIALIZER,
                          .changed = PTHREAD_COND_INITIALIZER,
                          .left = 50};
    replica_propose(m->replica, "a", 1, 5000, propose_next, &chain);
    pthread_mutex_lock(&chain.lock);
    while (chain.left > 0)
        pthread_cond_wait(&chain.changed, &chain.lock);
    pthread_mutex_unlock(&chain.lock);
    assert_int_equal(chain.code, 0);
    assert_int_equal(member_propose(m, "a"), 51);
}

static void
closing_answers_everybody(void **state)
{
    struct member *m = *state;
    struct proposer p = {.lock = PTHREAD_MUTEX_INITIALIZER,
                         .changed = PTHREAD_COND_INITIALIZER};
    for (int i = 0; i < 500; i++)
        if (i % 3)
            replica_propose(m->replica, "t", 1, 60000, count_answer, &p);
        else
            replica_propose(m->replica, "t", 1, 0, count_answer, &p);
    member_close(m);
    assert_int_equal(p.answered, 500);
    /* Nothing that was acknowledged is missing. */
    struct st_err err = {0};
    assert_ok(member_open(m, false, &err));
    assert_ok(replica_barrier_wait(m->replica, 5000, &err));
    assert_true(counters_get(&m->counters, "t") >= p.highest);
}

enum {
    REFUSALS = 100 * 1000 /* more than are told while the loop ends */
};

struct asker {
    struct replica *replica;
    unsigned refused;
    enum st_code code; /* the first but ST_UNAVAILABLE */
};

/* Until it has been told so often that this member ends. */
static void
ask_on(void *arg, const struct st_err *err, const struct replica_result *result)
{
    struct asker *asker = arg;
    (void)result;
    if (err->code)
        asker->refused++;
    if (err->code && err->code != ST_UNAVAILABLE && !asker->code)
        asker->code = err->code;
    if (asker->refused == REFUSALS)
        return;
    if (asker->refused % 3 == 0)
        replica_propose(asker->replica, "a", 1, 60000, ask_on, asker);
    else if (asker->refused % 3 == 1)
        replica_barrier(asker->replica, 60000, ask_on, asker);
    else
        replica_step(asker->replica, REPLICA_STEP_REMOVE, 9, NULL, 60000, ask_on, asker);
}

/* Whoever asks is always answered: his call is open until then. */
static void
what_is_asked_at_the_very_end_is_called_back(void **state)
{
    struct member *m = *state;
    struct asker asker = {.replica = m->replica};
    replica_propose(m->replica, "a", 1, 60000, ask_on, &asker);
    member_close(m);
    assert_int_equal(asker.refused, REFUSALS);
    assert_int_equal(asker.code, ST_OK);
}

/* ---- the log is let go ---- */

static struct store_head
head_of(const char *dir)
{
    struct store *store;
    struct store_head head;
    struct st_err err = {0};
    assert_ok(store_open(&(struct store_config){.dir = dir}, &store, &err));
    assert_ok(store_head(store, &head, &err));
    store_close(store);
    return head;
}

static void
the_log_is_compacted_by_entries(void **state)
{
    struct member *m = *state;
    struct st_err err = {0};
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1100; i++)
            member_propose(m, "a");
        member_close(m);
        assert_ok(member_open(m, false, &err));
    }
    assert_int_equal(member_propose(m, "a"), 3301);
    member_close(m);
    struct store_head head = head_of(m->dir);
    assert_in_range(head.first, 1000, 3200);
    assert_in_range(head.last - head.first, 1000, 2 * 1100);
    assert_int_equal(head.applied, head.last);
    assert_ok(member_open(m, false, &err));
    assert_int_equal(member_propose(m, "a"), 3302);
}

static void
the_log_is_compacted_by_bytes(void **state)
{
    struct member *m = *state;
    struct st_err err = {0};
    static char large[REPLICA_COMMAND_MAX];
    memset(large, 'x', sizeof(large));
    for (int i = 0; i < 200; i++)
        assert_ok(
            replica_propose_wait(m->replica, large, sizeof(large), 5000, NULL, &err));
    member_close(m);
    struct store_head head = head_of(m->dir);
    assert_in_range(head.last - head.first, 1, 130); /* of 64 KiB: 8 MiB */
    assert_ok(member_open(m, false, &err));
    member_propose(m, "a");
}

/* Restarts that come before the log is full must not keep it for ever. */
static void
the_log_is_compacted_at_the_start(void **state)
{
    struct member *m = *state;
    struct st_err err = {0};
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 600; i++)
            member_propose(m, "a");
        member_close(m);
        assert_ok(member_open(m, false, &err));
    }
    member_close(m);
    struct store_head head = head_of(m->dir);
    assert_in_range(head.last - head.first, 600, 2 * 1100);
    assert_ok(member_open(m, false, &err));
    assert_int_equal(member_propose(m, "a"), 3601);
}

/* What the second process does. */
static int
open_and_say(const char *dir)
{
    struct member m = {0};
    snprintf(m.dir, sizeof(m.dir), "%s", dir);
    counters_init(&m.counters);
    enum st_code code = member_open(&m, false, NULL);
    member_close(&m);
    counters_free(&m.counters);
    return (int)code;
}

int
main(int argc, char **argv)
{
    if (argc == 3)
        return open_and_say(argv[2]);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_command_is_applied_and_answered),
        TEST(a_sole_voter_leads_at_once_and_in_a_new_term),
        TEST(what_was_acknowledged_is_there_after_a_restart),
        TEST(a_restart_loads_the_records_and_applies_nothing_twice),
        TEST(a_group_begins_once),
        cmocka_unit_test(an_empty_folder_is_no_group_and_stays_empty),
        TEST(the_folder_of_another_member_is_refused),
        TEST(a_second_process_is_refused),
        TEST(a_second_opening_names_the_process_that_has_it),
        TEST(a_command_that_is_too_large_is_refused),
        TEST(ten_thousand_proposals_of_many_threads_are_applied_once_and_in_order),
        TEST(a_barrier_sees_everything_acknowledged_before_it),
        TEST(an_answer_may_propose_again),
        TEST(closing_answers_everybody),
        TEST(what_is_asked_at_the_very_end_is_called_back),
        TEST(the_log_is_compacted_by_entries),
        TEST(the_log_is_compacted_by_bytes),
        TEST(the_log_is_compacted_at_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
