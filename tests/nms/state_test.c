/* The state machine: who may become a node, what a repeated command does, and that the
 * same commands lead every member to the same records. */
#include "nms/state_internal.h"
#include "tests/nms/log.h"
#include "tpm/approval.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const uint8_t secret_a[32] = {0xaa}, secret_b[32] = {0xbb}, secret_no[32] = {0xcc};
static const int64_t later = LOG_START + 3600;

static int
open_member(void **state)
{
    static struct log_member member;
    struct st_err err = {0};
    log_open(&member);
    assert_ok(log_new_enrolment(&member, "rack1", secret_a, 2, later, &err));
    assert_ok(log_new_enrolment(&member, "rack2", secret_b, 1000, later, &err));
    *state = &member;
    return 0;
}

static int
close_member(void **state)
{
    log_close(*state);
    return 0;
}

static uint32_t
node_count(struct log_member *member)
{
    struct state_counts counts;
    struct st_err err = {0};
    assert_ok(state_count(member->state, LOG_START, &counts, &err));
    return counts.nodes;
}

static void
a_node_enrols_waits_is_adopted_and_removed(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    struct st_err err = {0};
    log_node_make(1, secret_a, &node);
    assert_ok(log_enrol(member, &node, LOG_START, &err));
    assert_int_equal(log_uses_left(member, "rack1"), 1);

    State__Node *found;
    assert_ok(state_node(member->state, node.id, &found, &err));
    assert_int_equal(found->role, STATE__ROLE__REGISTERED);
    assert_string_equal(found->enrolment, "rack1");
    assert_true(found->enrolled_at == LOG_START);
    assert_memory_equal(found->global_unlock_key.data, node.key, 32);
    state_node_free(found);

    assert_ok(log_adopt(member, node.id, &err));
    assert_ok(log_adopt(member, node.id, &err));
    assert_ok(state_node(member->state, node.id, &found, &err));
    assert_int_equal(found->role, STATE__ROLE__WORKER);
    state_node_free(found);

    assert_ok(log_remove_node(member, node.id, &err));
    assert_code(state_node(member->state, node.id, &found, NULL), ST_NOT_FOUND);
    assert_code(log_remove_node(member, node.id, &err), ST_NOT_FOUND);
    assert_int_equal(err.reason, ST_REASON_NOT_FOUND);
    assert_code(log_adopt(member, node.id, NULL), ST_NOT_FOUND);
    char key[100];
    snprintf(key, sizeof(key), "node/%s", node.id);
    assert_null(log_find(member, key));
}

static void
N31_a_secret_that_is_wrong_expired_revoked_or_used_up_is_refused(void **state)
{
    struct log_member *member = *state;
    struct log_node nodes[4];
    struct st_err err = {0};
    for (unsigned i = 0; i < 4; i++)
        log_node_make(i, secret_a, &nodes[i]);
    struct log_node wrong;
    log_node_make(9, secret_no, &wrong);
    assert_code(log_enrol(member, &wrong, LOG_START, &err), ST_PERMISSION_DENIED);
    assert_int_equal(err.reason, ST_REASON_REFUSED);
    wrong.message.secret_hash.len = 0;
    assert_code(log_enrol(member, &wrong, LOG_START, NULL), ST_INVALID_ARGUMENT);

    assert_code(log_enrol(member, &nodes[0], later, &err), ST_PERMISSION_DENIED);
    assert_int_equal(err.reason, ST_REASON_REFUSED);
    assert_ok(log_enrol(member, &nodes[0], later - 1, &err));
    assert_ok(log_enrol(member, &nodes[1], LOG_START, &err));
    assert_code(log_enrol(member, &nodes[2], LOG_START, &err), ST_PERMISSION_DENIED);
    assert_int_equal(err.reason, ST_REASON_REFUSED);

    assert_ok(log_remove_enrolment(member, "rack2", &err));
    log_node_make(3, secret_b, &nodes[3]);
    assert_code(log_enrol(member, &nodes[3], LOG_START, &err), ST_PERMISSION_DENIED);
    assert_int_equal(node_count(member), 2);
    assert_code(log_remove_enrolment(member, "rack2", NULL), ST_NOT_FOUND);
}

