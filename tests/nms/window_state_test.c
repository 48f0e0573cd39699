/* Boots that a policy refuses, in the records: let in by a window, once for each node;
 * let in by an administrator; or kept for his eyes. */
#include "tests/nms/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEX_07 "0707070707070707070707070707070707070707070707070707070707070707"
#define HEX_0B "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"
#define SETS(sets, measured)                                                             \
    "{\"schema\":1,\"ek\":{\"require\":\"none\",\"listed\":[]},\"pcrs\":{\"sets\":"      \
    "[" sets "],\"require_set\":true,\"require_measured_boot\":" measured "},"           \
    "\"adopt\":{\"automatic\":[]}}"
#define SET(name, pcrs) "{\"name\":\"" name "\",\"nodes\":[\"*\"],\"values\":{" pcrs "}}"
#define PCR(n) "\"" #n "\":[\"" HEX_07 "\"]"

/* PCR 4 and 11 must be HEX_07 everywhere. */
static const char strict[] = SETS(SET("s1", PCR(4) "," PCR(11)), "false");
static const uint8_t secret[32] = {0xaa};

enum {
    HOUR = 3600,
    OPENED = LOG_START + 100,
};

static int
open_member(void **state)
{
    static struct log_member member;
    struct st_err err = {0};
    log_open(&member);
    log_found(&member);
    assert_ok(log_new_enrolment(&member, "rack", secret, 5000, LOG_START + HOUR, &err));
    assert_ok(log_set_policy(&member, strict, POLICY_SCHEMA, 0, &err));
    *state = &member;
    return 0;
}

static int
close_member(void **state)
{
    log_close(*state);
    return 0;
}

static void
boot_of(uint8_t byte, struct tpm_pcrs *out)
{
    memset(out->digest, byte, sizeof(out->digest));
}

/* Enrolled and adopted while it booted what the policy wants. */
static void
settle(struct log_member *member, unsigned seed, struct log_node *out)
{
    struct tpm_pcrs good;
    struct st_err err = {0};
    boot_of(7, &good);
    log_node_make(seed, secret, out);
    out->message.pcrs = (ProtobufCBinaryData){sizeof(good.digest), good.digest[0]};
    assert_ok(log_enrol(member, out, LOG_START, &err));
    assert_ok(log_adopt(member, out->id, &err));
}

static enum st_code
open_window(struct log_member *member, uint64_t seconds, char **node_ids, size_t count,
            struct st_err *err)
{
    State__OpenWindow open_window = STATE__OPEN_WINDOW__INIT;
    open_window.seconds = seconds;
    open_window.node_ids = node_ids;
    open_window.n_node_ids = count;
    State__Command command = STATE__COMMAND__INIT;
    command.by = (ProtobufCBinaryData){SHA256_LEN, log_administrator};
    command.time = OPENED;
    command.change_case = STATE__COMMAND__CHANGE_OPEN_WINDOW;
    command.open_window = &open_window;
    return log_apply(member, &command, err);
}

static enum st_code
close_window(struct log_member *member, struct st_err *err)
{
    State__CloseWindow close_window = STATE__CLOSE_WINDOW__INIT;
    State__Command command = STATE__COMMAND__INIT;
    command.time = OPENED;
    command.change_case = STATE__COMMAND__CHANGE_CLOSE_WINDOW;
    command.close_window = &close_window;
    return log_apply(member, &command, err);
}

static enum st_code
capture_by(struct log_member *member, struct log_node *node,
           const ProtobufCBinaryData *ak, uint8_t byte, int64_t time, struct st_err *err)
{
    struct tpm_pcrs pcrs;
    State__CaptureBoot capture_boot = STATE__CAPTURE_BOOT__INIT;
    boot_of(byte, &pcrs);
    capture_boot.node_id = node->id;
    capture_boot.ak_public = *ak;
    capture_boot.pcrs = (ProtobufCBinaryData){sizeof(pcrs.digest), pcrs.digest[0]};
    State__Command command = STATE__COMMAND__INIT;
    command.time = time;
    command.change_case = STATE__COMMAND__CHANGE_CAPTURE_BOOT;
    command.capture_boot = &capture_boot;
    return log_apply(member, &command, err);
}

