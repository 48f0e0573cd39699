/* The cures, in libraft's own simulator: each fault happens to the library as it is, and
 * does not happen behind the cure. */
#include "tests/cmocka.h"
#include "tests/raft/cluster.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- A ---- */

/* Member 1 has two entries that were never compared; what does it acknowledge? */
static raft_index
answer_to_a_heartbeat(bool cured)
{
    struct cluster *c = cluster_begin(3, 3, cured);
    raft_fixture_set_term(&c->fixture, 1, 2);
    cluster_add_entry(c, 1, 2, 100);
    cluster_add_entry(c, 1, 2, 101);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    cluster_deliver(c, 0, 1, cluster_append(3, 1, 1, NULL, 0));
    assert_int_equal(c->taps[1].results, 1);
    assert_int_equal(c->taps[1].result.rejected, 0);
    raft_index said = c->taps[1].result.last_log_index;
    cluster_end(c);
    return said;
}

static void
A_a_follower_acknowledges_what_was_compared(void **state)
{
    (void)state;
    assert_int_equal(answer_to_a_heartbeat(false), 3);
    assert_int_equal(answer_to_a_heartbeat(true), 1);
}

/* Member 0 leads with the vote of member 2, which then is cut off; member 1 has entries
 * of its own at the same indexes. */
static bool
commits_what_nobody_has(bool cured)
{
    struct cluster *c = cluster_begin(3, 3, cured);
    for (unsigned i = 0; i < 3; i++)
        raft_fixture_set_term(&c->fixture, i, 2);
    cluster_add_entry(c, 1, 2, 100);
    cluster_add_entry(c, 1, 2, 101);
    cluster_add_entry(c, 1, 2, 102);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    raft_fixture_set_randomized_election_timeout(&c->fixture, 1, 100000);
    raft_fixture_set_randomized_election_timeout(&c->fixture, 2, 100000);
    for (int i = 0; i < 5000 && cluster_member(c, 0)->state != RAFT_LEADER; i++)
        raft_fixture_step(&c->fixture);
    assert_int_equal(cluster_member(c, 0)->state, RAFT_LEADER);
    raft_fixture_saturate(&c->fixture, 0, 2);
    raft_fixture_saturate(&c->fixture, 2, 0);
    assert_true(cluster_propose(c, 0, 200));
    assert_true(cluster_propose(c, 0, 201));
    bool alone = false;
    for (int i = 0; i < 300; i++) {
        raft_fixture_step(&c->fixture);
        alone |= cluster_commits_alone(c);
    }
    if (cured) /* and it goes on */
        assert_true(cluster_member(c, 0)->commit_index >= 3);
    cluster_end(c);
    return alone;
}

static void
A_nothing_is_committed_that_only_the_leader_has(void **state)
{
    (void)state;
    assert_true(commits_what_nobody_has(false));
    assert_false(commits_what_nobody_has(true));
}

/* ---- C ---- */

/* All have an entry of term 2, not known to be committed, and member 0 comes to lead. */
static bool
counts_an_earlier_term(bool cured)
{
    struct cluster *c = cluster_begin(3, 3, cured);
    for (unsigned i = 0; i < 3; i++) {
        raft_fixture_set_term(&c->fixture, i, 2);
        cluster_add_entry(c, i, 2, 100);
    }
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    bool counted = false;
    for (int i = 0; i < 1000; i++) {
        raft_fixture_step(&c->fixture);
        counted |= cluster_commits_by_counting(c, 1);
    }
    if (cured) {
        unsigned leader = raft_fixture_leader_index(&c->fixture);
        assert_true(leader < 3);
        assert_true(cure_serving(&c->cures[leader]));
        assert_int_equal(cluster_member(c, leader)->commit_index, 3);
    }
    cluster_end(c);
    return counted;
}

static void
C_entries_of_earlier_terms_are_committed_by_one_of_this_term(void **state)
{
    (void)state;
    assert_true(counts_an_earlier_term(false));
    assert_false(counts_an_earlier_term(true));
}

