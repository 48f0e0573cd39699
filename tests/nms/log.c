#include "tests/nms/log.h"

#include "proto/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The change goes straight into the records of the member that applies. */
struct replica_change {
    struct log_member *member;
};

static struct log_record *
find(struct log_member *member, const void *key, size_t len)
{
    for (size_t i = 0; i < member->count; i++)
        if (strlen(member->records[i].key) == len &&
            memcmp(member->records[i].key, key, len) == 0)
            return &member->records[i];
    return NULL;
}

void
replica_change_put(struct replica_change *change, const void *key, size_t key_len,
                   const void *value, size_t value_len)
{
    struct log_member *member = change->member;
    assert_in_range(key_len, 1, REPLICA_KEY_MAX);
    struct log_record *record = find(member, key, key_len);
    if (!record) {
        member->records =
            realloc(member->records, (member->count + 1) * sizeof(*member->records));
        assert_non_null(member->records);
        record = &member->records[member->count++];
        memset(record, 0, sizeof(*record));
        memcpy(record->key, key, key_len);
    }
    free(record->value);
    record->value = malloc(value_len ? value_len : 1);
    assert_non_null(record->value);
    memcpy(record->value, value, value_len);
    record->len = value_len;
}

void
replica_change_delete(struct replica_change *change, const void *key, size_t key_len)
{
    struct log_member *member = change->member;
    struct log_record *record = find(member, key, key_len);
    assert_non_null(record);
    free(record->value);
    *record = member->records[--member->count];
}

void
log_open(struct log_member *member)
{
    struct st_err err = {0};
    memset(member, 0, sizeof(*member));
    assert_ok(state_new(&member->state, &err));
    member->machine = state_machine(member->state);
    member->machine.reset(member->machine.self);
    member->machine.loaded(member->machine.self);
}

void
log_close(struct log_member *member)
{
    state_free(member->state);
    for (size_t i = 0; i < member->count; i++)
        free(member->records[i].value);
    free(member->records);
}

enum st_code
log_apply_bytes(struct log_member *member, const void *bytes, size_t len,
                struct st_err *err)
{
    struct replica_change change = {member};
    struct replica_result *result = calloc(1, sizeof(*result));
    assert_non_null(result);
    member->machine.apply(member->machine.self, ++member->index, bytes, len, &change,
                          result);
    enum st_code code = state_result(result, err);
    free(result);
    return code;
}

enum st_code
log_apply(struct log_member *member, State__Command *command, struct st_err *err)
{
    SECRET id = {0};
    if (command->request_id.len == 0) {
        assert_code(secret_random(&id, REQUEST_ID_LEN, err), ST_OK);
        command->request_id.data = id.bytes;
        command->request_id.len = id.len;
    }
    const size_t len = state__command__get_packed_size(command);
    uint8_t *packed = malloc(len);
    assert_non_null(packed);
    state__command__pack(command, packed);
    enum st_code code = log_apply_bytes(member, packed, len, err);
    free(packed);
    return code;
}

static int
compare_keys(const void *a, const void *b)
{
    return strcmp(((const struct log_record *)a)->key,
                  ((const struct log_record *)b)->key);
}

enum st_code
log_reload(const struct log_member *member, const struct replica_machine *machine,
           struct st_err *err)
{
    enum st_code code = ST_OK;
    machine->reset(machine->self);
    for (size_t i = 0; i < member->count && !code; i++) {
        const struct log_record *record = &member->records[i];
        code = machine->load(machine->self, record->key, strlen(record->key),
                             record->value, record->len, err);
    }
    machine->loaded(machine->self);
    return code;
}

enum st_code
log_load_as_is(const struct log_member *member, struct state **out, struct st_err *err)
{
    struct state *state;
    enum st_code code = state_new(&state, err);
    if (code)
        return code;
    struct replica_machine machine = state_machine(state);
    code = log_reload(member, &machine, err);
    if (code)
        state_free(state);
    else
        *out = state;
    return code;
}

enum st_code
log_load(const struct log_member *member, struct state **out, struct st_err *err)
{
    if (member->count > 0)
        qsort(member->records, member->count, sizeof(*member->records), compare_keys);
    return log_load_as_is(member, out, err);
}

/* "key hex\n" becomes a record; anything else fails the test. */
static void
record_parse(struct log_member *member, char *line)
{
    char *hex = strchr(line, ' ');
    assert_non_null(hex);
    *hex++ = 0;
    uint8_t value[4096];
    size_t len = 0;
    for (unsigned byte; len < sizeof(value) && sscanf(hex, "%2x", &byte) == 1; hex += 2)
        value[len++] = (uint8_t)byte;
    assert_int_equal(*hex, '\n');
    struct replica_change change = {member};
    replica_change_put(&change, line, strlen(line), value, len);
}

