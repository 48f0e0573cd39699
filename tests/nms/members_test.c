/* What is next for each master, and who may go: the whole table. */
#include "nms/members.h"
#include "tests/cmocka.h"
#include "tests/nms/log.h"

#include <string.h>

static enum members_step
next(State__Phase phase, bool is_node, bool is_me, bool in_group, enum replica_role role)
{
    const struct members_facts facts = {phase, is_node, is_me, in_group,
                                        role,  true,    false};
    return members_next(&facts);
}

static void
who_joins_is_added_then_handed_its_certificate_then_promoted(void **state)
{
    (void)state;
    const State__Phase joining = STATE__PHASE__JOINING;
    const State__Phase catching_up = STATE__PHASE__CATCHING_UP;
    for (int node = 0; node < 2; node++) {
        assert_int_equal(next(joining, node, false, false, 0), MEMBERS_ADD);
        assert_int_equal(next(joining, node, false, true, REPLICA_SPARE),
                         node ? MEMBERS_HAND_OVER : MEMBERS_CATCH_UP);
        assert_int_equal(next(catching_up, node, false, false, 0), MEMBERS_ADD);
        assert_int_equal(next(catching_up, node, false, true, REPLICA_SPARE),
                         MEMBERS_PROMOTE);
        assert_int_equal(next(catching_up, node, false, true, REPLICA_STANDBY),
                         MEMBERS_PROMOTE);
        assert_int_equal(next(catching_up, node, false, true, REPLICA_VOTER),
                         MEMBERS_VOTE);
    }
}

static void
who_is_not_there_is_not_promoted(void **state)
{
    (void)state;
    struct members_facts facts = {
        STATE__PHASE__CATCHING_UP, true, false, true, REPLICA_SPARE, false, false};
    assert_int_equal(members_next(&facts), MEMBERS_MEET);
    facts.role = REPLICA_VOTER; /* it was a moment ago */
    assert_int_equal(members_next(&facts), MEMBERS_VOTE);
}

static void
who_votes_is_left_alone(void **state)
{
    (void)state;
    for (int me = 0; me < 2; me++)
        assert_int_equal(next(STATE__PHASE__VOTER, true, me, true, REPLICA_VOTER),
                         MEMBERS_NOTHING);
}

static void
whose_vote_the_group_has_lost_gets_it_again(void **state)
{
    (void)state;
    struct members_facts facts = {.phase = STATE__PHASE__VOTER};
    assert_int_equal(members_next(&facts), MEMBERS_ADD);
    for (facts.in_group = true; facts.role < REPLICA_VOTER; facts.role++) {
        facts.connected = false;
        assert_int_equal(members_next(&facts), MEMBERS_MEET);
        facts.connected = true;
        assert_int_equal(members_next(&facts), MEMBERS_PROMOTE);
    }
}

static void
who_is_apart_is_named_with_the_reason(void **state)
{
    (void)state;
    char text[MEMBERS_APART_MAX];
    struct replica_member group[REPLICA_MEMBERS_MAX] = {
        {.id = 1, .connected = true, .trouble = "of before"},
        {.id = 2, .trouble = "192.0.2.2:7834 (member 2): connection refused"},
        {.id = 3, .trouble = "192.0.2.3:7834 (member 3): no connection in time"},
        {.id = 4},
    };
    members_apart(group, 4, 0, text);
    assert_string_equal(text, "; 192.0.2.2:7834 (member 2): connection refused"
                              "; 192.0.2.3:7834 (member 3): no connection in time");
    members_apart(group, 4, 3, text);
    assert_string_equal(text, "; 192.0.2.3:7834 (member 3): no connection in time");
    members_apart(group, 4, 4, text);
    assert_string_equal(text, "");
    for (size_t i = 0; i < REPLICA_MEMBERS_MAX; i++)
        memset(group[i].trouble, 'x', REPLICA_TROUBLE_MAX - 1);
    members_apart(group, REPLICA_MEMBERS_MAX, 0, text);
    assert_int_equal(strlen(text), MEMBERS_APART_MAX - 1);
}