static void
C_nobody_is_served_before_the_barrier_is_applied(void **state)
{
    (void)state;
    struct cluster *c = cluster_begin(3, 3, true);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    unsigned led_without_serving = 0;
    bool served = false;
    for (int i = 0; i < 1000; i++) {
        raft_fixture_step(&c->fixture);
        for (unsigned m = 0; m < 3; m++) {
            struct raft *raft = cluster_member(c, m);
            bool applied =
                raft->commit_index >= 2 &&
                cluster_term_at(c, m, raft->last_applied) == raft->current_term;
            bool serving = cure_serving(&c->cures[m]);
            led_without_serving += raft->state == RAFT_LEADER && !serving;
            served |= serving;
            assert_true(!serving || applied);
        }
    }
    assert_true(led_without_serving > 0);
    assert_true(served);
    cluster_end(c);
}

/* ---- D ---- */

/* A write begun under a leader of term 2 ends when term 3 has begun. */
static unsigned
results_of_a_write_that_outlives_its_term(bool cured, bool new_leader)
{
    struct cluster *c = cluster_begin(3, 3, cured);
    uint64_t value = 7;
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    cluster_deliver(c, 0, 1,
                    cluster_append(2, 1, 1,
                                   cluster_entry(2, RAFT_COMMAND, &value, sizeof(value)),
                                   1));
    assert_int_equal(c->taps[1].results, 0); /* the disk takes 10 ms */
    if (new_leader) {
        cluster_deliver(c, 2, 1, cluster_append(3, 1, 1, NULL, 0));
        assert_int_equal(c->taps[1].results, 1);
    } else {
        cluster_deliver(c, 2, 1,
                        (struct raft_message){.type = RAFT_IO_REQUEST_VOTE,
                                              .request_vote = {.term = 3,
                                                               .candidate_id = 3,
                                                               .last_log_index = 1,
                                                               .last_log_term = 1,
                                                               .disrupt_leader = true}});
    }
    unsigned before = c->taps[1].results;
    raft_fixture_step_until_elapsed(&c->fixture, 50);
    unsigned results = c->taps[1].results - before;
    if (results) {
        assert_int_equal(c->taps[1].result.last_log_index, 2);
        assert_int_equal(c->taps[1].to, new_leader ? 3 : 0);
    }
    cluster_end(c);
    return results;
}

static void
D_a_write_is_acknowledged_in_its_term_only(void **state)
{
    (void)state;
    assert_int_equal(results_of_a_write_that_outlives_its_term(false, true), 1);
    assert_int_equal(results_of_a_write_that_outlives_its_term(true, true), 0);
}

static void
D_nothing_is_sent_to_nobody(void **state)
{
    (void)state;
    assert_int_equal(results_of_a_write_that_outlives_its_term(true, false), 0);
}

/* ---- F ---- */

static raft_term
term_of_a_sole_voter(bool cured)
{
    struct cluster *c = cluster_begin(1, 1, cured);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    assert_int_equal(cluster_member(c, 0)->state, RAFT_LEADER);
    raft_term term = cluster_member(c, 0)->current_term;
    if (cured)
        assert_int_equal(raft_fixture_voted_for(&c->fixture, 0), 1);
    cluster_end(c);
    return term;
}

static void
F_a_sole_voter_leads_in_a_term_of_its_own(void **state)
{
    (void)state;
    assert_int_equal(term_of_a_sole_voter(false), 1); /* the one it was loaded with */
    assert_int_equal(term_of_a_sole_voter(true), 2);
}

static void
changed(struct raft_change *req, int status)
{
    (void)status;
    req->data = req;
}

/* The leader leaves a group of two; the other one is alone then. */
static bool
leads_in_the_term_of_the_one_that_left(bool cured)
{
    struct cluster *c = cluster_begin(2, 2, cured);
    struct raft_change change = {0};
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    assert_true(raft_fixture_step_until_has_leader(&c->fixture, 10000));
    raft_fixture_step_until_elapsed(&c->fixture, 500);
    unsigned leader = raft_fixture_leader_index(&c->fixture), other = 1 - leader;
    raft_term term = cluster_member(c, leader)->current_term;
    assert_int_equal(raft_remove(cluster_member(c, leader), &change,
                                 cluster_member(c, leader)->id, changed),
                     0);
    for (int i = 0; i < 2000 && cluster_member(c, other)->state != RAFT_LEADER; i++)
        raft_fixture_step(&c->fixture);
    assert_int_equal(cluster_member(c, other)->state, RAFT_LEADER);
    bool same = cluster_member(c, other)->current_term == term;
    cluster_end(c);
    return same;
}