static void
begin_from_disk(struct log_member *member, uint64_t index)
{
    struct st_err err = {0};
    assert_ok(log_load(member, &member->state, &err));
    member->machine = state_machine(member->state);
    member->index = index;
}

void
log_copy(const struct log_member *from, struct log_member *member)
{
    struct replica_change change = {member};
    log_close(member);
    memset(member, 0, sizeof(*member));
    for (size_t i = 0; i < from->count; i++) {
        const struct log_record *record = &from->records[i];
        replica_change_put(&change, record->key, strlen(record->key), record->value,
                           record->len);
    }
    begin_from_disk(member, from->index);
}

void
log_read(struct log_member *member, const char *path)
{
    char line[8192];
    log_close(member);
    memset(member, 0, sizeof(*member));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file))
        if (*line != '#')
            record_parse(member, line);
    fclose(file);
    begin_from_disk(member, 1000);
}

const struct log_record *
log_find(const struct log_member *member, const char *key)
{
    return find((struct log_member *)member, key, strlen(key));
}

void
log_digest(struct state *state, uint8_t out[SHA256_LEN])
{
    struct st_err err = {0};
    assert_ok(state_digest(state, out, &err));
}

static void
bytes_of(ProtobufCBinaryData *out, uint8_t *bytes, size_t len)
{
    out->data = bytes;
    out->len = len;
}

void
log_node_make(unsigned seed, const uint8_t secret_hash[32], struct log_node *out)
{
    uint8_t public_key[ED25519_PUBLIC_LEN] = {0};
    memset(out, 0, sizeof(*out));
    memcpy(public_key, &seed, sizeof(seed));
    node_id_of_key(public_key, out->id);
    memset(out->key, (int)(seed % 251) + 1, sizeof(out->key));
    snprintf((char *)out->ek, sizeof(out->ek), "the EK of %u", seed);
    snprintf((char *)out->ak, sizeof(out->ak), "the AK of %u", seed);
    snprintf((char *)out->cert, sizeof(out->cert), "the certificate of %u", seed);
    memcpy(out->secret_hash, secret_hash, 32);
    State__Node *node = &out->message;
    state__node__init(node);
    node->node_id = out->id;
    bytes_of(&node->id_cert, out->cert, sizeof(out->cert));
    bytes_of(&node->global_unlock_key, out->key, sizeof(out->key));
    bytes_of(&node->ak_public, out->ak, sizeof(out->ak));
    bytes_of(&node->ek_pubkey, out->ek, sizeof(out->ek));
    memset(&out->pcrs, (int)(seed % 251) + 1, sizeof(out->pcrs));
    bytes_of(&node->pcrs, (uint8_t *)out->pcrs.digest, sizeof(out->pcrs.digest));
    bytes_of(&node->secret_hash, out->secret_hash, sizeof(out->secret_hash));
    memcpy(out->address, &seed, sizeof(out->address));
    bytes_of(&node->address, out->address, sizeof(out->address));
}

enum st_code
log_enrol(struct log_member *member, struct log_node *node, int64_t time,
          struct st_err *err)
{
    struct state_evidence now;
    state_find_evidence(member->state, &node->message, &now);
    return log_enrol_by(member, node, now.ek_cas, time, err);
}

enum st_code
log_enrol_by(struct log_member *member, struct log_node *node,
             const uint8_t ek_cas[SHA256_LEN], int64_t time, struct st_err *err)
{
    State__Enrol enrol = STATE__ENROL__INIT;
    enrol.node = &node->message;
    bytes_of(&enrol.ek_cas, (uint8_t *)ek_cas, SHA256_LEN);
    State__Command command = STATE__COMMAND__INIT;
    command.time = time;
    command.change_case = STATE__COMMAND__CHANGE_ENROL;
    command.enrol = &enrol;
    return log_apply(member, &command, err);
}

enum st_code
log_new_enrolment(struct log_member *member, const char *name,
                  const uint8_t secret_hash[32], uint32_t uses, int64_t expires_at,
                  struct st_err *err)
{
    State__Enrolment enrolment = STATE__ENROLMENT__INIT;
    enrolment.name = (char *)name;
    bytes_of(&enrolment.secret_hash, (uint8_t *)secret_hash, 32);
    enrolment.uses_left = uses;
    enrolment.expires_at = expires_at;
    State__NewEnrolment new_enrolment = STATE__NEW_ENROLMENT__INIT;
    new_enrolment.enrolment = &enrolment;
    State__Command command = STATE__COMMAND__INIT;
    command.time = LOG_START;
    command.change_case = STATE__COMMAND__CHANGE_NEW_ENROLMENT;
    command.new_enrolment = &new_enrolment;
    return log_apply(member, &command, err);
}

