/* What the flows decide is in the audit, with all that an operator needs, and nothing
 * that he must not see. */
#include "tests/nms/guest.h"

#include "proto/file.h"
#include "proto/sha256.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

AUTO_DEFINE(Api__ListAuditResponse *, tail_freep, town_answer_free)
AUTO_DEFINE(Api__NewEnrolmentConfigResponse *, enrolment_freep, town_answer_free)
#define TAIL AUTO(tail_freep) Api__ListAuditResponse
#define MACHINE AUTO(machine_free) struct machine

#define LISTED_ONLY                                                                      \
    "{\"adopt\":{\"automatic\":[]},\"ek\":{\"listed\":[\"%s\"],\"require\":\"listed\"}," \
    "\"pcrs\":{\"require_measured_boot\":false,\"require_set\":false,\"sets\":[]},"      \
    "\"schema\":1}"

static _Atomic int64_t behind_s; /* the clock of the flows */

int64_t __real_nms_now(void);
int64_t __wrap_nms_now(void);
int64_t
__wrap_nms_now(void)
{
    return __real_nms_now() - behind_s;
}

static Api__ListAuditResponse *
tail(struct town *town, const char *node)
{
    Api__ListAuditRequest request = API__LIST_AUDIT_REQUEST__INIT;
    Api__ListAuditResponse *answer;
    struct st_err err = {0};
    request.node_id = (char *)node;
    request.lines = 1000;
    assert_ok(town_call(town->admins, "ListAudit", &request.base,
                        &api__list_audit_response__descriptor, &answer, &err));
    assert_int_equal(answer->member_id, 1);
    return answer;
}

/* The last line of this kind. */
static const Api__AuditLine *
last(const Api__ListAuditResponse *tail, const char *what)
{
    for (size_t i = tail->n_lines; i-- > 0;)
        if (strcmp(tail->lines[i]->what, what) == 0)
            return tail->lines[i];
    fail_msg("no line about %s", what);
    return NULL;
}

static void
line_is(const Api__AuditLine *line, const char *subject, const char *decision,
        const char *reason)
{
    assert_string_equal(line->subject, subject);
    assert_string_equal(line->decision, decision);
    assert_string_equal(line->reason, reason);
    assert_true(strncmp(line->peer, "127.", 4) == 0 && strchr(line->peer, ':'));
}

static void
ek_is(const Api__AuditLine *line, const struct machine *machine)
{
    uint8_t sha256[SHA256_LEN];
    sha256_of(machine->ek_spki.bytes, machine->ek_spki.len, sha256);
    assert_int_equal(line->ek_sha256.len, SHA256_LEN);
    assert_memory_equal(line->ek_sha256.data, sha256, SHA256_LEN);
}

static void
admin_is(const Api__AuditLine *line, const struct town_admin *admin)
{
    uint8_t sha256[SHA256_LEN];
    char hex[SHA256_HEX_LEN + 1];
    cert_fingerprint(admin->cert.der, admin->cert.len, sha256);
    sha256_hex(sha256, hex);
    assert_int_equal(strlen(line->admin), 16);
    assert_memory_equal(line->admin, hex, 16);
}

static void
unlocks(struct machine *machine, struct town *town, enum st_code code)
{
    Api__TPM2UnlockFlowResponse *answer = NULL;
    struct st_err err = {0};
    assert_code(machine_unlock(machine, town->nodes, NULL, &answer, &err), code);
    if (!code)
        machine_answer_free(answer);
}

static void
a_node_s_life_is_one_line_for_each_decision(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, true);
    unlocks(&machine, town, ST_FAILED_PRECONDITION);
    assert_ok(town_adopt(town, machine.id, API__NODE__STATE__WORKER, &err));
    unlocks(&machine, town, ST_OK);
    assert_ok(town_remove(town, machine.id, &err));
    unlocks(&machine, town, ST_PERMISSION_DENIED);
    TAIL *all = tail(town, machine.id);
    static const char *const what[] = {"enrol",  "unlock", "adopt",
                                       "unlock", "remove", "unlock"};
    assert_int_equal(all->n_lines, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(all->lines[i]->what, what[i]);
        assert_string_equal(all->lines[i]->subject, machine.id);
    }
    line_is(all->lines[0], machine.id, "OK", "");
    line_is(all->lines[1], machine.id, "FAILED_PRECONDITION",
            "the node is enrolled, but not adopted");
    for (size_t i = 0; i < 5; i++)
        ek_is(all->lines[i], &machine);
    assert_int_equal(all->lines[5]->ek_sha256.len, 0); /* nobody knows it now */
    admin_is(all->lines[2], &town->admin);
    admin_is(all->lines[4], &town->admin);
    TAIL *one = tail(town, "smalltown-");
    assert_int_equal(one->n_lines, 6);
}

