/* The policy from outside: what an administrator sets is what strangers and nodes meet.
 */
#include "tests/nms/town.h"
#include "tests/tpm/chain_forge.h"

#include "proto/scope.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

AUTO_DEFINE(Api__NewEnrolmentConfigResponse *, enrolment_freep, town_answer_free)
AUTO_DEFINE(Api__ListNodesResponse *, nodes_freep, town_answer_free)
AUTO_DEFINE(Api__TPM2UnlockFlowResponse *, answer_freep, machine_answer_free)
AUTO_DEFINE(Api__GetPolicyResponse *, policy_answer_freep, town_answer_free)
AUTO_DEFINE(Api__GetNodePcrsResponse *, pcrs_freep, town_answer_free)
AUTO_DEFINE(Api__TestPolicyResponse *, test_freep, town_answer_free)
#define MACHINE AUTO(machine_free) struct machine

#define PCRS_NONE "{\"sets\":[],\"require_set\":false,\"require_measured_boot\":false}"
#define POLICY(require, pcrs, automatic)                                                 \
    "{\"schema\":1,\"ek\":{\"require\":\"" require "\",\"listed\":[]},\"pcrs\":" pcrs    \
    ",\"adopt\":{\"automatic\":[" automatic "]}}"

static enum st_code
set_policy(struct town *town, const char *text, uint64_t expected, struct st_err *err)
{
    Api__SetPolicyRequest request = API__SET_POLICY_REQUEST__INIT;
    Api__SetPolicyResponse *answer;
    request.text = (char *)text;
    request.expected_version = expected;
    enum st_code code = town_call(town->admins, "SetPolicy", &request.base,
                                  &api__set_policy_response__descriptor, &answer, err);
    if (code)
        return code;
    assert_int_equal(answer->version, expected + 1);
    town_answer_free(answer);
    return ST_OK;
}

static Api__GetPolicyResponse *
get_policy(struct town *town, uint64_t version)
{
    Api__GetPolicyRequest request = API__GET_POLICY_REQUEST__INIT;
    Api__GetPolicyResponse *answer;
    struct st_err err = {0};
    request.version = version;
    assert_ok(town_call(town->admins, "GetPolicy", &request.base,
                        &api__get_policy_response__descriptor, &answer, &err));
    return answer;
}

static enum st_code
add_ca(struct town *town, const struct forge_issuer *ca, struct st_err *err)
{
    Api__AddEkCaRequest request = API__ADD_EK_CA_REQUEST__INIT;
    Api__AddEkCaResponse *answer;
    request.cert = (ProtobufCBinaryData){ca->der.len, ca->der.bytes};
    enum st_code code = town_call(town->admins, "AddEkCa", &request.base,
                                  &api__add_ek_ca_response__descriptor, &answer, err);
    if (!code)
        town_answer_free(answer);
    return code;
}

static void
a_policy_is_set_shown_and_kept(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    {
        AUTO(policy_answer_freep) Api__GetPolicyResponse *got = get_policy(town, 0);
        assert_int_equal(got->policy->version, 0);
        assert_string_equal(got->policy->text, policy_default);
        assert_ok(set_policy(town, got->policy->text, 0, &err));
    }
    assert_code(set_policy(town, policy_default, 0, &err), ST_ABORTED);
    assert_non_null(strstr(err.text, "version 1 by now, not 0"));
    assert_ok(set_policy(town, POLICY("certificate", PCRS_NONE, ""), 1, &err));
    town_restart(town);
    AUTO(policy_answer_freep) Api__GetPolicyResponse *got = get_policy(town, 0);
    assert_int_equal(got->policy->version, 2);
    assert_non_null(strstr(got->policy->text, "\"require\":\"certificate\""));
    assert_int_equal(got->policy->changed_by.len, SHA256_LEN);
    assert_true(got->policy->changed_at > 0);

    const Api__ListPolicyHistoryRequest request = API__LIST_POLICY_HISTORY_REQUEST__INIT;
    Api__ListPolicyHistoryResponse *history;
    assert_ok(town_call(town->admins, "ListPolicyHistory", &request.base,
                        &api__list_policy_history_response__descriptor, &history, &err));
    assert_int_equal(history->n_versions, 2);
    assert_int_equal(history->versions[0]->version, 2);
    assert_int_equal(history->versions[1]->version, 1);
    assert_string_equal(history->versions[1]->text, "");
    town_answer_free(history);
}

static void
N57_a_policy_with_an_unknown_word_is_not_set(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    assert_code(set_policy(town, POLICY("chian", PCRS_NONE, ""), 0, &err),
                ST_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "ek.require: must be chain"));
    AUTO(policy_answer_freep) Api__GetPolicyResponse *got = get_policy(town, 0);
    assert_int_equal(got->policy->version, 0);
}

