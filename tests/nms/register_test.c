/* NewTPM2NodeRegister from outside: who becomes a node, and every way in which one does
 * not. */
#include "tests/nms/town.h"

#include "proto/scope.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

AUTO_DEFINE(Api__NewEnrolmentConfigResponse *, enrolment_freep, town_answer_free)
AUTO_DEFINE(Api__ListNodesResponse *, nodes_freep, town_answer_free)
#define MACHINE AUTO(machine_free) struct machine

static size_t
node_count(struct town *town)
{
    AUTO(nodes_freep) Api__ListNodesResponse *nodes = town_nodes(town);
    return nodes->n_nodes;
}

/* A stranger hears the code and one word. */
/* One enrolment that must end so; nothing is stored. */
static void
refused(struct town *town, struct machine *machine, machine_tamper tamper,
        enum st_code code, const char *word)
{
    AUTO(enrolment_freep)
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, "rack", 1);
    struct st_err err = {0};
    enum st_code got =
        machine_enrol(machine, town->nodes, enrolment->enrolment_config, tamper, &err);
    assert_int_equal(got, err.code);
    assert_told(&err, code, word);
    assert_int_equal(node_count(town), 0);
    assert_ok(town_remove_enrolment(town, "rack", &err));
}

static void
a_machine_becomes_a_node_of_either_kind(void **state)
{
    struct town *town = *state;
    for (int kind = FORGE_ECC; kind <= FORGE_RSA; kind++) {
        MACHINE machine;
        machine_make(&machine, (enum forge_kind)kind);
        town_settle(town, &machine, true);
        AUTO(nodes_freep) Api__ListNodesResponse *nodes = town_nodes(town);
        assert_int_equal(nodes->n_nodes, kind + 1);
    }
    town_restart(town);
    assert_int_equal(node_count(town), 2);
}

static void
what_is_listed_of_a_node_is_what_it_sent(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, true);
    AUTO(nodes_freep) Api__ListNodesResponse *nodes = town_nodes(town);
    const Api__Node *node = nodes->nodes[0];
    assert_string_equal(node->node_id, machine.id);
    assert_int_equal(node->state, API__NODE__STATE__UNININITALIZED);
    assert_int_equal(node->address.len, 4);
    assert_memory_equal(node->address.data, machine.ip, 4);
    assert_int_equal(node->id_cert.len, machine.id_cert.len);
    assert_memory_equal(node->id_cert.data, machine.id_cert.der, machine.id_cert.len);
    assert_int_equal(node->integrity_case, API__NODE__INTEGRITY_TPM2);
    assert_memory_equal(node->tpm2->ak_pub.data, machine.ak_public.bytes,
                        machine.ak_public.len);
    assert_memory_equal(node->tpm2->ek_pubkey.data, machine.ek_spki.bytes,
                        machine.ek_spki.len);
    assert_true(node->enrolled_at > 1600000000);
    assert_true(node->last_unlock_at == 0);
    assert_non_null(strstr(node->enrolment, "for-smalltown-"));
}

static void
a_client_of_the_original_contract_sends_no_proof_and_is_welcome(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    machine_make(&machine, FORGE_RSA);
    machine.proves_id = false;
    town_settle(town, &machine, true);
}

static void
the_same_node_again_is_told_ok_and_uses_nothing(void **state)
{
    struct town *town = *state;
    MACHINE machine, other;
    struct st_err err = {0};
    AUTO(enrolment_freep)
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, "rack", 1);
    const Api__EnrolmentConfig *config = enrolment->enrolment_config;
    machine_make(&machine, FORGE_ECC);
    machine_make(&other, FORGE_ECC);
    assert_ok(machine_enrol(&machine, town->nodes, config, NULL, &err));
    assert_ok(machine_enrol(&machine, town->nodes, config, NULL, &err));
    town_restart(town);
    assert_ok(machine_enrol(&machine, town->nodes, config, NULL, &err));
    assert_code(machine_enrol(&other, town->nodes, config, NULL, &err),
                ST_PERMISSION_DENIED);
    assert_int_equal(node_count(town), 1);
}

static TPMT_PUBLIC bad_ak;
static struct forge_bytes bad_bytes;

