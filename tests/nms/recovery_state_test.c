/* The state machine and the recovery key: a node has the one that its enrolment wants. */
#include "proto/recovery.h"
#include "tests/nms/log.h"

#include <string.h>

static const uint8_t secret_with[32] = {0xaa}, secret_without[32] = {0xbb};
static const int64_t later = LOG_START + 3600;
static struct secret administrator, somebody;
static uint8_t his[HPKE_KEY_LEN], nobodys[HPKE_KEY_LEN];

static enum st_code
new_enrolment(struct log_member *member, const char *name, size_t len, bool own_change,
              struct st_err *err)
{
    State__Enrolment enrolment = STATE__ENROLMENT__INIT;
    enrolment.name = (char *)name;
    enrolment.secret_hash = (ProtobufCBinaryData){32, (uint8_t *)secret_with};
    enrolment.uses_left = 2;
    enrolment.expires_at = later;
    enrolment.recovery_key = (ProtobufCBinaryData){len, his};
    State__NewEnrolment message = STATE__NEW_ENROLMENT__INIT;
    message.enrolment = &enrolment;
    State__Command command = STATE__COMMAND__INIT;
    command.time = LOG_START;
    command.change_case = own_change ? STATE__COMMAND__CHANGE_NEW_RECOVERABLE_ENROLMENT
                                     : STATE__COMMAND__CHANGE_NEW_ENROLMENT;
    command.new_enrolment = &message;
    return log_apply(member, &command, err);
}

static int
open_member(void **state)
{
    static struct log_member member;
    struct st_err err = {0};
    assert_ok(hpke_generate(&administrator, his, &err));
    assert_ok(hpke_generate(&somebody, nobodys, &err));
    log_open(&member);
    assert_ok(new_enrolment(&member, "with", HPKE_KEY_LEN, true, &err));
    assert_ok(log_new_enrolment(&member, "without", secret_without, 2, later, &err));
    *state = &member;
    return 0;
}

static int
close_member(void **state)
{
    log_close(*state);
    return 0;
}

struct recoverable {
    struct log_node node;
    uint8_t sealed[RECOVERY_SEALED_LEN];
};

static void
seal(struct recoverable *out, const char *node_id, const uint8_t recipient[HPKE_KEY_LEN])
{
    struct recovery_place place = {.uuid = "4c1b3f1e-7a52-4c63-9f3b-0123456789ab"};
    struct secret key;
    struct st_err err = {0};
    strcpy(place.node_id, node_id);
    memcpy(place.recipient, recipient, HPKE_KEY_LEN);
    assert_ok(recovery_make(&key, &err));
    assert_ok(recovery_seal(&key, &place, out->sealed, &err));
    out->node.message.recovery = (ProtobufCBinaryData){RECOVERY_SEALED_LEN, out->sealed};
}

static void
make(struct recoverable *out, unsigned seed, const uint8_t secret[32],
     const uint8_t recipient[HPKE_KEY_LEN])
{
    log_node_make(seed, secret, &out->node);
    if (recipient)
        seal(out, out->node.id, recipient);
}

static void
assert_kept(struct log_member *member, const struct recoverable *node)
{
    AUTO(state_node_freep) State__Node *found = NULL;
    struct st_err err = {0};
    assert_ok(state_node(member->state, node->node.id, &found, &err));
    assert_int_equal(found->recovery.len, RECOVERY_SEALED_LEN);
    assert_memory_equal(found->recovery.data, node->sealed, RECOVERY_SEALED_LEN);
}

static void
assert_refused(struct log_member *member, struct recoverable *node, enum st_code code)
{
    struct st_err err = {0};
    assert_code(log_enrol(member, &node->node, LOG_START, &err), code);
    assert_int_equal(state_node(member->state, node->node.id, &(State__Node *){0}, NULL),
                     ST_NOT_FOUND);
    /* It is told so before the log, too. */
    assert_code(state_enrol_check(member->state, &node->node.message, LOG_START, &err),
                code);
}

static void
a_node_has_the_recovery_key_that_its_enrolment_wants(void **state)
{
    struct log_member *member = *state;
    struct recoverable node, other;
    struct state *loaded = NULL;
    struct st_err err = {0};
    make(&node, 1, secret_with, his);
    assert_ok(log_enrol(member, &node.node, LOG_START, &err));
    assert_kept(member, &node);
    make(&other, 2, secret_without, NULL);
    assert_ok(log_enrol(member, &other.node, LOG_START, &err));
    assert_ok(log_load(member, &loaded, &err));
    state_free(loaded);
}

