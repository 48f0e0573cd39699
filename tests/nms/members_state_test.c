/* The state machine: who becomes a master, how far each has come, and who goes. */
#include "tests/nms/log.h"

#include <stdio.h>
#include <string.h>

static const uint8_t secret_a[32] = {0xaa}, secret_b[32] = {0xbb}, secret_no[32] = {0xcc};
static const int64_t later = LOG_START + 3600;

enum {
    NODES = 10
};
static struct log_node nodes[NODES];

/* A cluster of one master and ten nodes that wait. */
static int
open_member(void **state)
{
    static struct log_member member;
    struct st_err err = {0};
    log_open(&member);
    log_found(&member);
    assert_ok(log_new_enrolment(&member, "rack", secret_b, NODES, later, &err));
    for (unsigned i = 0; i < NODES; i++) {
        log_node_make(i + 1, secret_b, &nodes[i]);
        nodes[i].message.masters_number = state_masters_number(member.state);
        assert_ok(log_enrol(&member, &nodes[i], LOG_START, &err));
    }
    *state = &member;
    return 0;
}

static int
close_member(void **state)
{
    log_close(*state);
    return 0;
}

static State__Member *
find(struct log_member *member, uint64_t id)
{
    State__Member *found;
    struct st_err err = {0};
    assert_ok(state_member(member->state, id, &found, &err));
    return found;
}

static void
assert_phase(struct log_member *member, uint64_t id, State__Phase phase)
{
    AUTO(state_member_freep) State__Member *found = find(member, id);
    assert_int_equal(found->phase, phase);
}

static void
make_voter(struct log_member *member, uint64_t id)
{
    struct st_err err = {0};
    assert_ok(
        log_phase(member, id, STATE__PHASE__JOINING, STATE__PHASE__CATCHING_UP, &err));
    assert_ok(
        log_phase(member, id, STATE__PHASE__CATCHING_UP, STATE__PHASE__VOTER, &err));
}

static void
a_node_becomes_a_master_step_by_step_and_its_key_is_kept_no_longer_than_needed(
    void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    struct st_address masters[REPLICA_MEMBERS_MAX];
    assert_ok(log_adopt_master(member, nodes[0].id, 2, &err));
    AUTO(state_node_freep) State__Node *node = NULL;
    assert_ok(state_node(member->state, nodes[0].id, &node, &err));
    assert_int_equal(node->role, STATE__ROLE__MASTER);
    State__Member *found;
    assert_ok(state_member_of_node(member->state, nodes[0].id, &found, &err));
    assert_int_equal(found->id, 2);
    assert_int_equal(found->phase, STATE__PHASE__JOINING);
    assert_string_equal(found->name, nodes[0].id);
    assert_memory_equal(found->address.data, nodes[0].address, 4);
    assert_string_equal(found->key.data, "a key");
    state_member_free(found);

    assert_ok(
        log_phase(member, 2, STATE__PHASE__JOINING, STATE__PHASE__CATCHING_UP, &err));
    found = find(member, 2);
    assert_int_equal(found->key.len, 0);
    assert_int_not_equal(found->cert.len, 0);
    state_member_free(found);
    const struct log_record *record = log_find(member, "member/2");
    assert_null(memmem(record->value, record->len, "a key", 5));

    assert_int_equal(state_masters(member->state, masters, NULL), 1);
    assert_ok(log_phase(member, 2, STATE__PHASE__CATCHING_UP, STATE__PHASE__VOTER, &err));
    assert_phase(member, 2, STATE__PHASE__VOTER);
    assert_int_equal(state_masters(member->state, masters, NULL), 2);
    assert_memory_equal(masters[1].bytes, nodes[0].address, 4);
}

static void
who_is_left_is_the_only_master_and_nodes_keep_their_disks(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    assert_ok(log_adopt_master(member, nodes[0].id, 2, &err));
    make_voter(member, 2);
    assert_ok(log_adopt_master(member, nodes[1].id, 3, &err));
    assert_ok(log_adopt_master(member, nodes[2].id, 4, &err));
    assert_ok(log_remove_node(member, nodes[2].id, &err));
    assert_code(log_recover(member, 7, LOG_START, &err), ST_NOT_FOUND);
    assert_phase(member, 2, STATE__PHASE__VOTER);
    for (int times = 0; times < 2; times++)
        assert_ok(log_recover(member, 1, LOG_START, &err));
    assert_phase(member, 1, STATE__PHASE__VOTER);
    assert_null(log_find(member, "member/2"));
    assert_null(log_find(member, "member/3"));
    assert_null(log_find(member, "member/4"));
    for (int i = 0; i < 2; i++) {
        AUTO(state_node_freep) State__Node *node = NULL;
        assert_ok(state_node(member->state, nodes[i].id, &node, &err));
        assert_int_equal(node->role, STATE__ROLE__WORKER);
    }
}