static void
send_bad_ak(struct machine *machine, Api__TPM2FlowRequest *request)
{
    (void)machine;
    if (request->stage_case != API__TPM2_FLOW_REQUEST__STAGE_REGISTER)
        return;
    request->register_->ak_public.data = bad_bytes.bytes;
    request->register_->ak_public.len = bad_bytes.len;
}

static void
refuse_ak(struct town *town)
{
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    bad_bytes = forge_public(&bad_ak);
    refused(town, &machine, send_bad_ak, ST_INVALID_ARGUMENT, "malformed");
    forge_bytes_free(&bad_bytes);
}

static void
N20_N21_an_ak_that_is_not_the_tpms_own_is_malformed(void **state)
{
    struct town *town = *state;
    const TPMA_OBJECT wrong[] = {TPMA_OBJECT_RESTRICTED, TPMA_OBJECT_FIXEDTPM,
                                 TPMA_OBJECT_FIXEDPARENT, TPMA_OBJECT_SENSITIVEDATAORIGIN,
                                 TPMA_OBJECT_DECRYPT};
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        bad_ak = forge_ak_public(machine.ak);
        bad_ak.objectAttributes ^= wrong[i];
        refuse_ak(town);
    }
    bad_ak = forge_ak_public(machine.ak);
    bad_ak.parameters.eccDetail.curveID = TPM2_ECC_NIST_P224;
    refuse_ak(town);
    bad_ak = forge_ak_public(machine.ak);
    bad_ak.nameAlg = TPM2_ALG_SHA1;
    refuse_ak(town);
}

static void
send_bad_ek(struct machine *machine, Api__TPM2FlowRequest *request)
{
    (void)machine;
    if (request->stage_case != API__TPM2_FLOW_REQUEST__STAGE_REGISTER)
        return;
    request->register_->ek_pubkey.data = bad_bytes.bytes;
    request->register_->ek_pubkey.len = bad_bytes.len;
}

static void
N22_an_ek_that_is_none_is_malformed_and_the_server_lives(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    bad_bytes = forge_copy("garbage", 7);
    refused(town, &machine, send_bad_ek, ST_INVALID_ARGUMENT, "malformed");
    forge_bytes_free(&bad_bytes);
    bad_bytes = forge_copy("", 0);
    refused(town, &machine, send_bad_ek, ST_INVALID_ARGUMENT, "malformed");
    forge_bytes_free(&bad_bytes);
    uint8_t *large = calloc(1, 200 * 1024);
    assert_non_null(large);
    bad_bytes = forge_copy(large, 200 * 1024);
    free(large);
    refused(town, &machine, send_bad_ek, ST_INVALID_ARGUMENT, "malformed");
    forge_bytes_free(&bad_bytes);
}

static struct cert foreign_cert;

static void
send_foreign_ek_cert(struct machine *machine, Api__TPM2FlowRequest *request)
{
    (void)machine;
    if (request->stage_case != API__TPM2_FLOW_REQUEST__STAGE_REGISTER)
        return;
    request->register_->ek_cert.data = foreign_cert.der;
    request->register_->ek_cert.len = foreign_cert.len;
}

static void
N23_a_certificate_of_another_key_is_refused(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    foreign_cert = machine.id_cert;
    refused(town, &machine, send_foreign_ek_cert, ST_PERMISSION_DENIED, "refused");
    foreign_cert.len = 40;
    refused(town, &machine, send_foreign_ek_cert, ST_INVALID_ARGUMENT, "malformed");
}

static void
spoil_solution(struct machine *machine, Api__TPM2FlowRequest *request)
{
    (void)machine;
    if (request->stage_case == API__TPM2_FLOW_REQUEST__STAGE_ATTEST_RESPONSE)
        request->attest_response->ak_challenge_solution.data[31] ^= 1;
}

static void
shorten_solution(struct machine *machine, Api__TPM2FlowRequest *request)
{
    (void)machine;
    if (request->stage_case == API__TPM2_FLOW_REQUEST__STAGE_ATTEST_RESPONSE)
        request->attest_response->ak_challenge_solution.len = 31;
}

static void
drop_solution(struct machine *machine, Api__TPM2FlowRequest *request)
{
    (void)machine;
    if (request->stage_case == API__TPM2_FLOW_REQUEST__STAGE_ATTEST_RESPONSE)
        request->attest_response->ak_challenge_solution.len = 0;
}

static uint8_t zeroes[4096];