static void
N30_a_recovery_key_for_somebody_else_is_refused(void **state)
{
    struct log_member *member = *state;
    struct recoverable node;
    make(&node, 1, secret_with, nobodys);
    assert_refused(member, &node, ST_PERMISSION_DENIED);
    make(&node, 1, secret_without, nobodys);
    assert_refused(member, &node, ST_PERMISSION_DENIED);
    make(&node, 1, secret_without, his);
    assert_refused(member, &node, ST_PERMISSION_DENIED);
}

static void
N30_a_node_without_a_recovery_key_is_refused_where_one_is_wanted(void **state)
{
    struct log_member *member = *state;
    struct recoverable node;
    struct st_err err = {0};
    make(&node, 1, secret_with, NULL);
    assert_refused(member, &node, ST_PERMISSION_DENIED);
    node.node.message.without_volume = true;
    assert_ok(log_enrol(member, &node.node, LOG_START, &err));
}

static void
N30_the_recovery_key_of_another_node_is_refused(void **state)
{
    struct log_member *member = *state;
    struct recoverable node, other;
    make(&node, 1, secret_with, his);
    make(&other, 2, secret_with, his);
    seal(&node, other.node.id, his);
    assert_refused(member, &node, ST_PERMISSION_DENIED);
}

static void
N30_a_recovery_key_that_is_none_is_malformed(void **state)
{
    struct log_member *member = *state;
    struct recoverable node;
    make(&node, 1, secret_with, his);
    node.sealed[0] ^= 1;
    assert_refused(member, &node, ST_INVALID_ARGUMENT);
    node.sealed[0] ^= 1;
    node.node.message.recovery.len--;
    assert_refused(member, &node, ST_INVALID_ARGUMENT);
}

/* It did not hear its OK, and formatted its volume once more. */
static void
the_same_node_may_bring_another_key_of_the_same_administrator(void **state)
{
    struct log_member *member = *state;
    struct recoverable node;
    struct st_err err = {0};
    make(&node, 1, secret_with, his);
    assert_ok(log_enrol(member, &node.node, LOG_START, &err));
    make(&node, 1, secret_with, his);
    assert_ok(log_enrol(member, &node.node, LOG_START, &err));
    assert_kept(member, &node);
    assert_ok(log_remove_enrolment(member, "with", &err));
    make(&node, 1, secret_with, his);
    assert_ok(log_enrol(member, &node.node, later + 1, &err));
    assert_kept(member, &node);
    node.node.message.recovery.len = 0; /* a volume is not there today */
    assert_ok(log_enrol(member, &node.node, LOG_START, &err));
    assert_kept(member, &node);
}

static void
N30_the_same_node_does_not_bring_the_key_of_another_administrator(void **state)
{
    struct log_member *member = *state;
    struct recoverable node, changed, other;
    struct st_err err = {0};
    make(&node, 1, secret_with, his);
    assert_ok(log_enrol(member, &node.node, LOG_START, &err));
    make(&changed, 1, secret_with, nobodys);
    assert_code(log_enrol(member, &changed.node, LOG_START, &err), ST_PERMISSION_DENIED);
    make(&other, 2, secret_with, his);
    seal(&changed, other.node.id, his);
    assert_code(log_enrol(member, &changed.node, LOG_START, &err), ST_PERMISSION_DENIED);
    assert_kept(member, &node);

    struct recoverable plain;
    make(&plain, 3, secret_without, NULL);
    assert_ok(log_enrol(member, &plain.node, LOG_START, &err));
    make(&plain, 3, secret_without, nobodys);
    assert_code(log_enrol(member, &plain.node, LOG_START, &err), ST_PERMISSION_DENIED);
}

static void
an_enrolment_with_a_recovery_key_is_a_change_of_its_own(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    assert_ok(log_remove_enrolment(member, "with", &err));
    assert_code(new_enrolment(member, "one", HPKE_KEY_LEN, false, &err),
                ST_INVALID_ARGUMENT);
    assert_code(new_enrolment(member, "one", 0, true, &err), ST_INVALID_ARGUMENT);
    assert_code(new_enrolment(member, "one", HPKE_KEY_LEN - 1, true, &err),
                ST_INVALID_ARGUMENT);
    assert_ok(new_enrolment(member, "one", HPKE_KEY_LEN, true, &err));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_member, close_member)
    const struct CMUnitTest tests[] = {
        TEST(a_node_has_the_recovery_key_that_its_enrolment_wants),
        TEST(N30_a_recovery_key_for_somebody_else_is_refused),
        TEST(N30_a_node_without_a_recovery_key_is_refused_where_one_is_wanted),
        TEST(N30_the_recovery_key_of_another_node_is_refused),
        TEST(N30_a_recovery_key_that_is_none_is_malformed),
        TEST(the_same_node_may_bring_another_key_of_the_same_administrator),
        TEST(N30_the_same_node_does_not_bring_the_key_of_another_administrator),
        TEST(an_enrolment_with_a_recovery_key_is_a_change_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