enum st_code
log_remove_enrolment(struct log_member *member, const char *name, struct st_err *err)
{
    State__RemoveEnrolment remove_enrolment = STATE__REMOVE_ENROLMENT__INIT;
    remove_enrolment.name = (char *)name;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_REMOVE_ENROLMENT;
    command.remove_enrolment = &remove_enrolment;
    return log_apply(member, &command, err);
}

struct uses {
    const char *name;
    int left;
};

static enum st_code
note_uses(void *arg, const State__Enrolment *enrolment, struct st_err *err)
{
    struct uses *uses = arg;
    (void)err;
    if (strcmp(enrolment->name, uses->name) == 0)
        uses->left = (int)enrolment->uses_left;
    return ST_OK;
}

int
log_uses_left(const struct log_member *member, const char *name)
{
    struct uses uses = {name, -1};
    struct st_err err = {0};
    assert_ok(state_each_enrolment(member->state, note_uses, &uses, &err));
    return uses.left;
}

enum st_code
log_adopt(struct log_member *member, const char *id, struct st_err *err)
{
    State__Adopt adopt = STATE__ADOPT__INIT;
    adopt.node_id = (char *)id;
    adopt.role = STATE__ROLE__WORKER;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_ADOPT;
    command.adopt = &adopt;
    return log_apply(member, &command, err);
}

enum st_code
log_set_policy(struct log_member *member, const char *text, uint32_t schema,
               uint64_t expected, struct st_err *err)
{
    State__SetPolicy set_policy = STATE__SET_POLICY__INIT;
    set_policy.text = (char *)text;
    set_policy.expected_version = expected;
    set_policy.schema = schema;
    State__Command command = STATE__COMMAND__INIT;
    bytes_of(&command.by, log_administrator, SHA256_LEN);
    command.time = LOG_START + (int64_t)expected;
    command.change_case = STATE__COMMAND__CHANGE_SET_POLICY;
    command.set_policy = &set_policy;
    return log_apply(member, &command, err);
}

enum st_code
log_remove_node(struct log_member *member, const char *id, struct st_err *err)
{
    State__RemoveNode remove_node = STATE__REMOVE_NODE__INIT;
    remove_node.node_id = (char *)id;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_REMOVE_NODE;
    command.remove_node = &remove_node;
    return log_apply(member, &command, err);
}

uint8_t log_administrator[SHA256_LEN] = {0xad};

void
log_found(struct log_member *member)
{
    static uint8_t seed[ED25519_SEED_LEN], address[4] = {192, 0, 2, 1};
    struct st_err err = {0};
    State__Cluster cluster = STATE__CLUSTER__INIT;
    cluster.name = (char *)"home";
    cluster.crl_number = 1;
    bytes_of(&cluster.masters_seed, seed, sizeof(seed));
    bytes_of(&cluster.masters_cert, seed, 1);
    State__Member first = STATE__MEMBER__INIT;
    first.id = 1;
    bytes_of(&first.address, address, sizeof(address));
    State__Admin administrator = STATE__ADMIN__INIT, *admins[] = {&administrator};
    bytes_of(&administrator.fingerprint, log_administrator, SHA256_LEN);
    administrator.role = STATE__ADMIN_ROLE__ADMIN;
    State__Found found = STATE__FOUND__INIT;
    found.cluster = &cluster;
    found.member = &first;
    found.admins = admins;
    found.n_admins = 1;
    State__Command command = STATE__COMMAND__INIT;
    command.time = LOG_START;
    command.change_case = STATE__COMMAND__CHANGE_FOUND;
    command.found = &found;
    assert_ok(log_apply(member, &command, &err));
}

enum st_code
log_adopt_master(struct log_member *member, const char *node_id, uint64_t id,
                 struct st_err *err)
{
    static uint8_t cert[] = "a certificate", key[] = "a key";
    State__Member made = STATE__MEMBER__INIT;
    made.id = id;
    bytes_of(&made.cert, cert, sizeof(cert));
    bytes_of(&made.key, key, sizeof(key));
    State__AdoptMaster adopt_master = STATE__ADOPT_MASTER__INIT;
    adopt_master.node_id = (char *)node_id;
    adopt_master.member = &made;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_ADOPT_MASTER;
    command.adopt_master = &adopt_master;
    return log_apply(member, &command, err);
}

