/* The cures of elections, in libraft's own simulator: with the cure and without. */
#include "tests/cmocka.h"
#include "tests/raft/cluster.h"

#include <stdlib.h>
#include <string.h>

static struct raft_message
request_vote(raft_term term, raft_id candidate, raft_index last, raft_term last_term)
{
    return (struct raft_message){.type = RAFT_IO_REQUEST_VOTE,
                                 .request_vote = {.term = term,
                                                  .candidate_id = candidate,
                                                  .last_log_index = last,
                                                  .last_log_term = last_term}};
}

static int
role_of(struct cluster *c, unsigned member, unsigned of)
{
    return cluster_member(c, member)->configuration.servers[of].role;
}

/* ---- F ---- */

/* Member 1 becomes the only voter, and is told to take over. */
static raft_term
term_of_whom_a_sole_voter_leads(bool cured)
{
    struct cluster *c = cluster_begin(3, 3, cured);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    cluster_isolate(c, 1);
    cluster_deliver(c, 0, 1, cluster_append(5, 1, 1, cluster_change(c, 5, 1 << 1), 1));
    raft_fixture_step_until_elapsed(&c->fixture, 50);
    assert_int_equal(role_of(c, 1, 0), RAFT_STANDBY);
    cluster_deliver(
        c, 0, 1,
        (struct raft_message){
            .type = RAFT_IO_TIMEOUT_NOW,
            .timeout_now = {.term = 5, .last_log_index = 2, .last_log_term = 5}});
    for (int i = 0; i < 5000 && cluster_member(c, 1)->state != RAFT_LEADER; i++)
        raft_fixture_step(&c->fixture);
    assert_int_equal(cluster_member(c, 1)->state, RAFT_LEADER);
    raft_term term = cluster_member(c, 1)->current_term;
    cluster_end(c);
    return term;
}

static void
F_a_sole_voter_does_not_take_over_the_term_of_who_tells_it_to_lead(void **state)
{
    (void)state;
    assert_int_equal(term_of_whom_a_sole_voter_leads(false), 5);
    assert_int_equal(term_of_whom_a_sole_voter_leads(true), 6);
}

/* ---- I ---- */

/* Member 0 hands over to member 1, votes for member 2, and is asked by member 1. */
static raft_id
second_vote_in_a_term(bool cured)
{
    struct cluster *c = cluster_begin(3, 3, cured);
    struct raft_transfer transfer = {0};
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    for (int i = 0; i < 5000 && cluster_member(c, 0)->state != RAFT_LEADER; i++)
        raft_fixture_step(&c->fixture);
    raft_fixture_step_until_elapsed(&c->fixture, 500);
    struct raft *raft = cluster_member(c, 0);
    assert_int_equal(raft->state, RAFT_LEADER);
    raft_term term = raft->current_term + 1;
    assert_int_equal(raft_transfer(raft, &transfer, 2, NULL), 0);
    struct raft_message message = request_vote(term, 3, 100, term);
    message.request_vote.disrupt_leader = true;
    cluster_deliver(c, 2, 0, message);
    assert_int_equal(raft_fixture_voted_for(&c->fixture, 0), 3);
    message.request_vote.candidate_id = 2;
    cluster_deliver(c, 1, 0, message);
    assert_int_equal(raft->current_term, term);
    raft_id vote = raft_fixture_voted_for(&c->fixture, 0);
    cluster_end(c);
    return vote;
}

static void
I_who_hands_over_votes_once_in_a_term(void **state)
{
    (void)state;
    assert_int_equal(second_vote_in_a_term(false), 2);
    assert_int_equal(second_vote_in_a_term(true), 3);
}

/* ---- J ---- */

/* Member 1 has a change on its way to a disk that takes longer than its patience. */
static int
role_after_a_slow_change(bool cured)
{
    struct cluster *c = cluster_begin(3, 3, cured);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    cluster_isolate(c, 1);
    raft_fixture_set_disk_latency(&c->fixture, 1, 4000);
    cluster_deliver(c, 0, 1, cluster_append(2, 1, 1, cluster_change(c, 2, 3), 1));
    raft_fixture_step_until_elapsed(&c->fixture, 3900);
    assert_int_equal(cluster_member(c, 1)->state, cured ? RAFT_FOLLOWER : RAFT_CANDIDATE);
    raft_fixture_step_until_elapsed(&c->fixture, 500);
    assert_int_equal(raft_last_index(cluster_member(c, 1)), 2);
    int role = role_of(c, 1, 2);
    cluster_end(c);
    return role;
}

