/* One command of the log: known already, or done now and remembered. */
#include "nms/apply.h"
#include "nms/digest.h"
#include "proto/mutant.h"

#include <stdlib.h>
#include <string.h>

enum {
    FORGOTTEN_AT_ONCE = 8
};

void
applying_put(struct applying *applying, const char *key,
             const uint8_t alias[RECORD_ALIAS_LEN], const ProtobufCMessage *value)
{
    struct st_err err = {0};
    const size_t len = protobuf_c_message_get_packed_size(value);
    uint8_t *packed = state_allocator.alloc(NULL, len);
    protobuf_c_message_pack(value, packed);
    if (records_put(&applying->state->records, key, alias, packed, len, &err))
        state_die(err.text);
    replica_change_put(applying->change, key, strlen(key), packed, len);
    state_allocator.free(NULL, packed);
}

void
applying_put_node(struct applying *applying, const State__Node *node)
{
    char key[STATE_KEY_MAX];
    uint8_t alias[RECORD_ALIAS_LEN];
    key_of_node(node->node_id, key);
    const struct record *record = records_find(&applying->state->records, key);
    memcpy(alias, record->alias, sizeof(alias)); /* it is replaced */
    applying_put(applying, key, alias, &node->base);
}

void
applying_delete(struct applying *applying, const char *key)
{
    records_delete(&applying->state->records, key);
    replica_change_delete(applying->change, key, strlen(key));
}

static enum st_code
apply_change(struct applying *applying, const State__Command *command, struct st_err *err)
{
    switch (command->change_case) {
    case STATE__COMMAND__CHANGE_FOUND:
        return apply_found(applying, command->found, err);
    case STATE__COMMAND__CHANGE_ENROL:
        return apply_enrol(applying, command->enrol, err);
    case STATE__COMMAND__CHANGE_ADOPT:
        return apply_adopt(applying, command->adopt, err);
    case STATE__COMMAND__CHANGE_REMOVE_NODE:
        return apply_remove_node(applying, command->remove_node, err);
    case STATE__COMMAND__CHANGE_NEW_ENROLMENT:
        return apply_new_enrolment(applying, command->new_enrolment, err);
    case STATE__COMMAND__CHANGE_NEW_RECOVERABLE_ENROLMENT:
        return apply_new_recoverable_enrolment(applying,
                                               command->new_recoverable_enrolment, err);
    case STATE__COMMAND__CHANGE_REMOVE_ENROLMENT:
        return apply_remove_enrolment(applying, command->remove_enrolment, err);
    case STATE__COMMAND__CHANGE_ADOPT_MASTER:
        return apply_adopt_master(applying, command->adopt_master, err);
    case STATE__COMMAND__CHANGE_INVITE_MASTER:
        return apply_invite_master(applying, command->invite_master, err);
    case STATE__COMMAND__CHANGE_REVOKE_TICKET:
        return apply_revoke_ticket(applying, command->revoke_ticket, err);
    case STATE__COMMAND__CHANGE_JOIN_MASTER:
        return apply_join_master(applying, command->join_master, err);
    case STATE__COMMAND__CHANGE_MEMBER_PHASE:
        return apply_member_phase(applying, command->member_phase, err);
    case STATE__COMMAND__CHANGE_REMOVE_MASTER:
        return apply_remove_master(applying, command->remove_master, err);
    case STATE__COMMAND__CHANGE_MEMBER_GONE:
        return apply_member_gone(applying, command->member_gone, err);
    case STATE__COMMAND__CHANGE_SET_POLICY:
        return apply_set_policy(applying, command->set_policy, err);
    case STATE__COMMAND__CHANGE_ADD_EK_CA:
        return apply_add_ek_ca(applying, command->add_ek_ca, err);
    case STATE__COMMAND__CHANGE_REMOVE_EK_CA:
        return apply_remove_ek_ca(applying, command->remove_ek_ca, err);
    case STATE__COMMAND__CHANGE_RECOVER:
        return apply_recover(applying, command->recover, err);
    case STATE__COMMAND__CHANGE_RENEW_AUTHORITY:
        return apply_renew_authority(applying, command->renew_authority, err);
    case STATE__COMMAND__CHANGE_OPEN_WINDOW:
        return apply_open_window(applying, command->open_window, err);
    case STATE__COMMAND__CHANGE_CLOSE_WINDOW:
        return apply_close_window(applying, err);
    case STATE__COMMAND__CHANGE_CAPTURE_BOOT:
        return apply_capture_boot(applying, command->capture_boot, err);
    case STATE__COMMAND__CHANGE_REFUSE_BOOT:
        return apply_refuse_boot(applying, command->refuse_boot, err);
    case STATE__COMMAND__CHANGE_APPROVE_BOOT:
        return apply_approve_boot(applying, command->approve_boot, err);
    case STATE__COMMAND__CHANGE_REFUSE_CLOCK:
        return apply_refuse_boot(applying, command->refuse_clock, err);
    case STATE__COMMAND__CHANGE_APPROVE_CLOCK:
        return apply_approve_boot(applying, command->approve_clock, err);
    case STATE__COMMAND__CHANGE_RELEASE:
        return apply_release(applying, command->release, err);
    case STATE__COMMAND__CHANGE_REMOVE_CAPTURED:
        return apply_remove_captured(applying, command->remove_captured, err);
    case STATE__COMMAND__CHANGE_MOVE_MASTERS:
        return apply_move_masters(applying, command->move_masters, err);
    case STATE__COMMAND__CHANGE_MOVE_NODE:
        return apply_move_node(applying, command->move_node, err);
    case STATE__COMMAND__CHANGE_MASTERS_TOLD:
        return apply_masters_told(applying, command->masters_told, err);
    case STATE__COMMAND__CHANGE_ADD_ADMIN:
        return apply_add_admin(applying, command->add_admin, err);
    case STATE__COMMAND__CHANGE_REMOVE_ADMIN:
        return apply_remove_admin(applying, command->remove_admin, err);
    case STATE__COMMAND__CHANGE__NOT_SET:
    case _STATE__COMMAND__CHANGE__CASE_IS_INT_SIZE:
        break;
    }
    return st_fail(err, ST_INVALID_ARGUMENT, "a command without a change");
}

