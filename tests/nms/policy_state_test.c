/* The policy in the records: one document after another, the same on every master, and in
 * force for whoever enrols and is adopted. */
#include "tests/nms/log.h"
#include "proto/sha256.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEX_07 "0707070707070707070707070707070707070707070707070707070707070707"

/* FIPS 180-2, appendix B.1 */
#define SHA256_OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

/* PCR 4 must be HEX_07 everywhere; "rack1" needs no administrator. */
static const char strict[] =
    "{\"schema\":1,\"ek\":{\"require\":\"none\",\"listed\":[]},"
    "\"pcrs\":{\"sets\":[{\"name\":\"s1\",\"nodes\":[\"*\"],\"values\":{\"4\":[\"" HEX_07
    "\"]}}],\"require_set\":false,\"require_measured_boot\":false},"
    "\"adopt\":{\"automatic\":[\"rack1\"]}}";
static const char certified[] =
    "{\"schema\":1,\"ek\":{\"require\":\"chain\",\"listed\":[]},"
    "\"pcrs\":{\"sets\":[],\"require_set\":false,\"require_measured_boot\":false},"
    "\"adopt\":{\"automatic\":[\"rack1\"]}}";

static const uint8_t secret_a[32] = {0xaa}, secret_b[32] = {0xbb};

static int
open_member(void **state)
{
    static struct log_member member;
    struct st_err err = {0};
    log_open(&member);
    log_found(&member);
    assert_ok(log_new_enrolment(&member, "rack1", secret_a, 100, LOG_START + 3600, &err));
    assert_ok(log_new_enrolment(&member, "rack2", secret_b, 100, LOG_START + 3600, &err));
    *state = &member;
    return 0;
}

static int
close_member(void **state)
{
    log_close(*state);
    return 0;
}

static enum st_code
set(struct log_member *member, const char *text, uint64_t expected, struct st_err *err)
{
    return log_set_policy(member, text, POLICY_SCHEMA, expected, err);
}

static State__Policy *
in_force(struct state *state, uint64_t version)
{
    State__Policy *policy;
    struct st_err err = {0};
    assert_ok(state_policy(state, version, &policy, &err));
    return policy;
}

static void
before_the_first_one_the_default_is_in_force(void **state)
{
    struct log_member *member = *state;
    AUTO(state_policy_freep) State__Policy *policy = in_force(member->state, 0);
    assert_int_equal(policy->version, 0);
    assert_string_equal(policy->text, policy_default);
    State__Policy *none;
    assert_code(state_policy(member->state, 1, &none, NULL), ST_NOT_FOUND);
}

static void
N57_a_policy_replaces_the_one_that_its_author_saw(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    assert_code(set(member, strict, 1, &err), ST_ABORTED);
    assert_string_equal(err.text, "the policy is version 0 by now, not 1");
    assert_ok(set(member, strict, 0, &err));
    assert_code(set(member, certified, 0, &err), ST_ABORTED);
    assert_string_equal(err.text, "the policy is version 1 by now, not 0");
    assert_ok(set(member, certified, 1, &err));
    AUTO(state_policy_freep) State__Policy *policy = in_force(member->state, 0);
    assert_int_equal(policy->version, 2);
    assert_non_null(strstr(policy->text, "\"chain\""));
    assert_true(policy->changed_at == LOG_START + 1);
    assert_int_equal(policy->changed_by.len, SHA256_LEN);
    assert_memory_equal(policy->changed_by.data, log_administrator, SHA256_LEN);
    AUTO(state_policy_freep) State__Policy *before = in_force(member->state, 1);
    assert_non_null(strstr(before->text, HEX_07));
}

/* In a log of before Command.by: a master that applies it now has what the others have.
 */
static void
N56_a_change_that_names_its_author_itself_is_carried_out(void **state)
{
    struct log_member *member = *state;
    State__SetPolicy set_policy = STATE__SET_POLICY__INIT;
    State__Command command = STATE__COMMAND__INIT;
    uint8_t author[SHA256_LEN] = {0x77}; /* who may be none any more */
    struct st_err err = {0};
    set_policy.text = (char *)strict;
    set_policy.schema = POLICY_SCHEMA;
    command.change_case = STATE__COMMAND__CHANGE_SET_POLICY;
    command.set_policy = &set_policy;
    set_policy.by.data = author;
    for (size_t len = 0; len <= SHA256_LEN; len += SHA256_LEN / 2) {
        set_policy.by.len = len;
        command.request_id.len = 0; /* another one each time */
        assert_code(log_apply(member, &command, &err),
                    len == SHA256_LEN ? ST_OK : ST_INVALID_ARGUMENT);
    }
    AUTO(state_policy_freep) State__Policy *policy = in_force(member->state, 0);
    assert_int_equal(policy->changed_by.len, SHA256_LEN);
    assert_memory_equal(policy->changed_by.data, author, SHA256_LEN);
}