static void
stretch_solution(struct machine *machine, Api__TPM2FlowRequest *request)
{
    (void)machine;
    if (request->stage_case != API__TPM2_FLOW_REQUEST__STAGE_ATTEST_RESPONSE)
        return;
    request->attest_response->ak_challenge_solution.data = zeroes;
    request->attest_response->ak_challenge_solution.len = sizeof(zeroes);
}

static struct secret stale_solution;

static void
send_stale_solution(struct machine *machine, Api__TPM2FlowRequest *request)
{
    (void)machine;
    if (request->stage_case == API__TPM2_FLOW_REQUEST__STAGE_ATTEST_RESPONSE)
        request->attest_response->ak_challenge_solution.data = stale_solution.bytes;
}

static void
N26_a_challenge_that_was_not_solved_is_refused(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    refused(town, &machine, spoil_solution, ST_PERMISSION_DENIED, "refused");
    refused(town, &machine, shorten_solution, ST_PERMISSION_DENIED, "refused");
    refused(town, &machine, drop_solution, ST_PERMISSION_DENIED, "refused");
    refused(town, &machine, stretch_solution, ST_PERMISSION_DENIED, "refused");
    stale_solution = machine.solution; /* good, but of an earlier stream */
    refused(town, &machine, send_stale_solution, ST_PERMISSION_DENIED, "refused");
}

static struct machine *accomplice;

/* The AK is another TPM's, and its owner helps with quotes; the EK is ours. */
static void
send_accomplices_ak(struct machine *machine, Api__TPM2FlowRequest *request)
{
    (void)machine;
    if (request->stage_case == API__TPM2_FLOW_REQUEST__STAGE_REGISTER) {
        request->register_->ak_public.data = accomplice->ak_public.bytes;
        request->register_->ak_public.len = accomplice->ak_public.len;
    }
}

static void
N27_a_challenge_for_the_ak_of_another_tpm_does_not_open(void **state)
{
    struct town *town = *state;
    MACHINE machine, other;
    struct st_err err = {0};
    machine_make(&machine, FORGE_ECC);
    machine_make(&other, FORGE_ECC);
    machine_measure(&other, &town->nms->masters_cert);
    accomplice = &other;
    AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
    ProtobufCMessage *message;
    assert_ok(rpc_stream_open(town->nodes, ENROL_PATH, 10000, &stream, &err));
    assert_ok(machine_send_register(&machine, stream, send_accomplices_ak, &err));
    assert_ok(
        rpc_stream_receive(stream, &api__tpm2_flow_response__descriptor, &message, &err));
    const Api__TPM2AttestRequest *request =
        ((Api__TPM2FlowResponse *)message)->attest_request;
    /* A TPM whose AK has our own name opens nothing ... */
    memcpy(other.nonce, request->quote_nonce.data, NONCE_LEN);
    protobuf_c_message_free_unpacked(message, &secret_allocator);
    /* ... so all that is left is to guess. */
    assert_ok(secret_random(&other.solution, 32, &err));
    assert_ok(machine_send_proof(&other, stream, NULL, &err));
    assert_code(rpc_stream_finish(stream, &err), ST_PERMISSION_DENIED);
    assert_told(&err, ST_PERMISSION_DENIED, "refused");
    assert_int_equal(node_count(town), 0);
}

static void
send_accomplices_quote(struct machine *machine, Api__TPM2FlowRequest *request)
{
    if (request->stage_case != API__TPM2_FLOW_REQUEST__STAGE_ATTEST_RESPONSE)
        return;
    machine_quote(accomplice, machine->nonce);
    request->attest_response->quote.data = accomplice->quote.bytes;
    request->attest_response->quote.len = accomplice->quote.len;
    request->attest_response->quote_signature.data = accomplice->signature.bytes;
    request->attest_response->quote_signature.len = accomplice->signature.len;
}

static void
N28_a_quote_by_another_ak_than_the_challenged_one_is_refused(void **state)
{
    struct town *town = *state;
    MACHINE machine, other;
    machine_make(&machine, FORGE_ECC);
    machine_make(&other, FORGE_ECC);
    accomplice = &other;
    refused(town, &machine, send_accomplices_quote, ST_PERMISSION_DENIED, "refused");
}