static void
F_no_term_has_two_leaders_when_one_leaves(void **state)
{
    (void)state;
    assert_true(leads_in_the_term_of_the_one_that_left(false));
    assert_false(leads_in_the_term_of_the_one_that_left(true));
}

/* ---- G ---- */

/* Member 1 lets go of the entry of its configuration, hears of a change, and has to take
 * it back. */
static void
take_a_change_back(bool cured)
{
    struct cluster *c = cluster_begin(3, 3, cured);
    struct raft_configuration group;
    struct raft_buffer bytes;
    raft_set_snapshot_threshold(cluster_member(c, 1), 4);
    raft_set_snapshot_trailing(cluster_member(c, 1), 1);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    raft_index index = 2;
    for (uint64_t value = 1; value <= 8; value++, index++) {
        struct raft_message message =
            cluster_append(2, index - 1, index == 2 ? 1 : 2,
                           cluster_entry(2, RAFT_COMMAND, &value, sizeof(value)), 1);
        message.append_entries.leader_commit = index;
        cluster_deliver(c, 0, 1, message);
        raft_fixture_step_until_elapsed(&c->fixture, 40);
    }
    assert_int_equal(cluster_term_at(c, 1, 1), 0); /* gone */
    assert_int_equal(raft_fixture_configuration(&c->fixture, 2, &group), 0);
    assert_int_equal(raft_configuration_encode(&group, &bytes), 0);
    raft_configuration_close(&group);
    cluster_deliver(c, 0, 1,
                    cluster_append(2, index - 1, 2,
                                   cluster_entry(2, RAFT_CHANGE, bytes.base, bytes.len),
                                   1));
    raft_free(bytes.base);
    raft_fixture_step_until_elapsed(&c->fixture, 40);
    struct raft *raft = cluster_member(c, 1);
    assert_int_equal(raft->configuration_uncommitted_index, index);
    assert_int_equal(raft->configuration.servers[2].role, RAFT_STANDBY);
    uint64_t other = 99;
    cluster_deliver(c, 2, 1,
                    cluster_append(3, index - 1, 2,
                                   cluster_entry(3, RAFT_COMMAND, &other, sizeof(other)),
                                   1));
    assert_int_equal(raft->configuration_uncommitted_index, 0);
    assert_int_equal(raft->configuration.servers[2].role, RAFT_VOTER);
    assert_int_equal(raft->configuration_index, 1);
    assert_int_equal(raft->state, RAFT_FOLLOWER);
    cluster_end(c);
}

static void
G_a_change_is_taken_back_after_a_compaction(void **state)
{
    (void)state;
    pid_t pid = fork();
    int status;
    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        dup2(null, STDOUT_FILENO);
        take_a_change_back(false);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_not_equal(status, 0); /* NULL */
    take_a_change_back(true);
}

/* ---- send() ---- */

static int
state_after_a_failed_send(bool cured)
{
    struct cluster *c = cluster_begin(3, 3, cured);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    cluster_deliver(c, 0, 1, cluster_append(1, 1, 1, NULL, 0));
    raft_fixture_io_fault(&c->fixture, 1, 0, 1);
    cluster_deliver(c, 0, 1, cluster_append(1, 1, 1, NULL, 0));
    int state = raft_state(cluster_member(c, 1));
    cluster_end(c);
    return state;
}

static void
a_message_that_cannot_be_sent_stops_nobody(void **state)
{
    (void)state;
    assert_int_equal(state_after_a_failed_send(false), RAFT_UNAVAILABLE);
    assert_int_equal(state_after_a_failed_send(true), RAFT_FOLLOWER);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(A_a_follower_acknowledges_what_was_compared),
        cmocka_unit_test(A_nothing_is_committed_that_only_the_leader_has),
        cmocka_unit_test(C_entries_of_earlier_terms_are_committed_by_one_of_this_term),
        cmocka_unit_test(C_nobody_is_served_before_the_barrier_is_applied),
        cmocka_unit_test(D_a_write_is_acknowledged_in_its_term_only),
        cmocka_unit_test(D_nothing_is_sent_to_nobody),
        cmocka_unit_test(F_a_sole_voter_leads_in_a_term_of_its_own),
        cmocka_unit_test(F_no_term_has_two_leaders_when_one_leaves),
        cmocka_unit_test(G_a_change_is_taken_back_after_a_compaction),
        cmocka_unit_test(a_message_that_cannot_be_sent_stops_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