static void
the_largest_policy_fits_into_a_command(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    static char text[POLICY_TEXT_MAX + 1];
    size_t len = 0;
    strcpy(text, "{\"schema\":1,\"ek\":{\"require\":\"none\",\"listed\":[");
    len = strlen(text);
    while (len + 300 < POLICY_TEXT_MAX) {
        len += (size_t)sprintf(text + len, "%s\"", text[len - 1] == '[' ? "" : ",");
        memset(text + len, 'a', 64);
        len += 64;
        text[len++] = '"';
    }
    sprintf(text + len, "]},\"pcrs\":" PCRS_NONE ",\"adopt\":{\"automatic\":[]}}");
    assert_true(strlen(text) > POLICY_TEXT_MAX - 300);
    assert_ok(set_policy(town, text, 0, &err));
    AUTO(policy_answer_freep) Api__GetPolicyResponse *got = get_policy(town, 0);
    assert_int_equal(strlen(got->policy->text), strlen(text));
}

/* --- what speaks for an EK ------------------------------------------------------------
 */

static struct forge_bytes certificate; /* that the machine shows */
static struct {
    size_t count;
    ProtobufCBinaryData certs[TPM_EK_CHAIN_CERTS + 1];
} shown; /* with it */

static void
show_certificate(struct machine *machine, Api__TPM2FlowRequest *request)
{
    (void)machine;
    if (request->stage_case != API__TPM2_FLOW_REQUEST__STAGE_REGISTER)
        return;
    request->register_->ek_cert =
        (ProtobufCBinaryData){certificate.len, certificate.bytes};
    request->register_->ek_chain = shown.certs;
    request->register_->n_ek_chain = shown.count;
}

static void
chain_add(const void *bytes, size_t len)
{
    shown.certs[shown.count++] = (ProtobufCBinaryData){len, (uint8_t *)bytes};
}

static enum st_code
enrol(struct town *town, struct machine *machine, const struct forge_bytes *cert,
      struct st_err *err)
{
    static unsigned number;
    char name[24];
    snprintf(name, sizeof(name), "rack%u", number++);
    AUTO(enrolment_freep)
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, name, 1);
    certificate = cert ? *cert : (struct forge_bytes){0};
    return machine_enrol(machine, town->nodes, enrolment->enrolment_config,
                         show_certificate, err);
}

static void
is_refused(struct town *town, struct machine *machine, const struct forge_bytes *cert)
{
    struct st_err err = {0};
    assert_code(enrol(town, machine, cert, &err), ST_PERMISSION_DENIED);
    assert_string_equal(err.text, "refused");
    AUTO(nodes_freep) Api__ListNodesResponse *nodes = town_nodes(town);
    assert_int_equal(nodes->n_nodes, 0);
}

static Api__Node__Evidence
evidence_of(struct town *town, const char *id)
{
    AUTO(nodes_freep) Api__ListNodesResponse *nodes = town_nodes(town);
    for (size_t i = 0; i < nodes->n_nodes; i++)
        if (strcmp(nodes->nodes[i]->node_id, id) == 0)
            return nodes->nodes[i]->evidence;
    fail_msg("%s is no node", id);
    return API__NODE__EVIDENCE__UNJUDGED;
}

static void
N24_only_a_certificate_of_a_CA_that_was_added_is_a_chain(void **state)
{
    struct town *town = *state;
    const struct forge_chain plain = {.name = "an EK"};
    FORGE_ISSUER ca = {0}, foreign = {0}, no_ca = {0};
    struct st_err err = {0};
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    forge_issuer_make(&(struct forge_chain){.name = "a vendor"}, &ca);
    forge_issuer_make(&(struct forge_chain){.name = "another"}, &foreign);
    forge_issuer_make(&(struct forge_chain){.name = "none", .constraints = "CA:FALSE"},
                      &no_ca);
    FORGE_BYTES good = forge_ek_cert(&ca, &machine.ek_spki, &plain);
    FORGE_BYTES unknown = forge_ek_cert(&foreign, &machine.ek_spki, &plain);
    FORGE_BYTES own = forge_ek_cert(NULL, &machine.ek_spki, &plain);
    FORGE_BYTES expired =
        forge_ek_cert(&ca, &machine.ek_spki,
                      &(struct forge_chain){.name = "an EK", .to = "20210101000000Z"});
    FORGE_BYTES server =
        forge_ek_cert(&ca, &machine.ek_spki,
                      &(struct forge_chain){.name = "an EK", .purposes = "serverAuth"});
    assert_code(add_ca(town, &no_ca, &err), ST_INVALID_ARGUMENT);
    assert_ok(set_policy(town, POLICY("chain", PCRS_NONE, ""), 0, &err));
    is_refused(town, &machine, &good); /* nobody added its CA yet */
    assert_ok(add_ca(town, &ca, &err));
    is_refused(town, &machine, NULL);
    is_refused(town, &machine, &unknown);
    is_refused(town, &machine, &own);
    is_refused(town, &machine, &expired);
    is_refused(town, &machine, &server);
    assert_ok(enrol(town, &machine, &good, &err));
    assert_int_equal(evidence_of(town, machine.id), API__NODE__EVIDENCE__CHAIN);
}

