/* The audit of one master: what was said is on its disk, bounded, and nobody waits for
 * it; also where it is killed, where its disk is full, where a crowd is refused. */
#include "nms/audit.h"
#include "proto/scope.h"
#include "tests/cmocka.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NODE "smalltown-00112233445566778899aabbccddeeff"

enum {
    CROWD = 100000,
    THREADS = 4,
};

struct place {
    char dir[64];
    struct audit *audit;
    int errors; /* stderr as it was; -1: it is still that */
};

static void
start(struct place *place)
{
    struct st_err err = {0};
    assert_ok(audit_start(place->dir, &place->audit, &err));
}

static void
stop(struct place *place)
{
    audit_stop(place->audit);
    audit_free(place->audit);
    place->audit = NULL;
}

/* Lines go to stderr as well: some tests have a great many of them. */
static void
be_quiet(struct place *place)
{
    const int null = open("/dev/null", O_WRONLY);
    place->errors = dup(STDERR_FILENO);
    dup2(null, STDERR_FILENO);
    close(null);
}

static int
setup(void **state)
{
    static struct place place;
    place = (struct place){.errors = -1};
    strcpy(place.dir, "/tmp/smalltown-audit-XXXXXX");
    assert_non_null(mkdtemp(place.dir));
    start(&place);
    *state = &place;
    return 0;
}

/* Bytes of all files; where `gone`, they go. */
static size_t
files_of(const struct place *place, bool gone)
{
    char path[400];
    struct stat st;
    size_t bytes = 0;
    snprintf(path, sizeof(path), "%s/audit", place->dir);
    DIR *dir = opendir(path);
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(path, sizeof(path), "%s/audit/%s", place->dir, entry->d_name);
        if (entry->d_name[0] == '.')
            continue;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        bytes += (size_t)st.st_size;
        if (gone)
            assert_int_equal(unlink(path), 0);
    }
    if (dir)
        closedir(dir);
    return bytes;
}

static int
teardown(void **state)
{
    struct place *place = *state;
    char path[80];
    if (place->audit)
        stop(place);
    if (place->errors >= 0) {
        dup2(place->errors, STDERR_FILENO);
        close(place->errors);
    }
    files_of(place, true);
    snprintf(path, sizeof(path), "%s/audit", place->dir);
    rmdir(path);
    assert_int_equal(rmdir(place->dir), 0);
    return 0;
}

static void
say(struct place *place, enum audit_kind kind, const char *what, const char *subject,
    const char *peer, enum st_code code)
{
    const struct st_err err = {.code = code, .text = "no node has this id"};
    struct audit_line line;
    audit_line_fill(&line, what, subject, peer, &err);
    audit_say(place->audit, kind, &line);
}

struct heard {
    sem_t end;
    struct audit_line *lines; /* a copy */
    size_t count;
    uint64_t next;
    bool more;
    enum st_code code;
};

static void
hear(void *arg, const struct audit_answer *answer, const struct st_err *err)
{
    struct heard *heard = arg;
    heard->count = answer->count;
    heard->next = answer->next;
    heard->more = answer->more;
    heard->code = err->code;
    heard->lines = calloc(answer->count + 1, sizeof(*heard->lines));
    if (answer->count)
        memcpy(heard->lines, answer->lines, answer->count * sizeof(*heard->lines));
    sem_post(&heard->end);
}

static void
heard_free(struct heard *heard)
{
    free(heard->lines);
    sem_destroy(&heard->end);
}
#define HEARD AUTO(heard_free) struct heard

static struct heard
ask(struct place *place, uint64_t after, uint32_t lines, const char *node)
{
    struct audit_query query = {.after = after, .lines = lines};
    struct heard heard = {0};
    strcpy(query.node, node);
    sem_init(&heard.end, 0, 0);
    audit_read(place->audit, &query, hear, &heard);
    sem_wait(&heard.end);
    return heard;
}

