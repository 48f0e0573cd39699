/* An update, from outside: boots that the policy refuses, a window, an administrator who
 * approves. */
#include "nms/boot.h"
#include "proto/scope.h"
#include "tests/nms/town.h"

#include <stdio.h>
#include <stdlib.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

AUTO_DEFINE(Api__TPM2UnlockFlowResponse *, answer_freep, machine_answer_free)
AUTO_DEFINE(Api__GetNodePcrsResponse *, pcrs_freep, town_answer_free)
AUTO_DEFINE(Api__GetPolicyResponse *, policy_answer_freep, town_answer_free)
AUTO_DEFINE(Api__GetStatusResponse *, status_freep, town_answer_free)
AUTO_DEFINE(Api__ListCapturedSetsResponse *, captured_freep, town_answer_free)
#define MACHINE AUTO(machine_free) struct machine

/* PCR 4 and 11 as machine_make() sets them, everywhere. */
static const char strict[] =
    "{\"schema\":1,\"ek\":{\"require\":\"none\",\"listed\":[]},\"pcrs\":{\"sets\":["
    "{\"name\":\"s1\",\"nodes\":[\"*\"],\"values\":{"
    "\"4\":[\"4444444444444444444444444444444444444444444444444444444444444444\"],"
    "\"11\":[\"4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b\"]}}],"
    "\"require_set\":false,\"require_measured_boot\":false},"
    "\"adopt\":{\"automatic\":[]}}";

static void
set_strict(struct town *town)
{
    Api__SetPolicyRequest request = API__SET_POLICY_REQUEST__INIT;
    Api__SetPolicyResponse *answer;
    struct st_err err = {0};
    request.text = (char *)strict;
    assert_ok(town_call(town->admins, "SetPolicy", &request.base,
                        &api__set_policy_response__descriptor, &answer, &err));
    town_answer_free(answer);
}

static enum st_code
open_window(struct rpc_channel *admins, uint64_t seconds, char **node_ids, size_t count,
            struct st_err *err)
{
    Api__OpenWindowRequest request = API__OPEN_WINDOW_REQUEST__INIT;
    Api__OpenWindowResponse *answer;
    request.seconds = seconds;
    request.node_ids = node_ids;
    request.n_node_ids = count;
    enum st_code code = town_call(admins, "OpenWindow", &request.base,
                                  &api__open_window_response__descriptor, &answer, err);
    if (code)
        return code;
    assert_true(answer->window || seconds == 1);
    if (answer->window) {
        assert_int_equal(answer->window->closes_at - answer->window->opened_at, seconds);
        assert_int_equal(answer->window->n_node_ids, count);
    }
    town_answer_free(answer);
    return ST_OK;
}

static enum st_code
close_window(struct rpc_channel *admins, struct st_err *err)
{
    const Api__CloseWindowRequest request = API__CLOSE_WINDOW_REQUEST__INIT;
    Api__CloseWindowResponse *answer;
    enum st_code code = town_call(admins, "CloseWindow", &request.base,
                                  &api__close_window_response__descriptor, &answer, err);
    if (!code)
        town_answer_free(answer);
    return code;
}

/* Whether policy and status tell of a window, and how many came through it; -1: none. */
static int
window_shown(struct town *town)
{
    const Api__GetPolicyRequest policy_request = API__GET_POLICY_REQUEST__INIT;
    const Api__GetStatusRequest status_request = API__GET_STATUS_REQUEST__INIT;
    AUTO(policy_answer_freep) Api__GetPolicyResponse *policy = NULL;
    AUTO(status_freep) Api__GetStatusResponse *status = NULL;
    struct st_err err = {0};
    assert_ok(town_call(town->admins, "GetStatus", &status_request.base,
                        &api__get_status_response__descriptor, &status, &err));
    assert_ok(town_call(town->admins, "GetPolicy", &policy_request.base,
                        &api__get_policy_response__descriptor, &policy, &err));
    if (!policy->window)
        return -1; /* it may have closed between the two */
    assert_non_null(status->window);
    assert_int_equal(policy->window->captured, status->window->captured);
    assert_int_equal(policy->window->opened_by.len, SHA256_LEN);
    return (int)policy->window->captured;
}

static Api__ListCapturedSetsResponse *
captured(struct town *town)
{
    const Api__ListCapturedSetsRequest request = API__LIST_CAPTURED_SETS_REQUEST__INIT;
    Api__ListCapturedSetsResponse *answer;
    struct st_err err = {0};
    assert_ok(town_call(town->admins, "ListCapturedSets", &request.base,
                        &api__list_captured_sets_response__descriptor, &answer, &err));
    return answer;
}