/* The first of a group of as many, from 1, that has no record; 0. */
static uint64_t
unrecorded(const char *records, size_t group_count, uint64_t me)
{
    struct replica_member group[REPLICA_MEMBERS_MAX] = {0};
    struct members members = {0};
    struct member found;
    for (; *records; records++)
        members.at[members.count++].id = (uint64_t)(*records - '0');
    for (size_t i = 0; i < group_count; i++)
        group[i].id = i + 1;
    if (!members_unrecorded(&members, group, group_count, me, &found))
        return 0;
    assert_int_equal(found.phase, STATE__PHASE__LEAVING);
    const struct members_facts facts = {.phase = found.phase, .in_group = true};
    assert_int_equal(members_next(&facts), MEMBERS_REMOVE);
    return found.id;
}

static void
who_is_in_the_group_without_a_record_leaves(void **state)
{
    (void)state;
    assert_int_equal(unrecorded("12", 3, 1), 3);
    assert_int_equal(unrecorded("23", 3, 2), 1);
    assert_int_equal(unrecorded("1", 9, 1), 2);
    /* One that joins has its record first, and is not in the group yet. */
    assert_int_equal(unrecorded("123", 3, 1), 0);
    assert_int_equal(unrecorded("123", 2, 1), 0);
    assert_int_equal(unrecorded("123456789", 9, 9), 0);
    /* Who has no record himself knows nothing: his records are not there yet. */
    assert_int_equal(unrecorded("", 1, 1), 0);
    assert_int_equal(unrecorded("2", 3, 1), 0);
}

/* Else a record would say for good what the group takes back. */
static void
nothing_is_done_while_the_group_is_about_to_be_another_one(void **state)
{
    (void)state;
    struct members_facts facts = {.connected = true, .changing = true};
    for (int i = 0; i < 4 * 2 * 2 * 3; i++) {
        facts.phase = (State__Phase)(i % 4);
        facts.in_group = i / 4 % 2;
        facts.is_me = i / 8 % 2;
        facts.role = (enum replica_role)(i / 16);
        assert_int_equal(members_next(&facts), MEMBERS_NOTHING);
    }
}

static void
who_leaves_is_removed_by_another_and_forgotten_last(void **state)
{
    (void)state;
    const State__Phase leaving = STATE__PHASE__LEAVING;
    for (enum replica_role role = REPLICA_SPARE; role <= REPLICA_VOTER; role++) {
        assert_int_equal(next(leaving, true, false, true, role), MEMBERS_REMOVE);
        assert_int_equal(next(leaving, true, true, true, role), MEMBERS_YIELD);
    }
    assert_int_equal(next(leaving, true, false, false, 0), MEMBERS_FORGET);
}

static void
every_step_has_a_word_and_whoever_waits_for_it_a_hint(void **state)
{
    (void)state;
    for (int step = MEMBERS_ADD; step <= MEMBERS_FORGET; step++) {
        assert_int_not_equal(strlen(members_step_word((enum members_step)step)), 0);
        assert_int_not_equal(strlen(members_step_hint((enum members_step)step)), 0);
    }
}

/* A group from a picture: V a voter that answers, v one that does not (to the leader: it
 * is connected, and silent), s a spare.  Ids count from 1, and 1 is this master. */
static enum st_code
leave(const char *picture, uint64_t leaving, bool leads)
{
    struct replica_member group[REPLICA_MEMBERS_MAX] = {0};
    const size_t count = strlen(picture);
    for (size_t i = 0; i < count; i++) {
        const bool up = picture[i] == 'V';
        group[i].id = i + 1;
        group[i].role = picture[i] == 's' ? REPLICA_SPARE : REPLICA_VOTER;
        group[i].answers = leads && up;
        group[i].connected = leads || up;
    }
    return members_leave_check(group, count, 1, leads, leaving, NULL);
}