static void
what_was_said_is_read_in_that_order_whatever_its_kind(void **state)
{
    struct place *place = *state;
    say(place, AUDIT_CHANGE, "adopt", NODE, "127.0.0.1:1", ST_OK);
    say(place, AUDIT_STRANGER, "unlock", "?", "127.0.0.2:1", ST_PERMISSION_DENIED);
    say(place, AUDIT_LOGIN, "login", "GetStatus", "127.0.0.1:1", ST_OK);
    say(place, AUDIT_NODE, "unlock", NODE, "127.0.0.3:1", ST_OK);
    say(place, AUDIT_CHANGE, "remove", NODE, "127.0.0.1:1", ST_OK);
    HEARD all = ask(place, 0, 10, "");
    assert_int_equal(all.code, ST_OK);
    assert_int_equal(all.count, 5);
    static const char *const what[] = {"adopt", "unlock", "login", "unlock", "remove"};
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(all.lines[i].what, what[i]);
        assert_true(i == 0 || all.lines[i].number > all.lines[i - 1].number);
        assert_true(all.lines[i].time_ms > 1700000000000);
    }
    assert_int_equal(all.next, all.lines[4].number);
    assert_false(all.more);
    HEARD last = ask(place, 0, 2, "");
    assert_int_equal(last.count, 2);
    assert_int_equal(last.lines[0].number, all.lines[3].number);
    HEARD node = ask(place, 0, 10, "smalltown-0011");
    assert_int_equal(node.count, 3);
    HEARD other = ask(place, 0, 10, "smalltown-0012");
    assert_int_equal(other.count, 0);
    assert_int_equal(other.next, all.next);
}

static void
who_follows_misses_nothing_and_hears_nothing_twice(void **state)
{
    struct place *place = *state;
    uint64_t next = 1;
    size_t count = 0;
    be_quiet(place);
    for (int i = 0; i < 200; i++)
        say(place, i % 2 ? AUDIT_CHANGE : AUDIT_NODE, "unlock", i % 4 ? "x" : NODE,
            i % 2   ? ""
            : i % 3 ? "127.0.0.1:1"
                    : "127.0.0.2:1",
            ST_OK);
    for (bool more = true; more;) {
        HEARD some = ask(place, next, 70, "");
        assert_true(some.count == 70 || !some.more);
        assert_true(some.next >= next);
        for (size_t i = 0; i < some.count; i++)
            assert_true(some.lines[i].number > (i ? some.lines[i - 1].number : next));
        count += some.count;
        next = some.next;
        more = some.more;
    }
    assert_int_equal(count, 200);
    say(place, AUDIT_CHANGE, "adopt", NODE, "", ST_OK);
    HEARD news = ask(place, next, 70, "");
    assert_int_equal(news.count, 1);
    HEARD nothing = ask(place, news.next, 70, "");
    assert_int_equal(nothing.count, 0);
    assert_int_equal(nothing.next, news.next);
}

static void
a_restart_loses_nothing_and_numbers_go_on(void **state)
{
    struct place *place = *state;
    say(place, AUDIT_CHANGE, "adopt", "one", "", ST_OK);
    say(place, AUDIT_NODE, "unlock", NODE, "", ST_OK);
    stop(place);
    start(place);
    say(place, AUDIT_CHANGE, "adopt", "two", "", ST_OK);
    HEARD all = ask(place, 0, 10, "");
    assert_int_equal(all.count, 3);
    assert_string_equal(all.lines[0].subject, "one");
    assert_string_equal(all.lines[2].subject, "two");
    assert_true(all.lines[2].number > all.lines[1].number);
    /* Also where nothing is left to go on from: who follows still hears of it. */
    stop(place);
    files_of(place, true);
    start(place);
    say(place, AUDIT_CHANGE, "adopt", "three", "", ST_OK);
    HEARD news = ask(place, all.next, 10, "");
    assert_int_equal(news.count, 1);
}

static void *
be_refused(void *arg)
{
    struct place *place = arg;
    for (int i = 0; i < CROWD / THREADS; i++)
        say(place, AUDIT_STRANGER, "unlock", "?", "127.0.0.9:4711", ST_PERMISSION_DENIED);
    return NULL;
}

static void
N46_a_crowd_that_is_refused_fills_no_disk_and_pushes_nothing_out(void **state)
{
    struct place *place = *state;
    pthread_t threads[THREADS];
    be_quiet(place);
    say(place, AUDIT_CHANGE, "adopt", NODE, "127.0.0.1:1", ST_OK);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, be_refused, place), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    stop(place);
    assert_true(files_of(place, false) < 1000 * 1000);
    start(place);
    HEARD all = ask(place, 0, AUDIT_READ_MAX, "");
    assert_string_equal(all.lines[0].what, "adopt");
    uint64_t counted = 0;
    for (size_t i = 1; i < all.count; i++) {
        assert_int_equal(all.lines[i].decision, ST_PERMISSION_DENIED);
        counted += all.lines[i].more ? all.lines[i].more : 1;
    }
    assert_int_equal(counted, CROWD);
    /* "and so many more from 127.0.0.9" */
    assert_string_equal(all.lines[all.count - 1].peer, "127.0.0.9");
    assert_true(all.lines[all.count - 1].more > CROWD / 2);
}

