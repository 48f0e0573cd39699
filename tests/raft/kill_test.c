/* kill -9 at any moment: what was acknowledged is there, once, in order; and after a disk
 * error nothing is acknowledged.
 *
 * The program runs itself as the process that dies: `kill_test propose DIR` proposes with
 * several chains, each its own names one after the other, and writes every
 * acknowledgement to stdout. */
#include "proto/clock.h"
#include "tests/cmocka.h"
#include "tests/raft/member.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    CHAINS = 3,
    EXIT_FATAL = 33,
};

extern char **environ;

/* ---- the process that dies ---- */

struct acknowledgement {
    uint8_t chain; /* CHAINS: the word of `fatal` */
    uint32_t number;
};

static void
acknowledge(unsigned chain, uint32_t number)
{
    struct acknowledgement a;
    memset(&a, 0, sizeof(a));
    a.chain = (uint8_t)chain;
    a.number = number;
    if (write(STDOUT_FILENO, &a, sizeof(a)) != sizeof(a))
        _exit(1);
}

static void
fatal(const char *sentence)
{
    (void)sentence;
    acknowledge(CHAINS, 0);
    usleep(50 * 1000); /* time for a wrong acknowledgement behind it */
    _exit(EXIT_FATAL);
}

struct proposer {
    struct member *member;
    unsigned chain;
    uint32_t next;
};

static void propose_next(struct proposer *p);

/* On the loop thread, as `fatal` is: what is written here was acknowledged before. */
static void
answered(void *arg, const struct st_err *err, const struct replica_result *result)
{
    struct proposer *p = arg;
    if (err->code || result->len != 1 || result->bytes[0] != '1')
        _exit(2); /* not applied, or twice */
    acknowledge(p->chain, p->next++);
    propose_next(p);
}

static void
propose_next(struct proposer *p)
{
    char name[24];
    int len = snprintf(name, sizeof(name), "%u-%u", p->chain, p->next);
    replica_propose(p->member->replica, name, (size_t)len, 20000, answered, p);
}

static uint32_t
first_free(const struct member *m, unsigned chain)
{
    char name[24];
    for (uint32_t i = 0;; i++) {
        snprintf(name, sizeof(name), "%u-%u", chain, i);
        if (!counters_get(&m->counters, name))
            return i;
    }
}

static int
run_proposer(const char *dir)
{
    struct member m = {.fatal = fatal};
    struct proposer proposers[CHAINS];
    struct st_err err = {0};
    snprintf(m.dir, sizeof(m.dir), "%s", dir);
    counters_init(&m.counters);
    enum st_code code = member_open(&m, false, &err);
    if (code == ST_NOT_FOUND)
        code = member_open(&m, true, &err);
    if (code || replica_barrier_wait(m.replica, 10000, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 3;
    }
    for (unsigned i = 0; i < CHAINS; i++) /* before any of them proposes */
        proposers[i] = (struct proposer){&m, i, first_free(&m, i)};
    for (unsigned i = 0; i < CHAINS; i++)
        propose_next(&proposers[i]);
    for (;;)
        pause();
}

/* ---- who watches ---- */

struct watch {
    struct member member;
    uint32_t next[CHAINS]; /* numbers below are there */
    uint64_t count;
    bool fatal;
};

static int
set_up(void **state)
{
    struct watch *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    member_init(&w->member);
    *state = w;
    return 0;
}

static int
tear_down(void **state)
{
    struct watch *w = *state;
    member_end(&w->member);
    free(w);
    return 0;
}

static void
note(struct watch *w, const struct acknowledgement *a)
{
    assert_false(w->fatal); /* nothing is acknowledged after the end */
    if (a->chain == CHAINS) {
        w->fatal = true;
        return;
    }
    assert_in_range(a->chain, 0, CHAINS - 1);
    assert_int_equal(a->number, w->next[a->chain]++);
    w->count++;
}

/* Runs the proposer; kills it after kill_ms (0: it ends by itself).  Its wait status. */
static int
run_child(struct watch *w, unsigned kill_ms)
{
    char name[] = "kill_test", verb[] = "propose", folder[40];
    char *argv[] = {name, verb, folder, NULL};
    int ends[2], status;
    pid_t pid;
    snprintf(folder, sizeof(folder), "%s", w->member.dir);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ),
                     0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    int64_t end = clock_ms() + (kill_ms ? kill_ms : 120000);
    bool killed = false;
    struct acknowledgement a;
    for (;;) {
        struct pollfd in = {.fd = ends[0], .events = POLLIN};
        int64_t now = clock_ms();
        if (!killed && now >= end) {
            kill(pid, SIGKILL);
            killed = true;
        }
        int ready = poll(&in, 1, killed ? 1000 : (int)(end - now));
        if (ready <= 0)
            continue;
        ssize_t n = read(ends[0], &a, sizeof(a));
        if (n == 0)
            break;
        assert_int_equal(n, sizeof(a));
        note(w, &a);
    }
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!kill_ms)
        assert_false(killed);
    return status;
}

