/* The cures of what a follower does to its log, and of how commits starve, in libraft's
 * own simulator: with the cure and without. */
#include "tests/cmocka.h"
#include "tests/raft/cluster.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What is broken may crash: true where it does. */
static bool
crashes(void (*what)(void))
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        dup2(null, STDOUT_FILENO);
        what();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status != 0;
}

static struct raft_entry *
command(raft_term term)
{
    static uint64_t value;
    value++;
    return cluster_entry(term, RAFT_COMMAND, &value, sizeof(value));
}

/* n of them, in one batch as a message has them. */
static struct raft_entry *
commands(raft_term term, unsigned n)
{
    struct raft_entry *entries = raft_calloc(n, sizeof(*entries));
    uint8_t *batch = raft_calloc(n, 8);
    assert_true(entries && batch);
    for (unsigned i = 0; i < n; i++)
        entries[i] = (struct raft_entry){.term = term,
                                         .type = RAFT_COMMAND,
                                         .buf = {batch + 8 * i, 8},
                                         .batch = batch};
    return entries;
}

/* ---- A ---- */

/* Member 1 has two entries that were never compared, and hears of a commit index. */
static raft_index
commits_of_a_heartbeat(bool cured)
{
    struct cluster *c = cluster_begin(3, 3, cured);
    raft_fixture_set_term(&c->fixture, 1, 2);
    cluster_add_entry(c, 1, 2, 100);
    cluster_add_entry(c, 1, 2, 101);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    struct raft_message message = cluster_append(3, 1, 1, NULL, 0);
    message.append_entries.leader_commit = 3;
    cluster_deliver(c, 0, 1, message);
    raft_index index = cluster_member(c, 1)->commit_index;
    cluster_end(c);
    return index;
}

static void
A_a_follower_commits_what_was_compared(void **state)
{
    (void)state;
    assert_int_equal(commits_of_a_heartbeat(false), 3);
    assert_int_equal(commits_of_a_heartbeat(true), 1);
}

/* ---- E ---- */

struct stream {
    struct raft *raft;
    bool one_at_a_time;
    unsigned under_way;
};

static void
landed(struct raft_apply *req, int status, void *result)
{
    struct stream *stream = req->data;
    (void)status;
    (void)result;
    stream->under_way--;
    free(req);
}

static void
feed(struct stream *stream)
{
    if (stream->one_at_a_time && stream->under_way)
        return;
    struct raft_apply *req = calloc(1, sizeof(*req));
    struct raft_buffer buf = {raft_calloc(1, 8), 8};
    req->data = stream;
    assert_int_equal(raft_apply(stream->raft, req, &buf, 1, landed), 0);
    stream->under_way++;
}

/* How far the leader comes while it is asked at every moment, for two seconds. */
static raft_index
commits_of_a_steady_stream(bool one_at_a_time)
{
    struct cluster *c = cluster_begin(3, 3, true);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    assert_true(raft_fixture_step_until_has_leader(&c->fixture, 10000));
    raft_fixture_step_until_elapsed(&c->fixture, 500);
    unsigned leader = raft_fixture_leader_index(&c->fixture);
    struct stream stream = {.raft = cluster_member(c, leader),
                            .one_at_a_time = one_at_a_time};
    raft_index before = stream.raft->commit_index;
    raft_time end = raft_fixture_time(&c->fixture) + 2000;
    for (raft_time last = 0; raft_fixture_time(&c->fixture) < end;) {
        raft_fixture_step(&c->fixture);
        if (raft_fixture_time(&c->fixture) >= last + 5) {
            last = raft_fixture_time(&c->fixture);
            feed(&stream);
        }
    }
    assert_int_equal(stream.raft->state, RAFT_LEADER);
    raft_index commits = stream.raft->commit_index - before;
    cluster_end(c);
    return commits;
}

static void
E_a_steady_stream_is_committed_one_entry_at_a_time(void **state)
{
    (void)state;
    assert_int_equal(commits_of_a_steady_stream(false), 0);
    assert_true(commits_of_a_steady_stream(true) > 20);
}

/* ---- G ---- */