enum st_code
log_invite(struct log_member *member, const char *name, const uint8_t secret_hash[32],
           int64_t time, int64_t expires_at, struct st_err *err)
{
    State__Ticket ticket = STATE__TICKET__INIT;
    ticket.name = (char *)name;
    bytes_of(&ticket.secret_hash, (uint8_t *)secret_hash, 32);
    ticket.expires_at = expires_at;
    State__InviteMaster invite_master = STATE__INVITE_MASTER__INIT;
    invite_master.ticket = &ticket;
    State__Command command = STATE__COMMAND__INIT;
    command.time = time;
    command.change_case = STATE__COMMAND__CHANGE_INVITE_MASTER;
    command.invite_master = &invite_master;
    return log_apply(member, &command, err);
}

enum st_code
log_uninvite(struct log_member *member, const char *name, struct st_err *err)
{
    State__RevokeTicket revoke_ticket = STATE__REVOKE_TICKET__INIT;
    revoke_ticket.name = (char *)name;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_REVOKE_TICKET;
    command.revoke_ticket = &revoke_ticket;
    return log_apply(member, &command, err);
}

enum st_code
log_join(struct log_member *member, const uint8_t secret_hash[32], uint64_t id,
         uint8_t address, uint8_t key, int64_t time, struct st_err *err)
{
    static uint8_t cert[] = "a certificate";
    uint8_t bytes[4] = {192, 0, 2, address}, public_key[ED25519_PUBLIC_LEN];
    memset(public_key, key, sizeof(public_key));
    State__Member made = STATE__MEMBER__INIT;
    made.id = id;
    bytes_of(&made.address, bytes, sizeof(bytes));
    bytes_of(&made.cert, cert, sizeof(cert));
    bytes_of(&made.public_key, public_key, sizeof(public_key));
    State__JoinMaster join_master = STATE__JOIN_MASTER__INIT;
    bytes_of(&join_master.secret_hash, (uint8_t *)secret_hash, 32);
    join_master.member = &made;
    State__Command command = STATE__COMMAND__INIT;
    command.time = time;
    command.change_case = STATE__COMMAND__CHANGE_JOIN_MASTER;
    command.join_master = &join_master;
    return log_apply(member, &command, err);
}

enum st_code
log_phase(struct log_member *member, uint64_t id, State__Phase from, State__Phase to,
          struct st_err *err)
{
    State__MemberPhase member_phase = STATE__MEMBER_PHASE__INIT;
    member_phase.id = id;
    member_phase.from = from;
    member_phase.to = to;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_MEMBER_PHASE;
    command.member_phase = &member_phase;
    return log_apply(member, &command, err);
}

enum st_code
log_recover_with(struct log_member *member, uint64_t id, uint64_t crl_number,
                 uint64_t next_member, int64_t time, struct st_err *err)
{
    static uint8_t crl[] = "a list of all others";
    State__Recover recover = STATE__RECOVER__INIT;
    recover.id = id;
    recover.crl_number = crl_number;
    recover.next_member = next_member;
    bytes_of(&recover.crl, crl, sizeof(crl));
    State__Command command = STATE__COMMAND__INIT;
    command.time = time;
    command.change_case = STATE__COMMAND__CHANGE_RECOVER;
    command.recover = &recover;
    return log_apply(member, &command, err);
}

enum st_code
log_recover(struct log_member *member, uint64_t id, int64_t time, struct st_err *err)
{
    State__Cluster *cluster;
    enum st_code code = state_cluster(member->state, &cluster, err);
    if (code)
        return code;
    const uint64_t number = cluster->crl_number + 1;
    const uint64_t next = state_next_member(cluster) + 100;
    state_cluster_free(cluster);
    return log_recover_with(member, id, number, next, time, err);
}

enum st_code
log_remove_master(struct log_member *member, uint64_t id, struct st_err *err)
{
    State__RemoveMaster remove_master = STATE__REMOVE_MASTER__INIT;
    remove_master.id = id;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_REMOVE_MASTER;
    command.remove_master = &remove_master;
    return log_apply(member, &command, err);
}

enum st_code
log_gone(struct log_member *member, uint64_t id, uint64_t crl_number, struct st_err *err)
{
    static uint8_t crl[] = "a newer list";
    State__MemberGone member_gone = STATE__MEMBER_GONE__INIT;
    member_gone.id = id;
    member_gone.crl_number = crl_number;
    bytes_of(&member_gone.crl, crl, sizeof(crl));
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_MEMBER_GONE;
    command.member_gone = &member_gone;
    return log_apply(member, &command, err);
}