static void
N57_what_is_no_policy_changes_nothing(void **state)
{
    struct log_member *member = *state;
    static const char *const texts[] = {"", "{}", "[]", "{\"schema\":1}"};
    struct st_err err = {0};
    assert_ok(set(member, strict, 0, &err));
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        assert_code(set(member, texts[i], 1, &err), ST_INVALID_ARGUMENT);
    AUTO(state_policy_freep) State__Policy *policy = in_force(member->state, 0);
    assert_int_equal(policy->version, 1);
    const struct tpm_pcrs pcrs = {0};
    assert_code(state_judge_boot(member->state, "", &pcrs, NULL), ST_PERMISSION_DENIED);
}

static enum st_code
count_one(void *arg, const State__Policy *policy, struct st_err *err)
{
    (void)err;
    uint64_t *versions = arg; /* how many, the first, the last */
    if (versions[0]++ == 0)
        versions[1] = policy->version;
    versions[2] = policy->version;
    return ST_OK;
}

static void
the_newest_are_kept(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    uint64_t versions[3] = {0};
    const uint64_t last = STATE_POLICIES_KEPT + 5;
    for (uint64_t i = 0; i < last; i++)
        assert_ok(set(member, i % 2 ? strict : certified, i, &err));
    assert_ok(state_each_policy(member->state, count_one, versions, &err));
    assert_int_equal(versions[0], STATE_POLICIES_KEPT);
    assert_int_equal(versions[1], 6);
    assert_int_equal(versions[2], last);
    State__Policy *gone;
    assert_code(state_policy(member->state, 5, &gone, NULL), ST_NOT_FOUND);
}

/* Another master that applies the same, and this one after a restart, judge the same. */
static void
every_master_has_the_same_policy(void **state)
{
    struct log_member *member = *state, other;
    struct state *loaded;
    struct st_err err = {0};
    uint8_t here[SHA256_LEN], there[SHA256_LEN];
    struct tpm_pcrs pcrs = {0};
    log_open(&other);
    for (uint64_t i = 0; i < 12; i++)
        assert_ok(set(member, i % 2 ? strict : certified, i, &err));
    log_copy(member, &other);
    log_digest(member->state, here);
    log_digest(other.state, there);
    assert_memory_equal(here, there, SHA256_LEN);
    assert_code(state_judge_boot(other.state, "", &pcrs, NULL), ST_PERMISSION_DENIED);
    assert_ok(set(&other, certified, 12, &err));
    assert_code(state_judge_boot(other.state, "", &pcrs, NULL), ST_OK);
    assert_ok(log_load(member, &loaded, &err));
    assert_code(state_judge_boot(loaded, "", &pcrs, NULL), ST_PERMISSION_DENIED);
    State__Policy *policy = in_force(loaded, 0);
    assert_int_equal(policy->version, 12);
    state_policy_free(policy);
    state_free(loaded);
    log_close(&other);
}

