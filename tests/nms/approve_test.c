/* Which boots a master approves beside the key, and in whose name. */
#include "tests/nms/town.h"

#include "proto/scope.h"
#include "tpm/approval.h"
#include "tpm/measure.h"

#include <stdio.h>
#include <string.h>
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/ecc.h>

AUTO_DEFINE(Api__TPM2UnlockFlowResponse *, answer_freep, machine_answer_free)
AUTO_DEFINE(Api__RenewAuthorityResponse *, renewed_freep, town_answer_free)
#define MACHINE AUTO(machine_free) struct machine

/* --- between proof and release --------------------------------------------------------
 */

void __real_replica_barrier(struct replica *replica, uint32_t timeout_ms,
                            replica_done done, void *arg);
void __wrap_replica_barrier(struct replica *replica, uint32_t timeout_ms,
                            replica_done done, void *arg);

void __real_replica_propose(struct replica *replica, const void *command, size_t len,
                            uint32_t timeout_ms, replica_done done, void *arg);
void __wrap_replica_propose(struct replica *replica, const void *command, size_t len,
                            uint32_t timeout_ms, replica_done done, void *arg);

/* Happens once, when the next unlock has been proved. */
static void (*meanwhile)(struct town *town);
static struct town *meanwhile_town;

static void
let_it_happen(void)
{
    void (*now)(struct town *) = meanwhile;
    meanwhile = NULL;
    if (now)
        now(meanwhile_town);
}

void
__wrap_replica_barrier(struct replica *replica, uint32_t timeout_ms, replica_done done,
                       void *arg)
{
    let_it_happen();
    __real_replica_barrier(replica, timeout_ms, done, arg);
}

void
__wrap_replica_propose(struct replica *replica, const void *command, size_t len,
                       uint32_t timeout_ms, replica_done done, void *arg)
{
    let_it_happen();
    __real_replica_propose(replica, command, len, timeout_ms, done, arg);
}

/* --- a machine that boots --------------------------------------------------------------
 */

static void
boot(struct town *town, struct machine *machine, uint8_t image)
{
    for (int pcr = 0; pcr < TPM_PCR_COUNT; pcr++)
        memset(machine->pcrs.digest[pcr], pcr + 1, SHA256_LEN);
    memset(machine->pcrs.digest[4], image, SHA256_LEN);
    machine_measure(machine, &town->nms->masters_cert);
}

static void
settle(struct town *town, struct machine *machine)
{
    machine_make(machine, FORGE_ECC);
    town_settle(town, machine, false);
    boot(town, machine, 0x44);
}

/* --- the policy ------------------------------------------------------------------------
 */

static uint64_t version;

/* One set for `nodes` in which PCR `pcr` is 32 times `value`, and PCR 1 as it is; or
 * none. */
static void
set_policy(struct town *town, const char *nodes, unsigned pcr, uint8_t value)
{
    char set[500] = "", text[900], hex[SHA256_LEN * 2 + 1], one[SHA256_LEN * 2 + 1];
    Api__SetPolicyRequest request = API__SET_POLICY_REQUEST__INIT;
    Api__SetPolicyResponse *answer;
    struct st_err err = {0};
    for (int i = 0; i < SHA256_LEN; i++)
        sprintf(hex + 2 * i, "%02x", value), sprintf(one + 2 * i, "02");
    if (nodes)
        snprintf(set, sizeof(set),
                 "{\"name\":\"s\",\"nodes\":[\"%s\"],\"values\":{\"1\":[\"%s\"],"
                 "\"%u\":[\"%s\"]}}",
                 nodes, one, pcr, hex);
    snprintf(text, sizeof(text),
             "{\"schema\":1,\"ek\":{\"require\":\"none\",\"listed\":[]},\"pcrs\":"
             "{\"sets\":[%s],\"require_set\":false,\"require_measured_boot\":false},"
             "\"adopt\":{\"automatic\":[]}}",
             set);
    request.text = text;
    request.expected_version = version;
    assert_ok(town_call(town->admins, "SetPolicy", &request.base,
                        &api__set_policy_response__descriptor, &answer, &err));
    version = answer->version;
    town_answer_free(answer);
}

static int
set_up(void **state)
{
    version = 0;
    return town_setup(state);
}