static void
the_same_node_again_is_fine_even_when_its_enrolment_is_gone(void **state)
{
    struct log_member *member = *state;
    struct log_node first, second;
    struct st_err err = {0};
    log_node_make(1, secret_a, &first);
    log_node_make(2, secret_a, &second);
    assert_ok(log_enrol(member, &first, LOG_START, &err));
    assert_ok(log_enrol(member, &second, LOG_START, &err));
    assert_int_equal(log_uses_left(member, "rack1"), 0);
    assert_ok(log_enrol(member, &first, LOG_START, &err));
    assert_ok(log_remove_enrolment(member, "rack1", &err));
    assert_ok(log_enrol(member, &first, later + 1, &err));
    assert_int_equal(node_count(member), 2);
}

/* Everything that may differ from a node that is in already, one at a time. */
static void
N29_whoever_resembles_a_node_but_is_not_the_same_is_refused(void **state)
{
    struct log_member *member = *state;
    struct log_node known, other, again;
    struct st_err err = {0};
    log_node_make(1, secret_b, &known);
    log_node_make(2, secret_b, &other);
    assert_ok(log_enrol(member, &known, LOG_START, &err));
    const struct {
        const char *what;
        size_t offset;
    } parts[] = {
        {"id", offsetof(struct log_node, id)},
        {"EK", offsetof(struct log_node, ek)},
        {"AK", offsetof(struct log_node, ak)},
        {"certificate", offsetof(struct log_node, cert)},
        {"global key", offsetof(struct log_node, key)},
    };
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        log_node_make(1, secret_b, &again);
        memcpy((uint8_t *)&again + parts[i].offset,
               (const uint8_t *)&other + parts[i].offset, 32);
        if (i == 0)
            strcpy(again.id, other.id);
        enum st_code code = log_enrol(member, &again, LOG_START, &err);
        if (code != ST_ALREADY_EXISTS)
            fail_msg("another %s: %s", parts[i].what, st_code_name(code));
        assert_int_equal(err.reason, ST_REASON_EXISTS);
        assert_int_equal(log_uses_left(member, "rack2"), 999);
    }
    log_node_make(1, secret_a, &again); /* another secret, good as it is */
    assert_code(log_enrol(member, &again, LOG_START, NULL), ST_ALREADY_EXISTS);
    /* Who has no good secret is not told which machines are known. */
    log_node_make(1, secret_no, &again);
    assert_code(log_enrol(member, &again, LOG_START, NULL), ST_PERMISSION_DENIED);
    State__Node *found;
    assert_ok(state_node(member->state, known.id, &found, &err));
    assert_memory_equal(found->global_unlock_key.data, known.key, 32);
    state_node_free(found);
    assert_int_equal(node_count(member), 1);
}

static void
a_repeated_request_changes_nothing_and_answers_the_same(void **state)
{
    struct log_member *member = *state;
    uint8_t id[REQUEST_ID_LEN] = "0123456789abcde";
    uint8_t before[SHA256_LEN], after[SHA256_LEN];
    struct st_err err = {0};
    State__RemoveEnrolment remove_enrolment = STATE__REMOVE_ENROLMENT__INIT;
    remove_enrolment.name = (char *)"rack1";
    State__Command command = STATE__COMMAND__INIT;
    command.request_id.data = id;
    command.request_id.len = sizeof(id);
    command.change_case = STATE__COMMAND__CHANGE_REMOVE_ENROLMENT;
    command.remove_enrolment = &remove_enrolment;
    assert_ok(log_apply(member, &command, &err));
    assert_ok(log_new_enrolment(member, "rack1", secret_a, 1, later, &err));
    log_digest(member->state, before);
    assert_ok(log_apply(member, &command, &err)); /* would remove the new one */
    log_digest(member->state, after);
    assert_memory_equal(before, after, SHA256_LEN);

    id[0] ^= 1;
    remove_enrolment.name = (char *)"rack9";
    assert_code(log_apply(member, &command, NULL), ST_NOT_FOUND);
    assert_ok(log_new_enrolment(member, "rack9", secret_no, 1, later, &err));
    assert_code(log_apply(member, &command, &err), ST_NOT_FOUND);
    assert_int_equal(err.reason, ST_REASON_NOT_FOUND);
    assert_string_equal(err.text, "no enrolment rack9");
}