/* Masters of a later release judge by it: this one must not go on by an older one. */
static void
N57_a_master_that_does_not_know_the_schema_of_a_policy_ends(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    int status;
    assert_code(log_set_policy(member, "{\"schema\":2}", POLICY_SCHEMA, 0, &err),
                ST_INVALID_ARGUMENT);
    assert_string_equal(err.text, "this is no policy of schema 1");
    pid_t child = fork();
    if (child == 0) {
        (void)!log_set_policy(member, "{\"schema\":2}", POLICY_SCHEMA + 1, 0, NULL);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* A policy of a later version, or a spoilt one, is not ignored. */
static void
N57_a_record_that_is_no_policy_keeps_the_master_from_starting(void **state)
{
    struct log_member *member = *state;
    struct state *loaded;
    struct st_err err = {0};
    assert_ok(set(member, strict, 0, &err));
    const struct log_record *record = log_find(member, "policy/0000000000000001");
    assert_non_null(record);
    uint8_t *schema = memmem(record->value, record->len, "\"schema\":1", 10);
    assert_non_null(schema);
    schema[9] = '2';
    assert_code(log_load(member, &loaded, &err), ST_DATA_LOSS);
    assert_non_null(strstr(err.text, "schema: must be 1"));
}

static State__Role
role_of(struct log_member *member, const char *id)
{
    AUTO(state_node_freep) State__Node *node = NULL;
    struct st_err err = {0};
    assert_ok(state_node(member->state, id, &node, &err));
    return node->role;
}

static void
with_pcr_4(struct log_node *node, struct tpm_pcrs *pcrs, uint8_t byte)
{
    memset(pcrs->digest, byte, sizeof(pcrs->digest));
    node->message.pcrs = (ProtobufCBinaryData){sizeof(pcrs->digest), pcrs->digest[0]};
}

static void
an_enrolment_that_the_policy_names_needs_no_administrator(void **state)
{
    struct log_member *member = *state;
    struct log_node good, bad, other;
    struct tpm_pcrs pcrs[3];
    struct st_err err = {0};
    assert_ok(set(member, strict, 0, &err));
    log_node_make(1, secret_a, &good);
    with_pcr_4(&good, &pcrs[0], 7);
    assert_ok(log_enrol(member, &good, LOG_START, &err));
    assert_int_equal(role_of(member, good.id), STATE__ROLE__WORKER);
    /* Its boot is not in the set: it waits, and is not adopted by hand either. */
    log_node_make(2, secret_a, &bad);
    with_pcr_4(&bad, &pcrs[1], 8);
    assert_ok(log_enrol(member, &bad, LOG_START, &err));
    assert_int_equal(role_of(member, bad.id), STATE__ROLE__REGISTERED);
    /* Of an enrolment that is not named. */
    log_node_make(3, secret_b, &other);
    with_pcr_4(&other, &pcrs[2], 7);
    assert_ok(log_enrol(member, &other, LOG_START, &err));
    assert_int_equal(role_of(member, other.id), STATE__ROLE__REGISTERED);
    assert_ok(log_adopt(member, other.id, &err));
}

static void
N12_a_node_is_not_adopted_against_the_policy(void **state)
{
    struct log_member *member = *state;
    struct log_node node, old;
    struct tpm_pcrs pcrs;
    struct st_err err = {0};
    log_node_make(1, secret_a, &node);
    with_pcr_4(&node, &pcrs, 8);
    assert_ok(log_enrol(member, &node, LOG_START, &err));
    log_node_make(2, secret_a, &old);
    old.message.pcrs.len = 0; /* of 0.1 */
    assert_ok(log_enrol(member, &old, LOG_START, &err));
    assert_ok(set(member, strict, 0, &err));
    assert_code(log_adopt(member, node.id, &err), ST_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "PCR 4 differs from set s1"));
    assert_code(log_adopt_master(member, node.id, 2, &err), ST_FAILED_PRECONDITION);
    assert_code(log_adopt(member, old.id, &err), ST_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "enrol it anew"));
    assert_int_equal(role_of(member, node.id), STATE__ROLE__REGISTERED);
    assert_ok(set(member, policy_default, 1, &err));
    assert_ok(log_adopt(member, node.id, &err));
    /* Who is adopted stays so; what it boots is looked at when it unlocks. */
    assert_ok(set(member, strict, 2, &err));
    assert_ok(log_adopt(member, node.id, &err));
}

static void
N24_who_has_not_what_the_policy_wants_does_not_enrol(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    struct st_err err = {0};
    assert_ok(set(member, certified, 0, &err));
    log_node_make(1, secret_a, &node);
    node.message.evidence = STATE__EVIDENCE__NOTHING;
    assert_code(log_enrol(member, &node, LOG_START, &err), ST_PERMISSION_DENIED);
    node.message.ek_cert = node.message.id_cert;
    node.message.evidence = STATE__EVIDENCE__CERTIFICATE;
    assert_code(log_enrol(member, &node, LOG_START, &err), ST_PERMISSION_DENIED);
    assert_int_equal(err.reason, ST_REASON_REFUSED);
    node.message.evidence = STATE__EVIDENCE__CHAIN;
    assert_ok(log_enrol(member, &node, LOG_START, &err));
    assert_int_equal(role_of(member, node.id), STATE__ROLE__WORKER);
}