/* What is listed as refused; what is shown is what is said. */
static enum st_code
approve(struct rpc_channel *admins, const char *id, const Api__GetNodePcrsResponse *shown,
        struct st_err *err)
{
    Api__ApproveBootRequest request = API__APPROVE_BOOT_REQUEST__INIT;
    Api__ApproveBootResponse *answer;
    request.node_id = (char *)id;
    request.pcrs = shown->refused;
    request.n_pcrs = shown->n_refused;
    enum st_code code = town_call(admins, "ApproveBoot", &request.base,
                                  &api__approve_boot_response__descriptor, &answer, err);
    if (!code)
        town_answer_free(answer);
    return code;
}

static enum st_code
remove_captured(struct rpc_channel *admins, const ProtobufCBinaryData *sha256,
                struct st_err *err)
{
    Api__RemoveCapturedSetRequest request = API__REMOVE_CAPTURED_SET_REQUEST__INIT;
    Api__RemoveCapturedSetResponse *answer;
    request.sha256 = *sha256;
    enum st_code code =
        town_call(admins, "RemoveCapturedSet", &request.base,
                  &api__remove_captured_set_response__descriptor, &answer, err);
    if (!code)
        town_answer_free(answer);
    return code;
}

static bool
unlocks(struct town *town, struct machine *machine)
{
    AUTO(answer_freep) Api__TPM2UnlockFlowResponse *answer = NULL;
    struct st_err err = {0};
    if (!machine_unlock(machine, town->nodes, NULL, &answer, &err))
        return true;
    assert_int_equal(err.code, ST_PERMISSION_DENIED);
    assert_string_equal(err.text, "refused");
    return false;
}

static void
boot(struct machine *machine, uint8_t image)
{
    memset(machine->pcrs.digest[4], image, SHA256_LEN);
    memset(machine->pcrs.digest[11], image, SHA256_LEN);
}

/* Two that are nodes, under a policy that knows their boot alone. */
static void
settle_two(struct town *town, struct machine *first, struct machine *second)
{
    machine_make(first, FORGE_ECC);
    machine_make(second, FORGE_RSA);
    town_settle(town, first, false);
    town_settle(town, second, false);
    set_strict(town);
}

static void
N12_another_image_gets_its_key_through_a_window_alone(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    MACHINE first;
    MACHINE second;
    settle_two(town, &first, &second);
    assert_int_equal(window_shown(town), -1);
    boot(&first, 0x62);
    assert_false(unlocks(town, &first));
    assert_ok(open_window(town->admins, 3600, NULL, 0, &err));
    assert_code(open_window(town->admins, 60, NULL, 0, &err), ST_ALREADY_EXISTS);
    assert_int_equal(window_shown(town), 0);
    assert_true(unlocks(town, &first));
    assert_true(unlocks(town, &first));
    assert_int_equal(window_shown(town), 1);
    boot(&first, 0x63);
    assert_false(unlocks(town, &first));
    boot(&second, 0x62);
    assert_true(unlocks(town, &second));
    assert_int_equal(window_shown(town), 2);
    town_restart(town);
    assert_int_equal(window_shown(town), 2);
    assert_ok(close_window(town->admins, &err));
    assert_code(close_window(town->admins, &err), ST_NOT_FOUND);
    assert_int_equal(window_shown(town), -1);
    assert_false(unlocks(town, &first));
    boot(&first, 0x62);
    assert_true(unlocks(town, &first));
    boot(&second, 0x63);
    assert_false(unlocks(town, &second));
    /* Both booted the same: one set, of two nodes. */
    AUTO(captured_freep) Api__ListCapturedSetsResponse *list = captured(town);
    assert_int_equal(list->n_sets, 1);
    const Api__CapturedSet *set = list->sets[0];
    assert_int_equal(set->n_node_ids, 2);
    assert_string_not_equal(set->node_ids[0], set->node_ids[1]);
    assert_int_equal(set->n_pcrs, 2);
    assert_int_equal(set->pcrs[1], 11);
    assert_int_equal(set->values[1].data[31], 0x62);
    assert_false(set->approved);
    assert_ok(remove_captured(town->admins, &set->sha256, &err));
    assert_code(remove_captured(town->admins, &set->sha256, &err), ST_NOT_FOUND);
    assert_false(unlocks(town, &first));
}