/* The secret of then is stored nowhere: who asked again with another one must not be told
 * that it is good.  Who asks with the same one hears the same, whatever came after it. */
static void
N31_a_repeated_request_with_another_secret_is_told_that_it_exists(void **state)
{
    struct log_member *member = *state;
    uint8_t id[REQUEST_ID_LEN] = "0123456789abcde", secret[32] = {0xdd};
    struct st_err err = {0};
    State__Enrolment enrolment = STATE__ENROLMENT__INIT;
    enrolment.name = (char *)"rack3";
    enrolment.secret_hash.data = secret;
    enrolment.secret_hash.len = sizeof(secret);
    enrolment.uses_left = 1;
    enrolment.expires_at = later;
    State__NewEnrolment new_enrolment = STATE__NEW_ENROLMENT__INIT;
    new_enrolment.enrolment = &enrolment;
    State__Command command = STATE__COMMAND__INIT;
    command.time = LOG_START;
    command.request_id.data = id;
    command.request_id.len = sizeof(id);
    command.change_case = STATE__COMMAND__CHANGE_NEW_ENROLMENT;
    command.new_enrolment = &new_enrolment;
    assert_ok(log_apply(member, &command, &err));
    secret[0] ^= 1;
    assert_code(log_apply(member, &command, &err), ST_ALREADY_EXISTS);
    assert_int_equal(err.reason, ST_REASON_EXISTS);
    secret[0] ^= 1;
    assert_ok(log_remove_enrolment(member, "rack3", &err));
    assert_ok(log_apply(member, &command, &err));
    assert_int_equal(log_uses_left(member, "rack3"), -1);
}

static size_t
request_count(const struct log_member *member)
{
    size_t requests = 0;
    for (size_t i = 0; i < member->count; i++)
        requests += strncmp(member->records[i].key, "request/", 8) == 0;
    return requests;
}

static enum st_code
remove_none_at(struct log_member *member, int64_t time, struct st_err *err)
{
    State__RemoveEnrolment remove_enrolment = STATE__REMOVE_ENROLMENT__INIT;
    remove_enrolment.name = (char *)"none";
    State__Command command = STATE__COMMAND__INIT;
    command.time = time;
    command.change_case = STATE__COMMAND__CHANGE_REMOVE_ENROLMENT;
    command.remove_enrolment = &remove_enrolment;
    return log_apply(member, &command, err);
}

static void
only_the_newest_requests_are_remembered(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    for (int i = 0; i < STATE_REQUESTS_KEPT + 50; i++)
        assert_code(remove_none_at(member, LOG_START, &err), ST_NOT_FOUND);
    for (int i = 0; i < 10; i++)
        assert_code(remove_none_at(member, LOG_START + STATE_REQUESTS_KEPT_S + 1, &err),
                    ST_NOT_FOUND);
    assert_int_equal(request_count(member), STATE_REQUESTS_KEPT);
    assert_null(log_find(member, "request/0000000000000001"));
    char newest[64];
    snprintf(newest, sizeof(newest), "request/%016llx",
             (unsigned long long)member->index);
    assert_non_null(log_find(member, newest));
}

/* Who asks again until the time is up must not have it done twice, however much was done
 * for others meanwhile. */