static void
a_chain_in_a_record_is_bounded(void **state)
{
    static uint8_t bytes[TPM_EK_CHAIN_MAX];
    const ProtobufCBinaryData one = {1, bytes};
    ProtobufCBinaryData chain[TPM_EK_CHAIN_CERTS + 1];
    struct log_member *member = *state;
    struct log_node node;
    struct state *loaded;
    struct st_err err = {0};
    for (size_t i = 0; i <= TPM_EK_CHAIN_CERTS; i++)
        chain[i] = one;
    log_node_make(1, secret_a, &node);
    node.message.ek_chain = chain;
    node.message.n_ek_chain = TPM_EK_CHAIN_CERTS + 1;
    assert_code(log_enrol(member, &node, LOG_START, &err), ST_INVALID_ARGUMENT);
    node.message.n_ek_chain = 2;
    chain[1].len = TPM_EK_CHAIN_MAX;
    assert_code(log_enrol(member, &node, LOG_START, &err), ST_INVALID_ARGUMENT);
    chain[1].len--;
    assert_ok(log_enrol(member, &node, LOG_START, &err));
    assert_ok(log_load(member, &loaded, &err));
    state_free(loaded);
}

static enum st_code
add_ca(struct log_member *member, uint8_t *cert, size_t len, struct st_err *err)
{
    State__EkCa ca = STATE__EK_CA__INIT;
    ca.cert = (ProtobufCBinaryData){len, cert};
    State__AddEkCa add_ek_ca = STATE__ADD_EK_CA__INIT;
    add_ek_ca.ca = &ca;
    State__Command command = STATE__COMMAND__INIT;
    command.by = (ProtobufCBinaryData){SHA256_LEN, log_administrator};
    command.change_case = STATE__COMMAND__CHANGE_ADD_EK_CA;
    command.add_ek_ca = &add_ek_ca;
    return log_apply(member, &command, err);
}

static enum st_code
remove_ca(struct log_member *member, const char *hex, struct st_err *err)
{
    uint8_t sha256[SHA256_LEN];
    for (size_t i = 0; i < SHA256_LEN; i++)
        assert_int_equal(sscanf(hex + 2 * i, "%2hhx", &sha256[i]), 1);
    State__RemoveEkCa remove_ek_ca = STATE__REMOVE_EK_CA__INIT;
    remove_ek_ca.sha256 = (ProtobufCBinaryData){SHA256_LEN, sha256};
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_REMOVE_EK_CA;
    command.remove_ek_ca = &remove_ek_ca;
    return log_apply(member, &command, err);
}

static void
CAs_are_added_once_and_removed_and_bounded(void **state)
{
    static const char abc[] = SHA256_OF_ABC;
    struct log_member *member = *state;
    struct state *loaded;
    struct st_err err = {0};
    char key[80];
    assert_ok(add_ca(member, (uint8_t *)"abc", 3, &err));
    assert_ok(add_ca(member, (uint8_t *)"abc", 3, &err));
    snprintf(key, sizeof(key), "ek-ca/%s", abc);
    assert_non_null(log_find(member, key));
    assert_ok(log_load(member, &loaded, &err));
    state_free(loaded);
    for (unsigned i = 1; i < STATE_EK_CAS_MAX; i++)
        assert_ok(add_ca(member, (uint8_t *)&i, sizeof(i), &err));
    assert_code(add_ca(member, (uint8_t *)"one more", 8, &err), ST_RESOURCE_EXHAUSTED);
    assert_ok(add_ca(member, (uint8_t *)"abc", 3, &err));
    assert_ok(remove_ca(member, abc, &err));
    assert_code(remove_ca(member, abc, &err), ST_NOT_FOUND);
    assert_null(log_find(member, key));
    assert_ok(add_ca(member, (uint8_t *)"one more", 8, &err));
    static uint8_t huge[CERT_MAX_LEN + 1];
    assert_code(add_ca(member, huge, sizeof(huge), &err), ST_INVALID_ARGUMENT);
    assert_code(add_ca(member, huge, 0, &err), ST_INVALID_ARGUMENT);
}

static void
digest_of_the_CAs(struct log_member *member, uint8_t out[SHA256_LEN])
{
    const State__Node node = STATE__NODE__INIT;
    struct state_evidence evidence;
    state_find_evidence(member->state, &node, &evidence);
    memcpy(out, evidence.ek_cas, SHA256_LEN);
}