/* --- what comes back -------------------------------------------------------------------
 */

static Api__TPM2UnlockFlowResponse *
unlock(struct town *town, struct machine *machine)
{
    Api__TPM2UnlockFlowResponse *answer = NULL;
    struct st_err err = {0};
    assert_ok(machine_unlock(machine, town->nodes, NULL, &answer, &err));
    assert_int_equal(answer->unlock_response->global_unlock_key.len, UNLOCK_KEY_LEN);
    return answer;
}

static void
get_authority(struct town *town, uint8_t out[TPM_AUTHORITY_LEN])
{
    const Api__GetStatusRequest request = API__GET_STATUS_REQUEST__INIT;
    Api__GetStatusResponse *answer;
    struct st_err err = {0};
    assert_ok(town_call(town->admins, "GetStatus", &request.base,
                        &api__get_status_response__descriptor, &answer, &err));
    assert_int_equal(answer->seal_authority.len, TPM_AUTHORITY_LEN);
    memcpy(out, answer->seal_authority.data, TPM_AUTHORITY_LEN);
    town_answer_free(answer);
}

static bool
is_signed(const Api__SealApproval *approval, const char *node_id)
{
    struct tpm_authority authority;
    struct st_err err = {0};
    uint8_t digest[SHA256_LEN], der[80];
    word32 der_len = sizeof(der);
    ecc_key key;
    int good = 0;
    assert_ok(tpm_authority_for(approval->authority.data, node_id, &authority, &err));
    assert_ok(tpm_approval_digest(approval->policy.data, authority.ref, digest, &err));
    assert_int_equal(wc_ecc_init(&key), 0);
    assert_int_equal(wc_ecc_import_unsigned(&key, authority.point, authority.point + 32,
                                            NULL, ECC_SECP256R1),
                     0);
    assert_int_equal(wc_ecc_rs_raw_to_sig(approval->signature.data, 32,
                                          approval->signature.data + 32, 32, der,
                                          &der_len),
                     0);
    assert_int_equal(wc_ecc_verify_hash(der, der_len, digest, SHA256_LEN, &good, &key),
                     0);
    wc_ecc_free(&key);
    return good == 1;
}

static void
assert_approved(const Api__SealApproval *approval, const struct machine *machine,
                const uint8_t authority[TPM_AUTHORITY_LEN])
{
    struct st_err err = {0};
    uint8_t policy[SHA256_LEN];
    assert_int_equal(approval->authority.len, TPM_AUTHORITY_LEN);
    assert_memory_equal(approval->authority.data, authority, TPM_AUTHORITY_LEN);
    assert_ok(tpm_policy_pcrs(&machine->pcrs, TPM_APPROVED_PCRS, policy, &err));
    assert_int_equal(approval->policy.len, SHA256_LEN);
    assert_memory_equal(approval->policy.data, policy, SHA256_LEN);
    assert_int_equal(approval->signature.len, TPM_APPROVAL_SIGNATURE_LEN);
    assert_true(is_signed(approval, machine->id));
}

static void
assert_approves(struct town *town, struct machine *machine)
{
    uint8_t authority[TPM_AUTHORITY_LEN];
    get_authority(town, authority);
    AUTO(answer_freep) Api__TPM2UnlockFlowResponse *answer = unlock(town, machine);
    const Api__TPM2UnlockResponse *response = answer->unlock_response;
    assert_int_equal(response->seal_authority.len, TPM_AUTHORITY_LEN);
    assert_memory_equal(response->seal_authority.data, authority, TPM_AUTHORITY_LEN);
    assert_int_equal(response->n_seal_approvals, 1);
    assert_approved(response->seal_approvals[0], machine, authority);
}

/* The key comes nevertheless. */
static void
assert_approves_nothing(struct town *town, struct machine *machine)
{
    AUTO(answer_freep) Api__TPM2UnlockFlowResponse *answer = unlock(town, machine);
    assert_int_equal(answer->unlock_response->seal_authority.len, TPM_AUTHORITY_LEN);
    assert_int_equal(answer->unlock_response->n_seal_approvals, 0);
}

/* --- the tests -------------------------------------------------------------------------
 */