static void
answer(const State__Result *said, struct replica_result *result)
{
    result->len = state__result__get_packed_size(said);
    /* No bytes at all mean that all is well. */
    if (result->len > sizeof(result->bytes))
        state_die("a result that is too long"); /* st_err.text is far shorter */
    state__result__pack(said, result->bytes);
}

/* Not the command that was carried out, but another one for the same request, so with
 * another secret: the OK of then is not for it. */
static bool
is_another(const State__Request *request, const uint8_t hash[SHA256_LEN])
{
    return request->result->code == ST_OK &&
           (request->command_hash.len != SHA256_LEN ||
            memcmp(request->command_hash.data, hash, SHA256_LEN) != 0);
}

static bool
answer_again(const struct applying *applying, const uint8_t alias[RECORD_ALIAS_LEN],
             const uint8_t hash[SHA256_LEN], struct replica_result *result)
{
    State__Result other = STATE__RESULT__INIT;
    const struct record *record = records_find_request(&applying->state->records, alias);
    if (!record)
        return false;
    other.code = ST_ALREADY_EXISTS;
    other.reason = ST_REASON_EXISTS;
    other.text = (char *)"this request was answered before, and a secret is told once: "
                         "remove what was made, and make another";
    State__Request *request = record_unpack(record, &state__request__descriptor);
    answer(REFUSES(0x31e, is_another(request, hash)) ? &other : request->result, result);
    record_free_unpacked(request);
    return true;
}

/* By the commands' own times, so that every master forgets the same ones.  A clock that
 * is wrong keeps nothing for ever. */
static bool
may_come_again(const struct applying *applying, const struct record *record)
{
    State__Request *request = record_unpack(record, &state__request__descriptor);
    const int64_t time = request->time;
    record_free_unpacked(request);
    return time >= applying->now - STATE_REQUESTS_KEPT_S &&
           time <= applying->now + STATE_REQUESTS_KEPT_S;
}