/* Its log may lack the last that the others were told. */
static void
N52_who_goes_on_alone_leaves_out_ids_that_may_have_been_given_out(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    assert_ok(log_adopt_master(member, nodes[0].id, 2, &err));
    assert_code(log_recover_with(member, 1, 9, 3, LOG_START, &err), ST_ABORTED);
    assert_non_null(strstr(err.text, "3"));
    assert_non_null(log_find(member, "member/2"));
    assert_ok(log_recover_with(member, 1, 9, 70, LOG_START, &err));
    assert_code(log_adopt_master(member, nodes[1].id, 3, NULL), ST_ABORTED);
    assert_ok(log_adopt_master(member, nodes[1].id, 70, &err));
    assert_ok(log_adopt_master(member, nodes[2].id, 71, &err));
}

static void
N53_who_goes_on_alone_has_a_newer_list(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    assert_code(log_recover_with(member, 1, 1, 70, LOG_START, NULL), ST_ABORTED);
    assert_ok(log_recover_with(member, 1, 9, 70, LOG_START, &err));
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    assert_ok(state_cluster(member->state, &cluster, &err));
    assert_int_equal(cluster->crl_number, 9);
    assert_string_equal(cluster->crl.data, "a list of all others");
}

static void
who_asks_again_for_the_same_master_changes_nothing(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    assert_ok(log_adopt(member, nodes[0].id, &err)); /* a worker can become a master */
    assert_ok(log_adopt_master(member, nodes[0].id, 2, &err));
    assert_ok(log_adopt_master(member, nodes[0].id, 2, &err));
    assert_ok(log_adopt_master(member, nodes[0].id, 3, &err));
    assert_null(log_find(member, "member/3"));
    assert_code(log_adopt(member, nodes[0].id, NULL), ST_FAILED_PRECONDITION);
    assert_ok(log_adopt_master(member, nodes[1].id, 3, &err));
    assert_code(
        log_adopt_master(member, "smalltown-00000000000000000000000000000000", 4, NULL),
        ST_NOT_FOUND);
}

static void
N52_an_id_is_given_once_and_in_turn(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    assert_code(log_adopt_master(member, nodes[0].id, 1, NULL), ST_ABORTED);
    assert_code(log_adopt_master(member, nodes[0].id, 3, &err), ST_ABORTED);
    assert_non_null(strstr(err.text, "2"));
    assert_ok(log_adopt_master(member, nodes[0].id, 2, &err));
    assert_ok(log_remove_node(member, nodes[0].id, &err));
    assert_ok(log_gone(member, 2, 2, &err));
    assert_code(log_adopt_master(member, nodes[1].id, 2, NULL), ST_ABORTED);
    assert_ok(log_adopt_master(member, nodes[1].id, 3, &err));
}

static void
N52_an_address_is_one_masters_only(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    assert_ok(log_invite(member, "b", secret_a, LOG_START, later, &err));
    assert_code(log_join(member, secret_a, 2, 1, 1, LOG_START, &err), ST_ALREADY_EXISTS);
    assert_int_equal(err.reason, ST_REASON_EXISTS);
    assert_ok(log_join(member, secret_a, 2, 9, 1, LOG_START, &err));
    assert_ok(log_remove_master(member, 2, &err));
    assert_ok(log_invite(member, "c", secret_no, LOG_START, later, &err));
    assert_code(log_join(member, secret_no, 3, 9, 1, LOG_START, NULL), ST_ALREADY_EXISTS);
    assert_ok(log_gone(member, 2, 2, &err));
    assert_ok(log_join(member, secret_no, 3, 9, 1, LOG_START, &err));
}