static void
N24_any_certificate_of_the_key_will_do_where_the_policy_says_so(void **state)
{
    struct town *town = *state;
    FORGE_ISSUER foreign = {0};
    struct st_err err = {0};
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    forge_issuer_make(&(struct forge_chain){.name = "another"}, &foreign);
    FORGE_BYTES cert =
        forge_ek_cert(&foreign, &machine.ek_spki, &(struct forge_chain){.name = "an EK"});
    assert_ok(set_policy(town, POLICY("certificate", PCRS_NONE, ""), 0, &err));
    is_refused(town, &machine, NULL);
    assert_ok(enrol(town, &machine, &cert, &err));
    assert_int_equal(evidence_of(town, machine.id), API__NODE__EVIDENCE__CERTIFICATE);
    /* The policy as it is when it is adopted counts, and so do its CAs. */
    assert_ok(set_policy(town, POLICY("chain", PCRS_NONE, ""), 1, &err));
    assert_code(town_adopt(town, machine.id, API__NODE__STATE__WORKER, &err),
                ST_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "stctl policy ca add"));
    assert_ok(add_ca(town, &foreign, &err));
    assert_ok(town_adopt(town, machine.id, API__NODE__STATE__WORKER, &err));
    assert_int_equal(evidence_of(town, machine.id), API__NODE__EVIDENCE__CHAIN);
}

/* A CA is added or removed between what this master found and what the log says: with
 * one master that is the moment before it proposes. */
static struct {
    ProtobufCBinaryData sha256, cert; /* of the CA that goes, or comes */
    uint8_t by[SHA256_LEN];           /* who says so */
    bool always;                      /* instead: what is proposed never fits, */
    bool of_another;                  /* or once is for another machine's EK */
    unsigned proposed;
    size_t chain; /* how many certificates with the last that enrols */
} meanwhile;

void __real_nms_propose(struct nms *nms, State__Command *command, nms_done done,
                        void *arg);
void __wrap_nms_propose(struct nms *nms, State__Command *command, nms_done done,
                        void *arg);

static void
change_the_CAs(struct nms *nms)
{
    State__RemoveEkCa remove_ek_ca = STATE__REMOVE_EK_CA__INIT;
    State__EkCa ca = STATE__EK_CA__INIT;
    State__AddEkCa add_ek_ca = STATE__ADD_EK_CA__INIT;
    State__Command command = STATE__COMMAND__INIT;
    struct st_err err = {0};
    if (meanwhile.sha256.len > 0) {
        remove_ek_ca.sha256 = meanwhile.sha256;
        command.change_case = STATE__COMMAND__CHANGE_REMOVE_EK_CA;
        command.remove_ek_ca = &remove_ek_ca;
    } else {
        ca.cert = meanwhile.cert;
        command.by = (ProtobufCBinaryData){SHA256_LEN, meanwhile.by};
        add_ek_ca.ca = &ca;
        command.change_case = STATE__COMMAND__CHANGE_ADD_EK_CA;
        command.add_ek_ca = &add_ek_ca;
    }
    meanwhile.sha256.len = meanwhile.cert.len = 0;
    assert_ok(nms_propose_wait(nms, &command, 10000, &err));
}

void
__wrap_nms_propose(struct nms *nms, State__Command *command, nms_done done, void *arg)
{
    const bool enrol = command->change_case == STATE__COMMAND__CHANGE_ENROL,
               adopt = command->change_case == STATE__COMMAND__CHANGE_ADOPT;
    if (enrol || adopt || command->change_case == STATE__COMMAND__CHANGE_ADOPT_MASTER)
        meanwhile.proposed++;
    if (enrol)
        meanwhile.chain = command->enrol->node->n_ek_chain;
    if ((enrol || adopt) && (meanwhile.sha256.len > 0 || meanwhile.cert.len > 0))
        change_the_CAs(nms);
    if (enrol && meanwhile.always)
        command->enrol->ek_cas.len = 0;
    if (adopt && meanwhile.always)
        command->adopt->ek_cas.len = 0;
    if (adopt && meanwhile.of_another)
        command->adopt->ek_sha256.data[0] ^= 1;
    meanwhile.of_another &= !adopt;
    __real_nms_propose(nms, command, done, arg);
}