static enum st_code
capture(struct log_member *member, struct log_node *node, uint8_t byte, int64_t time,
        struct st_err *err)
{
    return capture_by(member, node, &node->message.ak_public, byte, time, err);
}

static enum st_code
refuse_by(struct log_member *member, struct log_node *node, const ProtobufCBinaryData *ak,
          uint8_t byte, int64_t time, struct st_err *err)
{
    struct tpm_pcrs pcrs;
    State__RefuseBoot refuse_boot = STATE__REFUSE_BOOT__INIT;
    boot_of(byte, &pcrs);
    refuse_boot.node_id = node->id;
    refuse_boot.ak_public = *ak;
    refuse_boot.pcrs = (ProtobufCBinaryData){sizeof(pcrs.digest), pcrs.digest[0]};
    State__Command command = STATE__COMMAND__INIT;
    command.time = time;
    command.change_case = STATE__COMMAND__CHANGE_REFUSE_BOOT;
    command.refuse_boot = &refuse_boot;
    return log_apply(member, &command, err);
}

static void
refuse(struct log_member *member, struct log_node *node, uint8_t byte, int64_t time)
{
    struct st_err err = {0};
    assert_ok(refuse_by(member, node, &node->message.ak_public, byte, time, &err));
}

static enum st_code
approve(struct log_member *member, struct log_node *node, uint8_t byte,
        struct st_err *err)
{
    struct tpm_pcrs pcrs;
    State__ApproveBoot approve_boot = STATE__APPROVE_BOOT__INIT;
    boot_of(byte, &pcrs);
    approve_boot.node_id = node->id;
    approve_boot.pcrs = (ProtobufCBinaryData){sizeof(pcrs.digest), pcrs.digest[0]};
    State__Command command = STATE__COMMAND__INIT;
    command.by = (ProtobufCBinaryData){SHA256_LEN, log_administrator};
    command.time = OPENED;
    command.change_case = STATE__COMMAND__CHANGE_APPROVE_BOOT;
    command.approve_boot = &approve_boot;
    return log_apply(member, &command, err);
}

static enum st_code
remove_captured(struct log_member *member, const uint8_t sha256[SHA256_LEN],
                struct st_err *err)
{
    State__RemoveCaptured remove_captured = STATE__REMOVE_CAPTURED__INIT;
    remove_captured.sha256 = (ProtobufCBinaryData){SHA256_LEN, (uint8_t *)sha256};
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_REMOVE_CAPTURED;
    command.remove_captured = &remove_captured;
    return log_apply(member, &command, err);
}

static bool
may_boot(struct state *state, const struct log_node *node, uint8_t byte)
{
    struct tpm_pcrs pcrs;
    boot_of(byte, &pcrs);
    return !state_judge_boot(state, node->id, &pcrs, NULL);
}

/* What is listed: how many, and of the last one how many nodes, which PCRs, its name. */
struct listed {
    size_t count;
    uint32_t nodes, pcrs;
    bool approved;
    uint8_t sha256[SHA256_LEN];
};

static enum st_code
list_one(void *arg, const uint8_t sha256[SHA256_LEN], const State__Captured *captured,
         struct st_err *err)
{
    struct listed *listed = arg;
    (void)err;
    listed->count++;
    listed->nodes = captured->nodes;
    listed->pcrs = captured->pcrs;
    listed->approved = captured->approved;
    memcpy(listed->sha256, sha256, SHA256_LEN);
    assert_memory_equal(captured->made_by.data, log_administrator, SHA256_LEN);
    return ST_OK;
}

static struct listed
list(struct log_member *member, const struct log_node *node)
{
    struct listed listed = {0};
    struct st_err err = {0};
    assert_ok(state_each_captured(member->state, node ? node->id : NULL, list_one,
                                  &listed, &err));
    return listed;
}

/* The first byte of what is kept; -1: nothing is. */
static int
kept(struct log_member *member, const struct log_node *node)
{
    AUTO(state_refused_freep) State__Refused *refused = NULL;
    if (state_refused(member->state, node->id, &refused, NULL))
        return -1;
    return refused->pcrs.data[0];
}