static void
there_are_nine_masters_at_most(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX - 1; i++)
        assert_ok(log_adopt_master(member, nodes[i].id, i + 2, &err));
    assert_code(log_adopt_master(member, nodes[8].id, 10, NULL), ST_RESOURCE_EXHAUSTED);
    /* One that is leaving counts until it is gone. */
    assert_ok(log_remove_node(member, nodes[3].id, &err));
    assert_code(log_adopt_master(member, nodes[8].id, 10, NULL), ST_RESOURCE_EXHAUSTED);
    assert_ok(log_gone(member, 5, 2, &err));
    assert_ok(log_adopt_master(member, nodes[8].id, 10, &err));
}

static void
N31_a_ticket_that_is_wrong_expired_or_used_is_refused(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    assert_ok(log_invite(member, "host", secret_a, LOG_START, later, &err));
    assert_code(log_join(member, secret_no, 2, 9, 1, LOG_START, &err),
                ST_PERMISSION_DENIED);
    assert_int_equal(err.reason, ST_REASON_REFUSED);
    /* The secret of an enrolment is none. */
    assert_code(log_join(member, secret_b, 2, 9, 1, LOG_START, NULL),
                ST_PERMISSION_DENIED);
    assert_code(log_join(member, secret_a, 2, 9, 1, later, &err), ST_PERMISSION_DENIED);
    assert_int_equal(err.reason, ST_REASON_REFUSED);
    assert_ok(log_join(member, secret_a, 2, 9, 1, later - 1, &err));
    assert_null(log_find(member, "ticket/host"));
    assert_code(log_join(member, secret_a, 3, 10, 2, LOG_START, &err),
                ST_PERMISSION_DENIED);
    assert_int_equal(err.reason, ST_REASON_REFUSED);
    AUTO(state_member_freep) State__Member *found = find(member, 2);
    assert_string_equal(found->name, "host");
    assert_int_equal(found->key.len, 0);
    assert_string_equal(found->node_id, "");
}

/* An hour's ticket of last year, at a master whose clock says last year. */
static void
N31_a_clock_that_is_behind_makes_no_ticket_good_again(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    uint8_t key[ED25519_PUBLIC_LEN];
    uint64_t id = 0;
    const int64_t oldest = LOG_START - STATE_CLOCKS_DIFFER_S;
    const ProtobufCBinaryData hash = {32, (uint8_t *)secret_a}, public_key = {32, key};
    memset(key, 1, sizeof(key));
    assert_ok(log_invite(member, "host", secret_a, LOG_START, later, &err));
    assert_ok(state_join_check(member->state, &hash, &public_key, oldest, &id, &err));
    assert_code(
        state_join_check(member->state, &hash, &public_key, oldest - 1, &id, &err),
        ST_UNAVAILABLE);
    assert_int_equal(err.reason, ST_REASON_CLOCK);
    assert_non_null(strstr(err.text, "ticket host was made"));
    assert_non_null(strstr(err.text, "made it was ahead"));
    assert_code(state_join_check(member->state, &hash, &public_key, 0, &id, &err),
                ST_UNAVAILABLE);
    /* Who was let in once is told so whatever the clock says. */
    assert_ok(log_join(member, secret_a, 2, 9, 1, LOG_START, &err));
    assert_ok(state_join_check(member->state, &hash, &public_key, 0, &id, &err));
    assert_int_equal(id, 2);
}

static void
the_same_ticket_with_the_same_key_is_answered_again_until_the_master_leaves(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    uint8_t key[ED25519_PUBLIC_LEN];
    uint64_t id = 0;
    const ProtobufCBinaryData hash = {32, (uint8_t *)secret_a}, public_key = {32, key};
    memset(key, 1, sizeof(key));
    assert_ok(log_invite(member, "host", secret_a, LOG_START, later, &err));
    assert_ok(state_join_check(member->state, &hash, &public_key, LOG_START, &id, &err));
    assert_int_equal(id, 0);
    assert_ok(log_join(member, secret_a, 2, 9, 1, LOG_START, &err));
    /* Another id, another address: what was given out before stays. */
    assert_ok(log_join(member, secret_a, 3, 10, 1, later + 1, &err));
    assert_null(log_find(member, "member/3"));
    assert_ok(state_join_check(member->state, &hash, &public_key, later, &id, &err));
    assert_int_equal(id, 2);
    key[31] ^= 1;
    assert_code(state_join_check(member->state, &hash, &public_key, later, &id, NULL),
                ST_PERMISSION_DENIED);
    assert_ok(log_remove_master(member, 2, &err));
    assert_code(log_join(member, secret_a, 3, 9, 1, LOG_START, NULL),
                ST_PERMISSION_DENIED);
}