static void
a_boot_in_a_set_is_approved_for_this_node_alone(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    settle(town, &machine);
    set_policy(town, "*", 4, 0x44);
    assert_approves(town, &machine);
    AUTO(answer_freep) Api__TPM2UnlockFlowResponse *answer = unlock(town, &machine);
    assert_false(is_signed(answer->unlock_response->seal_approvals[0],
                           "smalltown-00000000000000000000000000000001"));
    town_restart(town);
    assert_approves(town, &machine);
}

static void
N12_a_boot_that_no_set_vouches_for_is_not_approved(void **state)
{
    struct town *town = *state;
    MACHINE machine, other;
    settle(town, &machine);
    settle(town, &other);
    assert_approves_nothing(town, &machine);
    set_policy(town, other.id, 4, 0x44);
    assert_approves_nothing(town, &machine);
    assert_approves(town, &other);
    /* An image extends PCR 11 itself, firmware measures no image into PCR 0. */
    set_policy(town, "*", 11, 12);
    assert_approves_nothing(town, &machine);
    set_policy(town, "*", 0, 1);
    assert_approves_nothing(town, &machine);
    set_policy(town, "*", 7, 8);
    assert_approves(town, &machine);
    set_policy(town, NULL, 0, 0);
    assert_approves_nothing(town, &machine);
}

static void
N12_a_refused_boot_is_not_approved(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    settle(town, &machine);
    set_policy(town, "*", 4, 0x45);
    machine_is_refused(&machine, town->nodes);
}

static void
N48_only_a_measured_and_not_yet_capped_boot_is_given_anything(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    settle(town, &machine);
    set_policy(town, "*", 4, 0x44);
    machine_cap(&machine);
    machine_is_refused(&machine, town->nodes);
    memset(machine.pcrs.digest[MEASURE_PCR], 0, SHA256_LEN);
    machine_is_refused(&machine, town->nodes);
    machine_cap(&machine); /* of a boot in which nothing was measured */
    machine_is_refused(&machine, town->nodes);
    machine_measure(&machine, &town->admin.cert); /* of another cluster */
    machine_is_refused(&machine, town->nodes);
    machine_measure(&machine, &town->nms->masters_cert);
    assert_approves(town, &machine);
}

static void
vouch_no_more(struct town *town)
{
    set_policy(town, NULL, 0, 0);
}

static void
vouch_now(struct town *town)
{
    set_policy(town, "*", 4, 0x44);
}

static void
N12_the_policy_of_the_release_counts_not_that_of_the_proof(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    settle(town, &machine);
    set_policy(town, "*", 4, 0x44);
    meanwhile_town = town;
    meanwhile = vouch_no_more;
    assert_approves_nothing(town, &machine);
    assert_null(meanwhile);
    meanwhile = vouch_now;
    assert_approves(town, &machine);
}

static enum st_code
renew(struct town *town, const uint8_t *expected, size_t len,
      uint8_t out[TPM_AUTHORITY_LEN], struct st_err *err)
{
    Api__RenewAuthorityRequest request = API__RENEW_AUTHORITY_REQUEST__INIT;
    AUTO(renewed_freep) Api__RenewAuthorityResponse *answer = NULL;
    request.expected = (ProtobufCBinaryData){len, (uint8_t *)expected};
    enum st_code code =
        town_call(town->admins, "RenewAuthority", &request.base,
                  &api__renew_authority_response__descriptor, &answer, err);
    if (!code) {
        assert_int_equal(answer->authority.len, TPM_AUTHORITY_LEN);
        memcpy(out, answer->authority.data, TPM_AUTHORITY_LEN);
    }
    return code;
}

static void
a_renewed_authority_and_the_one_before_it_approve(void **state)
{
    struct town *town = *state;
    uint8_t first[TPM_AUTHORITY_LEN], second[TPM_AUTHORITY_LEN], third[TPM_AUTHORITY_LEN];
    struct st_err err = {0};
    MACHINE machine;
    settle(town, &machine);
    set_policy(town, "*", 4, 0x44);
    get_authority(town, first);
    assert_ok(renew(town, first, sizeof(first), second, &err));
    assert_memory_not_equal(first, second, sizeof(first));
    town_restart(town);
    {
        AUTO(answer_freep) Api__TPM2UnlockFlowResponse *answer = unlock(town, &machine);
        const Api__TPM2UnlockResponse *response = answer->unlock_response;
        assert_memory_equal(response->seal_authority.data, second, sizeof(second));
        assert_int_equal(response->n_seal_approvals, 2);
        assert_approved(response->seal_approvals[0], &machine, second);
        assert_approved(response->seal_approvals[1], &machine, first);
    }
    assert_ok(renew(town, second, sizeof(second), third, &err));
    AUTO(answer_freep) Api__TPM2UnlockFlowResponse *answer = unlock(town, &machine);
    assert_int_equal(answer->unlock_response->n_seal_approvals, 2);
    assert_approved(answer->unlock_response->seal_approvals[0], &machine, third);
    assert_approved(answer->unlock_response->seal_approvals[1], &machine, second);
}