static void
N40_who_goes_leaves_a_majority_that_answers(void **state)
{
    (void)state;
    for (int leads = 0; leads < 2; leads++) {
        assert_code(leave("VVV", 2, leads), ST_OK);
        assert_code(leave("VVv", 3, leads), ST_OK);
        assert_code(leave("VVv", 2, leads), ST_FAILED_PRECONDITION);
        assert_code(leave("Vv", 2, leads), ST_OK);
        assert_code(leave("VV", 1, leads), ST_OK);
        assert_code(leave("Vv", 1, leads), ST_FAILED_PRECONDITION);
        assert_code(leave("VVvv", 3, leads), ST_OK);
        assert_code(leave("VVvvV", 2, leads), ST_FAILED_PRECONDITION);
        assert_code(leave("VVVvv", 4, leads), ST_OK);
        /* A spare counts nowhere, and may always go. */
        assert_code(leave("Vvs", 2, leads), ST_OK);
        assert_code(leave("Vvvs", 4, leads), ST_OK);
        assert_code(leave("Vs", 1, leads), ST_FAILED_PRECONDITION);
        assert_code(leave("V", 7, leads), ST_OK);
        assert_code(leave("vv", 2, leads), ST_OK); /* this master answers itself */
    }
    /* To the leader, one that was heard of a moment ago and is cut off does not answer.
     */
    struct replica_member group[2] = {{.id = 1, .role = REPLICA_VOTER},
                                      {.id = 2, .role = REPLICA_VOTER, .answers = true}};
    assert_code(members_leave_check(group, 2, 1, true, 1, NULL), ST_FAILED_PRECONDITION);
}

static void
members_come_in_the_order_of_ids_and_are_written_as_a_list(void **state)
{
    (void)state;
    static struct log_member member;
    struct members members;
    char text[MEMBERS_TEXT_MAX];
    struct st_err err = {0};
    log_open(&member);
    log_found(&member);
    for (uint64_t id = 2; id <= 11; id++) {
        const uint8_t secret[32] = {(uint8_t)id};
        assert_ok(log_invite(&member, "host", secret, LOG_START, LOG_START + 60, &err));
        assert_ok(log_join(&member, secret, id, (uint8_t)id, 1, LOG_START, &err));
        if (id > 3 && id < 10) {
            assert_ok(log_remove_master(&member, id, &err));
            assert_ok(log_gone(&member, id, id - 2, &err));
        }
    }
    assert_ok(log_remove_master(&member, 3, &err));
    members_read(member.state, &members);
    assert_int_equal(members.count, 5);
    for (size_t i = 1; i < members.count; i++)
        assert_true(members.at[i - 1].id < members.at[i].id);
    assert_int_equal(members.at[4].id, 11);
    assert_string_equal(members.at[4].name, "host");
    members_text(&members, text);
    assert_string_equal(text, "1=192.0.2.1:7834,2=192.0.2.2:7834,10=192.0.2.10:7834,"
                              "11=192.0.2.11:7834");
    assert_int_equal(members_find(&members, 3)->phase, STATE__PHASE__LEAVING);
    assert_null(members_find(&members, 4));
    assert_null(members_find_node(&members, ""));
    log_close(&member);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_joins_is_added_then_handed_its_certificate_then_promoted),
        cmocka_unit_test(who_is_not_there_is_not_promoted),
        cmocka_unit_test(who_votes_is_left_alone),
        cmocka_unit_test(whose_vote_the_group_has_lost_gets_it_again),
        cmocka_unit_test(who_is_apart_is_named_with_the_reason),
        cmocka_unit_test(who_is_in_the_group_without_a_record_leaves),
        cmocka_unit_test(nothing_is_done_while_the_group_is_about_to_be_another_one),
        cmocka_unit_test(who_leaves_is_removed_by_another_and_forgotten_last),
        cmocka_unit_test(every_step_has_a_word_and_whoever_waits_for_it_a_hint),
        cmocka_unit_test(N40_who_goes_leaves_a_majority_that_answers),
        cmocka_unit_test(members_come_in_the_order_of_ids_and_are_written_as_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