/* Every name up to the acknowledged one is there once; of what was not acknowledged, at
 * most the one that was under way. */
static void
check_content(struct watch *w)
{
    struct st_err err = {0};
    struct member *m = &w->member;
    enum st_code code = member_open(m, false, &err);
    if (code == ST_NOT_FOUND && w->count == 0)
        return; /* it died before there was a group */
    if (code)
        fail_msg("%s", err.text);
    assert_ok(replica_barrier_wait(m->replica, 10000, &err));
    member_close(m);
    for (unsigned chain = 0; chain < CHAINS; chain++) {
        char name[24];
        for (uint32_t i = 0; i < w->next[chain]; i++) {
            snprintf(name, sizeof(name), "%u-%u", chain, i);
            assert_int_equal(counters_get(&m->counters, name), 1);
        }
        uint32_t present = first_free(m, chain);
        assert_in_range(present, w->next[chain], w->next[chain] + 1);
        w->next[chain] = present; /* the next process goes on there */
    }
}

static void
kill_9_at_any_moment_loses_nothing_acknowledged(void **state)
{
    struct watch *w = *state;
    srand((unsigned)time(NULL));
    /* Longer each time, until enough was acknowledged also where the disk is busy. */
    for (unsigned round = 0; round < 15 || (w->count <= 100 && round < 100); round++) {
        int status = run_child(w, 20 + (unsigned)rand() % (300 + 10 * round));
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        check_content(w);
    }
    assert_true(w->count > 100);
}

#ifdef ST_FAILPOINTS

static void
kill_at(struct watch *w, const char *place, int passage)
{
    char text[64];
    snprintf(text, sizeof(text), "%s:%d:kill", place, passage);
    setenv("ST_FAILPOINT", text, 1);
    int status = run_child(w, 0);
    unsetenv("ST_FAILPOINT");
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("%s did not kill, status %x", text, (unsigned)status);
    check_content(w);
}

static void
kill_9_at_every_step_loses_nothing_acknowledged(void **state)
{
    struct watch *w = *state;
    static const char *const places[] = {
        "store.begin",        "store.commit.before", "store.commit.after",
        "raft.append.before", "raft.append.after",   "raft.apply.before",
        "raft.apply.command", "raft.apply.after",
    };
    static const int passages[] = {1, 2, 3, 7, 20};
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
        for (size_t j = 0; j < sizeof(passages) / sizeof(*passages); j++)
            kill_at(w, places[i], passages[j]);
    kill_at(w, "raft.term.after", 1);
    kill_at(w, "raft.vote.after", 1);
    assert_true(w->count > 50);
}

static void
kill_9_around_a_compaction_loses_nothing_acknowledged(void **state)
{
    struct watch *w = *state;
    kill_at(w, "raft.snapshot.before", 1);
    kill_at(w, "raft.snapshot.after", 1);
    kill_at(w, "raft.snapshot.after", 2);
}

static void
after_a_write_error_nothing_is_acknowledged(void **state)
{
    struct watch *w = *state;
    static const int passages[] = {1, 2, 3, 4, 5, 30};
    for (size_t i = 0; i < sizeof(passages) / sizeof(*passages); i++) {
        char text[64];
        snprintf(text, sizeof(text), "store.commit.error:%d:fail", passages[i]);
        setenv("ST_FAILPOINT", text, 1);
        int status = run_child(w, 0);
        unsetenv("ST_FAILPOINT");
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), EXIT_FATAL);
        assert_true(w->fatal);
        w->fatal = false;
        check_content(w);
    }
}

#endif

static off_t
size_of_store(const struct watch *w)
{
    char path[80];
    struct stat found;
    snprintf(path, sizeof(path), "%s/store.mdb", w->member.dir);
    assert_int_equal(stat(path, &found), 0);
    return found.st_size;
}

/* The kernel refuses to let the file grow, in the middle of it all. */
static void
after_a_full_disk_nothing_is_acknowledged(void **state)
{
    struct watch *w = *state;
    struct st_err err = {0};
    assert_ok(member_open(&w->member, true, &err));
    member_close(&w->member);
    struct rlimit unlimited, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
    /* A little more than there is: to fill a mebibyte takes a slow disk a minute. */
    limit = (struct rlimit){(rlim_t)size_of_store(w) + 128 * 1024, unlimited.rlim_max};
    signal(SIGXFSZ, SIG_IGN); /* inherited: EFBIG instead */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int status = run_child(w, 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_FATAL);
    assert_true(w->fatal);
    assert_true(w->count > 10);
    check_content(w);
}

int
main(int argc, char **argv)
{
    if (argc == 3)
        return run_proposer(argv[2]);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(kill_9_at_any_moment_loses_nothing_acknowledged),
#ifdef ST_FAILPOINTS
        TEST(kill_9_at_every_step_loses_nothing_acknowledged),
        TEST(kill_9_around_a_compaction_loses_nothing_acknowledged),
        TEST(after_a_write_error_nothing_is_acknowledged),
#endif
        TEST(after_a_full_disk_nothing_is_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