/* The chip can be put on the list by what the audit says of it. */
static void
the_chip_of_whom_the_policy_refused_is_told(void **state)
{
    struct town *town = *state;
    Api__SetPolicyRequest request = API__SET_POLICY_REQUEST__INIT;
    Api__SetPolicyResponse *set;
    char text[600], hex[SHA256_HEX_LEN + 1];
    struct st_err err = {0};
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    memset(hex, '0', SHA256_HEX_LEN);
    hex[SHA256_HEX_LEN] = 0;
    AUTO(enrolment_freep)
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, "rack", 1);
    for (uint64_t version = 0; version < 2; version++) {
        snprintf(text, sizeof(text), LISTED_ONLY, hex);
        request.text = text;
        request.expected_version = version;
        assert_ok(town_call(town->admins, "SetPolicy", &request.base,
                            &api__set_policy_response__descriptor, &set, &err));
        town_answer_free(set);
        if (version == 1)
            break;
        assert_code(
            machine_enrol(&machine, town->nodes, enrolment->enrolment_config, NULL, &err),
            ST_PERMISSION_DENIED);
        TAIL *all = tail(town, "");
        const Api__AuditLine *line = last(all, "enrol");
        assert_string_equal(line->decision, "PERMISSION_DENIED");
        assert_string_equal(line->subject, machine.id);
        assert_int_equal(line->policy, 1);
        ek_is(line, &machine);
        sha256_hex(line->ek_sha256.data, hex);
    }
    assert_ok(
        machine_enrol(&machine, town->nodes, enrolment->enrolment_config, NULL, &err));
    TAIL *all = tail(town, "");
    line_is(last(all, "set-policy"), "2", "OK", "");
    admin_is(last(all, "set-policy"), &town->admin);
    line_is(last(all, "enrol"), machine.id, "OK", "");
    assert_int_equal(last(all, "enrol")->policy, 2);
}

static void
whom_the_policy_adopts_is_told(void **state)
{
    struct town *town = *state;
    Api__SetPolicyRequest request = API__SET_POLICY_REQUEST__INIT;
    Api__SetPolicyResponse *set;
    struct st_err err = {0};
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    AUTO(enrolment_freep)
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, "rack", 1);
    request.text =
        (char *)"{\"adopt\":{\"automatic\":[\"rack\"]},"
                "\"ek\":{\"listed\":[],\"require\":\"none\"},"
                "\"pcrs\":{\"require_measured_boot\":false,\"require_set\":false,"
                "\"sets\":[]},\"schema\":1}";
    assert_ok(town_call(town->admins, "SetPolicy", &request.base,
                        &api__set_policy_response__descriptor, &set, &err));
    town_answer_free(set);
    /* The second time because it did not hear its OK. */
    for (int i = 0; i < 2; i++)
        assert_ok(machine_enrol(&machine, town->nodes, enrolment->enrolment_config, NULL,
                                &err));
    TAIL *own = tail(town, machine.id);
    assert_int_equal(own->n_lines, 3);
    line_is(own->lines[1], machine.id, "OK", "");
    assert_string_equal(own->lines[1]->what, "adopt");
    assert_string_equal(own->lines[1]->step, "auto");
    assert_string_equal(own->lines[2]->what, "enrol");
    ek_is(own->lines[1], &machine);
}

static void
enrolments_made_and_revoked_are_told(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    town_answer_free(town_enrolment(town, "rack", 3));
    assert_ok(town_remove_enrolment(town, "rack", &err));
    assert_code(town_remove_enrolment(town, "rack", &err), ST_NOT_FOUND);
    TAIL *all = tail(town, "");
    line_is(last(all, "new-enrolment"), "rack", "OK", "");
    admin_is(last(all, "new-enrolment"), &town->admin);
    assert_string_equal(last(all, "remove-enrolment")->decision, "NOT_FOUND");
}