static void
a_ticket_that_was_revoked_makes_no_master(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    assert_ok(log_invite(member, "a", secret_a, LOG_START, later, &err));
    assert_ok(log_invite(member, "b", secret_no, LOG_START, later, &err));
    assert_code(log_uninvite(member, "a/b", NULL), ST_INVALID_ARGUMENT);
    assert_code(log_uninvite(member, "c", NULL), ST_NOT_FOUND);
    assert_ok(log_uninvite(member, "a", &err));
    assert_code(log_uninvite(member, "a", NULL), ST_NOT_FOUND);
    assert_code(log_join(member, secret_a, 2, 9, 1, LOG_START, NULL),
                ST_PERMISSION_DENIED);
    /* The name is free again, and the other ticket is good; used, there is none to take.
     */
    assert_ok(log_invite(member, "a", secret_a, LOG_START, later, &err));
    assert_ok(log_join(member, secret_no, 2, 9, 1, LOG_START, &err));
    assert_code(log_uninvite(member, "b", NULL), ST_NOT_FOUND);
}

static void
an_invitation_has_bounds(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    uint8_t secret[32] = {1};
    char name[16];
    const int64_t last = LOG_START + TICKET_EXPIRES_MAX_S;
    assert_code(log_invite(member, "a/b", secret_a, LOG_START, later, NULL),
                ST_INVALID_ARGUMENT);
    assert_code(log_invite(member, "a", secret_a, LOG_START, last + 1, NULL),
                ST_INVALID_ARGUMENT);
    assert_ok(log_invite(member, "a", secret_a, LOG_START, later, &err));
    assert_code(log_invite(member, "a", secret_no, LOG_START, later, &err),
                ST_ALREADY_EXISTS);
    assert_code(log_invite(member, "b", secret_a, LOG_START, later, NULL),
                ST_ALREADY_EXISTS);
    for (unsigned i = 1; i < STATE_TICKETS_MAX; i++) {
        secret[1] = (uint8_t)i;
        snprintf(name, sizeof(name), "n%u", i);
        assert_ok(log_invite(member, name, secret, LOG_START, last, &err));
    }
    assert_code(log_invite(member, "b", secret_no, LOG_START, later, NULL),
                ST_RESOURCE_EXHAUSTED);
    /* One that has expired makes room, also for its own name. */
    assert_ok(log_invite(member, "a", secret_no, later, last, &err));
    assert_code(log_invite(member, "b", secret_a, later, last, NULL),
                ST_RESOURCE_EXHAUSTED);
}

static void
N40_a_master_moves_from_where_it_is_only(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    assert_ok(log_adopt_master(member, nodes[0].id, 2, &err));
    assert_code(
        log_phase(member, 2, STATE__PHASE__CATCHING_UP, STATE__PHASE__VOTER, NULL),
        ST_ABORTED);
    assert_code(log_phase(member, 2, STATE__PHASE__JOINING, STATE__PHASE__VOTER, NULL),
                ST_INVALID_ARGUMENT);
    assert_code(log_phase(member, 2, STATE__PHASE__JOINING, STATE__PHASE__LEAVING, NULL),
                ST_INVALID_ARGUMENT);
    assert_code(
        log_phase(member, 3, STATE__PHASE__JOINING, STATE__PHASE__CATCHING_UP, NULL),
        ST_NOT_FOUND);
    for (int twice = 0; twice < 2; twice++)
        assert_ok(
            log_phase(member, 2, STATE__PHASE__JOINING, STATE__PHASE__CATCHING_UP, &err));
    assert_ok(log_remove_node(member, nodes[0].id, &err));
    assert_code(
        log_phase(member, 2, STATE__PHASE__CATCHING_UP, STATE__PHASE__VOTER, NULL),
        ST_ABORTED);
    assert_phase(member, 2, STATE__PHASE__LEAVING);
}