static void
N24_a_CA_that_goes_meanwhile_certified_nothing(void **state)
{
    struct town *town = *state;
    FORGE_ISSUER ca = {0};
    uint8_t sha256[SHA256_LEN];
    struct st_err err = {0};
    MACHINE machine;
    memset(&meanwhile, 0, sizeof(meanwhile));
    machine_make(&machine, FORGE_ECC);
    forge_issuer_make(&(struct forge_chain){.name = "a vendor"}, &ca);
    cert_fingerprint(ca.der.bytes, ca.der.len, sha256);
    FORGE_BYTES cert =
        forge_ek_cert(&ca, &machine.ek_spki, &(struct forge_chain){.name = "an EK"});
    assert_ok(add_ca(town, &ca, &err));
    assert_ok(set_policy(town, POLICY("chain", PCRS_NONE, ""), 0, &err));
    meanwhile.sha256 = (ProtobufCBinaryData){SHA256_LEN, sha256};
    is_refused(town, &machine, &cert);
    assert_int_equal(meanwhile.proposed, 1); /* then it knew that it is no use */
    /* A node that waits for an administrator. */
    assert_ok(add_ca(town, &ca, &err));
    assert_ok(enrol(town, &machine, &cert, &err));
    meanwhile.sha256.len = SHA256_LEN;
    assert_code(town_adopt(town, machine.id, API__NODE__STATE__WORKER, &err),
                ST_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "leads to no CA"));
}

static void
a_CA_that_comes_meanwhile_counts(void **state)
{
    struct town *town = *state;
    FORGE_ISSUER ca = {0}, other = {0};
    struct st_err err = {0};
    MACHINE machine;
    memset(&meanwhile, 0, sizeof(meanwhile));
    machine_make(&machine, FORGE_ECC);
    forge_issuer_make(&(struct forge_chain){.name = "a vendor"}, &ca);
    forge_issuer_make(&(struct forge_chain){.name = "another"}, &other);
    FORGE_BYTES cert =
        forge_ek_cert(&ca, &machine.ek_spki, &(struct forge_chain){.name = "an EK"});
    cert_fingerprint(town->admin.cert.der, town->admin.cert.len, meanwhile.by);
    meanwhile.cert = (ProtobufCBinaryData){ca.der.len, ca.der.bytes};
    assert_ok(enrol(town, &machine, &cert, &err));
    assert_int_equal(meanwhile.proposed, 2);
    assert_int_equal(evidence_of(town, machine.id), API__NODE__EVIDENCE__CHAIN);
    meanwhile.cert = (ProtobufCBinaryData){other.der.len, other.der.bytes};
    assert_ok(town_adopt(town, machine.id, API__NODE__STATE__WORKER, &err));
    assert_int_equal(meanwhile.proposed, 4);
}

static void
CAs_that_keep_changing_are_not_waited_for(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    MACHINE machine;
    memset(&meanwhile, 0, sizeof(meanwhile));
    machine_make(&machine, FORGE_ECC);
    meanwhile.always = true;
    assert_code(enrol(town, &machine, NULL, &err), ST_RESOURCE_EXHAUSTED);
    assert_true(err.retry_ms > 0);
    assert_int_equal(meanwhile.proposed, STATE_EVIDENCE_TRIES);
    meanwhile.always = false;
    assert_ok(enrol(town, &machine, NULL, &err));
    meanwhile.always = true;
    assert_code(town_adopt(town, machine.id, API__NODE__STATE__WORKER, &err), ST_ABORTED);
    assert_int_equal(err.reason, ST_REASON_CHANGED);
    meanwhile.always = false;
}

static void
what_was_found_for_another_EK_is_looked_for_again(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    MACHINE machine;
    memset(&meanwhile, 0, sizeof(meanwhile));
    machine_make(&machine, FORGE_ECC);
    assert_ok(enrol(town, &machine, NULL, &err));
    meanwhile.of_another = true;
    assert_ok(town_adopt(town, machine.id, API__NODE__STATE__WORKER, &err));
    assert_int_equal(meanwhile.proposed, 3);
}

/* Where somebody's certificates are followed to the CAs: who waits for a barrier is told
 * on the replica's thread, which then leads nobody. */
static struct {
    atomic_uint all, after_barrier;
} looked;
static _Thread_local bool on_replica;
static atomic_bool behind; /* this master knows no node before it waits for a barrier */

struct waiting {
    nms_done done;
    void *arg;
};

void __real_nms_barrier(struct nms *nms, nms_done done, void *arg);
void __wrap_nms_barrier(struct nms *nms, nms_done done, void *arg);
enum st_code __real_state_node(struct state *state, const char *id, State__Node **out,
                               struct st_err *err);
enum st_code __wrap_state_node(struct state *state, const char *id, State__Node **out,
                               struct st_err *err);
void __real_state_find_evidence(struct state *state, const State__Node *node,
                                struct state_evidence *out);
void __wrap_state_find_evidence(struct state *state, const State__Node *node,
                                struct state_evidence *out);

static void
barrier_passed(void *arg, const struct st_err *barrier)
{
    const struct waiting waiting = *(struct waiting *)arg;
    free(arg);
    behind = false;
    on_replica = true;
    waiting.done(waiting.arg, barrier);
    on_replica = false;
}

void
__wrap_nms_barrier(struct nms *nms, nms_done done, void *arg)
{
    struct waiting *waiting = malloc(sizeof(*waiting));
    *waiting = (struct waiting){done, arg};
    __real_nms_barrier(nms, barrier_passed, waiting);
}