static uint32_t
captured_by_window(struct log_member *member)
{
    AUTO(state_window_freep) State__Window *window = NULL;
    struct st_err err = {0};
    assert_ok(state_window(member->state, OPENED, &window, &err));
    return window->captured;
}

static void
N12_a_window_lets_another_boot_of_a_node_in_once(void **state)
{
    struct log_member *member = *state;
    struct log_node node, other;
    struct st_err err = {0};
    settle(member, 1, &node);
    settle(member, 2, &other);
    assert_code(capture(member, &node, 8, OPENED, &err), ST_NOT_FOUND);
    assert_ok(open_window(member, HOUR, NULL, 0, &err));
    assert_false(may_boot(member->state, &node, 8));
    assert_ok(capture(member, &node, 8, OPENED + 1, &err));
    assert_true(may_boot(member->state, &node, 8));
    assert_true(may_boot(member->state, &node, 7));
    /* For this node, and asking again uses nothing up. */
    assert_false(may_boot(member->state, &other, 8));
    assert_ok(capture(member, &node, 8, OPENED + 2, &err));
    assert_ok(capture(member, &node, 7, OPENED + 2, &err));
    assert_int_equal(captured_by_window(member), 1);
    assert_code(capture(member, &node, 9, OPENED + 3, &err), ST_PERMISSION_DENIED);
    assert_string_equal(err.text, "it came through the open window already");
    assert_false(may_boot(member->state, &node, 9));
    assert_ok(capture(member, &other, 9, OPENED + 3, &err));
    /* The next window is for all of them again. */
    assert_ok(close_window(member, &err));
    assert_code(close_window(member, &err), ST_NOT_FOUND);
    assert_ok(open_window(member, HOUR, NULL, 0, &err));
    assert_ok(capture(member, &node, 9, OPENED + 4, &err));
    assert_true(may_boot(member->state, &node, 8));
}

static void
N12_a_window_that_is_over_lets_nothing_in(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    struct st_err err = {0};
    settle(member, 1, &node);
    assert_ok(open_window(member, HOUR, NULL, 0, &err));
    assert_code(open_window(member, HOUR, NULL, 0, &err), ST_ALREADY_EXISTS);
    assert_code(capture(member, &node, 8, OPENED + HOUR, &err), ST_NOT_FOUND);
    /* A master whose clock was reset has not seen it open. */
    assert_code(capture(member, &node, 8, OPENED - HOUR, &err), ST_NOT_FOUND);
    assert_false(may_boot(member->state, &node, 8));
    State__Window *window;
    assert_code(state_window(member->state, OPENED + HOUR, &window, NULL), ST_NOT_FOUND);
    assert_ok(capture(member, &node, 8, OPENED + HOUR - 1, &err));
    assert_true(may_boot(member->state, &node, 8));
}

static void
N12_a_window_is_for_the_nodes_that_it_names(void **state)
{
    struct log_member *member = *state;
    struct log_node named, other;
    struct st_err err = {0};
    settle(member, 1, &named);
    settle(member, 2, &other);
    char *ids[] = {named.id};
    char *unknown[] = {named.id, (char *)"smalltown-00000000000000000000000000000000"};
    assert_code(open_window(member, HOUR, unknown, 2, &err), ST_NOT_FOUND);
    assert_ok(open_window(member, HOUR, ids, 1, &err));
    assert_code(capture(member, &other, 8, OPENED, &err), ST_PERMISSION_DENIED);
    assert_string_equal(err.text, "the open window is for other nodes");
    assert_ok(capture(member, &named, 8, OPENED, &err));
}

static void
N12_no_window_is_open_for_longer_than_a_week(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    assert_code(open_window(member, STATE_WINDOW_MAX_S + 1, NULL, 0, &err),
                ST_INVALID_ARGUMENT);
    assert_code(open_window(member, UINT64_MAX, NULL, 0, &err), ST_INVALID_ARGUMENT);
    assert_code(open_window(member, 0, NULL, 0, &err), ST_INVALID_ARGUMENT);
    assert_ok(open_window(member, STATE_WINDOW_MAX_S, NULL, 0, &err));
}

