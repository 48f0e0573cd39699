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
log_load_as_is(const struct log_member *member, struct state **out, struct st_err *err)
{
    struct state *state;
    enum st_code code = state_new(&state, err);
    if (code)
        return code;
    struct replica_machine machine = state_machine(state);
    machine.reset(machine.self);
    for (size_t i = 0; i < member->count; i++) {
        const struct log_record *record = &member->records[i];
        code = machine.load(machine.self, record->key, strlen(record->key), record->value,
                            record->len, err);
        if (code) {
            state_free(state);
            return code;
        }
    }
    *out = state;
    return ST_OK;
}

enum st_code
log_load(const struct log_member *member, struct state **out, struct st_err *err)
{
    if (member->count > 0)
        qsort(member->records, member->count, sizeof(*member->records), compare_keys);
    return log_load_as_is(member, out, err);
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
    bytes_of(&node->secret_hash, out->secret_hash, sizeof(out->secret_hash));
    node->address = node->ak_public; /* any bytes that live as long */
    node->address.len = 4;
}

enum st_code
log_enrol(struct log_member *member, struct log_node *node, int64_t time,
          struct st_err *err)
{
    State__Enrol enrol = STATE__ENROL__INIT;
    enrol.node = &node->message;
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
log_remove_node(struct log_member *member, const char *id, struct st_err *err)
{
    State__RemoveNode remove_node = STATE__REMOVE_NODE__INIT;
    remove_node.node_id = (char *)id;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_REMOVE_NODE;
    command.remove_node = &remove_node;
    return log_apply(member, &command, err);
}