static void
J_a_change_that_is_being_written_is_not_lost_to_a_candidacy(void **state)
{
    (void)state;
    assert_int_equal(role_after_a_slow_change(false), RAFT_VOTER);
    assert_int_equal(role_after_a_slow_change(true), RAFT_STANDBY);
}

static int
state_when_told_to_lead_during_a_change(bool cured)
{
    struct cluster *c = cluster_begin(3, 3, cured);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    cluster_deliver(c, 0, 1, cluster_append(2, 1, 1, cluster_change(c, 2, 3), 1));
    cluster_deliver(
        c, 0, 1,
        (struct raft_message){
            .type = RAFT_IO_TIMEOUT_NOW,
            .timeout_now = {.term = 2, .last_log_index = 2, .last_log_term = 2}});
    int state = cluster_member(c, 1)->state;
    cluster_end(c);
    return state;
}

static void
J_nor_to_one_that_was_ordered(void **state)
{
    (void)state;
    assert_int_equal(state_when_told_to_lead_during_a_change(false), RAFT_CANDIDATE);
    assert_int_equal(state_when_told_to_lead_during_a_change(true), RAFT_FOLLOWER);
}

/* ---- install versus candidacy ---- */

static struct raft_message
snapshot_of(struct cluster *c, raft_term term, raft_index index, raft_index conf_index)
{
    struct raft_message message = {.type = RAFT_IO_INSTALL_SNAPSHOT,
                                   .install_snapshot = {.term = term,
                                                        .last_index = index,
                                                        .last_term = term,
                                                        .conf_index = conf_index,
                                                        .data = {raft_calloc(1, 8), 8}}};
    assert_int_equal(raft_fixture_configuration(&c->fixture, c->fixture.n,
                                                &message.install_snapshot.conf),
                     0);
    return message;
}

static int
state_during_an_install(bool cured)
{
    struct cluster *c = cluster_begin(3, 3, cured);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    cluster_isolate(c, 1);
    raft_fixture_set_disk_latency(&c->fixture, 1, 6000);
    cluster_deliver(c, 0, 1, snapshot_of(c, 2, 20, 1));
    raft_fixture_step_until_elapsed(&c->fixture, 5000);
    int state = cluster_member(c, 1)->state;
    assert_int_equal(cluster_member(c, 1)->last_stored, 0); /* it still runs */
    raft_fixture_step_until_elapsed(&c->fixture, 5000);
    if (cured) { /* and then it stands, with what it has */
        assert_int_equal(cluster_member(c, 1)->last_applied, 20);
        assert_int_equal(cluster_member(c, 1)->state, RAFT_CANDIDATE);
    }
    cluster_end(c);
    return state;
}

static void
whoever_installs_a_snapshot_does_not_stand(void **state)
{
    (void)state;
    assert_int_equal(state_during_an_install(false), RAFT_CANDIDATE);
    assert_int_equal(state_during_an_install(true), RAFT_FOLLOWER);
}

static void
count(void *arg)
{
    (*(unsigned *)arg)++;
}

/* Deadlines go on, for example. */
static void
time_passes_also_during_an_install(void **state)
{
    (void)state;
    unsigned moves = 0;
    struct cluster *c = cluster_begin(3, 3, true);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    cluster_isolate(c, 1);
    raft_fixture_set_disk_latency(&c->fixture, 1, 6000);
    cluster_deliver(c, 0, 1, snapshot_of(c, 2, 20, 1));
    c->cures[1].moved = count;
    c->cures[1].arg = &moves;
    raft_fixture_step_until_elapsed(&c->fixture, 5000);
    assert_int_equal(cluster_member(c, 1)->last_stored, 0); /* it still runs */
    assert_in_range(moves, 10, 1000);
    cluster_end(c);
}