/* The same CAs, whatever came and went before, and after a restart. */
static void
the_CAs_have_one_digest(void **state)
{
    struct log_member *member = *state, loaded = {0};
    uint8_t none[SHA256_LEN], abc[SHA256_LEN], both[SHA256_LEN], now[SHA256_LEN];
    struct st_err err = {0};
    digest_of_the_CAs(member, none);
    assert_ok(add_ca(member, (uint8_t *)"abc", 3, &err));
    digest_of_the_CAs(member, abc);
    assert_memory_not_equal(none, abc, SHA256_LEN);
    assert_ok(add_ca(member, (uint8_t *)"abc", 3, &err));
    digest_of_the_CAs(member, now);
    assert_memory_equal(abc, now, SHA256_LEN);
    assert_ok(add_ca(member, (uint8_t *)"another", 7, &err));
    digest_of_the_CAs(member, both);
    assert_memory_not_equal(abc, both, SHA256_LEN);
    assert_ok(log_load(member, &loaded.state, &err));
    digest_of_the_CAs(&loaded, now);
    state_free(loaded.state);
    assert_memory_equal(both, now, SHA256_LEN);
    assert_ok(remove_ca(member, SHA256_OF_ABC, &err));
    assert_ok(add_ca(member, (uint8_t *)"abc", 3, &err));
    digest_of_the_CAs(member, now);
    assert_memory_equal(both, now, SHA256_LEN);
}

/* The proposer is another master, which has not heard of the change. */
static void
N24_what_was_found_with_other_CAs_is_not_believed(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    uint8_t before[SHA256_LEN], now[SHA256_LEN];
    struct st_err err = {0};
    assert_ok(set(member, certified, 0, &err));
    assert_ok(add_ca(member, (uint8_t *)"abc", 3, &err));
    digest_of_the_CAs(member, before);
    assert_ok(remove_ca(member, SHA256_OF_ABC, &err));
    digest_of_the_CAs(member, now);
    log_node_make(1, secret_a, &node);
    node.message.ek_cert = node.message.id_cert;
    node.message.evidence = STATE__EVIDENCE__CHAIN;
    assert_code(log_enrol_by(member, &node, before, LOG_START, &err), ST_ABORTED);
    assert_int_equal(err.reason, ST_REASON_CHANGED);
    /* Nor what was not found: the CA may be there by now. */
    node.message.evidence = STATE__EVIDENCE__CERTIFICATE;
    assert_code(log_enrol_by(member, &node, before, LOG_START, &err), ST_ABORTED);
    assert_code(log_enrol_by(member, &node, now, LOG_START, &err), ST_PERMISSION_DENIED);
    node.message.evidence = STATE__EVIDENCE__CHAIN;
    assert_ok(log_enrol_by(member, &node, now, LOG_START, &err));
}

/* With a CA found for the EK of this machine. */
static enum st_code
adopt_by(struct log_member *member, const struct log_node *node,
         const uint8_t ek_cas[SHA256_LEN], struct st_err *err)
{
    uint8_t ek_sha256[SHA256_LEN];
    State__Adopt adopt = STATE__ADOPT__INIT;
    sha256_of(node->ek, sizeof(node->ek), ek_sha256);
    adopt.node_id = (char *)node->id;
    adopt.role = STATE__ROLE__WORKER;
    adopt.evidence = STATE__EVIDENCE__CHAIN;
    adopt.ek_cas = (ProtobufCBinaryData){SHA256_LEN, (uint8_t *)ek_cas};
    adopt.ek_sha256 = (ProtobufCBinaryData){SHA256_LEN, ek_sha256};
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_ADOPT;
    command.adopt = &adopt;
    return log_apply(member, &command, err);
}

static enum st_code
adopt_master_by(struct log_member *member, const struct log_node *node,
                const uint8_t ek_cas[SHA256_LEN], struct st_err *err)
{
    static uint8_t cert[] = "a certificate", key[] = "a key";
    uint8_t ek_sha256[SHA256_LEN];
    State__Member made = STATE__MEMBER__INIT;
    State__AdoptMaster adopt_master = STATE__ADOPT_MASTER__INIT;
    sha256_of(node->ek, sizeof(node->ek), ek_sha256);
    made.id = 2;
    made.cert = (ProtobufCBinaryData){sizeof(cert), cert};
    made.key = (ProtobufCBinaryData){sizeof(key), key};
    adopt_master.node_id = (char *)node->id;
    adopt_master.member = &made;
    adopt_master.evidence = STATE__EVIDENCE__CHAIN;
    adopt_master.ek_cas = (ProtobufCBinaryData){SHA256_LEN, (uint8_t *)ek_cas};
    adopt_master.ek_sha256 = (ProtobufCBinaryData){SHA256_LEN, ek_sha256};
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_ADOPT_MASTER;
    command.adopt_master = &adopt_master;
    return log_apply(member, &command, err);
}