/* Whatever the policy says of measured boots. */
static void
N11_a_boot_that_nobody_measured_comes_through_no_window(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    struct st_err err = {0};
    settle(member, 1, &node);
    assert_ok(open_window(member, HOUR, NULL, 0, &err));
    assert_code(capture(member, &node, 0, OPENED, &err), ST_PERMISSION_DENIED);
    assert_non_null(strstr(err.text, "nothing measured this boot"));
    assert_code(capture(member, &node, 0xff, OPENED, &err), ST_PERMISSION_DENIED);
    assert_false(may_boot(member->state, &node, 0));
    /* An administrator may, where the policy does not want a measured one. */
    refuse(member, &node, 0, OPENED);
    assert_ok(approve(member, &node, 0, &err));
    assert_true(may_boot(member->state, &node, 0));
    refuse(member, &node, 0xff, OPENED);
    assert_ok(log_set_policy(member, SETS(SET("s1", PCR(4) "," PCR(11)), "true"),
                             POLICY_SCHEMA, 1, &err));
    assert_code(approve(member, &node, 0xff, &err), ST_FAILED_PRECONDITION);
    assert_false(may_boot(member->state, &node, 0xff));
    assert_false(may_boot(member->state, &node, 0));
}

static void
N40_who_is_not_adopted_comes_through_no_window(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    struct st_err err = {0};
    log_node_make(1, secret, &node);
    assert_ok(log_enrol(member, &node, LOG_START, &err));
    assert_ok(open_window(member, HOUR, NULL, 0, &err));
    assert_code(capture(member, &node, 8, OPENED, &err), ST_FAILED_PRECONDITION);
    assert_code(refuse_by(member, &node, &node.message.ak_public, 8, OPENED, &err),
                ST_FAILED_PRECONDITION);
    assert_int_equal(kept(member, &node), -1);
}

/* Between its quote and this command the node was removed, and enrolled anew. */
static void
N41_what_another_TPM_quoted_is_neither_let_in_nor_kept(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    uint8_t before[] = "the AK of before";
    const ProtobufCBinaryData ak = {sizeof(before), before};
    struct st_err err = {0};
    settle(member, 1, &node);
    assert_ok(open_window(member, HOUR, NULL, 0, &err));
    assert_code(capture_by(member, &node, &ak, 8, OPENED, &err), ST_PERMISSION_DENIED);
    assert_code(refuse_by(member, &node, &ak, 8, OPENED, &err), ST_PERMISSION_DENIED);
    assert_int_equal(kept(member, &node), -1);
    assert_false(may_boot(member->state, &node, 8));
    assert_ok(log_remove_node(member, node.id, &err));
    assert_code(capture(member, &node, 8, OPENED, &err), ST_NOT_FOUND);
    assert_code(approve(member, &node, 8, &err), ST_NOT_FOUND);
}

static void
ten_nodes_that_boot_the_same_make_one_set(void **state)
{
    struct log_member *member = *state;
    struct log_node nodes[10], odd;
    struct st_err err = {0};
    for (unsigned i = 0; i < 10; i++)
        settle(member, i + 1, &nodes[i]);
    settle(member, 11, &odd);
    assert_ok(open_window(member, HOUR, NULL, 0, &err));
    for (unsigned i = 0; i < 10; i++)
        assert_ok(capture(member, &nodes[i], 8, OPENED + i, &err));
    const struct listed one = list(member, NULL);
    assert_int_equal(one.count, 1);
    assert_int_equal(one.nodes, 10);
    assert_int_equal(one.pcrs, 1 << 4 | 1 << 11);
    assert_false(one.approved);
    assert_int_equal(captured_by_window(member), 10);
    assert_ok(capture(member, &odd, 9, OPENED, &err));
    assert_int_equal(list(member, NULL).count, 2);
    assert_int_equal(list(member, &odd).nodes, 1);
    /* It goes with the last node that it was for. */
    assert_ok(log_remove_node(member, odd.id, &err));
    assert_int_equal(list(member, NULL).count, 1);
    for (unsigned i = 0; i < 10; i++)
        assert_ok(log_remove_node(member, nodes[i].id, &err));
    assert_int_equal(list(member, NULL).count, 0);
}