enum st_code
__wrap_state_node(struct state *state, const char *id, State__Node **out,
                  struct st_err *err)
{
    if (behind)
        return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND, "not yet");
    return __real_state_node(state, id, out, err);
}

void
__wrap_state_find_evidence(struct state *state, const State__Node *node,
                           struct state_evidence *out)
{
    looked.all++;
    looked.after_barrier += on_replica;
    __real_state_find_evidence(state, node, out);
}

static void
N31_who_has_no_good_secret_has_no_certificate_looked_at(void **state)
{
    struct town *town = *state;
    FORGE_ISSUER ca = {0};
    uint8_t unknown[32] = {1};
    struct st_err err = {0};
    MACHINE machine, late;
    memset(&meanwhile, 0, sizeof(meanwhile));
    machine_make(&machine, FORGE_ECC);
    machine_make(&late, FORGE_ECC);
    forge_issuer_make(&(struct forge_chain){.name = "a vendor"}, &ca);
    FORGE_BYTES cert =
        forge_ek_cert(&ca, &machine.ek_spki, &(struct forge_chain){.name = "an EK"});
    FORGE_BYTES late_cert =
        forge_ek_cert(&ca, &late.ek_spki, &(struct forge_chain){.name = "an EK"});
    AUTO(enrolment_freep)
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, "rack", 1);
    Api__EnrolmentConfig forged = *enrolment->enrolment_config;
    forged.enrolment_secret = (ProtobufCBinaryData){sizeof(unknown), unknown};
    certificate = cert;
    looked.all = looked.after_barrier = 0;
    assert_code(machine_enrol(&machine, town->nodes, &forged, show_certificate, &err),
                ST_PERMISSION_DENIED);
    assert_int_equal(looked.all, 0);
    assert_ok(machine_enrol(&machine, town->nodes, enrolment->enrolment_config,
                            show_certificate, &err));
    assert_int_equal(looked.all, 1);
    /* Nor where it was used up, nor a second time among the same CAs. */
    certificate = late_cert;
    assert_code(machine_enrol(&late, town->nodes, enrolment->enrolment_config,
                              show_certificate, &err),
                ST_PERMISSION_DENIED);
    assert_int_equal(looked.all, 1);
    assert_ok(set_policy(town, POLICY("chain", PCRS_NONE, ""), 0, &err));
    assert_code(enrol(town, &late, &late_cert, &err), ST_PERMISSION_DENIED);
    assert_int_equal(looked.all, 2);
    assert_int_equal(looked.after_barrier, 0);
    /* The same node again needs no secret that can still be used. */
    certificate = cert;
    assert_ok(machine_enrol(&machine, town->nodes, enrolment->enrolment_config,
                            show_certificate, &err));
}

static enum st_code remove_ca(struct town *town, const ProtobufCBinaryData *sha256,
                              struct st_err *err);

/* What it enrolled with counts no more when a master adopts it that is late to hear of
 * either. */
static void
N24_a_master_that_is_behind_adopts_nobody_unseen(void **state)
{
    struct town *town = *state;
    FORGE_ISSUER ca = {0};
    uint8_t sha256[SHA256_LEN];
    const ProtobufCBinaryData name = {SHA256_LEN, sha256};
    struct st_err err = {0};
    MACHINE machine;
    memset(&meanwhile, 0, sizeof(meanwhile));
    machine_make(&machine, FORGE_ECC);
    forge_issuer_make(&(struct forge_chain){.name = "a vendor"}, &ca);
    cert_fingerprint(ca.der.bytes, ca.der.len, sha256);
    FORGE_BYTES cert =
        forge_ek_cert(&ca, &machine.ek_spki, &(struct forge_chain){.name = "an EK"});
    assert_ok(add_ca(town, &ca, &err));
    assert_ok(enrol(town, &machine, &cert, &err));
    assert_ok(remove_ca(town, &name, &err));
    assert_ok(set_policy(town, POLICY("chain", PCRS_NONE, ""), 0, &err));
    const Api__Node__State roles[] = {API__NODE__STATE__WORKER, API__NODE__STATE__MASTER};
    for (size_t i = 0; i < 2; i++) {
        behind = true;
        assert_code(town_adopt(town, machine.id, roles[i], &err), ST_FAILED_PRECONDITION);
        assert_false(behind);
        assert_non_null(strstr(err.text, "leads to no CA"));
    }
    assert_ok(town_remove(town, machine.id, &err));
    meanwhile.proposed = 0;
    for (size_t i = 0; i < 2; i++) {
        behind = true;
        assert_code(town_adopt(town, machine.id, roles[i], &err), ST_NOT_FOUND);
        assert_false(behind);
        assert_int_equal(err.reason, ST_REASON_NOT_FOUND);
    }
    assert_int_equal(meanwhile.proposed, 0);
}