/* A few with each command: after a storm there are many. */
static void
forget_oldest(struct applying *applying)
{
    char key[STATE_KEY_MAX];
    const struct records *records = &applying->state->records;
    for (int i = 0; i < FORGOTTEN_AT_ONCE; i++) {
        if (records_count(records, "request/") <= STATE_REQUESTS_KEPT)
            return;
        size_t at = records_begin(records, "request/");
        const struct record *oldest = records_next(records, "request/", &at);
        if (may_come_again(applying, oldest))
            return;
        strcpy(key, record_key(oldest));
        applying_delete(applying, key);
    }
}

static void
remember(struct applying *applying, const State__Command *command,
         const uint8_t alias[RECORD_ALIAS_LEN], uint8_t hash[SHA256_LEN],
         State__Result *said)
{
    char key[STATE_KEY_MAX];
    State__Request request = STATE__REQUEST__INIT;
    request.request_id = command->request_id;
    request.result = said;
    request.command_hash.data = hash;
    request.command_hash.len = SHA256_LEN;
    request.time = command->time;
    key_of_request(applying->index, key);
    applying_put(applying, key, alias, &request.base);
    forget_oldest(applying);
}

/* Who asked, also where a command of before Command.by says so: what was carried out then
 * is carried out by whoever reads that log later. */
static ProtobufCBinaryData
asker_of(const State__Command *command)
{
    static const ProtobufCBinaryData nobody;
    if (command->by.len > 0)
        return command->by;
    switch (command->change_case) {
    case STATE__COMMAND__CHANGE_SET_POLICY:
        return command->set_policy->by;
    case STATE__COMMAND__CHANGE_OPEN_WINDOW:
        return command->open_window->by;
    case STATE__COMMAND__CHANGE_APPROVE_BOOT:
        return command->approve_boot->by;
    case STATE__COMMAND__CHANGE_APPROVE_CLOCK:
        return command->approve_clock->by;
    case STATE__COMMAND__CHANGE_ADD_EK_CA:
        return command->add_ek_ca->ca ? command->add_ek_ca->ca->added_by : nobody;
    case STATE__COMMAND__CHANGE_ADD_ADMIN:
        return command->add_admin->admin ? command->add_admin->admin->added_by : nobody;
    default:
        return nobody;
    }
}

static void
apply_unpacked(struct applying *applying, const State__Command *command,
               uint8_t hash[SHA256_LEN], struct replica_result *result)
{
    uint8_t alias[RECORD_ALIAS_LEN] = {0};
    struct st_err err = {0};
    State__Result said = STATE__RESULT__INIT;
    if (command->request_id.len != REQUEST_ID_LEN) {
        said.code = ST_INVALID_ARGUMENT;
        said.text = (char *)"a request id has 16 bytes";
        answer(&said, result);
        return;
    }
    memcpy(alias, command->request_id.data, REQUEST_ID_LEN);
    if (answer_again(applying, alias, hash, result))
        return;
    applying->now = command->time;
    applying->by = asker_of(command);
    if (asker_check(applying, &command->by, &err) ||
        apply_change(applying, command, &err)) {
        said.code = err.code;
        said.reason = err.reason;
        said.text = err.text;
    }
    if (applying->voters)
        masters_renumber(applying);
    /* There are as many as unlocks, and a second one changes nothing by itself. */
    if (command->change_case != STATE__COMMAND__CHANGE_RELEASE)
        remember(applying, command, alias, hash, &said);
    answer(&said, result);
}

/* The others, of a later release, carry it out: whoever went on without it would have
 * other records from now on, and nobody would know. */
static void
must_know(const State__Command *command)
{
    if (REFUSES(0x561, command->base.n_unknown_fields > 0))
        state_die("a change of a later release: bring this master to that release");
}

void
apply_command(struct applying *applying, const void *bytes, size_t len,
              struct replica_result *result)
{
    uint8_t hash[SHA256_LEN];
    State__Command *command = state__command__unpack(&state_allocator, len, bytes);
    /* Cannot fail, and must not on one master alone. */
    if (digest_labelled("command", bytes, len, hash, NULL))
        abort();
    if (!command) {
        State__Result said = STATE__RESULT__INIT;
        said.code = ST_INVALID_ARGUMENT;
        said.text = (char *)"a command that cannot be read";
        answer(&said, result);
        return;
    }
    must_know(command);
    apply_unpacked(applying, command, hash, result);
    state__command__free_unpacked(command, &state_allocator);
}