/* A policy that names more PCRs by now asks for what nobody let in. */
static void
N12_what_was_let_in_says_nothing_of_other_PCRs(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    struct tpm_pcrs pcrs;
    struct st_err err = {0};
    settle(member, 1, &node);
    assert_ok(open_window(member, HOUR, NULL, 0, &err));
    assert_ok(capture(member, &node, 8, OPENED, &err));
    boot_of(8, &pcrs);
    pcrs.digest[7][0] ^= 1; /* nobody asked for it */
    assert_code(state_judge_boot(member->state, node.id, &pcrs, NULL), ST_OK);
    pcrs.digest[11][0] ^= 1;
    assert_code(state_judge_boot(member->state, node.id, &pcrs, NULL),
                ST_PERMISSION_DENIED);
    assert_ok(log_set_policy(member,
                             SETS(SET("s1", PCR(4) "," PCR(7) "," PCR(11)), "false"),
                             POLICY_SCHEMA, 1, &err));
    assert_false(may_boot(member->state, &node, 8));
    boot_of(8, &pcrs);
    memset(pcrs.digest[7], 0, SHA256_LEN);
    assert_code(state_judge_boot(member->state, node.id, &pcrs, NULL),
                ST_PERMISSION_DENIED);
    /* One of the two will do. */
    assert_ok(log_set_policy(member, SETS(SET("s1", PCR(11)), "false"), POLICY_SCHEMA, 2,
                             &err));
    assert_true(may_boot(member->state, &node, 8));
    /* Without a set, in a policy that wants one: 4 and 11 count. */
    assert_ok(log_set_policy(member, SETS("", "false"), POLICY_SCHEMA, 3, &err));
    assert_true(may_boot(member->state, &node, 8));
    assert_false(may_boot(member->state, &node, 7));
}

static bool
is_vouched_for(struct log_member *member, const struct log_node *node, uint8_t byte)
{
    struct tpm_pcrs pcrs;
    boot_of(byte, &pcrs);
    return state_vouches_for_boot(member->state, node->id, &pcrs);
}

/* Its own half will open under that for ever: nms/approve.h. */
static void
N12_what_was_let_in_is_vouched_for_where_it_says_what_was_started(void **state)
{
    struct log_member *member = *state;
    struct log_node node, other;
    struct st_err err = {0};
    settle(member, 1, &node);
    settle(member, 2, &other);
    assert_ok(open_window(member, HOUR, NULL, 0, &err));
    assert_false(is_vouched_for(member, &node, 8));
    assert_ok(capture(member, &node, 8, OPENED, &err));
    assert_true(is_vouched_for(member, &node, 8));
    assert_true(is_vouched_for(member, &node, 7));
    assert_false(is_vouched_for(member, &node, 9));
    assert_false(is_vouched_for(member, &other, 8));
    /* PCR 11 alone is the image's own word. */
    assert_ok(log_set_policy(member, SETS(SET("s1", PCR(11)), "false"), POLICY_SCHEMA, 1,
                             &err));
    assert_ok(capture(member, &other, 9, OPENED, &err));
    assert_true(may_boot(member->state, &other, 9));
    assert_false(is_vouched_for(member, &other, 9));
}

static void
N11_a_boot_that_nobody_measured_is_not_vouched_for(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    struct st_err err = {0};
    settle(member, 1, &node);
    refuse(member, &node, 0, OPENED);
    assert_ok(approve(member, &node, 0, &err));
    assert_true(may_boot(member->state, &node, 0));
    assert_false(is_vouched_for(member, &node, 0));
}

static void
N12_what_was_removed_is_not_good_again_because_another_node_boots_it(void **state)
{
    struct log_member *member = *state;
    struct log_node first, second;
    struct st_err err = {0};
    settle(member, 1, &first);
    settle(member, 2, &second);
    assert_ok(open_window(member, HOUR, NULL, 0, &err));
    assert_ok(capture(member, &first, 8, OPENED, &err));
    const struct listed before = list(member, NULL);
    assert_ok(remove_captured(member, before.sha256, &err));
    assert_code(remove_captured(member, before.sha256, &err), ST_NOT_FOUND);
    assert_false(may_boot(member->state, &first, 8));
    assert_ok(capture(member, &second, 8, OPENED, &err));
    assert_true(may_boot(member->state, &second, 8));
    assert_false(may_boot(member->state, &first, 8));
    assert_int_equal(list(member, &first).count, 0);
    /* Nor does the first one's end take it from the second. */
    assert_ok(log_remove_node(member, first.id, &err));
    assert_true(may_boot(member->state, &second, 8));
    assert_int_equal(list(member, NULL).nodes, 1);
}