static void
N40_one_command_ends_a_node_and_the_master_that_it_was(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    char key[100];
    assert_ok(log_adopt_master(member, nodes[0].id, 2, &err));
    assert_ok(log_remove_node(member, nodes[0].id, &err));
    snprintf(key, sizeof(key), "node/%s", nodes[0].id);
    assert_null(log_find(member, key));
    assert_phase(member, 2, STATE__PHASE__LEAVING);
    const struct log_record *record = log_find(member, "member/2");
    assert_null(memmem(record->value, record->len, "a key", 5));
    /* Asked again, by either name, while it is leaving. */
    assert_ok(log_remove_node(member, nodes[0].id, &err));
    assert_ok(log_remove_master(member, 2, &err));
    assert_ok(log_gone(member, 2, 2, &err));
    assert_code(log_remove_node(member, nodes[0].id, NULL), ST_NOT_FOUND);
    assert_code(log_remove_master(member, 2, NULL), ST_NOT_FOUND);
}

static void
assert_role(struct log_member *member, const char *node_id, State__Role role)
{
    AUTO(state_node_freep) State__Node *node = NULL;
    struct st_err err = {0};
    assert_ok(state_node(member->state, node_id, &node, &err));
    assert_int_equal(node->role, role);
    assert_int_equal(node->global_unlock_key.len, UNLOCK_KEY_LEN);
}

static void
a_node_that_is_a_master_no_more_keeps_its_disk_and_may_be_one_again(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    for (unsigned id = 2; id < 5; id++) { /* it never came, was catching up, voted */
        assert_ok(log_adopt_master(member, nodes[0].id, id, &err));
        if (id > 2)
            assert_ok(log_phase(member, id, STATE__PHASE__JOINING,
                                STATE__PHASE__CATCHING_UP, &err));
        if (id > 3)
            assert_ok(log_phase(member, id, STATE__PHASE__CATCHING_UP,
                                STATE__PHASE__VOTER, &err));
        assert_role(member, nodes[0].id, STATE__ROLE__MASTER);
        for (int twice = 0; twice < 2; twice++)
            assert_ok(log_remove_master(member, id, &err));
        assert_phase(member, id, STATE__PHASE__LEAVING);
        assert_role(member, nodes[0].id, STATE__ROLE__WORKER);
        assert_code(log_adopt_master(member, nodes[0].id, id + 1, &err),
                    ST_FAILED_PRECONDITION);
        assert_non_null(strstr(err.text, "stctl master list"));
        assert_ok(log_gone(member, id, id, &err));
        assert_role(member, nodes[0].id, STATE__ROLE__WORKER);
    }
    assert_ok(log_adopt(member, nodes[0].id, &err));
    assert_ok(log_remove_node(member, nodes[0].id, &err));
}

/* The others may all be lost before they end it, or it may be lost that they did. */
static void
who_is_left_has_a_vote_whatever_was_to_become_of_it(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    struct st_address masters[REPLICA_MEMBERS_MAX];
    assert_ok(log_adopt_master(member, nodes[0].id, 2, &err));
    make_voter(member, 2);
    assert_ok(log_remove_master(member, 2, &err));
    assert_ok(log_recover(member, 2, LOG_START, &err));
    assert_phase(member, 2, STATE__PHASE__VOTER);
    assert_role(member, nodes[0].id, STATE__ROLE__MASTER);
    assert_int_equal(state_masters(member->state, masters, NULL), 1);
    assert_memory_equal(masters[0].bytes, nodes[0].address, 4);
    assert_code(log_remove_master(member, 2, NULL), ST_FAILED_PRECONDITION);

    uint64_t id = 103;
    for (unsigned n = 1; n < 3; n++, id += 101) {
        assert_ok(log_adopt_master(member, nodes[n].id, id, &err));
        if (n == 2)
            assert_ok(log_phase(member, id, STATE__PHASE__JOINING,
                                STATE__PHASE__CATCHING_UP, &err));
        assert_ok(log_recover(member, id, LOG_START, &err));
        assert_phase(member, id, STATE__PHASE__VOTER);
        assert_role(member, nodes[n].id, STATE__ROLE__MASTER);
        assert_role(member, nodes[n - 1].id, STATE__ROLE__WORKER);
        AUTO(state_member_freep) State__Member *found = find(member, id);
        assert_int_equal(found->key.len, 0);
    }
}