/* A message that is refused takes nothing back. */
static void
G_only_what_is_replaced_is_taken_back(void **state)
{
    (void)state;
    struct cluster *c = cluster_begin(3, 3, true);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    cluster_deliver(c, 0, 1, cluster_append(2, 1, 1, command(2), 1));
    cluster_deliver(c, 0, 1, cluster_append(2, 2, 2, cluster_change(c, 2, 3), 1));
    raft_fixture_step_until_elapsed(&c->fixture, 50);
    struct raft *raft = cluster_member(c, 1);
    assert_int_equal(raft->configuration.servers[2].role, RAFT_STANDBY);
    cluster_deliver(c, 2, 1, cluster_append(4, 2, 3, command(4), 1));
    assert_int_equal(c->taps[1].result.rejected, 2);
    assert_int_equal(raft->configuration.servers[2].role, RAFT_STANDBY);
    assert_int_equal(raft->configuration_uncommitted_index, 3);
    cluster_deliver(c, 2, 1, cluster_append(4, 1, 1, command(3), 1));
    assert_int_equal(raft->configuration.servers[2].role, RAFT_VOTER);
    assert_int_equal(raft->configuration_uncommitted_index, 0);
    cluster_end(c);
}

/* ---- H ---- */

/* The same entry twice: the second time it is answered at once, or it would be. */
static void
fail_to_answer(void)
{
    struct cluster *c = cluster_begin(3, 3, true);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    cluster_deliver(c, 0, 1, cluster_append(2, 1, 1, command(2), 1));
    raft_fixture_step_until_elapsed(&c->fixture, 50);
    raft_fixture_io_fault(&c->fixture, 1, 0, 1);
    cluster_deliver(c, 0, 1, cluster_append(2, 1, 1, command(2), 1));
    assert_int_equal(cluster_member(c, 1)->state, RAFT_FOLLOWER);
    assert_int_equal(cluster_member(c, 1)->last_stored, 2);
    cluster_end(c);
}

/* As libraft is used by its own transport, which knows this failure only. */
static int
unconnected_send(struct raft_io *io, struct raft_io_send *req,
                 const struct raft_message *message, raft_io_send_cb cb)
{
    (void)io;
    (void)req;
    (void)message;
    (void)cb;
    return RAFT_NOCONNECTION;
}

static void
answer_without_a_connection(void)
{
    struct cluster *c = cluster_begin(3, 3, false);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    cluster_deliver(c, 0, 1, cluster_append(2, 1, 1, command(2), 1));
    raft_fixture_step_until_elapsed(&c->fixture, 50);
    cluster_member(c, 1)->io->send = unconnected_send;
    cluster_deliver(c, 0, 1, cluster_append(2, 1, 1, command(2), 1));
}

static void
H_entries_whose_answer_cannot_be_sent_are_freed_once(void **state)
{
    (void)state;
    assert_true(crashes(answer_without_a_connection));
    fail_to_answer();
}

/* ---- K ---- */

/* Member 1 begins with a change in its log that nobody committed, which then is replaced.
 */
static int
role_after_a_change_of_an_earlier_life(bool cured)
{
    struct cluster *c = cluster_begin(3, 3, cured);
    cluster_add_change(c, 1, 2, 3);
    raft_fixture_set_term(&c->fixture, 1, 2);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    struct raft *raft = cluster_member(c, 1);
    assert_int_equal(raft->configuration.servers[2].role, RAFT_STANDBY);
    cluster_deliver(c, 0, 1, cluster_append(3, 1, 1, command(3), 1));
    int role = raft->configuration.servers[2].role;
    if (cured)
        assert_int_equal(raft->configuration_index, 1);
    cluster_end(c);
    return role;
}

static void
K_a_change_of_an_earlier_life_is_taken_back(void **state)
{
    (void)state;
    assert_int_equal(role_after_a_change_of_an_earlier_life(false), RAFT_STANDBY);
    assert_int_equal(role_after_a_change_of_an_earlier_life(true), RAFT_VOTER);
}

/* ---- L ---- */

/* An entry, another in its place, and the first again, before any of it is written. */
static struct cluster *
go_there_and_back(bool cured)
{
    struct cluster *c = cluster_begin(3, 3, cured);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    cluster_isolate(c, 1);
    raft_fixture_set_disk_latency(&c->fixture, 1, 100);
    cluster_deliver(c, 0, 1, cluster_append(2, 1, 1, command(2), 1));
    cluster_deliver(c, 2, 1, cluster_append(3, 1, 1, command(3), 1));
    cluster_deliver(c, 0, 1, cluster_append(4, 1, 1, command(2), 1));
    raft_fixture_step_until_elapsed(&c->fixture, 300);
    return c;
}