/* A change that was under way before the snapshot is settled by it. */
static raft_index
change_under_way_after_an_install(bool cured)
{
    struct cluster *c = cluster_begin(3, 3, cured);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    cluster_isolate(c, 1);
    cluster_deliver(c, 0, 1, cluster_append(2, 1, 1, cluster_change(c, 2, 3), 1));
    raft_fixture_step_until_elapsed(&c->fixture, 50);
    assert_int_equal(cluster_member(c, 1)->configuration_uncommitted_index, 2);
    cluster_deliver(c, 0, 1, snapshot_of(c, 2, 20, 10));
    raft_fixture_step_until_elapsed(&c->fixture, 50);
    assert_int_equal(cluster_member(c, 1)->configuration_index, 10);
    raft_index index = cluster_member(c, 1)->configuration_uncommitted_index;
    cluster_end(c);
    return index;
}

static void
K_an_install_leaves_no_change_under_way(void **state)
{
    (void)state;
    assert_int_equal(change_under_way_after_an_install(false), 2);
    assert_int_equal(change_under_way_after_an_install(true), 0);
}

/* ---- M ---- */

/* Member 2 has not heard yet that it was promoted. */
static raft_id
vote_of_a_standby(bool cured, bool led)
{
    struct cluster *c = cluster_begin(3, 2, cured);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    cluster_isolate(c, 2);
    if (led) /* once, and long ago */
        cluster_deliver(c, 0, 2, cluster_append(2, 1, 1, NULL, 0));
    raft_fixture_step_until_elapsed(&c->fixture, 3000);
    cluster_deliver(c, 0, 2, request_vote(3, 1, 2, 2));
    raft_id vote = raft_fixture_voted_for(&c->fixture, 2);
    assert_int_equal(role_of(c, 2, 2), RAFT_STANDBY);
    cluster_end(c);
    return vote;
}

static void
M_a_vote_is_given_by_who_does_not_know_that_it_is_a_voter(void **state)
{
    (void)state;
    assert_int_equal(vote_of_a_standby(false, false), 0);
    assert_int_equal(vote_of_a_standby(true, false), 1);
    assert_int_equal(vote_of_a_standby(false, true), 0);
    assert_int_equal(vote_of_a_standby(true, true), 1);
}

/* Member 2 is in no group that it has heard of, and listens where member 0 is said to be:
 * that one joined there, and moved. */
static void
M_a_vote_is_given_also_where_another_member_once_was(void **state)
{
    (void)state;
    struct cluster *c = cluster_begin(3, 2, true);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    cluster_isolate(c, 2);
    raft_fixture_step_until_elapsed(&c->fixture, 3000);
    struct raft *raft = cluster_member(c, 2);
    struct raft_configuration *group = &raft->configuration;
    char *others = group->servers[0].address;
    group->servers[0].address = group->servers[2].address;
    raft_free(others);
    group->n = 2;
    assert_string_equal(group->servers[0].address, raft->address);
    cluster_deliver(c, 0, 2, request_vote(3, 1, 2, 2));
    assert_int_equal(raft_fixture_voted_for(&c->fixture, 2), 1);
    assert_int_equal(group->n, 2);
    cluster_end(c);
}

/* ---- N ---- */

static raft_term
term_told_with_a_refusal(bool cured)
{
    struct cluster *c = cluster_begin(3, 3, cured);
    raft_fixture_set_term(&c->fixture, 1, 9);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    struct raft_message message = request_vote(3, 1, 5, 2);
    message.request_vote.pre_vote = true;
    cluster_deliver(c, 0, 1, message);
    assert_false(c->taps[1].vote.vote_granted);
    raft_term term = c->taps[1].vote.term;
    cluster_end(c);
    return term;
}

static void
N_who_refuses_for_its_term_tells_it(void **state)
{
    (void)state;
    assert_int_equal(term_told_with_a_refusal(false), 3);
    assert_int_equal(term_told_with_a_refusal(true), 9);
}

/* ---- O ---- */