static void
a_node_keeps_the_newest_that_were_let_in(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    struct st_err err = {0};
    settle(member, 1, &node);
    for (uint8_t byte = 10; byte < 16; byte++) {
        assert_ok(open_window(member, HOUR, NULL, 0, &err));
        assert_ok(capture(member, &node, byte, OPENED, &err));
        assert_ok(close_window(member, &err));
    }
    assert_int_equal(list(member, &node).count, STATE_CAPTURED_PER_NODE);
    assert_int_equal(list(member, NULL).count, STATE_CAPTURED_PER_NODE);
    assert_false(may_boot(member->state, &node, 11));
    for (uint8_t byte = 12; byte < 16; byte++)
        assert_true(may_boot(member->state, &node, byte));
}

static void
N12_what_is_approved_is_what_was_shown(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    struct st_err err = {0};
    settle(member, 1, &node);
    assert_code(approve(member, &node, 8, &err), ST_NOT_FOUND);
    refuse(member, &node, 8, OPENED);
    assert_int_equal(kept(member, &node), 8);
    /* It booted something else while the administrator looked. */
    refuse(member, &node, 9, OPENED + STATE_REFUSED_PAUSE_S);
    assert_code(approve(member, &node, 8, &err), ST_ABORTED);
    assert_false(may_boot(member->state, &node, 8));
    assert_ok(approve(member, &node, 9, &err));
    assert_true(may_boot(member->state, &node, 9));
    assert_true(list(member, &node).approved);
    assert_int_equal(kept(member, &node), -1);
    assert_ok(approve(member, &node, 9, &err)); /* the answer was lost */
    assert_int_equal(list(member, NULL).nodes, 1);
}

static void
N12_a_refusal_is_kept_once_and_another_one_not_at_once(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    struct tpm_pcrs pcrs;
    int64_t now = OPENED;
    struct st_err err = {0};
    settle(member, 1, &node);
    boot_of(8, &pcrs);
    assert_true(state_refusal_is_news(member->state, node.id, &pcrs, NULL, now));
    refuse(member, &node, 8, now);
    assert_false(state_refusal_is_news(member->state, node.id, &pcrs, NULL, now + HOUR));
    {
        AUTO(state_refused_freep) State__Refused *refused = NULL;
        refuse(member, &node, 8, now + HOUR);
        assert_ok(state_refused(member->state, node.id, &refused, &err));
        assert_true(refused->at == now);
    }
    for (uint8_t byte = 20; byte < 30; byte++)
        refuse(member, &node, byte, now + 1 + byte);
    assert_int_equal(kept(member, &node), 8);
    now += STATE_REFUSED_PAUSE_S;
    refuse(member, &node, 9, now);
    assert_int_equal(kept(member, &node), 9);
    /* A clock that was far ahead silences it for a minute, not for years. */
    refuse(member, &node, 10, now + 100 * (int64_t)HOUR);
    refuse(member, &node, 11, now + 2 * STATE_REFUSED_PAUSE_S);
    assert_int_equal(kept(member, &node), 11);
    /* What is accepted is no refusal. */
    refuse(member, &node, 7, now + HOUR);
    assert_int_equal(kept(member, &node), 11);
    /* Nor is one that has become good since. */
    assert_ok(log_set_policy(member,
                             SETS("{\"name\":\"s1\",\"nodes\":[\"*\"],\"values\":{"
                                  "\"4\":[\"" HEX_0B "\"]}}",
                                  "false"),
                             POLICY_SCHEMA, 1, &err));
    refuse(member, &node, 12, now + 2 * STATE_REFUSED_PAUSE_S + 1);
    assert_int_equal(kept(member, &node), 12);
}

