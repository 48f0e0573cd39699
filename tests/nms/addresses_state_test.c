/* The state machine: the list of masters that nodes are told, and who has it. */
#include "tests/nms/log.h"

#include <string.h>

static const uint8_t secret[32] = {0xbb};

enum {
    NODES = 3
};
static struct log_node nodes[NODES];
static unsigned news; /* how often it was said that there are some */

static void
count_news(void *arg)
{
    (void)arg;
    news++;
}

/* A cluster of one master; its nodes wait, and came with an older list. */
static int
open_member(void **state)
{
    static struct log_member member;
    struct st_err err = {0};
    log_open(&member);
    log_found(&member);
    assert_ok(log_new_enrolment(&member, "rack", secret, NODES, LOG_START + 3600, &err));
    for (unsigned i = 0; i < NODES; i++) {
        log_node_make(i + 1, secret, &nodes[i]);
        assert_ok(log_enrol(&member, &nodes[i], LOG_START, &err));
    }
    news = 0;
    state_watch_members(member.state, count_news, NULL);
    *state = &member;
    return 0;
}

static int
close_member(void **state)
{
    log_close(*state);
    return 0;
}

static enum st_code
tell(struct log_member *member, uint64_t number, size_t count, const char *const *ids,
     struct st_err *err)
{
    State__MastersTold masters_told = STATE__MASTERS_TOLD__INIT;
    masters_told.number = number;
    masters_told.node_ids = (char **)ids;
    masters_told.n_node_ids = count;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_MASTERS_TOLD;
    command.masters_told = &masters_told;
    return log_apply(member, &command, err);
}

static enum st_code
phase_at(struct log_member *member, int64_t time, uint64_t id, State__Phase from,
         State__Phase to, struct st_err *err)
{
    State__MemberPhase member_phase = STATE__MEMBER_PHASE__INIT;
    member_phase.id = id;
    member_phase.from = from;
    member_phase.to = to;
    State__Command command = STATE__COMMAND__INIT;
    command.time = time;
    command.change_case = STATE__COMMAND__CHANGE_MEMBER_PHASE;
    command.member_phase = &member_phase;
    return log_apply(member, &command, err);
}

static bool
outdated(struct log_member *member, unsigned i)
{
    AUTO(state_node_freep) State__Node *node = NULL;
    struct st_err err = {0};
    assert_ok(state_node(member->state, nodes[i].id, &node, &err));
    return state_is_outdated(node, state_masters_number(member->state));
}

static unsigned
count_outdated(struct log_member *member)
{
    struct state_counts counts;
    struct st_err err = {0};
    assert_ok(state_count(member->state, LOG_START, &counts, &err));
    return counts.outdated;
}

static void
the_list_has_another_number_when_it_changes_and_only_then(void **state)
{
    struct log_member *member = *state;
    const State__Phase joining = STATE__PHASE__JOINING;
    const State__Phase catching_up = STATE__PHASE__CATCHING_UP;
    struct st_address masters[REPLICA_MEMBERS_MAX];
    struct st_err err = {0};
    uint64_t number = state_masters_number(member->state), together;
    assert_int_equal(number, LOG_START);
    assert_ok(log_adopt_master(member, nodes[0].id, 2, &err));
    assert_ok(phase_at(member, LOG_START + 5, 2, joining, catching_up, &err));
    assert_ok(log_adopt(member, nodes[1].id, &err));
    assert_int_equal(state_masters_number(member->state), number);
    assert_ok(phase_at(member, LOG_START + 9, 2, catching_up, STATE__PHASE__VOTER, &err));
    assert_int_equal(state_masters_number(member->state), LOG_START + 9);
    assert_int_equal(state_masters(member->state, masters, &together), 2);
    assert_int_equal(together, LOG_START + 9);
    /* A second time it is no change. */
    assert_ok(
        phase_at(member, LOG_START + 20, 2, catching_up, STATE__PHASE__VOTER, &err));
    assert_int_equal(state_masters_number(member->state), LOG_START + 9);
    /* One that leaves is none to ask any more; that it is gone later is no news. */
    assert_ok(log_remove_node(member, nodes[0].id, &err));
    number = state_masters_number(member->state);
    assert_int_equal(number, LOG_START + 10);
    assert_ok(log_gone(member, 2, 2, &err));
    assert_int_equal(state_masters_number(member->state), number);
}

static void
who_never_voted_leaves_the_list_as_it_is(void **state)
{
    struct log_member *member = *state;
    const uint64_t number = state_masters_number(member->state);
    struct st_err err = {0};
    assert_ok(log_adopt_master(member, nodes[0].id, 2, &err));
    assert_ok(log_remove_node(member, nodes[0].id, &err));
    assert_int_equal(state_masters_number(member->state), number);
}

