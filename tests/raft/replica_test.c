/* One member: begin, propose, read, end, and again. */
#include "raft/replica.h"
#include "tests/cmocka.h"
#include "tests/raft/counter.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct fixture {
    char dir[40];
    struct counters counters;
    struct replica *replica;
};

static enum st_code
open_member(struct fixture *f, bool bootstrap, struct st_err *err)
{
    struct replica_config config = {.dir = f->dir,
                                    .id = 1,
                                    .address = "127.0.0.1:7834",
                                    .bootstrap = bootstrap,
                                    .machine = counters_machine(&f->counters)};
    return replica_open(&config, &f->replica, err);
}

static void
close_member(struct fixture *f)
{
    replica_close(f->replica);
    f->replica = NULL;
}

static int
set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct st_err err = {0};
    strcpy(f->dir, "/tmp/smalltown-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    counters_init(&f->counters);
    assert_ok(open_member(f, true, &err));
    *state = f;
    return 0;
}

static int
tear_down(void **state)
{
    struct fixture *f = *state;
    close_member(f);
    counters_free(&f->counters);
    static const char *const names[] = {"store.mdb", "store.mdb-lock", "store.lock"};
    char path[80];
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static uint64_t
propose(struct fixture *f, const char *command)
{
    struct st_err err = {0};
    static struct replica_result result;
    assert_ok(
        replica_propose_wait(f->replica, command, strlen(command), 5000, &result, &err));
    result.bytes[result.len] = 0;
    return strtoull((char *)result.bytes, NULL, 10);
}

static void
a_command_is_applied_and_answered(void **state)
{
    struct fixture *f = *state;
    struct st_err err = {0};
    assert_int_equal(propose(f, "a"), 1);
    assert_int_equal(propose(f, "a"), 2);
    assert_int_equal(propose(f, "b"), 1);
    assert_ok(replica_barrier_wait(f->replica, 5000, &err));
    assert_int_equal(counters_get(&f->counters, "a"), 2);
}

static uint64_t
milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void
a_sole_voter_leads_at_once(void **state)
{
    struct fixture *f = *state;
    close_member(f);
    struct st_err err = {0};
    uint64_t before = milliseconds();
    assert_ok(open_member(f, false, &err));
    propose(f, "a");
    assert_in_range(milliseconds() - before, 0, 900); /* an election takes over 1000 */
    struct replica_status status;
    replica_status(f->replica, &status);
    assert_int_equal(status.leader_id, 1);
    assert_int_equal(status.members, 1);
}

static void
what_was_acknowledged_is_there_after_a_restart(void **state)
{
    struct fixture *f = *state;
    struct st_err err = {0};
    for (int i = 0; i < 20; i++)
        propose(f, "a");
    propose(f, "gone");
    propose(f, "- gone");
    for (int round = 0; round < 3; round++) {
        close_member(f);
        assert_ok(open_member(f, false, &err));
        assert_ok(replica_barrier_wait(f->replica, 5000, &err));
        assert_int_equal(counters_get(&f->counters, "a"), 20 + round);
        assert_int_equal(counters_get(&f->counters, "gone"), 0);
        assert_int_equal(propose(f, "a"), 21 + round);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_command_is_applied_and_answered, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_sole_voter_leads_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_acknowledged_is_there_after_a_restart,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