static void
send_old_quote(struct machine *machine, Api__TPM2FlowRequest *request)
{
    if (request->stage_case != API__TPM2_FLOW_REQUEST__STAGE_ATTEST_RESPONSE)
        return;
    machine->nonce[0] ^= 1;
    machine_quote(machine, machine->nonce);
    machine->nonce[0] ^= 1;
    request->attest_response->quote.data = machine->quote.bytes;
    request->attest_response->quote_signature.data = machine->signature.bytes;
    request->attest_response->quote_signature.len = machine->signature.len;
}

static void
change_pcr(struct machine *machine, Api__TPM2FlowRequest *request)
{
    if (request->stage_case == API__TPM2_FLOW_REQUEST__STAGE_ATTEST_RESPONSE)
        machine->pcr_items[4].data = zeroes;
    (void)request;
}

static void
N04_N10_a_quote_of_another_stream_or_other_pcrs_is_refused(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    refused(town, &machine, send_old_quote, ST_PERMISSION_DENIED, "refused");
    refused(town, &machine, change_pcr, ST_PERMISSION_DENIED, "refused");
}

/* A thief with an enrolment's secret, who has a good machine quote for him and gives it
 * an id key of his own. */
static void
N48_a_quote_that_was_relayed_enrols_nobody(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    struct st_err err = {0};
    AUTO(enrolment_freep)
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, "rack", 1);
    const Api__EnrolmentConfig *config = enrolment->enrolment_config;
    machine_make(&machine, FORGE_ECC);
    machine_measure(&machine, &town->admin.cert); /* the thief's */
    assert_code(machine_enrol(&machine, town->nodes, config, NULL, &err),
                ST_PERMISSION_DENIED);
    assert_told(&err, ST_PERMISSION_DENIED, "refused");
    machine_measure(&machine, &town->nms->masters_cert);
    machine_cap(&machine); /* in a boot that has had its key */
    assert_code(machine_enrol(&machine, town->nodes, config, NULL, &err),
                ST_PERMISSION_DENIED);
    assert_int_equal(node_count(town), 0);
    machine_measure(&machine, &town->nms->masters_cert);
    assert_ok(machine_enrol(&machine, town->nodes, config, NULL, &err));
}

static size_t pcr_count, pcr_len;

static void
split_pcrs(struct machine *machine, Api__TPM2FlowRequest *request)
{
    if (request->stage_case != API__TPM2_FLOW_REQUEST__STAGE_ATTEST_RESPONSE)
        return;
    machine->pcr_items[16] = machine->pcr_items[0];
    machine->pcr_items[5].len = pcr_len;
    machine->pcr_items[5].data = zeroes;
    request->attest_response->n_pcrs = pcr_count;
}

static void
N09_other_than_16_pcrs_of_32_bytes_are_malformed(void **state)
{
    struct town *town = *state;
    const size_t cases[][2] = {{15, 32}, {17, 32}, {0, 32},  {16, 0},
                               {16, 31}, {16, 33}, {16, 512}};
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    memset(machine.pcrs.digest[5], 0, SHA256_LEN);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        pcr_count = cases[i][0];
        pcr_len = cases[i][1];
        refused(town, &machine, split_pcrs, ST_INVALID_ARGUMENT, "malformed");
    }
}

static void
spoil_id_proof(struct machine *machine, Api__TPM2FlowRequest *request)
{
    (void)machine;
    if (request->stage_case == API__TPM2_FLOW_REQUEST__STAGE_NEW_NODE_INFO)
        request->new_node_info->id_proof.data[5] ^= 1;
}

static void
shorten_id_proof(struct machine *machine, Api__TPM2FlowRequest *request)
{
    (void)machine;
    if (request->stage_case == API__TPM2_FLOW_REQUEST__STAGE_NEW_NODE_INFO)
        request->new_node_info->id_proof.len = 63;
}

static struct cert stolen_cert;

static void
send_stolen_id_cert(struct machine *machine, Api__TPM2FlowRequest *request)
{
    (void)machine;
    if (request->stage_case != API__TPM2_FLOW_REQUEST__STAGE_NEW_NODE_INFO)
        return;
    request->new_node_info->id_cert.data = stolen_cert.der;
    request->new_node_info->id_cert.len = stolen_cert.len;
}

static size_t field_len;