/* The clock of the proposer may be wrong, and may be put right: the number only grows. */
static void
a_clock_that_goes_back_takes_no_number_back(void **state)
{
    struct log_member *member = *state;
    const State__Phase catching_up = STATE__PHASE__CATCHING_UP;
    struct st_err err = {0};
    assert_ok(log_adopt_master(member, nodes[0].id, 2, &err));
    assert_ok(phase_at(member, LOG_START, 2, STATE__PHASE__JOINING, catching_up, &err));
    assert_ok(phase_at(member, -5, 2, catching_up, STATE__PHASE__VOTER, &err));
    assert_int_equal(state_masters_number(member->state), LOG_START + 1);
}

/* Its log may lack lists that nodes have heard of. */
static void
who_goes_on_alone_has_a_newer_list_than_anybody_before(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    assert_ok(log_recover(member, 1, LOG_START + 1000000, &err));
    assert_int_equal(state_masters_number(member->state), LOG_START + 1000000);
}

static void
who_was_told_is_not_outdated_until_the_next_list(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    const uint64_t number = state_masters_number(member->state);
    const char *const ids[] = {nodes[0].id, nodes[1].id};
    assert_int_equal(count_outdated(member), 0);
    assert_false(outdated(member, 0)); /* who waits needs no masters */
    for (unsigned i = 0; i < NODES; i++)
        assert_ok(log_adopt(member, nodes[i].id, &err));
    assert_int_equal(news, NODES);
    assert_int_equal(count_outdated(member), NODES);
    assert_ok(tell(member, number, 2, ids, &err));
    assert_false(outdated(member, 0));
    assert_false(outdated(member, 1));
    assert_true(outdated(member, 2));
    assert_int_equal(count_outdated(member), 1);
    assert_ok(log_recover(member, 1, 0, &err));
    assert_int_equal(count_outdated(member), NODES);
    /* Told late of the list before: still behind. */
    assert_ok(tell(member, number, 2, ids, &err));
    assert_int_equal(count_outdated(member), NODES);
}

static void
an_older_list_does_not_take_the_place_of_a_newer_one(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    const uint64_t old = state_masters_number(member->state);
    const char *const ids[] = {nodes[0].id};
    assert_ok(log_adopt(member, nodes[0].id, &err));
    assert_ok(log_recover(member, 1, 0, &err));
    assert_ok(tell(member, state_masters_number(member->state), 1, ids, &err));
    assert_ok(tell(member, old, 1, ids, &err));
    assert_false(outdated(member, 0));
}

static void
nobody_was_told_what_is_not_there_yet_and_who_is_gone_is_passed_over(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    const uint64_t number = state_masters_number(member->state);
    const char *const ids[] = {"smalltown-00000000000000000000000000000000",
                               "../not a node", nodes[0].id};
    assert_ok(log_adopt(member, nodes[0].id, &err));
    assert_code(tell(member, number + 1, 3, ids, &err), ST_INVALID_ARGUMENT);
    assert_true(outdated(member, 0));
    assert_ok(tell(member, number, 3, ids, &err));
    assert_false(outdated(member, 0));
}

static void
who_enrols_with_the_present_list_has_it_also_over_a_restart(void **state)
{
    struct log_member *member = *state;
    struct log_node late;
    struct state *loaded;
    struct st_err err = {0};
    AUTO(state_node_freep) State__Node *node = NULL;
    const uint8_t another[32] = {0xcc};
    news = 0;
    assert_ok(log_new_enrolment(member, "late", another, 1, LOG_START + 3600, &err));
    log_node_make(9, another, &late);
    late.message.masters_number = state_masters_number(member->state);
    assert_ok(log_enrol(member, &late, LOG_START, &err));
    assert_ok(log_adopt(member, late.id, &err));
    assert_int_equal(news, 0);
    assert_ok(log_load(member, &loaded, &err));
    assert_ok(state_node(loaded, late.id, &node, &err));
    assert_false(state_is_outdated(node, state_masters_number(loaded)));
    assert_int_equal(state_masters_number(loaded), LOG_START);
    state_free(loaded);
}

#define MEMBER_TEST(name) cmocka_unit_test_setup_teardown(name, open_member, close_member)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        MEMBER_TEST(the_list_has_another_number_when_it_changes_and_only_then),
        MEMBER_TEST(who_never_voted_leaves_the_list_as_it_is),
        MEMBER_TEST(a_clock_that_goes_back_takes_no_number_back),
        MEMBER_TEST(who_goes_on_alone_has_a_newer_list_than_anybody_before),
        MEMBER_TEST(who_was_told_is_not_outdated_until_the_next_list),
        MEMBER_TEST(an_older_list_does_not_take_the_place_of_a_newer_one),
        MEMBER_TEST(nobody_was_told_what_is_not_there_yet_and_who_is_gone_is_passed_over),
        MEMBER_TEST(who_enrols_with_the_present_list_has_it_also_over_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
