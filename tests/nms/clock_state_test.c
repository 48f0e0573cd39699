/* What a TPM has counted, in the records: written before a key is released, refused where
 * it is less, and begun anew by an administrator. */
#include "tests/nms/log.h"

#include <string.h>

static const uint8_t secret[32] = {0xaa};
#define CLOCK(ms, resets, restarts)                                                      \
    (&(State__TpmClock){PROTOBUF_C_MESSAGE_INIT(&state__tpm_clock__descriptor), ms,      \
                        resets, restarts})

enum {
    HOUR = 3600
};

static int
open_member(void **state)
{
    static struct log_member member;
    struct st_err err = {0};
    log_open(&member);
    log_found(&member);
    assert_ok(log_new_enrolment(&member, "rack", secret, 100, LOG_START + HOUR, &err));
    *state = &member;
    return 0;
}

static int
close_member(void **state)
{
    log_close(*state);
    return 0;
}

/* Enrolled with this clock, NULL: as before there was one; and adopted. */
static void
settle(struct log_member *member, unsigned seed, State__TpmClock *clock,
       struct log_node *out)
{
    struct st_err err = {0};
    log_node_make(seed, secret, out);
    out->message.clock = clock;
    assert_ok(log_enrol(member, out, LOG_START, &err));
    assert_ok(log_adopt(member, out->id, &err));
}

static enum st_code
release_by(struct log_member *member, struct log_node *node,
           const ProtobufCBinaryData *ak, State__TpmClock *clock, struct st_err *err)
{
    State__Release release = STATE__RELEASE__INIT;
    State__Command command = STATE__COMMAND__INIT;
    release.node_id = node->id;
    release.ak_public = *ak;
    release.clock = clock;
    command.time = LOG_START;
    command.change_case = STATE__COMMAND__CHANGE_RELEASE;
    command.release = &release;
    return log_apply(member, &command, err);
}

static enum st_code
release(struct log_member *member, struct log_node *node, State__TpmClock *clock,
        struct st_err *err)
{
    return release_by(member, node, &node->message.ak_public, clock, err);
}

static void
refuse(struct log_member *member, struct log_node *node, State__TpmClock *clock,
       int64_t time)
{
    State__RefuseBoot refuse_boot = STATE__REFUSE_BOOT__INIT;
    State__Command command = STATE__COMMAND__INIT;
    struct st_err err = {0};
    refuse_boot.node_id = node->id;
    refuse_boot.ak_public = node->message.ak_public;
    refuse_boot.pcrs = node->message.pcrs;
    refuse_boot.clock = clock;
    command.time = time;
    command.change_case = STATE__COMMAND__CHANGE_REFUSE_CLOCK;
    command.refuse_clock = &refuse_boot;
    assert_ok(log_apply(member, &command, &err));
}

static enum st_code
approve(struct log_member *member, struct log_node *node, State__TpmClock *clock,
        struct st_err *err)
{
    State__ApproveBoot approve_boot = STATE__APPROVE_BOOT__INIT;
    State__Command command = STATE__COMMAND__INIT;
    approve_boot.node_id = node->id;
    approve_boot.pcrs = node->message.pcrs;
    approve_boot.clock = clock;
    command.by = (ProtobufCBinaryData){SHA256_LEN, log_administrator};
    command.time = LOG_START;
    command.change_case = clock ? STATE__COMMAND__CHANGE_APPROVE_CLOCK
                                : STATE__COMMAND__CHANGE_APPROVE_BOOT;
    command.approve_boot = &approve_boot; /* the same place for both */
    return log_apply(member, &command, err);
}

/* The clock that is kept of a refusal; 0: none is. */
static uint64_t
kept(struct log_member *member, const struct log_node *node)
{
    AUTO(state_refused_freep) State__Refused *refused = NULL;
    if (state_refused(member->state, node->id, &refused, NULL) || !refused->clock)
        return 0;
    return refused->clock->clock_ms;
}

static void
N15_counters_go_on_over_the_end_of_their_numbers_and_never_back(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    struct st_err err = {0};
    settle(member, 1, CLOCK(1000, UINT32_MAX - 1, UINT32_MAX), &node);
    for (uint32_t i = 0; i < 4; i++) {
        assert_ok(release(member, &node, CLOCK(9000 - i, UINT32_MAX - 1 + i, 5), &err));
        assert_ok(release(member, &node, CLOCK(500, UINT32_MAX - 1 + i, 6), &err));
        assert_code(release(member, &node, CLOCK(9999, UINT32_MAX - 1 + i, 5), &err),
                    ST_PERMISSION_DENIED);
        assert_code(release(member, &node, CLOCK(9999, UINT32_MAX - 2 + i, 7), &err),
                    ST_PERMISSION_DENIED);
    }
    /* What was refused changed nothing, and all of it is on the disk. */
    AUTO(state_node_freep) State__Node *loaded = NULL;
    struct state *again;
    assert_ok(log_load(member, &again, &err));
    assert_ok(state_node(again, node.id, &loaded, &err));
    assert_int_equal(loaded->clock->clock_ms, 500);
    assert_int_equal(loaded->clock->reset_count, 1);
    assert_int_equal(loaded->clock->restart_count, 6);
    state_free(again);
}