static void
stretch_ip(struct machine *machine, Api__TPM2FlowRequest *request)
{
    (void)machine;
    if (request->stage_case != API__TPM2_FLOW_REQUEST__STAGE_NEW_NODE_INFO)
        return;
    request->new_node_info->ip.data = zeroes;
    request->new_node_info->ip.len = field_len;
}

static void
stretch_global_key(struct machine *machine, Api__TPM2FlowRequest *request)
{
    if (request->stage_case != API__TPM2_FLOW_REQUEST__STAGE_NEW_NODE_INFO)
        return;
    request->new_node_info->global_unlock_key.data = machine->global_key.bytes;
    request->new_node_info->global_unlock_key.len = field_len;
}

static void
zero_global_key(struct machine *machine, Api__TPM2FlowRequest *request)
{
    (void)machine;
    if (request->stage_case == API__TPM2_FLOW_REQUEST__STAGE_NEW_NODE_INFO)
        request->new_node_info->global_unlock_key.data = zeroes;
}

/* The secret is wrong as well: what is malformed is said before a record is looked at. */
static void
stretch_global_key_of_a_stranger(struct machine *machine, Api__TPM2FlowRequest *request)
{
    stretch_global_key(machine, request);
    if (request->stage_case == API__TPM2_FLOW_REQUEST__STAGE_NEW_NODE_INFO)
        request->new_node_info->enrolment_config->enrolment_secret.data = zeroes;
}

static void
spoil_id_cert(struct machine *machine, Api__TPM2FlowRequest *request)
{
    (void)machine;
    if (request->stage_case == API__TPM2_FLOW_REQUEST__STAGE_NEW_NODE_INFO)
        request->new_node_info->id_cert.data[request->new_node_info->id_cert.len - 1] ^=
            1;
}

static void
drop_config(struct machine *machine, Api__TPM2FlowRequest *request)
{
    (void)machine;
    if (request->stage_case == API__TPM2_FLOW_REQUEST__STAGE_NEW_NODE_INFO)
        request->new_node_info->enrolment_config = NULL;
}

static void
N30_a_node_that_says_strange_things_of_itself_is_refused(void **state)
{
    struct town *town = *state;
    MACHINE machine, victim;
    machine_make(&machine, FORGE_ECC);
    machine_make(&victim, FORGE_ECC);
    refused(town, &machine, spoil_id_proof, ST_PERMISSION_DENIED, "refused");
    refused(town, &machine, shorten_id_proof, ST_PERMISSION_DENIED, "refused");
    stolen_cert = victim.id_cert;
    refused(town, &machine, send_stolen_id_cert, ST_PERMISSION_DENIED, "refused");
    const size_t ips[] = {0, 3, 5, 9, 15, 17, 4096};
    for (size_t i = 0; i < sizeof(ips) / sizeof(*ips); i++) {
        field_len = ips[i];
        refused(town, &machine, stretch_ip, ST_INVALID_ARGUMENT, "malformed");
    }
    const size_t keys[] = {0, 31, 33, 64};
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        field_len = keys[i];
        refused(town, &machine, stretch_global_key, ST_INVALID_ARGUMENT, "malformed");
        refused(town, &machine, stretch_global_key_of_a_stranger, ST_INVALID_ARGUMENT,
                "malformed");
    }
    refused(town, &machine, zero_global_key, ST_INVALID_ARGUMENT, "malformed");
    refused(town, &machine, drop_config, ST_INVALID_ARGUMENT, "malformed");
    refused(town, &machine, spoil_id_cert, ST_INVALID_ARGUMENT, "malformed");
}

static const char *bad_id;

static void
call_itself(struct machine *machine, Api__TPM2FlowRequest *request)
{
    (void)machine;
    if (request->stage_case == API__TPM2_FLOW_REQUEST__STAGE_NEW_NODE_INFO)
        request->new_node_info->enrolment_config->node_id = (char *)bad_id;
}