/* A connection is one login, however many calls it makes. */
static void
N50_who_was_heard_as_administrator_is_told_and_who_was_not(void **state)
{
    struct town *town = *state;
    const Api__ListNodesRequest request = API__LIST_NODES_REQUEST__INIT;
    Api__RemoveNodeRequest removal = API__REMOVE_NODE_REQUEST__INIT;
    ProtobufCMessage *answer;
    struct st_err err = {0};
    AUTO(rpc_channel_closep)
    struct rpc_channel *viewer = town_admin_channel(town, &town->viewer);
    AUTO(rpc_channel_closep)
    struct rpc_channel *stranger = town_admin_channel(town, &town->stranger);
    for (int i = 0; i < 3; i++) {
        assert_ok(town_call(viewer, "ListNodes", &request.base,
                            &api__list_nodes_response__descriptor, &answer, &err));
        town_answer_free(answer);
        assert_code(town_call(stranger, "ListNodes", &request.base,
                              &api__list_nodes_response__descriptor, &answer, &err),
                    ST_UNAUTHENTICATED);
    }
    removal.node_id = (char *)"smalltown-00112233445566778899aabbccddeeff";
    assert_code(town_call(viewer, "RemoveNode", &removal.base,
                          &api__remove_node_request__descriptor, &answer, &err),
                ST_PERMISSION_DENIED);
    TAIL *all = tail(town, "");
    size_t logins[2] = {0}, refused = 0;
    for (size_t i = 0; i < all->n_lines; i++) {
        const Api__AuditLine *line = all->lines[i];
        if (strcmp(line->what, "login") == 0)
            logins[strcmp(line->subject, "ListNodes") == 0]++;
        else if (strcmp(line->decision, "UNAUTHENTICATED") == 0) {
            admin_is(line, &town->stranger);
            line_is(line, "ListNodes", "UNAUTHENTICATED",
                    "this certificate is not an administrator's here");
            refused++;
        }
    }
    assert_int_equal(logins[1], 1);
    assert_int_equal(logins[0], 1); /* ours, with which the audit is read */
    assert_int_equal(refused, 3);
    line_is(last(all, "call"), "RemoveNode", "PERMISSION_DENIED",
            "your role does not allow this");
    admin_is(last(all, "call"), &town->viewer);
}

static void
who_may_only_look_may_read_the_audit(void **state)
{
    struct town *town = *state;
    Api__ListAuditRequest request = API__LIST_AUDIT_REQUEST__INIT;
    ProtobufCMessage *answer;
    struct st_err err = {0};
    AUTO(rpc_channel_closep)
    struct rpc_channel *viewer = town_admin_channel(town, &town->viewer);
    assert_ok(town_call(viewer, "ListAudit", &request.base,
                        &api__list_audit_response__descriptor, &answer, &err));
    town_answer_free(answer);
    request.node_id =
        (char *)"smalltown-00112233445566778899aabbccddeeff00112233445566778899";
    assert_code(town_call(viewer, "ListAudit", &request.base,
                          &api__list_audit_response__descriptor, &answer, &err),
                ST_INVALID_ARGUMENT);
}

static void
calls_itself_a_line(struct machine *machine, Api__TPM2FlowRequest *request)
{
    (void)machine;
    static char name[] = "x\"\n2026-01-31T12:00:00.123Z 7 adopt decision=OK";
    if (request->stage_case == API__TPM2_FLOW_REQUEST__STAGE_NEW_NODE_INFO)
        request->new_node_info->enrolment_config->node_id = name;
}

static void
N35_a_machine_that_calls_itself_a_line_is_none(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    AUTO(enrolment_freep)
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, "rack", 1);
    char *own = enrolment->enrolment_config->node_id;
    assert_code(machine_enrol(&machine, town->nodes, enrolment->enrolment_config,
                              calls_itself_a_line, &err),
                ST_INVALID_ARGUMENT);
    enrolment->enrolment_config->node_id = own;
    TAIL *all = tail(town, "");
    const Api__AuditLine *line = last(all, "enrol");
    assert_string_equal(line->reason,
                        "calls itself x'?2026-01-31T12:00:00.123Z 7 adopt decision=OK");
    for (size_t i = 0; i < all->n_lines; i++)
        assert_string_not_equal(all->lines[i]->what, "adopt");
}

static void
the_audit_is_still_there_after_a_restart(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    TAIL *before = tail(town, "smalltown-");
    town_restart(town);
    unlocks(&machine, town, ST_OK);
    TAIL *after = tail(town, "smalltown-");
    assert_int_equal(after->n_lines, before->n_lines + 1);
    assert_true(last(after, "unlock")->number > last(before, "adopt")->number);
    assert_int_equal(last(after, "adopt")->number, last(before, "adopt")->number);
}

static void
a_join_is_in(struct town *town, const char *name, bool expected)
{
    AUTO(st_freep) uint8_t *bytes = NULL;
    char path[128];
    size_t len;
    struct st_err err = {0};
    snprintf(path, sizeof(path), "%s/data/audit/%s.log", town->dir, name);
    assert_ok(file_read(path, FILE_MAX_LEN, &bytes, &len, &err));
    assert_int_equal(strstr((char *)bytes, " join ") != NULL, expected);
}