static void
N24_what_the_TPM_holds_leads_to_a_CA_that_was_added(void **state)
{
    struct town *town = *state;
    FORGE_ISSUER root = {0}, middle = {0}, idle = {0}, false_root = {0}, false_one = {0};
    uint8_t sha256[SHA256_LEN];
    struct st_err err = {0};
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    forge_issuer_make(&(struct forge_chain){.name = "a root"}, &root);
    forge_issuer_make(&(struct forge_chain){.name = "a root"}, &false_root);
    forge_issuer_make(&(struct forge_chain){.name = "below", .above = &root}, &middle);
    forge_issuer_make(&(struct forge_chain){.name = "beside", .above = &root}, &idle);
    forge_issuer_make(&(struct forge_chain){.name = "below", .above = &false_root},
                      &false_one);
    const struct forge_chain plain = {.name = "an EK"};
    FORGE_BYTES cert = forge_ek_cert(&middle, &machine.ek_spki, &plain);
    FORGE_BYTES bad = forge_ek_cert(&false_one, &machine.ek_spki, &plain);
    cert_fingerprint(root.der.bytes, root.der.len, sha256);
    const ProtobufCBinaryData root_sha256 = {SHA256_LEN, sha256};
    assert_ok(set_policy(town, POLICY("chain", PCRS_NONE, ""), 0, &err));
    assert_ok(add_ca(town, &root, &err));
    shown.count = 0;
    is_refused(town, &machine, &cert);
    chain_add(false_one.der.bytes, false_one.der.len);
    chain_add(false_root.der.bytes, false_root.der.len);
    is_refused(town, &machine, &bad);
    is_refused(town, &machine, &cert);
    chain_add("no certificate", 14);
    chain_add(idle.der.bytes, idle.der.len);
    chain_add(middle.der.bytes, middle.der.len);
    is_refused(town, &machine, &bad);
    is_refused(town, &machine, NULL);
    assert_ok(enrol(town, &machine, &cert, &err));
    assert_int_equal(evidence_of(town, machine.id), API__NODE__EVIDENCE__CHAIN);
    assert_int_equal(meanwhile.chain, 2); /* the namesake might have been of use */
    /* Judged again by the record alone. */
    town_restart(town);
    assert_ok(remove_ca(town, &root_sha256, &err));
    assert_code(town_adopt(town, machine.id, API__NODE__STATE__WORKER, &err),
                ST_FAILED_PRECONDITION);
    assert_ok(add_ca(town, &root, &err));
    assert_ok(town_adopt(town, machine.id, API__NODE__STATE__WORKER, &err));
    assert_int_equal(evidence_of(town, machine.id), API__NODE__EVIDENCE__CHAIN);
    shown.count = 0;
}

/* Whoever adds the vendor's root may do so after the machine came. */
static void
a_chain_is_kept_where_it_may_be_needed(void **state)
{
    struct town *town = *state;
    FORGE_ISSUER root = {0}, middle = {0};
    struct st_err err = {0};
    MACHINE machine, other;
    machine_make(&machine, FORGE_ECC);
    machine_make(&other, FORGE_ECC);
    forge_issuer_make(&(struct forge_chain){.name = "a root"}, &root);
    forge_issuer_make(&(struct forge_chain){.name = "below", .above = &root}, &middle);
    const struct forge_chain plain = {.name = "an EK"};
    FORGE_BYTES cert = forge_ek_cert(&middle, &machine.ek_spki, &plain);
    FORGE_BYTES other_cert = forge_ek_cert(&middle, &other.ek_spki, &plain);
    shown.count = 0;
    chain_add(middle.der.bytes, middle.der.len);
    assert_ok(enrol(town, &machine, &cert, &err));
    assert_int_equal(evidence_of(town, machine.id), API__NODE__EVIDENCE__CERTIFICATE);
    assert_ok(set_policy(town, POLICY("chain", PCRS_NONE, ""), 0, &err));
    assert_code(town_adopt(town, machine.id, API__NODE__STATE__WORKER, &err),
                ST_FAILED_PRECONDITION);
    assert_ok(add_ca(town, &root, &err));
    assert_ok(town_adopt(town, machine.id, API__NODE__STATE__WORKER, &err));
    assert_int_equal(evidence_of(town, machine.id), API__NODE__EVIDENCE__CHAIN);
    /* Where the CA is one that signed the EK certificate itself, it is not. */
    assert_ok(add_ca(town, &middle, &err));
    assert_ok(enrol(town, &other, &other_cert, &err));
    assert_int_equal(meanwhile.chain, 0);
    shown.count = 0;
}

/* --- what was booted ------------------------------------------------------------------
 */

/* PCR 4 and 11 as machine_make() sets them, everywhere. */
#define SETS_MACHINE                                                                     \
    "{\"sets\":[{\"name\":\"s1\",\"nodes\":[\"*\"],\"values\":{"                         \
    "\"4\":[\"4444444444444444444444444444444444444444444444444444444444444444\"],"      \
    "\"11\":[\"4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b\"]}}],"  \
    "\"require_set\":false,\"require_measured_boot\":true}"