static void
N35_a_name_that_it_did_not_earn_is_malformed(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    char *long_id = malloc(10001);
    assert_non_null(long_id);
    memset(long_id, 'a', 10000);
    long_id[10000] = 0;
    const char *bad[] = {"../../etc", "a\nenrol node=x decision=OK", "\xc3\x28", long_id,
                         "smalltown-00000000000000000000000000000000"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        bad_id = bad[i];
        MACHINE again;
        machine_make(&again, FORGE_ECC);
        AUTO(enrolment_freep)
        Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, "rack", 1);
        struct st_err err = {0};
        assert_code(machine_enrol(&again, town->nodes, enrolment->enrolment_config,
                                  call_itself, &err),
                    ST_INVALID_ARGUMENT);
        assert_ok(town_remove_enrolment(town, "rack", &err));
    }
    free(long_id);
    bad_id = machine.id; /* its own is no lie */
    AUTO(enrolment_freep)
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, "rack", 1);
    struct st_err err = {0};
    assert_ok(machine_enrol(&machine, town->nodes, enrolment->enrolment_config,
                            call_itself, &err));
}

/* The config as given, with another secret or cluster. */
static void
enrol_with(struct town *town, struct machine *machine, const Api__EnrolmentConfig *config,
           const void *secret, size_t secret_len, enum st_code code)
{
    Api__EnrolmentConfig copy = *config;
    struct st_err err = {0};
    copy.enrolment_secret.data = (uint8_t *)secret;
    copy.enrolment_secret.len = secret_len;
    assert_code(machine_enrol(machine, town->nodes, &copy, NULL, &err), code);
    if (code)
        assert_told(&err, code, "refused");
}

static void
N31_every_bad_secret_gets_the_same_answer(void **state)
{
    struct town *town = *state;
    MACHINE first, second;
    struct st_err err = {0};
    machine_make(&first, FORGE_ECC);
    machine_make(&second, FORGE_ECC);
    AUTO(enrolment_freep)
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, "rack", 1);
    Api__EnrolmentConfig *config = enrolment->enrolment_config;
    uint8_t wrong[64] = {0};
    memcpy(wrong, config->enrolment_secret.data, 32);
    enrol_with(town, &first, config, "", 0, ST_PERMISSION_DENIED);
    enrol_with(town, &first, config, wrong, 31, ST_PERMISSION_DENIED);
    enrol_with(town, &first, config, wrong, 33, ST_PERMISSION_DENIED);
    enrol_with(town, &first, config, zeroes, 4096, ST_PERMISSION_DENIED);
    wrong[0] ^= 1;
    enrol_with(town, &first, config, wrong, 32, ST_PERMISSION_DENIED);
    wrong[0] ^= 1;

    Api__EnrolmentConfig elsewhere = *config; /* the right secret for another cluster */
    elsewhere.masters_cert.data = first.id_cert.der;
    elsewhere.masters_cert.len = first.id_cert.len;
    enrol_with(town, &first, &elsewhere, wrong, 32, ST_PERMISSION_DENIED);
    elsewhere.masters_cert.len = 0; /* not said */
    enrol_with(town, &first, &elsewhere, wrong, 32, ST_OK);
    enrol_with(town, &second, config, wrong, 32, ST_PERMISSION_DENIED); /* used up */

    AUTO(enrolment_freep)
    Api__NewEnrolmentConfigResponse *revoked = town_enrolment(town, "revoked", 5);
    assert_ok(town_remove_enrolment(town, "revoked", &err));
    config = revoked->enrolment_config;
    enrol_with(town, &second, config, config->enrolment_secret.data, 32,
               ST_PERMISSION_DENIED);
    assert_int_equal(node_count(town), 1);
}

static void
N31_an_enrolment_ends_with_its_time(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    Api__NewEnrolmentConfigRequest request = API__NEW_ENROLMENT_CONFIG_REQUEST__INIT;
    AUTO(enrolment_freep) Api__NewEnrolmentConfigResponse *enrolment = NULL;
    struct st_err err = {0};
    machine_make(&machine, FORGE_ECC);
    request.name = (char *)"short";
    request.expires_in_s = 1;
    assert_ok(town_call(town->admins, "NewEnrolmentConfig", &request.base,
                        &api__new_enrolment_config_response__descriptor, &enrolment,
                        &err));
    while (nms_now() < enrolment->enrolment_config->expires_at)
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    enrol_with(town, &machine, enrolment->enrolment_config,
               enrolment->enrolment_config->enrolment_secret.data, 32,
               ST_PERMISSION_DENIED);
}

enum turn {
    SEND_REGISTER,
    SEND_PROOF,
    SEND_INFO,
    SEND_NOTHING, /* an unset oneof */
    CLOSE,
};