/* He may have it from anywhere, and comes as often as he likes. */
static void
N46_who_has_a_ticket_that_is_not_believed_pushes_no_change_out(void **state)
{
    struct town *town = *state;
    Api__InviteMasterRequest request = API__INVITE_MASTER_REQUEST__INIT;
    Api__InviteMasterResponse *invited;
    Api__JoinMastersResponse *answer;
    struct guest guest;
    struct st_err err = {0};
    guest_make(&guest, 1);
    request.name = (char *)"host";
    assert_ok(town_call(town->admins, "InviteMaster", &request.base,
                        &api__invite_master_response__descriptor, &invited, &err));
    const ProtobufCBinaryData *secret = &invited->ticket->secret;
    behind_s = STATE_CLOCKS_DIFFER_S + 60;
    assert_code(guest_ask(&guest, town->nodes, secret->data, secret->len, &answer, &err),
                ST_UNAVAILABLE);
    assert_int_equal(err.reason, ST_REASON_CLOCK);
    behind_s = 0;
    town_restart(town);
    a_join_is_in(town, "changes", false);
    a_join_is_in(town, "strangers", true);
    assert_ok(guest_ask(&guest, town->nodes, secret->data, secret->len, &answer, &err));
    town_answer_free(answer);
    town_answer_free(invited);
    town_restart(town);
    a_join_is_in(town, "changes", true);
    guest_free(&guest);
}

/* As bytes, as hex in either case: anywhere in a file of the audit. */
static void
holds_no(struct town *town, const struct secret *secret)
{
    static const char *const names[] = {"changes", "nodes", "logins", "strangers"};
    char lower[2 * SECRET_MAX + 1], upper[2 * SECRET_MAX + 1];
    for (size_t i = 0; i < secret->len; i++) {
        snprintf(lower + 2 * i, 3, "%02x", secret->bytes[i]);
        snprintf(upper + 2 * i, 3, "%02X", secret->bytes[i]);
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        AUTO(st_freep) uint8_t *bytes = NULL;
        char path[128];
        size_t len;
        struct st_err err = {0};
        snprintf(path, sizeof(path), "%s/data/audit/%s.log", town->dir, names[i]);
        assert_ok(file_read(path, FILE_MAX_LEN, &bytes, &len, &err));
        assert_true(len > 0);
        assert_null(memmem(bytes, len, secret->bytes, secret->len));
        assert_null(memmem(bytes, len, lower, 2 * secret->len));
        assert_null(memmem(bytes, len, upper, 2 * secret->len));
    }
}

static void
N47_no_file_of_the_audit_shows_a_secret(void **state)
{
    struct town *town = *state;
    struct secret marker = {.len = UNLOCK_KEY_LEN}, enrolled = {0};
    struct st_err err = {0};
    MACHINE machine, thief;
    memset(marker.bytes, 'K', marker.len);
    machine_make(&machine, FORGE_ECC);
    machine_make(&thief, FORGE_ECC);
    machine.global_key = marker;
    AUTO(enrolment_freep)
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, "rack", 1);
    const ProtobufCBinaryData *secret = &enrolment->enrolment_config->enrolment_secret;
    assert_ok(secret_set(&enrolled, secret->data, secret->len, &err));
    assert_ok(
        machine_enrol(&machine, town->nodes, enrolment->enrolment_config, NULL, &err));
    unlocks(&machine, town, ST_FAILED_PRECONDITION);
    assert_ok(town_adopt(town, machine.id, API__NODE__STATE__WORKER, &err));
    unlocks(&machine, town, ST_OK);
    /* Spent, and of nobody. */
    assert_code(
        machine_enrol(&thief, town->nodes, enrolment->enrolment_config, NULL, &err),
        ST_PERMISSION_DENIED);
    unlocks(&thief, town, ST_PERMISSION_DENIED);
    assert_ok(town_remove(town, machine.id, &err));
    town_restart(town);
    holds_no(town, &marker);
    holds_no(town, &enrolled);
    holds_no(town, &town->nms->masters_seed);
    holds_no(town, &town->admin.seed);
    secret_wipe(&enrolled);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TOWN_TEST(a_node_s_life_is_one_line_for_each_decision),
        TOWN_TEST(the_chip_of_whom_the_policy_refused_is_told),
        TOWN_TEST(whom_the_policy_adopts_is_told),
        TOWN_TEST(enrolments_made_and_revoked_are_told),
        TOWN_TEST(N50_who_was_heard_as_administrator_is_told_and_who_was_not),
        TOWN_TEST(who_may_only_look_may_read_the_audit),
        TOWN_TEST(N35_a_machine_that_calls_itself_a_line_is_none),
        TOWN_TEST(the_audit_is_still_there_after_a_restart),
        TOWN_TEST(N46_who_has_a_ticket_that_is_not_believed_pushes_no_change_out),
        TOWN_TEST(N47_no_file_of_the_audit_shows_a_secret),
    };
    return cmocka_run_group_tests(tests, town_group_setup, town_group_teardown);
}