static void
unlocks(struct town *town, struct machine *machine)
{
    AUTO(answer_freep) Api__TPM2UnlockFlowResponse *answer = NULL;
    struct st_err err = {0};
    assert_ok(machine_unlock(machine, town->nodes, NULL, &answer, &err));
}

static Api__TestPolicyResponse *
test_policy(struct town *town, const char *id, const char *text,
            const struct tpm_pcrs *boot)
{
    Api__TestPolicyRequest request = API__TEST_POLICY_REQUEST__INIT;
    Api__TestPolicyResponse *answer;
    ProtobufCBinaryData pcrs[TPM_PCR_COUNT];
    struct st_err err = {0};
    request.node_id = (char *)id;
    request.text = (char *)text;
    for (int i = 0; boot && i < TPM_PCR_COUNT; i++)
        pcrs[i] = (ProtobufCBinaryData){SHA256_LEN, (uint8_t *)boot->digest[i]};
    request.pcrs = pcrs;
    request.n_pcrs = boot ? TPM_PCR_COUNT : 0;
    assert_ok(town_call(town->admins, "TestPolicy", &request.base,
                        &api__test_policy_response__descriptor, &answer, &err));
    return answer;
}

static void
N12_another_boot_is_refused_and_shown_to_the_operator(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    assert_ok(set_policy(town, POLICY("none", SETS_MACHINE, ""), 0, &err));
    unlocks(town, &machine);
    machine.pcrs.digest[11][0] ^= 1;
    machine_is_refused(&machine, town->nodes);
    {
        AUTO(pcrs_freep)
        Api__GetNodePcrsResponse *pcrs = town_node_pcrs(town, machine.id);
        assert_int_equal(pcrs->n_enrolled, TPM_PCR_COUNT);
        assert_int_equal(pcrs->n_accepted, TPM_PCR_COUNT);
        assert_int_equal(pcrs->n_refused, TPM_PCR_COUNT);
        assert_true(pcrs->refused_at > 0 && pcrs->accepted_at > 0);
        assert_memory_equal(pcrs->refused[11].data, machine.pcrs.digest[11], SHA256_LEN);
        assert_int_equal(pcrs->accepted[11].data[0], 0x4b);
        assert_int_equal(pcrs->enrolled[4].data[0], 0x44);
    }
    {
        AUTO(test_freep)
        Api__TestPolicyResponse *test = test_policy(town, machine.id, "", NULL);
        assert_string_equal(test->adopt, "");
        assert_string_equal(test->unlock, "");
    }
    /* What this master saw is not kept. */
    town_restart(town);
    machine_is_refused(&machine, town->nodes);
    AUTO(pcrs_freep) Api__GetNodePcrsResponse *pcrs = town_node_pcrs(town, machine.id);
    assert_int_equal(pcrs->n_accepted, 0);
    assert_int_equal(pcrs->n_refused, TPM_PCR_COUNT);
    AUTO(test_freep)
    Api__TestPolicyResponse *test = test_policy(town, machine.id, "", &machine.pcrs);
    assert_string_equal(test->unlock, "PCR 11 differs from set s1");
    AUTO(test_freep)
    Api__TestPolicyResponse *other =
        test_policy(town, machine.id, policy_default, &machine.pcrs);
    assert_string_equal(other->unlock, "");
    machine.pcrs.digest[11][0] ^= 1;
    unlocks(town, &machine);
    assert_ok(set_policy(town, policy_default, 1, &err));
    machine.pcrs.digest[4][0] ^= 1;
    unlocks(town, &machine);
}

static void
a_policy_that_lists_an_EK_says_so_when_it_is_tested(void **state)
{
    struct town *town = *state;
    uint8_t digest[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1], text[600];
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, true);
    forge_digest(&machine.ek_spki, digest);
    for (size_t i = 0; i < SHA256_LEN; i++)
        sprintf(hex + 2 * i, "%02x", digest[i]);
    snprintf(text, sizeof(text),
             "{\"schema\":1,\"ek\":{\"require\":\"chain\",\"listed\":[\"%s\"]},"
             "\"pcrs\":" PCRS_NONE ",\"adopt\":{\"automatic\":[]}}",
             hex);
    AUTO(test_freep)
    Api__TestPolicyResponse *listed = test_policy(town, machine.id, text, NULL);
    assert_int_equal(listed->evidence_now, API__NODE__EVIDENCE__LISTED);
    assert_string_equal(listed->adopt, "");
    AUTO(test_freep)
    Api__TestPolicyResponse *chain =
        test_policy(town, machine.id, POLICY("chain", PCRS_NONE, ""), NULL);
    assert_int_equal(chain->evidence_now, API__NODE__EVIDENCE__NOTHING);
    assert_non_null(strstr(chain->adopt, "wants an EK certificate"));
    assert_string_equal(chain->unlock, "");
}