static void
N12_a_window_closes_by_itself(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    MACHINE first;
    MACHINE second;
    settle_two(town, &first, &second);
    char *ids[] = {second.id};
    assert_ok(open_window(town->admins, 1, ids, 1, &err));
    boot(&first, 0x62);
    assert_false(unlocks(town, &first)); /* it is for the other one */
    while (window_shown(town) >= 0)
        usleep(20000);
    boot(&second, 0x62);
    assert_false(unlocks(town, &second));
    assert_ok(open_window(town->admins, 3600, ids, 1, &err));
    assert_true(unlocks(town, &second));
}

static void
N11_a_boot_that_nobody_measured_gets_no_key_through_a_window(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    MACHINE first;
    MACHINE second;
    settle_two(town, &first, &second);
    assert_ok(open_window(town->admins, 3600, NULL, 0, &err));
    memset(first.pcrs.digest, 0, sizeof(first.pcrs.digest));
    machine_measure(&first, &town->nms->masters_cert);
    assert_false(unlocks(town, &first));
    assert_int_equal(window_shown(town), 0);
    AUTO(pcrs_freep) Api__GetNodePcrsResponse *shown = town_node_pcrs(town, first.id);
    assert_int_equal(shown->n_refused, TPM_PCR_COUNT);
}

/* A copy of its TPM, in a machine that boots something else. */
static void
N15_a_TPM_that_went_back_comes_through_no_window(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    MACHINE first;
    MACHINE second;
    settle_two(town, &first, &second);
    first.clock.reset_count++;
    assert_true(unlocks(town, &first));
    assert_ok(open_window(town->admins, 3600, NULL, 0, &err));
    boot(&first, 0x66);
    first.clock.reset_count--;
    assert_false(unlocks(town, &first));
    assert_int_equal(window_shown(town), 0);
    {
        AUTO(captured_freep) Api__ListCapturedSetsResponse *list = captured(town);
        assert_int_equal(list->n_sets, 0);
        AUTO(pcrs_freep) Api__GetNodePcrsResponse *shown = town_node_pcrs(town, first.id);
        assert_non_null(strstr(shown->refused_why, "its TPM went back"));
    }
    /* The machine itself comes through, once. */
    boot(&first, 0x62);
    first.clock.reset_count += 2;
    assert_true(unlocks(town, &first));
    assert_int_equal(window_shown(town), 1);
}

/* Not even for an administrator's eyes: who approves it says yes to somebody else. */
static void
N48_a_quote_that_was_relayed_is_neither_kept_nor_let_in(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    MACHINE first;
    MACHINE second;
    settle_two(town, &first, &second);
    boot(&first, 0x62);
    machine_measure(&first, &town->admin.cert); /* the thief's */
    assert_false(unlocks(town, &first));
    assert_ok(open_window(town->admins, 3600, NULL, 0, &err));
    assert_false(unlocks(town, &first));
    assert_int_equal(window_shown(town), 0);
    {
        AUTO(pcrs_freep) Api__GetNodePcrsResponse *shown = town_node_pcrs(town, first.id);
        assert_int_equal(shown->n_refused, 0);
    }
    machine_measure(&first, &town->nms->masters_cert);
    assert_true(unlocks(town, &first));
    assert_int_equal(window_shown(town), 1);
}

static void
N12_what_an_administrator_approves_is_what_he_was_shown(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    MACHINE first;
    MACHINE second;
    settle_two(town, &first, &second);
    boot(&first, 0x62);
    assert_false(unlocks(town, &first));
    town_restart(town);
    AUTO(pcrs_freep) Api__GetNodePcrsResponse *shown = town_node_pcrs(town, first.id);
    assert_int_equal(shown->n_refused, TPM_PCR_COUNT);
    assert_int_equal(shown->refused[4].data[0], 0x62);
    assert_int_equal(shown->n_captured, 0);
    /* Something else than what is kept, something that is no boot, for another node. */
    shown->refused[4].data[0] ^= 1;
    assert_code(approve(town->admins, first.id, shown, &err), ST_ABORTED);
    shown->refused[4].data[0] ^= 1;
    shown->n_refused--;
    assert_code(approve(town->admins, first.id, shown, &err), ST_INVALID_ARGUMENT);
    shown->n_refused++;
    assert_code(approve(town->admins, second.id, shown, &err), ST_NOT_FOUND);
    struct rpc_channel *viewer = town_admin_channel(town, &town->viewer);
    assert_code(approve(viewer, first.id, shown, &err), ST_PERMISSION_DENIED);
    assert_code(open_window(viewer, 60, NULL, 0, &err), ST_PERMISSION_DENIED);
    rpc_channel_close(viewer);
    assert_false(unlocks(town, &first));
    assert_ok(approve(town->admins, first.id, shown, &err));
    assert_true(unlocks(town, &first));
    AUTO(pcrs_freep) Api__GetNodePcrsResponse *after = town_node_pcrs(town, first.id);
    assert_int_equal(after->n_refused, 0);
    assert_int_equal(after->n_captured, 1);
    assert_true(after->captured[0]->approved);
    boot(&second, 0x62);
    assert_false(unlocks(town, &second));
}