static void
of_many_nodes_the_newest_refusals_are_kept(void **state)
{
    enum {
        MORE = 5
    };
    struct log_member *member = *state;
    static struct log_node nodes[STATE_REFUSED_MAX + MORE];
    struct st_err err = {0};
    for (unsigned i = 0; i < STATE_REFUSED_MAX + MORE; i++) {
        settle(member, i + 1, &nodes[i]);
        refuse(member, &nodes[i], 8, OPENED + i);
    }
    for (unsigned i = 0; i < MORE; i++)
        assert_int_equal(kept(member, &nodes[i]), -1);
    for (unsigned i = MORE; i < STATE_REFUSED_MAX + MORE; i++)
        assert_int_equal(kept(member, &nodes[i]), 8);
    assert_ok(log_remove_node(member, nodes[MORE].id, &err));
    assert_int_equal(kept(member, &nodes[MORE]), -1);
    refuse(member, &nodes[0], 8, OPENED + HOUR);
    assert_int_equal(kept(member, &nodes[MORE + 1]), 8);
}

static void
every_master_has_the_same_window(void **state)
{
    struct log_member *member = *state, other;
    struct log_node node, second;
    struct state *loaded;
    uint8_t here[SHA256_LEN], there[SHA256_LEN];
    struct st_err err = {0};
    log_open(&other);
    settle(member, 1, &node);
    settle(member, 2, &second);
    char *ids[] = {node.id};
    assert_ok(open_window(member, HOUR, ids, 1, &err));
    assert_ok(capture(member, &node, 8, OPENED, &err));
    refuse(member, &second, 9, OPENED);
    log_copy(member, &other);
    log_digest(member->state, here);
    log_digest(other.state, there);
    assert_memory_equal(here, there, SHA256_LEN);
    assert_true(may_boot(other.state, &node, 8));
    assert_code(capture(&other, &node, 9, OPENED, &err), ST_PERMISSION_DENIED);
    assert_ok(approve(&other, &second, 9, &err));
    log_close(&other);
    /* A damaged one is not believed. */
    for (size_t i = 0; i < member->count; i++) {
        const struct log_record *record = &member->records[i];
        if (strncmp(record->key, "captured/", 9) == 0)
            *(uint8_t *)memmem(record->value, record->len, "\x08\x08\x08\x08", 4) ^= 1;
    }
    assert_code(log_load(member, &loaded, &err), ST_DATA_LOSS);
    assert_non_null(strstr(err.text, "record captured/"));
}

#define MEMBER_TEST(name) cmocka_unit_test_setup_teardown(name, open_member, close_member)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        MEMBER_TEST(N12_a_window_lets_another_boot_of_a_node_in_once),
        MEMBER_TEST(N12_a_window_that_is_over_lets_nothing_in),
        MEMBER_TEST(N12_a_window_is_for_the_nodes_that_it_names),
        MEMBER_TEST(N12_no_window_is_open_for_longer_than_a_week),
        MEMBER_TEST(N11_a_boot_that_nobody_measured_comes_through_no_window),
        MEMBER_TEST(N40_who_is_not_adopted_comes_through_no_window),
        MEMBER_TEST(N41_what_another_TPM_quoted_is_neither_let_in_nor_kept),
        MEMBER_TEST(ten_nodes_that_boot_the_same_make_one_set),
        MEMBER_TEST(N12_what_was_let_in_says_nothing_of_other_PCRs),
        MEMBER_TEST(N12_what_was_let_in_is_vouched_for_where_it_says_what_was_started),
        MEMBER_TEST(N11_a_boot_that_nobody_measured_is_not_vouched_for),
        MEMBER_TEST(N12_what_was_removed_is_not_good_again_because_another_node_boots_it),
        MEMBER_TEST(a_node_keeps_the_newest_that_were_let_in),
        MEMBER_TEST(N12_what_is_approved_is_what_was_shown),
        MEMBER_TEST(N12_a_refusal_is_kept_once_and_another_one_not_at_once),
        MEMBER_TEST(of_many_nodes_the_newest_refusals_are_kept),
        MEMBER_TEST(every_master_has_the_same_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