static void
N11_a_boot_that_nobody_measured_gets_no_key(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    memset(machine.pcrs.digest, 0, 8 * SHA256_LEN);
    town_settle(town, &machine, true);
    assert_ok(set_policy(town,
                         POLICY("none",
                                "{\"sets\":[],\"require_set\":false,"
                                "\"require_measured_boot\":true}",
                                ""),
                         0, &err));
    assert_code(town_adopt(town, machine.id, API__NODE__STATE__WORKER, &err),
                ST_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "never extended"));
    assert_ok(set_policy(town, POLICY("none", PCRS_NONE, ""), 1, &err));
    assert_ok(town_adopt(town, machine.id, API__NODE__STATE__WORKER, &err));
    unlocks(town, &machine);
    assert_ok(set_policy(town, POLICY("none", SETS_MACHINE, ""), 2, &err));
    machine_is_refused(&machine, town->nodes);
}

static void
a_node_of_a_named_enrolment_unlocks_without_an_administrator(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    MACHINE good, bad;
    machine_make(&good, FORGE_ECC);
    machine_make(&bad, FORGE_ECC);
    bad.pcrs.digest[4][0] ^= 1;
    assert_ok(set_policy(town, POLICY("none", SETS_MACHINE, "\"automatic\""), 0, &err));
    AUTO(enrolment_freep)
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, "automatic", 2);
    assert_ok(machine_enrol(&good, town->nodes, enrolment->enrolment_config, NULL, &err));
    unlocks(town, &good);
    assert_ok(machine_enrol(&bad, town->nodes, enrolment->enrolment_config, NULL, &err));
    AUTO(answer_freep) Api__TPM2UnlockFlowResponse *answer = NULL;
    assert_code(machine_unlock(&bad, town->nodes, NULL, &answer, &err),
                ST_FAILED_PRECONDITION);
    assert_int_equal(err.reason, ST_REASON_NOT_ADOPTED);
}

static enum st_code
remove_ca(struct town *town, const ProtobufCBinaryData *sha256, struct st_err *err)
{
    Api__RemoveEkCaRequest request = API__REMOVE_EK_CA_REQUEST__INIT;
    Api__RemoveEkCaResponse *answer;
    request.sha256 = *sha256;
    enum st_code code = town_call(town->admins, "RemoveEkCa", &request.base,
                                  &api__remove_ek_ca_response__descriptor, &answer, err);
    if (!code)
        town_answer_free(answer);
    return code;
}

static void
CAs_are_added_listed_and_removed(void **state)
{
    struct town *town = *state;
    const Api__ListEkCasRequest request = API__LIST_EK_CAS_REQUEST__INIT;
    Api__ListEkCasResponse *list;
    struct st_err err = {0};
    FORGE_ISSUER ca = {0};
    forge_issuer_make(&(struct forge_chain){.name = "a vendor"}, &ca);
    assert_ok(add_ca(town, &ca, &err));
    assert_ok(add_ca(town, &ca, &err));
    assert_ok(town_call(town->admins, "ListEkCas", &request.base,
                        &api__list_ek_cas_response__descriptor, &list, &err));
    assert_int_equal(list->n_cas, 1);
    assert_string_equal(list->cas[0]->name, "a vendor");
    assert_true(list->cas[0]->added_at > 0);
    assert_ok(remove_ca(town, &list->cas[0]->sha256, &err));
    assert_code(remove_ca(town, &list->cas[0]->sha256, &err), ST_NOT_FOUND);
    town_answer_free(list);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TOWN_TEST(a_policy_is_set_shown_and_kept),
        TOWN_TEST(N57_a_policy_with_an_unknown_word_is_not_set),
        TOWN_TEST(the_largest_policy_fits_into_a_command),
        TOWN_TEST(N24_only_a_certificate_of_a_CA_that_was_added_is_a_chain),
        TOWN_TEST(N24_any_certificate_of_the_key_will_do_where_the_policy_says_so),
        TOWN_TEST(N24_what_the_TPM_holds_leads_to_a_CA_that_was_added),
        TOWN_TEST(a_chain_is_kept_where_it_may_be_needed),
        TOWN_TEST(N24_a_CA_that_goes_meanwhile_certified_nothing),
        TOWN_TEST(a_CA_that_comes_meanwhile_counts),
        TOWN_TEST(CAs_that_keep_changing_are_not_waited_for),
        TOWN_TEST(what_was_found_for_another_EK_is_looked_for_again),
        TOWN_TEST(N24_a_master_that_is_behind_adopts_nobody_unseen),
        TOWN_TEST(N31_who_has_no_good_secret_has_no_certificate_looked_at),
        TOWN_TEST(N12_another_boot_is_refused_and_shown_to_the_operator),
        TOWN_TEST(a_policy_that_lists_an_EK_says_so_when_it_is_tested),
        TOWN_TEST(N11_a_boot_that_nobody_measured_gets_no_key),
        TOWN_TEST(a_node_of_a_named_enrolment_unlocks_without_an_administrator),
        TOWN_TEST(CAs_are_added_listed_and_removed),
    };
    return cmocka_run_group_tests(tests, town_group_setup, town_group_teardown);
}