static void
a_request_that_may_come_again_is_remembered_among_any_number(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    for (int i = 0; i < STATE_REQUESTS_KEPT + 50; i++)
        assert_code(remove_none_at(member, LOG_START + i % STATE_REQUESTS_KEPT_S, &err),
                    ST_NOT_FOUND);
    assert_non_null(log_find(member, "request/0000000000000001"));
    /* Nor does a clock that is wrong keep them for ever. */
    for (int i = 0; i < 10; i++)
        assert_code(remove_none_at(member, LOG_START - STATE_REQUESTS_KEPT_S * 2, &err),
                    ST_NOT_FOUND);
    assert_int_equal(request_count(member), STATE_REQUESTS_KEPT);
}

static void
an_enrolment_has_bounds(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    const int64_t year = LOG_START + ENROLMENT_EXPIRES_MAX_S;
    assert_code(log_new_enrolment(member, "a", secret_no, 0, later, NULL),
                ST_INVALID_ARGUMENT);
    assert_code(
        log_new_enrolment(member, "a", secret_no, ENROLMENT_USES_MAX + 1, later, NULL),
        ST_INVALID_ARGUMENT);
    assert_code(log_new_enrolment(member, "a", secret_no, 1, year + 1, NULL),
                ST_INVALID_ARGUMENT);
    assert_code(log_new_enrolment(member, "a/b", secret_no, 1, later, NULL),
                ST_INVALID_ARGUMENT);
    assert_code(log_new_enrolment(member, "rack1", secret_no, 1, later, NULL),
                ST_ALREADY_EXISTS);
    assert_code(log_new_enrolment(member, "a", secret_a, 1, later, NULL),
                ST_ALREADY_EXISTS);
    assert_ok(log_new_enrolment(member, "a", secret_no, ENROLMENT_USES_MAX, year, &err));
}

static void
a_command_that_cannot_be_read_changes_nothing(void **state)
{
    struct log_member *member = *state;
    uint8_t before[SHA256_LEN], after[SHA256_LEN];
    log_digest(member->state, before);
    assert_code(log_apply_bytes(member, "\xff\xff\xff", 3, NULL), ST_INVALID_ARGUMENT);
    assert_code(log_apply_bytes(member, "", 0, NULL), ST_INVALID_ARGUMENT);
    State__Command empty = STATE__COMMAND__INIT;
    empty.request_id.data = (uint8_t *)"short";
    empty.request_id.len = 5;
    assert_code(log_apply(member, &empty, NULL), ST_INVALID_ARGUMENT);
    log_digest(member->state, after);
    assert_memory_equal(before, after, SHA256_LEN);
}

