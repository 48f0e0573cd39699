/* Who let another boot in is in the audit: windows, what came through them, approvals,
 * what was refused, and the seal's authority. */
#include "tests/nms/town.h"
#include "proto/sha256.h"

#include <stdio.h>
#include <string.h>

AUTO_DEFINE(Api__ListAuditResponse *, tail_freep, town_answer_free)
AUTO_DEFINE(Api__TPM2UnlockFlowResponse *, answer_freep, machine_answer_free)
#define TAIL AUTO(tail_freep) Api__ListAuditResponse
#define MACHINE AUTO(machine_free) struct machine

/* Boots of image 0x44 alone. */
static const char strict[] =
    "{\"schema\":1,\"ek\":{\"require\":\"none\",\"listed\":[]},\"pcrs\":{\"sets\":["
    "{\"name\":\"s1\",\"nodes\":[\"*\"],\"values\":{"
    "\"4\":[\"4444444444444444444444444444444444444444444444444444444444444444\"]}}],"
    "\"require_set\":false,\"require_measured_boot\":false},"
    "\"adopt\":{\"automatic\":[]}}";

/* An administrator's call whose answer has nothing that is asked for here. */
static enum st_code
call(struct town *town, const char *method, const ProtobufCMessage *request,
     const ProtobufCMessageDescriptor *out)
{
    ProtobufCMessage *answer;
    struct st_err err = {0};
    enum st_code code = town_call(town->admins, method, request, out, &answer, &err);
    if (!code)
        town_answer_free(answer);
    return code;
}

static enum st_code
open_window(struct town *town, uint64_t seconds, char **node_ids, size_t count)
{
    Api__OpenWindowRequest request = API__OPEN_WINDOW_REQUEST__INIT;
    request.seconds = seconds;
    request.node_ids = node_ids;
    request.n_node_ids = count;
    return call(town, "OpenWindow", &request.base,
                &api__open_window_response__descriptor);
}

static enum st_code
close_window(struct town *town)
{
    const Api__CloseWindowRequest request = API__CLOSE_WINDOW_REQUEST__INIT;
    return call(town, "CloseWindow", &request.base,
                &api__close_window_response__descriptor);
}

static enum st_code
approve(struct town *town, const struct machine *machine)
{
    Api__ApproveBootRequest request = API__APPROVE_BOOT_REQUEST__INIT;
    ProtobufCBinaryData pcrs[TPM_PCR_COUNT];
    for (size_t i = 0; i < TPM_PCR_COUNT; i++)
        pcrs[i] = (ProtobufCBinaryData){SHA256_LEN, (uint8_t *)machine->pcrs.digest[i]};
    request.node_id = (char *)machine->id;
    request.pcrs = pcrs;
    request.n_pcrs = TPM_PCR_COUNT;
    return call(town, "ApproveBoot", &request.base,
                &api__approve_boot_response__descriptor);
}

/* A node, under a policy that knows its boot alone. */
static void
settle(struct town *town, struct machine *out)
{
    Api__SetPolicyRequest request = API__SET_POLICY_REQUEST__INIT;
    machine_make(out, FORGE_ECC);
    town_settle(town, out, false);
    request.text = (char *)strict;
    assert_code(
        call(town, "SetPolicy", &request.base, &api__set_policy_response__descriptor),
        ST_OK);
}

static void
boot(struct town *town, struct machine *machine, uint8_t image, enum st_code code)
{
    AUTO(answer_freep) Api__TPM2UnlockFlowResponse *answer = NULL;
    struct st_err err = {0};
    memset(machine->pcrs.digest[4], image, SHA256_LEN);
    assert_code(machine_unlock(machine, town->nodes, NULL, &answer, &err), code);
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
    return answer;
}

/* The one line of this kind that was decided so. */
static const Api__AuditLine *
only(const Api__ListAuditResponse *tail, const char *what, const char *decision)
{
    const Api__AuditLine *found = NULL;
    for (size_t i = 0; i < tail->n_lines; i++) {
        const Api__AuditLine *line = tail->lines[i];
        if (strcmp(line->what, what) != 0 || strcmp(line->decision, decision) != 0)
            continue;
        assert_null(found);
        found = line;
    }
    if (!found)
        fail_msg("no line about %s", what);
    return found;
}

/* Whose line it is: `admin` may be NULL, `machine` too. */
static void
line_is(const Api__AuditLine *line, const char *subject, const struct town_admin *admin,
        const struct machine *machine)
{
    uint8_t sha256[SHA256_LEN];
    char hex[SHA256_HEX_LEN + 1] = "";
    assert_string_equal(line->subject, subject);
    assert_true(strncmp(line->peer, "127.", 4) == 0 && strchr(line->peer, ':'));
    assert_int_equal(line->policy, 1);
    if (admin) {
        cert_fingerprint(admin->cert.der, admin->cert.len, sha256);
        sha256_hex(sha256, hex);
        hex[16] = 0;
    }
    assert_string_equal(line->admin, hex);
    assert_int_equal(line->ek_sha256.len, machine ? SHA256_LEN : 0);
    if (!machine)
        return;
    sha256_of(machine->ek_spki.bytes, machine->ek_spki.len, sha256);
    assert_memory_equal(line->ek_sha256.data, sha256, SHA256_LEN);
}