static void
N15_of_two_quotes_that_are_judged_at_once_the_older_one_loses(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    struct st_err err = {0};
    settle(member, 1, CLOCK(1000, 7, 0), &node);
    const struct tpm_clock first = {2000, 7, 0};
    assert_ok(state_clock_check(member->state, node.id, &first, &err));
    assert_ok(release(member, &node, CLOCK(2001, 7, 0), &err));
    assert_code(release(member, &node, CLOCK(2000, 7, 0), &err), ST_PERMISSION_DENIED);
    assert_ok(release(member, &node, CLOCK(2001, 7, 0), &err)); /* proposed again */
}

static void
N15_a_record_of_before_takes_the_first_clock_that_comes(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    struct st_err err = {0};
    settle(member, 1, NULL, &node);
    assert_ok(release(member, &node, CLOCK(1000, 77, 3), &err));
    assert_code(release(member, &node, CLOCK(1000, 76, 3), &err), ST_PERMISSION_DENIED);
    assert_code(release(member, &node, NULL, &err), ST_INVALID_ARGUMENT);
}

static void
N15_what_another_TPM_counted_is_not_written(void **state)
{
    struct log_member *member = *state;
    struct log_node node, other;
    struct st_err err = {0};
    settle(member, 1, CLOCK(1000, 7, 0), &node);
    settle(member, 2, CLOCK(1000, 7, 0), &other);
    assert_code(
        release_by(member, &node, &other.message.ak_public, CLOCK(1000, 99, 0), &err),
        ST_PERMISSION_DENIED);
    assert_ok(release(member, &node, CLOCK(1000, 8, 0), &err));
    assert_ok(log_remove_node(member, node.id, &err));
    assert_code(release(member, &node, CLOCK(1000, 9, 0), &err), ST_PERMISSION_DENIED);
}

static void
N15_an_administrator_begins_the_counting_anew_where_he_was_shown(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    struct st_err err = {0};
    settle(member, 1, CLOCK(90000, 7, 0), &node);
    assert_code(approve(member, &node, CLOCK(100, 3, 0), &err), ST_NOT_FOUND);
    refuse(member, &node, CLOCK(100, 3, 0), LOG_START);
    assert_int_equal(kept(member, &node), 100);
    assert_code(approve(member, &node, CLOCK(101, 3, 0), &err), ST_ABORTED);
    assert_code(approve(member, &node, CLOCK(100, 2, 0), &err), ST_ABORTED);
    assert_code(release(member, &node, CLOCK(200, 3, 0), &err), ST_PERMISSION_DENIED);
    assert_ok(approve(member, &node, CLOCK(100, 3, 0), &err));
    assert_int_equal(kept(member, &node), 0);
    assert_ok(approve(member, &node, CLOCK(100, 3, 0), &err)); /* the answer was lost */
    assert_code(release(member, &node, CLOCK(99, 3, 0), &err), ST_PERMISSION_DENIED);
    assert_ok(release(member, &node, CLOCK(200, 3, 0), &err));
    /* Of the boot that he approves without a clock only the PCRs are good. */
    refuse(member, &node, CLOCK(100, 2, 0), LOG_START + HOUR);
    assert_ok(approve(member, &node, NULL, &err));
    assert_code(release(member, &node, CLOCK(300, 2, 0), &err), ST_PERMISSION_DENIED);
}

static void
N15_a_refused_clock_is_kept_once_while_it_goes_on(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    struct st_err err = {0};
    int64_t now = LOG_START;
    settle(member, 1, CLOCK(90000, 7, 0), &node);
    refuse(member, &node, CLOCK(90000, 7, 0), now); /* is none */
    assert_int_equal(kept(member, &node), 0);
    refuse(member, &node, CLOCK(100, 3, 0), now);
    refuse(member, &node, CLOCK(200, 3, 0), now + HOUR); /* it asks again and again */
    assert_int_equal(kept(member, &node), 100);
    refuse(member, &node, CLOCK(50, 3, 0), now + 1); /* another snapshot, but at once */
    assert_int_equal(kept(member, &node), 100);
    refuse(member, &node, CLOCK(50, 3, 0), now + HOUR);
    assert_int_equal(kept(member, &node), 50);
    /* What is good by now holds nothing up. */
    assert_ok(approve(member, &node, CLOCK(50, 3, 0), &err));
    refuse(member, &node, CLOCK(40, 3, 0), now + HOUR);
    assert_int_equal(kept(member, &node), 40);
}

static void
a_release_is_remembered_by_the_record_alone(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    struct st_err err = {0};
    settle(member, 1, CLOCK(1000, 7, 0), &node);
    const size_t before = member->count;
    for (unsigned i = 0; i < 100; i++)
        assert_ok(release(member, &node, CLOCK(1000 + i, 7, 0), &err));
    assert_int_equal(member->count, before);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_member, close_member)
    const struct CMUnitTest tests[] = {
        TEST(N15_counters_go_on_over_the_end_of_their_numbers_and_never_back),
        TEST(N15_of_two_quotes_that_are_judged_at_once_the_older_one_loses),
        TEST(N15_a_record_of_before_takes_the_first_clock_that_comes),
        TEST(N15_what_another_TPM_counted_is_not_written),
        TEST(N15_an_administrator_begins_the_counting_anew_where_he_was_shown),
        TEST(N15_a_refused_clock_is_kept_once_while_it_goes_on),
        TEST(a_release_is_remembered_by_the_record_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