static void
N46_a_crowd_of_many_networks_fills_no_disk_either(void **state)
{
    struct place *place = *state;
    be_quiet(place);
    for (int i = 0; i < CROWD; i++) {
        char peer[40];
        snprintf(peer, sizeof(peer), "[2001:db8:%x::1]:4711", i % 50000 + 1);
        say(place, AUDIT_STRANGER, "enrol", "?", peer, ST_PERMISSION_DENIED);
    }
    stop(place);
    assert_true(files_of(place, false) < 1000 * 1000);
    start(place);
    HEARD all = ask(place, 0, 200, "");
    assert_true(all.count > 60);
    assert_true(all.lines[all.count - 1].more > 0);
}

/* One's own node can be a nuisance, too. */
static void
N46_a_node_that_asks_without_end_pushes_no_change_out(void **state)
{
    struct place *place = *state;
    be_quiet(place);
    say(place, AUDIT_CHANGE, "adopt", NODE, "127.0.0.1:1", ST_OK);
    for (int i = 0; i < CROWD; i++)
        say(place, AUDIT_NODE, "unlock", NODE, "127.0.0.3:1", ST_OK);
    stop(place);
    assert_true(files_of(place, false) < 100 * 1000);
    start(place);
    HEARD all = ask(place, 0, AUDIT_READ_MAX, "");
    assert_string_equal(all.lines[0].what, "adopt");
}

/* An enrolment's secret that is used up is no licence to fill the audit. */
static void
N46_who_calls_himself_another_each_time_is_counted_by_his_network(void **state)
{
    struct place *place = *state;
    be_quiet(place);
    for (int i = 0; i < CROWD; i++) {
        char subject[NAME_MAX_LEN + 1];
        snprintf(subject, sizeof(subject), "smalltown-%032x", i);
        say(place, AUDIT_NODE, "enrol", subject, "127.0.0.3:1", ST_PERMISSION_DENIED);
    }
    stop(place);
    assert_true(files_of(place, false) < 100 * 1000);
}

/* All that there can ever be, and the newest of it is there. */
static void
N46_all_files_together_stay_below_what_is_promised(void **state)
{
    struct place *place = *state;
    be_quiet(place);
    for (int kind = 0; kind < AUDIT_KINDS; kind++)
        for (int i = 0; i < 60000; i++) {
            char subject[NAME_MAX_LEN + 1], peer[40];
            snprintf(subject, sizeof(subject), "smalltown-%032x", i);
            snprintf(peer, sizeof(peer), "10.%d.%d.%d:1", kind, i / 250, i % 250);
            say(place, (enum audit_kind)kind, "unlock", subject, peer, ST_UNAVAILABLE);
        }
    stop(place);
    assert_true(files_of(place, false) < AUDIT_BYTES_MAX);
    start(place);
    HEARD all = ask(place, 0, 10, "");
    assert_int_equal(all.count, 10);
}