/* Of no node: whoever removes one does not end it. */
static void
assert_is_host(struct log_member *member, uint64_t id)
{
    AUTO(state_member_freep) State__Member *found = find(member, id);
    assert_string_equal(found->node_id, "");
}

/* The master is leaving, and not gone; with an enrolment that the machine may use again.
 */
static void
remove_the_node_of_master_2(struct log_member *member)
{
    struct st_err err = {0};
    assert_ok(log_new_enrolment(member, "again", secret_a, 1, later, &err));
    assert_ok(log_adopt_master(member, nodes[0].id, 2, &err));
    make_voter(member, 2);
    assert_ok(log_remove_node(member, nodes[0].id, &err));
}

static void
come_again(struct log_member *member)
{
    struct st_err err = {0};
    log_node_make(1, secret_a, &nodes[0]);
    assert_ok(log_enrol(member, &nodes[0], LOG_START, &err));
}

/* The machine came again under its name, and waits. */
static void
N40_who_waits_is_not_adopted_because_it_is_the_master_that_is_left(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    remove_the_node_of_master_2(member);
    come_again(member);
    assert_ok(log_recover(member, 2, LOG_START, &err));
    assert_phase(member, 2, STATE__PHASE__VOTER);
    assert_role(member, nodes[0].id, STATE__ROLE__REGISTERED);
    assert_is_host(member, 2);
    assert_ok(log_remove_node(member, nodes[0].id, &err));
    assert_phase(member, 2, STATE__PHASE__VOTER);
}

static void
N40_who_comes_later_is_not_the_master_that_is_left(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    remove_the_node_of_master_2(member);
    assert_ok(log_recover(member, 2, LOG_START, &err));
    assert_is_host(member, 2);
    come_again(member);
    assert_ok(log_adopt(member, nodes[0].id, &err));
    assert_ok(log_remove_node(member, nodes[0].id, &err));
    assert_phase(member, 2, STATE__PHASE__VOTER);
}

static void
N40_who_waits_is_not_adopted_because_the_master_that_it_was_goes(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    remove_the_node_of_master_2(member);
    come_again(member);
    assert_role(member, nodes[0].id, STATE__ROLE__REGISTERED);
    assert_ok(log_remove_master(member, 2, &err));
    assert_role(member, nodes[0].id, STATE__ROLE__REGISTERED);
    assert_ok(log_recover(member, 1, LOG_START, &err));
    assert_null(log_find(member, "member/2"));
    assert_role(member, nodes[0].id, STATE__ROLE__REGISTERED);
}

static void
N40_the_last_voter_stays(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    assert_code(log_remove_master(member, 1, &err), ST_FAILED_PRECONDITION);
    assert_ok(log_adopt_master(member, nodes[0].id, 2, &err));
    assert_code(log_remove_master(member, 1, NULL), ST_FAILED_PRECONDITION);
    make_voter(member, 2);
    assert_ok(log_remove_master(member, 1, &err));
    assert_code(log_remove_node(member, nodes[0].id, NULL), ST_FAILED_PRECONDITION);
    AUTO(state_node_freep) State__Node *node = NULL;
    assert_ok(state_node(member->state, nodes[0].id, &node, &err));
}

static void
N40_only_who_is_leaving_can_be_gone(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    assert_ok(log_adopt_master(member, nodes[0].id, 2, &err));
    make_voter(member, 2);
    assert_code(log_gone(member, 2, 2, NULL), ST_FAILED_PRECONDITION);
    assert_code(log_gone(member, 1, 2, NULL), ST_FAILED_PRECONDITION);
    assert_code(log_gone(member, 3, 2, NULL), ST_NOT_FOUND);
}

static void
N53_a_list_follows_the_one_before_it(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    assert_ok(log_adopt_master(member, nodes[0].id, 2, &err));
    assert_ok(log_remove_node(member, nodes[0].id, &err));
    assert_code(log_gone(member, 2, 0, NULL), ST_ABORTED);
    assert_code(log_gone(member, 2, 1, NULL), ST_ABORTED);
    assert_code(log_gone(member, 2, 3, NULL), ST_ABORTED);
    assert_ok(log_gone(member, 2, 2, &err));
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    assert_ok(state_cluster(member->state, &cluster, &err));
    assert_int_equal(cluster->crl_number, 2);
    assert_string_equal(cluster->crl.data, "a newer list");
}

static unsigned told;