static void
a_window_and_what_came_through_it_are_told(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    settle(town, &machine);
    char *one[] = {machine.id}, *two[] = {machine.id, machine.id};
    assert_code(open_window(town, 3600, one, 1), ST_OK);
    boot(town, &machine, 0x62, ST_OK);
    boot(town, &machine, 0x62, ST_OK); /* it is good now, and no news */
    assert_code(open_window(town, 60, NULL, 0), ST_ALREADY_EXISTS);
    assert_code(close_window(town), ST_OK);
    assert_code(open_window(town, 7 * 24 * 3600, two, 2), ST_OK);
    TAIL *own = tail(town, machine.id);
    const Api__AuditLine *line = only(own, "open-window", "OK");
    line_is(line, machine.id, &town->admin, &machine);
    assert_string_equal(line->step, "3600s");
    /* Who opened it is who let the boot in. */
    line = only(own, "capture-boot", "OK");
    line_is(line, machine.id, &town->admin, &machine);
    assert_non_null(strstr(line->reason, "PCR 4"));
    TAIL *all = tail(town, "");
    line = only(all, "open-window", "ALREADY_EXISTS");
    line_is(line, "all", &town->admin, NULL);
    assert_string_equal(line->step, "60s");
    line_is(only(all, "close-window", "OK"), "", &town->admin, NULL);
    for (size_t i = all->n_lines; i-- > 0;)
        if (strcmp(all->lines[i]->what, "open-window") == 0) {
            line_is(all->lines[i], "2-nodes", &town->admin, NULL);
            assert_string_equal(all->lines[i]->step, "604800s");
            break;
        }
}

static void
an_unlock_tells_whether_the_boot_was_approved(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    settle(town, &machine);
    boot(town, &machine, 0x44, ST_OK);
    boot(town, &machine, 0x62, ST_PERMISSION_DENIED);
    TAIL *own = tail(town, machine.id);
    assert_string_equal(only(own, "unlock", "OK")->approved, "yes");
    assert_string_equal(only(own, "unlock", "PERMISSION_DENIED")->approved, "");
    assert_string_equal(only(own, "adopt", "OK")->approved, "");
}

static void
a_refused_boot_and_who_approves_it_are_told(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    settle(town, &machine);
    boot(town, &machine, 0x62, ST_PERMISSION_DENIED);
    {
        TAIL *own = tail(town, machine.id);
        const Api__AuditLine *kept = only(own, "refused-boot", "OK");
        line_is(kept, machine.id, NULL, &machine);
        assert_string_equal(kept->reason,
                            only(own, "unlock", "PERMISSION_DENIED")->reason);
    }
    boot(town, &machine, 0x62, ST_PERMISSION_DENIED); /* it is kept already */
    assert_code(approve(town, &machine), ST_OK);
    boot(town, &machine, 0x62, ST_OK);
    machine.pcrs.digest[4][0] ^= 1;
    assert_code(approve(town, &machine), ST_NOT_FOUND);
    TAIL *own = tail(town, machine.id);
    (void)only(own, "refused-boot", "OK");
    line_is(only(own, "approve-boot", "OK"), machine.id, &town->admin, &machine);
    line_is(only(own, "approve-boot", "NOT_FOUND"), machine.id, &town->admin, &machine);
}

static void
who_takes_a_set_away_or_renews_the_authority_is_told(void **state)
{
    struct town *town = *state;
    Api__RemoveCapturedSetRequest removal = API__REMOVE_CAPTURED_SET_REQUEST__INIT;
    Api__RenewAuthorityRequest renewal = API__RENEW_AUTHORITY_REQUEST__INIT;
    uint8_t none[SHA256_LEN];
    MACHINE machine;
    settle(town, &machine);
    memset(none, 0xab, sizeof(none));
    removal.sha256 = (ProtobufCBinaryData){sizeof(none), none};
    assert_code(call(town, "RemoveCapturedSet", &removal.base,
                     &api__remove_captured_set_response__descriptor),
                ST_NOT_FOUND);
    /* Compare and set: of no authority, where there is one. */
    assert_code(call(town, "RenewAuthority", &renewal.base,
                     &api__renew_authority_response__descriptor),
                ST_ABORTED);
    TAIL *all = tail(town, "");
    line_is(only(all, "remove-captured", "NOT_FOUND"), "abababababababababababababababab",
            &town->admin, NULL);
    line_is(only(all, "renew-authority", "ABORTED"), "", &town->admin, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TOWN_TEST(a_window_and_what_came_through_it_are_told),
        TOWN_TEST(an_unlock_tells_whether_the_boot_was_approved),
        TOWN_TEST(a_refused_boot_and_who_approves_it_are_told),
        TOWN_TEST(who_takes_a_set_away_or_renews_the_authority_is_told),
    };
    return cmocka_run_group_tests(tests, town_group_setup, town_group_teardown);
}