static void
an_authority_is_renewed_by_who_knows_the_one_before(void **state)
{
    struct town *town = *state;
    uint8_t first[TPM_AUTHORITY_LEN], second[TPM_AUTHORITY_LEN], none[TPM_AUTHORITY_LEN];
    struct st_err err = {0};
    get_authority(town, first);
    assert_code(renew(town, NULL, 0, none, &err), ST_ABORTED);
    assert_code(renew(town, first, 63, none, &err), ST_INVALID_ARGUMENT);
    assert_ok(renew(town, first, sizeof(first), second, &err));
    assert_code(renew(town, first, sizeof(first), none, &err), ST_ABORTED);
    get_authority(town, none);
    assert_memory_equal(none, second, sizeof(second));
}

static uint8_t renewed_from[TPM_AUTHORITY_LEN];

static void
renew_now(struct town *town)
{
    struct st_err err = {0};
    uint8_t next[TPM_AUTHORITY_LEN];
    assert_ok(renew(town, renewed_from, sizeof(renewed_from), next, &err));
}

static void
an_authority_that_is_renewed_meanwhile_approves_too(void **state)
{
    struct town *town = *state;
    uint8_t second[TPM_AUTHORITY_LEN];
    MACHINE machine;
    settle(town, &machine);
    set_policy(town, "*", 4, 0x44);
    get_authority(town, renewed_from);
    meanwhile_town = town;
    meanwhile = renew_now;
    AUTO(answer_freep) Api__TPM2UnlockFlowResponse *answer = unlock(town, &machine);
    get_authority(town, second);
    assert_int_equal(answer->unlock_response->n_seal_approvals, 2);
    assert_approved(answer->unlock_response->seal_approvals[0], &machine, second);
    assert_approved(answer->unlock_response->seal_approvals[1], &machine, renewed_from);
}

static void
a_machine_that_enrols_is_told_the_authority(void **state)
{
    struct town *town = *state;
    uint8_t authority[TPM_AUTHORITY_LEN];
    AUTO(machine_free) struct machine machine;
    AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
    struct st_err err = {0};
    get_authority(town, authority);
    machine_make(&machine, FORGE_ECC);
    assert_ok(rpc_stream_open(town->nodes, ENROL_PATH, 10000, &stream, &err));
    assert_ok(machine_send_register(&machine, stream, NULL, &err));
    ProtobufCMessage *message;
    assert_ok(
        rpc_stream_receive(stream, &api__tpm2_flow_response__descriptor, &message, &err));
    const Api__TPM2AttestRequest *request =
        ((const Api__TPM2FlowResponse *)message)->attest_request;
    assert_int_equal(request->seal_authority.len, sizeof(authority));
    assert_memory_equal(request->seal_authority.data, authority, sizeof(authority));
    protobuf_c_message_free_unpacked(message, &secret_allocator);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, town_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_boot_in_a_set_is_approved_for_this_node_alone),
        TEST(N12_a_boot_that_no_set_vouches_for_is_not_approved),
        TEST(N12_a_refused_boot_is_not_approved),
        TEST(N48_only_a_measured_and_not_yet_capped_boot_is_given_anything),
        TEST(N12_the_policy_of_the_release_counts_not_that_of_the_proof),
        TEST(a_renewed_authority_and_the_one_before_it_approve),
        TEST(an_authority_is_renewed_by_who_knows_the_one_before),
        TEST(an_authority_that_is_renewed_meanwhile_approves_too),
        TEST(a_machine_that_enrols_is_told_the_authority),
    };
    return cmocka_run_group_tests(tests, town_group_setup, town_group_teardown);
}