static void
tell(void *arg)
{
    unsigned *count = arg;
    (*count)++;
}

static void
changes_of_members_are_told_and_others_are_not(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    told = 0;
    state_watch_members(member->state, tell, &told);
    assert_ok(log_adopt(member, nodes[1].id, &err));
    assert_code(log_adopt_master(member, nodes[0].id, 9, NULL), ST_ABORTED);
    assert_int_equal(told, 0);
    assert_ok(log_adopt_master(member, nodes[0].id, 2, &err));
    assert_int_equal(told, 1);
    make_voter(member, 2);
    assert_int_equal(told, 3);
    assert_ok(log_remove_node(member, nodes[0].id, &err));
    assert_ok(log_gone(member, 2, 2, &err));
    assert_int_equal(told, 5);
}

static void
N56_records_of_0_1_load_and_their_cluster_can_grow(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    log_read(member, RECORDS_0_1);
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    assert_ok(state_cluster(member->state, &cluster, &err));
    assert_string_equal(cluster->name, "home");
    assert_int_equal(cluster->crl_number, 1);
    assert_phase(member, 1, STATE__PHASE__VOTER);
    struct st_address masters[REPLICA_MEMBERS_MAX];
    assert_int_equal(state_masters(member->state, masters, NULL), 1);
    assert_int_equal(log_uses_left(member, "rack1"), 2);
    const char *id = "smalltown-0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";
    AUTO(state_node_freep) State__Node *node = NULL;
    assert_ok(state_node(member->state, id, &node, &err));
    assert_int_equal(node->role, STATE__ROLE__WORKER);
    assert_int_equal(node->global_unlock_key.data[31], 7);

    assert_code(log_adopt_master(member, id, 1, NULL), ST_ABORTED);
    assert_ok(log_adopt_master(member, id, 2, &err));
    assert_code(log_remove_master(member, 1, NULL), ST_FAILED_PRECONDITION);
}

#define MEMBER_TEST(name) cmocka_unit_test_setup_teardown(name, open_member, close_member)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        MEMBER_TEST(
            a_node_becomes_a_master_step_by_step_and_its_key_is_kept_no_longer_than_needed),
        MEMBER_TEST(who_is_left_is_the_only_master_and_nodes_keep_their_disks),
        MEMBER_TEST(N52_who_goes_on_alone_leaves_out_ids_that_may_have_been_given_out),
        MEMBER_TEST(N53_who_goes_on_alone_has_a_newer_list),
        MEMBER_TEST(who_asks_again_for_the_same_master_changes_nothing),
        MEMBER_TEST(N52_an_id_is_given_once_and_in_turn),
        MEMBER_TEST(N52_an_address_is_one_masters_only),
        MEMBER_TEST(there_are_nine_masters_at_most),
        MEMBER_TEST(N31_a_ticket_that_is_wrong_expired_or_used_is_refused),
        MEMBER_TEST(N31_a_clock_that_is_behind_makes_no_ticket_good_again),
        MEMBER_TEST(
            the_same_ticket_with_the_same_key_is_answered_again_until_the_master_leaves),
        MEMBER_TEST(a_ticket_that_was_revoked_makes_no_master),
        MEMBER_TEST(an_invitation_has_bounds),
        MEMBER_TEST(N40_a_master_moves_from_where_it_is_only),
        MEMBER_TEST(N40_one_command_ends_a_node_and_the_master_that_it_was),
        MEMBER_TEST(a_node_that_is_a_master_no_more_keeps_its_disk_and_may_be_one_again),
        MEMBER_TEST(who_is_left_has_a_vote_whatever_was_to_become_of_it),
        MEMBER_TEST(N40_who_waits_is_not_adopted_because_it_is_the_master_that_is_left),
        MEMBER_TEST(N40_who_comes_later_is_not_the_master_that_is_left),
        MEMBER_TEST(N40_who_waits_is_not_adopted_because_the_master_that_it_was_goes),
        MEMBER_TEST(N40_the_last_voter_stays),
        MEMBER_TEST(N40_only_who_is_leaving_can_be_gone),
        MEMBER_TEST(N53_a_list_follows_the_one_before_it),
        MEMBER_TEST(changes_of_members_are_told_and_others_are_not),
        MEMBER_TEST(N56_records_of_0_1_load_and_their_cluster_can_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