static void
spoil(struct machine *machine, Api__TPM2UnlockRequest *request)
{
    (void)machine;
    request->quote_signature.data[request->quote_signature.len - 1] ^= 1;
}

static uint64_t
applied(const struct town *town)
{
    struct replica_status status;
    replica_status(town->nms->replica, &status);
    return status.applied_index;
}

static void
N12_a_stranger_leaves_no_refusal_and_a_node_not_two_at_once(void **state)
{
    struct town *town = *state;
    AUTO(answer_freep) Api__TPM2UnlockFlowResponse *answer = NULL;
    struct st_err err = {0};
    MACHINE first;
    MACHINE second;
    settle_two(town, &first, &second);
    boot(&first, 0x62);
    for (int i = 0; i < 3; i++)
        assert_code(machine_unlock(&first, town->nodes, spoil, &answer, &err),
                    ST_PERMISSION_DENIED);
    {
        AUTO(pcrs_freep) Api__GetNodePcrsResponse *pcrs = town_node_pcrs(town, first.id);
        assert_int_equal(pcrs->n_refused, 0);
    }
    assert_false(unlocks(town, &first));
    const uint64_t before = applied(town);
    for (uint8_t image = 0x62; image < 0x72; image++) {
        boot(&first, image);
        assert_false(unlocks(town, &first));
    }
    /* Barriers have entries of their own: no more than one for each question. */
    assert_in_range(applied(town) - before, 0, 16);
    AUTO(pcrs_freep) Api__GetNodePcrsResponse *pcrs = town_node_pcrs(town, first.id);
    assert_int_equal(pcrs->refused[4].data[0], 0x62);
}

static void
N12_a_master_keeps_so_many_refusals_a_minute(void **state)
{
    struct town *town = *state;
    uint64_t minute;
    MACHINE first;
    MACHINE second;
    settle_two(town, &first, &second);
    boot(&first, 0x62);
    do {
        minute = (uint64_t)nms_now() / 60;
        atomic_store(&town->nms->refusals, minute << 16 | BOOT_REFUSALS_A_MINUTE);
        assert_false(unlocks(town, &first));
    } while ((uint64_t)nms_now() / 60 != minute);
    {
        AUTO(pcrs_freep) Api__GetNodePcrsResponse *pcrs = town_node_pcrs(town, first.id);
        assert_int_equal(pcrs->n_refused, 0);
    }
    atomic_store(&town->nms->refusals, (minute - 1) << 16 | BOOT_REFUSALS_A_MINUTE);
    assert_false(unlocks(town, &first));
    AUTO(pcrs_freep) Api__GetNodePcrsResponse *pcrs = town_node_pcrs(town, first.id);
    assert_int_equal(pcrs->n_refused, TPM_PCR_COUNT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TOWN_TEST(N12_another_image_gets_its_key_through_a_window_alone),
        TOWN_TEST(N12_a_window_closes_by_itself),
        TOWN_TEST(N11_a_boot_that_nobody_measured_gets_no_key_through_a_window),
        TOWN_TEST(N15_a_TPM_that_went_back_comes_through_no_window),
        TOWN_TEST(N48_a_quote_that_was_relayed_is_neither_kept_nor_let_in),
        TOWN_TEST(N12_what_an_administrator_approves_is_what_he_was_shown),
        TOWN_TEST(N12_a_stranger_leaves_no_refusal_and_a_node_not_two_at_once),
        TOWN_TEST(N12_a_master_keeps_so_many_refusals_a_minute),
    };
    return cmocka_run_group_tests(tests, town_group_setup, town_group_teardown);
}