/* Member 0 led, wrote that it leaves, and was started again before anybody had it. */
static bool
a_leaver_ends_its_leaving(bool cured)
{
    struct cluster *c = cluster_begin(2, 2, cured);
    raft_fixture_set_term(&c->fixture, 0, 2);
    raft_fixture_set_term(&c->fixture, 1, 2);
    cluster_add_change(c, 0, 2, 1 << 1);
    for (unsigned i = 0; i < 2; i++)
        raft_set_pre_vote(cluster_member(c, i), true);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    bool over = false;
    for (int i = 0; i < 20000 && !over; i++) {
        raft_fixture_step(&c->fixture);
        over = cluster_member(c, 1)->state == RAFT_LEADER;
    }
    if (over)
        assert_int_equal(role_of(c, 1, 0), RAFT_STANDBY);
    cluster_end(c);
    return over;
}

static void
O_who_leaves_stands_until_the_others_have_it(void **state)
{
    (void)state;
    assert_false(a_leaver_ends_its_leaving(false));
    assert_true(a_leaver_ends_its_leaving(true));
}

/* Of three, member 0 leaves and is alone with that: it needs both others. */
static void
O_the_vote_of_who_leaves_does_not_count(void **state)
{
    (void)state;
    struct cluster *c = cluster_begin(3, 3, true);
    cluster_add_change(c, 0, 2, 6);
    raft_fixture_set_term(&c->fixture, 0, 2);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    raft_fixture_set_randomized_election_timeout(&c->fixture, 1, 1000000);
    raft_fixture_set_randomized_election_timeout(&c->fixture, 2, 1000000);
    cluster_isolate(c, 2);
    for (int i = 0; i < 3000; i++) {
        raft_fixture_step(&c->fixture);
        assert_int_not_equal(cluster_member(c, 0)->state, RAFT_LEADER);
    }
    assert_true(cluster_member(c, 0)->current_term > 2); /* it stood */
    cluster_end(c);
}

/* ---- Q ---- */

/* What member 0 knows as a leader after another one led in its term. */
static bool
is_spoiled_by_a_rival(bool cured, bool by_snapshot)
{
    struct cluster *c = cluster_begin(3, 3, cured);
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    struct raft *raft = cluster_member(c, 0);
    for (int i = 0; i < 5000 && raft->state != RAFT_LEADER; i++)
        raft_fixture_step(&c->fixture);
    assert_int_equal(raft->state, RAFT_LEADER);
    const raft_term term = raft->current_term;
    const struct raft before = *raft;
    cluster_deliver(c, 1, 0,
                    by_snapshot ? snapshot_of(c, term, 1, 1)
                                : cluster_append(term, 1000, term, NULL, 0));
    const bool spoiled = memcmp(&raft->leader_state, &before.leader_state,
                                sizeof(raft->leader_state)) != 0;
    if (spoiled) { /* so that it can be ended */
        raft_free(raft->follower_state.current_leader.address);
        memcpy(&raft->leader_state, &before.leader_state, sizeof(raft->leader_state));
    }
    assert_int_equal(c->cures[0].rival, cured ? 2 : 0);
    cluster_end(c);
    return spoiled;
}

static void
Q_who_leads_does_not_hear_another_one_in_its_term(void **state)
{
    (void)state;
    for (int by_snapshot = 0; by_snapshot < 2; by_snapshot++) {
        assert_true(is_spoiled_by_a_rival(false, by_snapshot));
        assert_false(is_spoiled_by_a_rival(true, by_snapshot));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            F_a_sole_voter_does_not_take_over_the_term_of_who_tells_it_to_lead),
        cmocka_unit_test(I_who_hands_over_votes_once_in_a_term),
        cmocka_unit_test(J_a_change_that_is_being_written_is_not_lost_to_a_candidacy),
        cmocka_unit_test(J_nor_to_one_that_was_ordered),
        cmocka_unit_test(whoever_installs_a_snapshot_does_not_stand),
        cmocka_unit_test(time_passes_also_during_an_install),
        cmocka_unit_test(K_an_install_leaves_no_change_under_way),
        cmocka_unit_test(M_a_vote_is_given_by_who_does_not_know_that_it_is_a_voter),
        cmocka_unit_test(M_a_vote_is_given_also_where_another_member_once_was),
        cmocka_unit_test(N_who_refuses_for_its_term_tells_it),
        cmocka_unit_test(O_who_leaves_stands_until_the_others_have_it),
        cmocka_unit_test(O_the_vote_of_who_leaves_does_not_count),
        cmocka_unit_test(Q_who_leads_does_not_hear_another_one_in_its_term),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