/* The memory of what was counted wrongly is freed wrongly, too: nothing is freed here. */
static void
count_what_was_replaced(void)
{
    struct raft *raft = cluster_member(go_there_and_back(false), 1);
    if (raft->last_stored > raft_last_index(raft))
        abort();
}

static void
L_what_was_replaced_while_it_was_written_does_not_count_as_stored(void **state)
{
    (void)state;
    assert_true(crashes(count_what_was_replaced));
    struct cluster *c = go_there_and_back(true);
    assert_int_equal(raft_last_index(cluster_member(c, 1)), 2);
    assert_int_equal(cluster_member(c, 1)->last_stored, 2);
    cluster_end(c);
}

static void
L_it_is_replaced_when_the_disk_is_done(void **state)
{
    (void)state;
    struct cluster *c = cluster_begin(3, 3, true);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    cluster_isolate(c, 1);
    cluster_deliver(c, 0, 1, cluster_append(2, 1, 1, command(2), 1));
    cluster_deliver(c, 2, 1, cluster_append(3, 1, 1, command(3), 1));
    assert_int_equal(cluster_term_at(c, 1, 2), 2);
    raft_fixture_step_until_elapsed(&c->fixture, 50);
    cluster_deliver(c, 2, 1, cluster_append(3, 1, 1, command(3), 1));
    assert_int_equal(cluster_term_at(c, 1, 2), 3);
    cluster_end(c);
}

/* ---- P ---- */

/* Member 1 has applied and let go of most; its leader begins at `prev`. */
static struct cluster *
begin_before(bool cured, raft_index prev, unsigned n)
{
    struct cluster *c = cluster_begin(3, 3, cured);
    raft_set_snapshot_threshold(cluster_member(c, 1), 4);
    raft_set_snapshot_trailing(cluster_member(c, 1), 1);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    cluster_isolate(c, 1);
    for (raft_index index = 2; index <= 9; index++) {
        struct raft_message message =
            cluster_append(2, index - 1, index == 2 ? 1 : 2, command(2), 1);
        message.append_entries.leader_commit = index;
        cluster_deliver(c, 0, 1, message);
        raft_fixture_step_until_elapsed(&c->fixture, 40);
    }
    assert_int_equal(cluster_member(c, 1)->last_applied, 9);
    assert_true(cluster_member(c, 1)->log.offset >= 5);
    cluster_deliver(c, 0, 1, cluster_append(2, prev, prev ? 2 : 0, commands(2, n), n));
    raft_fixture_step_until_elapsed(&c->fixture, 40);
    return c;
}

/* It crashes, or its log is longer than anybody's. */
static void
begin_at_the_first_entry(void)
{
    if (raft_last_index(cluster_member(begin_before(false, 0, 10), 1)) > 10)
        abort();
}

static void
accepts(raft_index prev, unsigned n)
{
    struct cluster *c = begin_before(true, prev, n);
    const struct raft_append_entries_result *result = &c->taps[1].result;
    raft_index end = prev + n;
    assert_int_equal(result->rejected, 0);
    assert_int_equal(result->last_log_index, end);
    assert_int_equal(raft_last_index(cluster_member(c, 1)), end > 9 ? end : 9);
    cluster_end(c);
}

static void
P_entries_that_a_follower_has_let_go_of_are_not_appended_again(void **state)
{
    (void)state;
    assert_true(crashes(begin_at_the_first_entry));
    accepts(0, 10);
}

static void
P_what_is_committed_is_acknowledged_without_being_there(void **state)
{
    (void)state;
    struct cluster *c = begin_before(false, 2, 10);
    assert_int_equal(c->taps[1].result.rejected, 2); /* for ever */
    cluster_end(c);
    accepts(2, 10);
    accepts(2, 7);
    accepts(2, 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(A_a_follower_commits_what_was_compared),
        cmocka_unit_test(E_a_steady_stream_is_committed_one_entry_at_a_time),
        cmocka_unit_test(G_only_what_is_replaced_is_taken_back),
        cmocka_unit_test(H_entries_whose_answer_cannot_be_sent_are_freed_once),
        cmocka_unit_test(K_a_change_of_an_earlier_life_is_taken_back),
        cmocka_unit_test(
            L_what_was_replaced_while_it_was_written_does_not_count_as_stored),
        cmocka_unit_test(L_it_is_replaced_when_the_disk_is_done),
        cmocka_unit_test(P_entries_that_a_follower_has_let_go_of_are_not_appended_again),
        cmocka_unit_test(P_what_is_committed_is_acknowledged_without_being_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