static enum st_code
take_turn(struct machine *machine, struct rpc_stream *stream, enum turn turn,
          const Api__EnrolmentConfig *config, struct st_err *err)
{
    const Api__TPM2FlowRequest nothing = API__TPM2_FLOW_REQUEST__INIT;
    switch (turn) {
    case SEND_REGISTER:
        return machine_send_register(machine, stream, NULL, err);
    case SEND_PROOF:
        return machine_send_proof(machine, stream, NULL, err);
    case SEND_INFO:
        return machine_send_info(machine, stream, config, NULL, err);
    case SEND_NOTHING:
        return rpc_stream_send(stream, &nothing.base, err);
    case CLOSE:
        break;
    }
    return ST_OK;
}

static void
turns_refused(struct town *town, const enum turn turns[5],
              const Api__EnrolmentConfig *config)
{
    MACHINE machine;
    AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
    struct st_err err = {0};
    machine_make(&machine, FORGE_ECC);
    machine_measure(&machine, &town->nms->masters_cert);
    assert_ok(rpc_stream_open(town->nodes, ENROL_PATH, 10000, &stream, &err));
    enum st_code code = ST_OK;
    for (size_t i = 0; i < 5 && turns[i] != CLOSE && !code; i++) {
        code = take_turn(&machine, stream, turns[i], config, &err);
        if (!code && i == 0 && turns[i] == SEND_REGISTER)
            code = machine_take_challenge(&machine, stream, &err);
    }
    if (!code)
        code = rpc_stream_finish(stream, &err);
    assert_code(code, ST_INVALID_ARGUMENT);
    assert_told(&err, ST_INVALID_ARGUMENT, "malformed");
}

static void
N33_stages_out_of_turn_or_left_out_end_the_stream(void **state)
{
    struct town *town = *state;
    AUTO(enrolment_freep)
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, "rack", 100);
    const enum turn cases[][5] = {
        {CLOSE},
        {SEND_REGISTER, CLOSE},
        {SEND_REGISTER, SEND_PROOF, CLOSE},
        {SEND_NOTHING, CLOSE},
        {SEND_REGISTER, SEND_NOTHING, CLOSE},
        {SEND_REGISTER, SEND_PROOF, SEND_NOTHING, CLOSE},
        {SEND_PROOF, CLOSE},
        {SEND_INFO, CLOSE},
        {SEND_REGISTER, SEND_INFO, CLOSE},
        {SEND_REGISTER, SEND_REGISTER, CLOSE},
        {SEND_REGISTER, SEND_PROOF, SEND_PROOF, SEND_INFO, CLOSE},
        {SEND_REGISTER, SEND_PROOF, SEND_REGISTER, SEND_INFO, CLOSE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        turns_refused(town, cases[i], enrolment->enrolment_config);
    assert_int_equal(node_count(town), 0);
}

static void
N33_a_client_that_goes_away_leaves_nothing_behind(void **state)
{
    struct town *town = *state;
    AUTO(enrolment_freep)
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, "rack", 100);
    const enum turn turns[] = {SEND_REGISTER, SEND_PROOF, CLOSE};
    struct st_err err = {0};
    for (size_t count = 0; count < 3; count++) {
        MACHINE machine;
        AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
        machine_make(&machine, FORGE_ECC);
        machine_measure(&machine, &town->nms->masters_cert);
        assert_ok(rpc_stream_open(town->nodes, ENROL_PATH, 10000, &stream, &err));
        for (size_t i = 0; i < count; i++) {
            assert_ok(
                take_turn(&machine, stream, turns[i], enrolment->enrolment_config, &err));
            if (i == 0)
                assert_ok(machine_take_challenge(&machine, stream, &err));
        }
    }
    assert_int_equal(node_count(town), 0);
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, true);
}

struct racer {
    pthread_t thread;
    struct town *town;
    struct machine machine;
    const Api__EnrolmentConfig *config;
    enum st_code code;
};

static void *
race(void *arg)
{
    struct racer *racer = arg;
    struct st_err err = {0};
    struct rpc_channel *channel = town_node_channel(racer->town);
    racer->code = machine_enrol(&racer->machine, channel, racer->config, NULL, &err);
    rpc_channel_close(channel);
    return NULL;
}