static void
N24_a_node_is_not_adopted_by_a_CA_that_was_removed(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    uint8_t before[SHA256_LEN], now[SHA256_LEN];
    struct st_err err = {0};
    log_node_make(1, secret_b, &node);
    node.message.ek_cert = node.message.id_cert;
    assert_ok(log_enrol(member, &node, LOG_START, &err));
    assert_ok(set(member, certified, 0, &err));
    assert_ok(add_ca(member, (uint8_t *)"abc", 3, &err));
    digest_of_the_CAs(member, before);
    assert_ok(remove_ca(member, SHA256_OF_ABC, &err));
    digest_of_the_CAs(member, now);
    assert_code(adopt_by(member, &node, before, &err), ST_ABORTED);
    assert_int_equal(err.reason, ST_REASON_CHANGED);
    assert_int_equal(role_of(member, node.id), STATE__ROLE__REGISTERED);
    assert_ok(adopt_by(member, &node, now, &err));
    /* Who is adopted is not judged again. */
    assert_ok(adopt_by(member, &node, before, &err));
}

/* The proposer is another master, which has not heard that the id is another machine's by
 * now. */
static void
N24_what_was_found_for_the_EK_of_another_machine_adopts_nobody(void **state)
{
    struct log_member *member = *state;
    struct log_node before, now;
    uint8_t cas[SHA256_LEN];
    struct st_err err = {0};
    log_node_make(1, secret_b, &before);
    assert_ok(log_enrol(member, &before, LOG_START, &err));
    assert_ok(log_remove_node(member, before.id, &err));
    log_node_make(2, secret_b, &now);
    memcpy(now.id, before.id, sizeof(now.id));
    now.message.ek_cert = now.message.id_cert;
    assert_ok(log_enrol(member, &now, LOG_START, &err));
    assert_ok(set(member, certified, 0, &err));
    digest_of_the_CAs(member, cas);
    assert_code(adopt_by(member, &before, cas, &err), ST_ABORTED);
    assert_int_equal(err.reason, ST_REASON_CHANGED);
    assert_code(adopt_master_by(member, &before, cas, &err), ST_ABORTED);
    assert_int_equal(err.reason, ST_REASON_CHANGED);
    assert_null(log_find(member, "member/2"));
    assert_int_equal(role_of(member, now.id), STATE__ROLE__REGISTERED);
    assert_ok(adopt_master_by(member, &now, cas, &err));
}

#define MEMBER_TEST(name) cmocka_unit_test_setup_teardown(name, open_member, close_member)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        MEMBER_TEST(before_the_first_one_the_default_is_in_force),
        MEMBER_TEST(N57_a_policy_replaces_the_one_that_its_author_saw),
        MEMBER_TEST(N56_a_change_that_names_its_author_itself_is_carried_out),
        MEMBER_TEST(N57_what_is_no_policy_changes_nothing),
        MEMBER_TEST(the_newest_are_kept),
        MEMBER_TEST(every_master_has_the_same_policy),
        MEMBER_TEST(N57_a_master_that_does_not_know_the_schema_of_a_policy_ends),
        MEMBER_TEST(N57_a_record_that_is_no_policy_keeps_the_master_from_starting),
        MEMBER_TEST(an_enrolment_that_the_policy_names_needs_no_administrator),
        MEMBER_TEST(N12_a_node_is_not_adopted_against_the_policy),
        MEMBER_TEST(N24_who_has_not_what_the_policy_wants_does_not_enrol),
        MEMBER_TEST(a_chain_in_a_record_is_bounded),
        MEMBER_TEST(CAs_are_added_once_and_removed_and_bounded),
        MEMBER_TEST(the_CAs_have_one_digest),
        MEMBER_TEST(N24_what_was_found_with_other_CAs_is_not_believed),
        MEMBER_TEST(N24_a_node_is_not_adopted_by_a_CA_that_was_removed),
        MEMBER_TEST(N24_what_was_found_for_the_EK_of_another_machine_adopts_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