/* A change with a number that no release before has. */
static void
N56_a_master_that_does_not_know_a_change_ends(void **state)
{
    struct log_member *member = *state;
    State__Command command = STATE__COMMAND__INIT;
    uint8_t bytes[64], change[] = {0xfa, 0x3f, 0x00}; /* field 1023, empty */
    command.request_id =
        (ProtobufCBinaryData){REQUEST_ID_LEN, (uint8_t *)"sixteen bytes..."};
    size_t len = state__command__pack(&command, bytes);
    assert_code(log_apply_bytes(member, bytes, len, NULL), ST_INVALID_ARGUMENT);
    memcpy(bytes + len, change, sizeof(change));
    pid_t child = fork();
    if (child == 0) {
        (void)!log_apply_bytes(member, bytes, len + sizeof(change), NULL);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static enum st_code
renew(struct log_member *member, const uint8_t *expected, size_t len, uint8_t next,
      size_t key_len, struct st_err *err)
{
    uint8_t point[TPM_AUTHORITY_LEN], key[TPM_AUTHORITY_KEY_LEN] = {1};
    State__SealAuthority authority = STATE__SEAL_AUTHORITY__INIT;
    State__RenewAuthority renew_authority = STATE__RENEW_AUTHORITY__INIT;
    State__Command command = STATE__COMMAND__INIT;
    memset(point, next, sizeof(point));
    authority.point = (ProtobufCBinaryData){sizeof(point), point};
    authority.key = (ProtobufCBinaryData){key_len, key};
    renew_authority.expected = (ProtobufCBinaryData){len, (uint8_t *)expected};
    renew_authority.authority = &authority;
    command.change_case = STATE__COMMAND__CHANGE_RENEW_AUTHORITY;
    command.renew_authority = &renew_authority;
    return log_apply(member, &command, err);
}

/* Of a cluster that had none: 0.1 founded it. */
static void
an_authority_is_renewed_and_the_one_before_is_kept(void **state)
{
    struct log_member *member = *state;
    struct state *loaded;
    struct st_err err = {0};
    uint8_t first[TPM_AUTHORITY_LEN], other[TPM_AUTHORITY_LEN];
    memset(first, 1, sizeof(first));
    memset(other, 9, sizeof(other));
    assert_code(renew(member, NULL, 0, 1, 32, &err), ST_INVALID_ARGUMENT);
    log_found(member);
    assert_code(renew(member, NULL, 0, 1, 31, &err), ST_INVALID_ARGUMENT);
    assert_code(renew(member, other, sizeof(other), 1, 32, &err), ST_ABORTED);
    assert_ok(renew(member, NULL, 0, 1, 32, &err));
    assert_code(renew(member, NULL, 0, 2, 32, &err), ST_ABORTED);
    assert_code(renew(member, first, 63, 2, 32, &err), ST_ABORTED);
    assert_ok(renew(member, first, sizeof(first), 2, 32, &err));
    assert_ok(log_load(member, &loaded, &err));
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    assert_ok(state_cluster(loaded, &cluster, &err));
    assert_int_equal(cluster->seal_authority->point.data[0], 2);
    assert_memory_equal(cluster->seal_authority_before->point.data, first, sizeof(first));
    assert_int_equal(cluster->crl_number, 1); /* and the rest is as it was */
    state_free(loaded);
}

static void
records_that_do_not_fit_their_names_end_the_start(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    struct state *loaded;
    struct st_err err = {0};
    log_node_make(1, secret_a, &node);
    assert_ok(log_enrol(member, &node, LOG_START, &err));
    assert_ok(log_load(member, &loaded, &err));
    state_free(loaded);

    for (size_t i = 0; i < member->count; i++) {
        char *last = strchr(member->records[i].key, 0) - 1;
        member->records[i].len--;
        assert_code(log_load(member, &loaded, &err), ST_DATA_LOSS);
        member->records[i].len++;
        /* A request's key is its place in the log, which its value does not repeat. */
        if (strncmp(member->records[i].key, "request/", 8) == 0)
            continue;
        *last ^= 1;
        assert_code(log_load_as_is(member, &loaded, &err), ST_DATA_LOSS);
        assert_non_null(strstr(err.text, "record"));
        *last ^= 1;
    }
    strcpy(member->records[0].key, "strange");
    assert_code(log_load(member, &loaded, &err), ST_DATA_LOSS);
    assert_non_null(strstr(err.text, "strange"));
}

static void
two_records_of_one_tpm_end_the_start(void **state)
{
    struct log_member *member = *state;
    struct log_node node, twin;
    struct state *loaded;
    struct st_err err = {0};
    log_node_make(1, secret_b, &node);
    log_node_make(2, secret_b, &twin);
    assert_ok(log_enrol(member, &node, LOG_START, &err));
    assert_ok(log_enrol(member, &twin, LOG_START, &err));
    char key[100];
    snprintf(key, sizeof(key), "node/%s", twin.id);
    struct log_record *record = (struct log_record *)log_find(member, key);
    memcpy(twin.ek, node.ek, sizeof(twin.ek));
    record->value = realloc(record->value, 4096);
    record->len = state__node__pack(&twin.message, record->value);
    assert_code(log_load(member, &loaded, &err), ST_DATA_LOSS);
}

/* What a command about the masters is made of; lives as long as the command. */
struct random_member {
    State__Member member;
    State__AdoptMaster adopt_master;
    State__MemberPhase member_phase;
    State__RemoveMaster remove_master;
    State__MemberGone member_gone;
};

static void
command_of_member(State__Command *command, struct random_member *parts, char *node_id,
                  unsigned *seed)
{
    const ProtobufCBinaryData bytes = {5, (uint8_t *)"bytes"};
    *parts = (struct random_member){STATE__MEMBER__INIT, STATE__ADOPT_MASTER__INIT,
                                    STATE__MEMBER_PHASE__INIT, STATE__REMOVE_MASTER__INIT,
                                    STATE__MEMBER_GONE__INIT};
    const uint64_t id = (uint64_t)rand_r(seed) % 20;
    switch (rand_r(seed) % 4) {
    case 0:
        parts->member.id = id;
        parts->member.cert = parts->member.key = bytes;
        parts->adopt_master.node_id = node_id;
        parts->adopt_master.member = &parts->member;
        command->adopt_master = &parts->adopt_master;
        command->change_case = STATE__COMMAND__CHANGE_ADOPT_MASTER;
        break;
    case 1:
        parts->member_phase.id = id;
        parts->member_phase.from = (State__Phase)(rand_r(seed) % 4);
        parts->member_phase.to = (State__Phase)(rand_r(seed) % 4);
        command->member_phase = &parts->member_phase;
        command->change_case = STATE__COMMAND__CHANGE_MEMBER_PHASE;
        break;
    case 2:
        parts->remove_master.id = id;
        command->remove_master = &parts->remove_master;
        command->change_case = STATE__COMMAND__CHANGE_REMOVE_MASTER;
        break;
    default:
        parts->member_gone.id = id;
        parts->member_gone.crl = bytes;
        parts->member_gone.crl_number = (uint64_t)rand_r(seed) % 4;
        command->member_gone = &parts->member_gone;
        command->change_case = STATE__COMMAND__CHANGE_MEMBER_GONE;
        break;
    }
}

/* Commands of every kind over a few names, so that they meet. */
static void
apply_random(struct log_member *members, size_t count, unsigned *seed)
{
    char name[16];
    uint8_t secret[32] = {(uint8_t)(rand_r(seed) % 5)};
    struct log_node node;
    uint8_t request[REQUEST_ID_LEN] = {(uint8_t)rand_r(seed), (uint8_t)rand_r(seed)};
    State__Enrol enrol = STATE__ENROL__INIT;
    State__Adopt adopt = STATE__ADOPT__INIT;
    State__RemoveNode remove_node = STATE__REMOVE_NODE__INIT;
    State__NewEnrolment new_enrolment = STATE__NEW_ENROLMENT__INIT;
    State__Enrolment enrolment = STATE__ENROLMENT__INIT;
    State__RemoveEnrolment remove_enrolment = STATE__REMOVE_ENROLMENT__INIT;
    struct random_member parts;
    State__Command command = STATE__COMMAND__INIT;

    snprintf(name, sizeof(name), "e%d", rand_r(seed) % 4);
    log_node_make((unsigned)rand_r(seed) % 8, secret, &node);
    if (rand_r(seed) % 4 == 0)
        snprintf((char *)node.ek, sizeof(node.ek), "the EK of %d", rand_r(seed) % 8);
    command.request_id.data = request;
    command.request_id.len = sizeof(request);
    command.time = LOG_START + rand_r(seed) % 7200;
    switch (rand_r(seed) % 9) {
    case 0:
    case 1:
        enrol.node = &node.message;
        command.enrol = &enrol;
        command.change_case = STATE__COMMAND__CHANGE_ENROL;
        break;
    case 2:
        adopt.node_id = node.id;
        adopt.role = (State__Role)(rand_r(seed) % 3);
        command.adopt = &adopt;
        command.change_case = STATE__COMMAND__CHANGE_ADOPT;
        break;
    case 3:
        remove_node.node_id = node.id;
        command.remove_node = &remove_node;
        command.change_case = STATE__COMMAND__CHANGE_REMOVE_NODE;
        break;
    case 4:
        enrolment.name = name;
        enrolment.secret_hash.data = secret;
        enrolment.secret_hash.len = 32;
        enrolment.uses_left = (uint32_t)rand_r(seed) % 4;
        enrolment.expires_at = later;
        new_enrolment.enrolment = &enrolment;
        command.new_enrolment = &new_enrolment;
        command.change_case = STATE__COMMAND__CHANGE_NEW_ENROLMENT;
        break;
    case 5:
    case 6:
    case 7:
        command_of_member(&command, &parts, node.id, seed);
        break;
    default:
        remove_enrolment.name = name;
        command.remove_enrolment = &remove_enrolment;
        command.change_case = STATE__COMMAND__CHANGE_REMOVE_ENROLMENT;
        break;
    }
    struct st_err first = {0};
    for (size_t i = 0; i < count; i++) {
        struct st_err err = {0};
        enum st_code code = log_apply(&members[i], &command, &err);
        if (i == 0)
            first = err;
        assert_int_equal(code, first.code);
        assert_string_equal(err.text, first.text);
    }
}

static void
the_same_commands_lead_to_the_same_records_also_over_a_restart(void **state)
{
    (void)state;
    unsigned seed = 4711;
    struct log_member members[2];
    struct st_err err = {0};
    log_open(&members[0]);
    log_open(&members[1]);
    /* The second begins as a copy of the disk of the first. */
    log_found(&members[0]);
    log_copy(&members[0], &members[1]);
    for (int round = 0; round < 3000; round++) {
        uint8_t digest[2][SHA256_LEN];
        apply_random(members, 2, &seed);
        if (round % 100 != 99)
            continue;
        /* The second member restarts now and then, with what is on its disk. */
        struct state *loaded;
        assert_ok(log_load(&members[1], &loaded, &err));
        state_free(members[1].state);
        members[1].state = loaded;
        members[1].machine = state_machine(loaded);
        log_digest(members[0].state, digest[0]);
        log_digest(members[1].state, digest[1]);
        assert_memory_equal(digest[0], digest[1], SHA256_LEN);
    }
    assert_int_not_equal(node_count(&members[0]), 0);
    log_close(&members[0]);
    log_close(&members[1]);
}

static void
a_check_before_the_log_says_what_the_log_would_say(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    struct st_err err = {0};
    log_node_make(1, secret_no, &node);
    assert_code(state_enrol_check(member->state, &node.message, LOG_START, NULL),
                ST_PERMISSION_DENIED);
    log_node_make(1, secret_b, &node);
    assert_ok(state_enrol_check(member->state, &node.message, LOG_START, &err));
    assert_int_equal(node_count(member), 0);
    assert_int_equal(log_uses_left(member, "rack2"), 1000);
}

static void
N31_a_clock_that_is_behind_makes_no_enrolment_good_again(void **state)
{
    struct log_member *member = *state;
    struct log_node node;
    struct st_err err = {0};
    const int64_t oldest = LOG_START - STATE_CLOCKS_DIFFER_S;
    log_node_make(1, secret_b, &node);
    assert_ok(state_enrol_check(member->state, &node.message, oldest, &err));
    assert_code(state_enrol_check(member->state, &node.message, oldest - 1, &err),
                ST_UNAVAILABLE);
    assert_int_equal(err.reason, ST_REASON_CLOCK);
    assert_non_null(strstr(err.text, "enrolment rack2 was made"));
    assert_non_null(strstr(err.text, "made it was ahead"));
    /* The node that did not hear its OK spends no secret. */
    assert_ok(log_enrol(member, &node, LOG_START, &err));
    assert_ok(state_enrol_check(member->state, &node.message, 0, &err));
}

static void
count(void *arg)
{
    (*(unsigned *)arg)++;
}

/* Nobody applies what came with a snapshot: the list of revoked certificates may be
 * another one all the same. */
static void
N53_a_snapshot_may_bring_another_list(void **state)
{
    struct log_member *member = *state;
    struct st_err err = {0};
    unsigned changes = 0;
    state_watch_members(member->state, count, &changes);
    assert_ok(log_reload(member, &member->machine, &err));
    assert_int_equal(changes, 1);
}

struct reading {
    struct log_member *member;
    atomic_bool ends;
    atomic_uint wrong;
};

static void *
read_on(void *arg)
{
    struct reading *reading = arg;
    while (!reading->ends)
        reading->wrong += node_count(reading->member) != 200;
    return NULL;
}

/* A master that is half there would be gone, and a node nobody's. */
static void
a_snapshot_is_seen_as_a_whole(void **state)
{
    struct log_member *member = *state;
    struct reading reading = {.member = member};
    struct log_node node;
    struct st_err err = {0};
    pthread_t reader;
    for (unsigned i = 0; i < 200; i++) {
        log_node_make(i, secret_b, &node);
        assert_ok(log_enrol(member, &node, LOG_START, &err));
    }
    assert_int_equal(pthread_create(&reader, NULL, read_on, &reading), 0);
    for (int i = 0; i < 100; i++)
        assert_ok(log_reload(member, &member->machine, &err));
    reading.ends = true;
    pthread_join(reader, NULL);
    assert_int_equal(reading.wrong, 0);
}

static void *
write_once(void *argument)
{
    struct state *state = argument;
    WRITING(state);
    return NULL;
}

static void
what_was_committed_does_not_wait_behind_whoever_reads_next(void **state)
{
    struct log_member *member = *state;
    pthread_rwlock_t *lock = state_lock_read(member->state);
    pthread_t writer;
    int status, patience = 500;
    assert_int_equal(pthread_create(&writer, NULL, write_once, member->state), 0);
    while (!(status = pthread_rwlock_tryrdlock(lock)) && --patience) {
        pthread_rwlock_unlock(lock);
        usleep(10000);
    }
    assert_int_equal(status, EBUSY);
    state_unlock(&lock);
    pthread_join(writer, NULL);
}

#define MEMBER_TEST(name) cmocka_unit_test_setup_teardown(name, open_member, close_member)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        MEMBER_TEST(a_node_enrols_waits_is_adopted_and_removed),
        MEMBER_TEST(N31_a_secret_that_is_wrong_expired_revoked_or_used_up_is_refused),
        MEMBER_TEST(the_same_node_again_is_fine_even_when_its_enrolment_is_gone),
        MEMBER_TEST(N29_whoever_resembles_a_node_but_is_not_the_same_is_refused),
        MEMBER_TEST(a_repeated_request_changes_nothing_and_answers_the_same),
        MEMBER_TEST(N31_a_repeated_request_with_another_secret_is_told_that_it_exists),
        MEMBER_TEST(only_the_newest_requests_are_remembered),
        MEMBER_TEST(a_request_that_may_come_again_is_remembered_among_any_number),
        MEMBER_TEST(an_enrolment_has_bounds),
        MEMBER_TEST(a_command_that_cannot_be_read_changes_nothing),
        MEMBER_TEST(N56_a_master_that_does_not_know_a_change_ends),
        MEMBER_TEST(an_authority_is_renewed_and_the_one_before_is_kept),
        MEMBER_TEST(records_that_do_not_fit_their_names_end_the_start),
        MEMBER_TEST(two_records_of_one_tpm_end_the_start),
        MEMBER_TEST(a_check_before_the_log_says_what_the_log_would_say),
        MEMBER_TEST(N31_a_clock_that_is_behind_makes_no_enrolment_good_again),
        MEMBER_TEST(N53_a_snapshot_may_bring_another_list),
        MEMBER_TEST(a_snapshot_is_seen_as_a_whole),
        MEMBER_TEST(what_was_committed_does_not_wait_behind_whoever_reads_next),
        cmocka_unit_test(the_same_commands_lead_to_the_same_records_also_over_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