/* One TPM that wants to be 64 nodes: the same EK, 64 ids. */
static void
N29_of_64_at_once_with_one_ek_exactly_one_becomes_a_node(void **state)
{
    enum {
        RACERS = 64
    };
    struct town *town = *state;
    AUTO(enrolment_freep)
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, "rack", RACERS);
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    struct racer *racers = calloc(RACERS, sizeof(*racers));
    assert_non_null(racers);
    for (int i = 0; i < RACERS; i++) {
        racers[i].town = town;
        racers[i].machine = machine; /* lends EK and AK */
        racers[i].config = enrolment->enrolment_config;
        machine_rename(&racers[i].machine);
    }
    for (int i = 0; i < RACERS; i++)
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    int won = 0, lost = 0;
    for (int i = 0; i < RACERS; i++) {
        pthread_join(racers[i].thread, NULL);
        won += racers[i].code == ST_OK;
        lost += racers[i].code == ST_ALREADY_EXISTS;
        forge_bytes_free(&racers[i].machine.quote);
        forge_bytes_free(&racers[i].machine.signature);
    }
    free(racers);
    assert_int_equal(won, 1);
    assert_int_equal(lost, RACERS - 1);
    assert_int_equal(node_count(town), 1);
}

static void
N29_the_tpm_of_a_node_cannot_be_another_node(void **state)
{
    struct town *town = *state;
    MACHINE machine, other;
    struct st_err err = {0};
    AUTO(enrolment_freep)
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, "rack", 10);
    const Api__EnrolmentConfig *config = enrolment->enrolment_config;
    machine_make(&machine, FORGE_ECC);
    machine_make(&other, FORGE_ECC);
    assert_ok(machine_enrol(&machine, town->nodes, config, NULL, &err));
    /* The id of a node with another TPM. */
    other.id_seed = machine.id_seed;
    other.id_cert = machine.id_cert;
    assert_code(machine_enrol(&other, town->nodes, config, NULL, &err),
                ST_ALREADY_EXISTS);
    assert_told(&err, ST_ALREADY_EXISTS, "exists");
    /* The same node with another half: it lost its disk, and must be removed first. */
    machine.global_key.bytes[0] ^= 1;
    assert_code(machine_enrol(&machine, town->nodes, config, NULL, &err),
                ST_ALREADY_EXISTS);
    machine_rename(&machine);
    assert_code(machine_enrol(&machine, town->nodes, config, NULL, &err),
                ST_ALREADY_EXISTS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TOWN_TEST(a_machine_becomes_a_node_of_either_kind),
        TOWN_TEST(what_is_listed_of_a_node_is_what_it_sent),
        TOWN_TEST(a_client_of_the_original_contract_sends_no_proof_and_is_welcome),
        TOWN_TEST(the_same_node_again_is_told_ok_and_uses_nothing),
        TOWN_TEST(N20_N21_an_ak_that_is_not_the_tpms_own_is_malformed),
        TOWN_TEST(N22_an_ek_that_is_none_is_malformed_and_the_server_lives),
        TOWN_TEST(N23_a_certificate_of_another_key_is_refused),
        TOWN_TEST(N26_a_challenge_that_was_not_solved_is_refused),
        TOWN_TEST(N27_a_challenge_for_the_ak_of_another_tpm_does_not_open),
        TOWN_TEST(N28_a_quote_by_another_ak_than_the_challenged_one_is_refused),
        TOWN_TEST(N04_N10_a_quote_of_another_stream_or_other_pcrs_is_refused),
        TOWN_TEST(N48_a_quote_that_was_relayed_enrols_nobody),
        TOWN_TEST(N09_other_than_16_pcrs_of_32_bytes_are_malformed),
        TOWN_TEST(N29_of_64_at_once_with_one_ek_exactly_one_becomes_a_node),
        TOWN_TEST(N29_the_tpm_of_a_node_cannot_be_another_node),
        TOWN_TEST(N30_a_node_that_says_strange_things_of_itself_is_refused),
        TOWN_TEST(N31_every_bad_secret_gets_the_same_answer),
        TOWN_TEST(N31_an_enrolment_ends_with_its_time),
        TOWN_TEST(N33_stages_out_of_turn_or_left_out_end_the_stream),
        TOWN_TEST(N33_a_client_that_goes_away_leaves_nothing_behind),
        TOWN_TEST(N35_a_name_that_it_did_not_earn_is_malformed),
    };
    return cmocka_run_group_tests(tests, town_group_setup, town_group_teardown);
}
