/* The state machine: masters and nodes that are elsewhere. */
#include "tests/nms/log.h"

#include <string.h>

static const uint8_t secret[32] = {0xbb}, tickets[2][32] = {{0xcc}, {0xdd}};

static struct log_node node;
static unsigned news; /* how often it was said that there are some */

static void
count_news(void *arg)
{
    (void)arg;
    news++;
}

/* Masters 1 and 2, which vote, on 192.0.2.1 and .2; 3, which is a node and joins; and
 * another node that waits. */
static int
open_member(void **state)
{
    static struct log_member member;
    static struct log_node third;
    struct st_err err = {0};
    log_open(&member);
    log_found(&member);
    assert_ok(log_invite(&member, "second", tickets[0], LOG_START, LOG_START + 60, &err));
    assert_ok(log_join(&member, tickets[0], 2, 2, 'k', LOG_START, &err));
    assert_ok(
        log_phase(&member, 2, STATE__PHASE__JOINING, STATE__PHASE__CATCHING_UP, &err));
    assert_ok(
        log_phase(&member, 2, STATE__PHASE__CATCHING_UP, STATE__PHASE__VOTER, &err));
    assert_ok(log_new_enrolment(&member, "rack", secret, 2, LOG_START + 3600, &err));
    log_node_make(1, secret, &third);
    assert_ok(log_enrol(&member, &third, LOG_START, &err));
    assert_ok(log_adopt_master(&member, third.id, 3, &err));
    log_node_make(2, secret, &node);
    assert_ok(log_enrol(&member, &node, LOG_START, &err));
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

struct place {
    uint64_t id;
    size_t len;
    uint8_t bytes[17];
};

static enum st_code
move(struct log_member *member, size_t count, const struct place *places,
     struct st_err *err)
{
    State__Place packed[REPLICA_MEMBERS_MAX + 1], *list[REPLICA_MEMBERS_MAX + 1];
    State__MoveMasters move_masters = STATE__MOVE_MASTERS__INIT;
    for (size_t i = 0; i < count; i++) {
        state__place__init(list[i] = &packed[i]);
        packed[i].id = places[i].id;
        packed[i].address =
            (ProtobufCBinaryData){places[i].len, (uint8_t *)places[i].bytes};
    }
    move_masters.places = list;
    move_masters.n_places = count;
    State__Command command = STATE__COMMAND__INIT;
    command.time = LOG_START;
    command.change_case = STATE__COMMAND__CHANGE_MOVE_MASTERS;
    command.move_masters = &move_masters;
    return log_apply(member, &command, err);
}

static enum st_code
move_node(struct log_member *member, const char *id, size_t len, const uint8_t *bytes,
          struct st_err *err)
{
    State__MoveNode moved = STATE__MOVE_NODE__INIT;
    moved.node_id = (char *)id;
    moved.address = (ProtobufCBinaryData){len, (uint8_t *)bytes};
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_MOVE_NODE;
    command.move_node = &moved;
    return log_apply(member, &command, err);
}

static void
assert_at(struct log_member *member, uint64_t id, uint8_t a, uint8_t d)
{
    AUTO(state_member_freep) State__Member *found = NULL;
    struct st_err err = {0};
    assert_ok(state_member(member->state, id, &found, &err));
    assert_int_equal(found->address.len, 4);
    assert_int_equal(found->address.data[0], a);
    assert_int_equal(found->address.data[3], d);
}

static void
a_move_is_a_newer_list_and_a_second_one_is_none(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    struct st_address masters[REPLICA_MEMBERS_MAX];
    const uint64_t before = state_masters_number(member->state);
    const struct place there[] = {{2, 4, {10, 0, 0, 2}}};
    assert_ok(move(member, 1, there, &err));
    assert_int_equal(state_masters_number(member->state), before + 1);
    assert_int_equal(news, 1);
    assert_at(member, 2, 10, 2);
    assert_at(member, 1, 192, 1);
    assert_int_equal(state_masters(member->state, masters, NULL), 2);
    assert_int_equal(masters[1].bytes[0], 10);
    assert_ok(move(member, 1, there, &err));
    assert_ok(move(member, 0, there, &err));
    assert_int_equal(state_masters_number(member->state), before + 1);
    assert_int_equal(news, 1);
    /* It is still the member that it was. */
    AUTO(state_member_freep) State__Member *found = NULL;
    assert_ok(state_member(member->state, 2, &found, &err));
    assert_int_equal(found->phase, STATE__PHASE__VOTER);
    assert_string_equal(found->name, "second");
    assert_true(found->cert.len > 0);
}

static void
all_move_at_once_and_two_change_places(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    const struct place swapped[] = {{1, 4, {192, 0, 2, 2}}, {2, 4, {192, 0, 2, 1}}};
    const struct place away[] = {
        {3, 4, {10, 0, 0, 3}}, {1, 4, {10, 0, 0, 1}}, {2, 4, {10, 0, 0, 2}}};
    const uint64_t before = state_masters_number(member->state);
    assert_ok(move(member, 2, swapped, &err));
    assert_at(member, 1, 192, 2);
    assert_at(member, 2, 192, 1);
    assert_int_equal(state_masters_number(member->state), before + 1);
    assert_ok(move(member, 3, away, &err));
    for (unsigned i = 1; i <= 3; i++)
        assert_at(member, i, 10, (uint8_t)i);
    assert_int_equal(state_masters_number(member->state), before + 2);
}

/* A master that has no vote yet is on no list; that a node is elsewhere, too, is known
 * with it. */
static void
a_node_moves_with_the_master_that_it_is(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    const uint64_t before = state_masters_number(member->state);
    const struct place there[] = {{3, 4, {10, 0, 0, 3}}};
    AUTO(state_member_freep) State__Member *found = NULL;
    AUTO(state_node_freep) State__Node *moved = NULL;
    struct state *loaded;
    assert_ok(move(member, 1, there, &err));
    assert_int_equal(state_masters_number(member->state), before);
    assert_int_equal(news, 1);
    assert_ok(state_member(member->state, 3, &found, &err));
    assert_int_equal(found->phase, STATE__PHASE__JOINING);
    assert_string_equal(found->key.data, "a key");
    assert_ok(log_load(member, &loaded, &err));
    assert_ok(state_node(loaded, found->node_id, &moved, &err));
    assert_int_equal(moved->address.data[0], 10);
    assert_true(moved->ek_pubkey.len > 0);
    state_free(loaded);
}

/* Its name would be that of two: who removes the node would end one of them. */
static void
N40_a_node_that_moved_is_no_master_anew_while_the_one_that_it_was_is_leaving(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    const uint8_t there[4] = {10, 0, 0, 9};
    AUTO(state_member_freep) State__Member *found = NULL;
    assert_ok(state_member(member->state, 3, &found, &err));
    assert_ok(log_remove_master(member, 3, &err));
    assert_ok(move_node(member, found->node_id, 4, there, &err));
    assert_code(log_adopt_master(member, found->node_id, 4, &err),
                ST_FAILED_PRECONDITION);
    assert_null(log_find(member, "member/4"));
    assert_ok(log_gone(member, 3, 2, &err));
    assert_ok(log_adopt_master(member, found->node_id, 4, &err));
}

static void
N52_two_masters_at_one_place_are_refused_and_nobody_moves(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    const struct place taken[] = {{2, 4, {10, 0, 0, 2}}, {3, 4, {192, 0, 2, 1}}};
    const struct place both[] = {{1, 4, {10, 0, 0, 9}}, {2, 4, {10, 0, 0, 9}}};
    assert_code(move(member, 2, taken, &err), ST_ALREADY_EXISTS);
    assert_code(move(member, 2, both, &err), ST_ALREADY_EXISTS);
    /* Also of one that is leaving: until it is gone it is spoken to there. */
    const struct place of_leaving[] = {{1, 4, {192, 0, 2, 2}}};
    assert_ok(log_remove_master(member, 2, &err));
    news = 0;
    assert_code(move(member, 1, of_leaving, &err), ST_ALREADY_EXISTS);
    assert_at(member, 1, 192, 1);
    assert_at(member, 2, 192, 2);
    assert_int_equal(news, 0);
}

static const struct {
    size_t len;
    uint8_t bytes[17];
} no_hosts[] = {
    {0, {0}},
    {3, {10, 0, 0}},
    {5, {10, 0, 0, 1, 1}},
    {17, {0x20, 1, [16] = 1}},
    {4, {0, 0, 0, 0}},
    {4, {224, 0, 0, 1}},
    {4, {255, 255, 255, 255}},
    {16, {0}},
    {16, {0xff, 2, [15] = 1}},
    {16, {[10] = 0xff, 0xff, 10, 0, 0, 1}},
};

static void
N30_a_master_where_no_host_can_be_is_refused(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    for (size_t i = 0; i < sizeof(no_hosts) / sizeof(*no_hosts); i++) {
        struct place places[] = {{1, 4, {10, 0, 0, 1}}, {2, no_hosts[i].len, {0}}};
        memcpy(places[1].bytes, no_hosts[i].bytes, sizeof(places[1].bytes));
        assert_code(move(member, 2, places, &err), ST_INVALID_ARGUMENT);
    }
    assert_at(member, 1, 192, 1);
    assert_at(member, 2, 192, 2);
}

static void
who_is_no_master_or_comes_twice_is_not_moved(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    const struct place unknown[] = {{1, 4, {10, 0, 0, 1}}, {7, 4, {10, 0, 0, 7}}};
    const struct place twice[] = {{1, 4, {10, 0, 0, 1}}, {1, 4, {10, 0, 0, 2}}};
    struct place many[REPLICA_MEMBERS_MAX + 1];
    assert_code(move(member, 2, unknown, &err), ST_NOT_FOUND);
    assert_code(move(member, 2, twice, &err), ST_INVALID_ARGUMENT);
    for (uint8_t i = 0; i <= REPLICA_MEMBERS_MAX; i++)
        many[i] = (struct place){i + 1u, 4, {10, 0, 0, i}};
    assert_code(move(member, REPLICA_MEMBERS_MAX + 1, many, &err), ST_INVALID_ARGUMENT);
    assert_at(member, 1, 192, 1);
}

static void
a_node_is_where_it_says_and_once_is_enough(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    const uint8_t there[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 7};
    AUTO(state_node_freep) State__Node *found = NULL;
    const uint64_t before = state_masters_number(member->state);
    assert_ok(move_node(member, node.id, 16, there, &err));
    assert_int_equal(news, 1);
    assert_ok(move_node(member, node.id, 16, there, &err));
    assert_int_equal(news, 1);
    assert_ok(state_node(member->state, node.id, &found, &err));
    assert_int_equal(found->address.len, 16);
    assert_memory_equal(found->address.data, there, 16);
    assert_memory_equal(found->global_unlock_key.data, node.key, 32);
    assert_int_equal(state_masters_number(member->state), before);
    assert_code(
        move_node(member, "smalltown-00000000000000000000000000000000", 16, there, &err),
        ST_NOT_FOUND);
    assert_code(move_node(member, "../x", 16, there, &err), ST_INVALID_ARGUMENT);
}

static void
N30_a_node_where_no_host_can_be_is_refused(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    AUTO(state_node_freep) State__Node *found = NULL;
    for (size_t i = 0; i < sizeof(no_hosts) / sizeof(*no_hosts); i++)
        assert_code(move_node(member, node.id, no_hosts[i].len, no_hosts[i].bytes, &err),
                    ST_INVALID_ARGUMENT);
    assert_ok(state_node(member->state, node.id, &found, &err));
    assert_memory_equal(found->address.data, node.address, 4);
}

#define MEMBER_TEST(name) cmocka_unit_test_setup_teardown(name, open_member, close_member)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        MEMBER_TEST(a_move_is_a_newer_list_and_a_second_one_is_none),
        MEMBER_TEST(all_move_at_once_and_two_change_places),
        MEMBER_TEST(a_node_moves_with_the_master_that_it_is),
        MEMBER_TEST(
            N40_a_node_that_moved_is_no_master_anew_while_the_one_that_it_was_is_leaving),
        MEMBER_TEST(N52_two_masters_at_one_place_are_refused_and_nobody_moves),
        MEMBER_TEST(N30_a_master_where_no_host_can_be_is_refused),
        MEMBER_TEST(who_is_no_master_or_comes_twice_is_not_moved),
        MEMBER_TEST(a_node_is_where_it_says_and_once_is_enough),
        MEMBER_TEST(N30_a_node_where_no_host_can_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