static void
N46_a_full_disk_is_survived_and_said(void **state)
{
    struct place *place = *state;
    struct rlimit before, full;
    be_quiet(place);
    signal(SIGXFSZ, SIG_IGN);
    say(place, AUDIT_CHANGE, "adopt", "one", "", ST_OK);
    HEARD first = ask(place, 0, 10, "");
    assert_int_equal(first.count, 1);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    full = before;
    full.rlim_cur = files_of(place, false) + 20;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    for (int i = 0; i < 7; i++)
        say(place, AUDIT_CHANGE, "adopt", "two", "", ST_OK);
    HEARD still = ask(place, 0, 10, "");
    assert_int_equal(still.count, 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    say(place, AUDIT_CHANGE, "adopt", "three", "", ST_OK);
    stop(place);
    start(place);
    HEARD all = ask(place, 0, 10, "");
    assert_int_equal(all.count, 3);
    assert_string_equal(all.lines[1].subject, "three");
    assert_string_equal(all.lines[2].what, "audit");
    assert_string_equal(all.lines[2].reason,
                        "7 lines before this one could not be written");
}

/* The audit's thread is held while this is armed, as by a disk that does not answer. */
struct holding {
    sem_t held, go;
};
static void
hold(void *arg, const struct audit_answer *answer, const struct st_err *err)
{
    struct holding *holding = arg;
    (void)answer;
    (void)err;
    sem_post(&holding->held);
    sem_wait(&holding->go);
}

static void
N46_a_disk_that_does_not_answer_holds_up_nobody(void **state)
{
    struct place *place = *state;
    const struct audit_query query = {.lines = 1};
    struct holding holding;
    be_quiet(place);
    sem_init(&holding.held, 0, 0);
    sem_init(&holding.go, 0, 0);
    audit_read(place->audit, &query, hold, &holding);
    sem_wait(&holding.held);
    for (int i = 0; i < AUDIT_WAITING_MAX + 123; i++)
        say(place, AUDIT_CHANGE, "adopt", "one", "", ST_OK);
    sem_post(&holding.go);
    stop(place);
    start(place);
    HEARD last = ask(place, 0, 2, "");
    assert_string_equal(last.lines[0].what, "adopt");
    assert_string_equal(last.lines[1].what, "audit");
    assert_string_equal(last.lines[1].reason,
                        "123 lines before this one could not be written");
    sem_destroy(&holding.held);
    sem_destroy(&holding.go);
}

static void
a_folder_that_cannot_be_made_stops_nobody(void **state)
{
    struct place *place = *state;
    char path[80];
    be_quiet(place);
    snprintf(path, sizeof(path), "%s/audit", place->dir);
    const int file = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(file >= 0);
    close(file);
    say(place, AUDIT_CHANGE, "adopt", "one", "", ST_OK);
    HEARD none = ask(place, 0, 10, "");
    assert_int_equal(none.code, ST_OK);
    assert_int_equal(none.count, 0);
    assert_int_equal(unlink(path), 0);
    say(place, AUDIT_CHANGE, "adopt", "two", "", ST_OK);
    stop(place);
    start(place);
    HEARD all = ask(place, 0, 10, "");
    assert_int_equal(all.count, 2);
    assert_string_equal(all.lines[0].subject, "two");
}

/* In a process of its own, without end. */
static _Noreturn void
say_until_killed(struct place *place, int told)
{
    start(place);
    for (unsigned i = 0;; i++) {
        char subject[24];
        snprintf(subject, sizeof(subject), "n%u", i);
        say(place, AUDIT_CHANGE, "adopt", subject, "", ST_OK);
        if (i % 100 == 0) { /* no more than can wait */
            HEARD heard = ask(place, 0, 1, "");
            assert_int_equal(heard.code, ST_OK);
        }
        if (i == 300)
            assert_int_equal(write(told, "", 1), 1);
    }
}

static void
who_is_killed_while_he_writes_leaves_whole_lines(void **state)
{
    struct place *place = *state;
    int told[2];
    char byte;
    be_quiet(place);
    stop(place);
    assert_int_equal(pipe(told), 0);
    for (int round = 0; round < 5; round++) {
        const pid_t child = fork();
        if (child == 0)
            say_until_killed(place, told[1]);
        assert_int_equal(read(told[0], &byte, 1), 1);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        start(place);
        say(place, AUDIT_CHANGE, "after", "", "", ST_OK);
        HEARD all = ask(place, 0, AUDIT_READ_MAX, "");
        assert_true(all.count > 200);
        assert_string_equal(all.lines[all.count - 1].what, "after");
        unsigned next = 0;
        for (size_t i = 0; i < all.count; i++) {
            unsigned n;
            assert_true(i == 0 || all.lines[i].number > all.lines[i - 1].number);
            if (sscanf(all.lines[i].subject, "n%u", &n) != 1)
                next = 0;
            else if (i > 0)
                assert_int_equal(n, next++);
            else
                next = n + 1;
        }
        stop(place);
    }
    close(told[0]);
    close(told[1]);
}

static void
who_asks_after_the_stop_is_told_so(void **state)
{
    struct place *place = *state;
    audit_stop(place->audit);
    HEARD late = ask(place, 0, 10, "");
    assert_int_equal(late.code, ST_UNAVAILABLE);
    say(place, AUDIT_CHANGE, "adopt", "late", "", ST_OK);
    audit_stop(place->audit);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_was_said_is_read_in_that_order_whatever_its_kind),
        TEST(who_follows_misses_nothing_and_hears_nothing_twice),
        TEST(a_restart_loses_nothing_and_numbers_go_on),
        TEST(N46_a_crowd_that_is_refused_fills_no_disk_and_pushes_nothing_out),
        TEST(N46_a_crowd_of_many_networks_fills_no_disk_either),
        TEST(N46_a_node_that_asks_without_end_pushes_no_change_out),
        TEST(N46_who_calls_himself_another_each_time_is_counted_by_his_network),
        TEST(N46_all_files_together_stay_below_what_is_promised),
        TEST(N46_a_full_disk_is_survived_and_said),
        TEST(N46_a_disk_that_does_not_answer_holds_up_nobody),
        TEST(a_folder_that_cannot_be_made_stops_nobody),
        TEST(who_is_killed_while_he_writes_leaves_whole_lines),
        TEST(who_asks_after_the_stop_is_told_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
