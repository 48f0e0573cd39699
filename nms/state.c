/* The machine behind the log: its lock, its records as they come back from the disk or
 * from another master, and its commands (apply_*.c).  Whoever reads it: state_read.c. */
#include "nms/apply.h"
#include "proto/secret.h"

#include <stdlib.h>
#include <string.h>

void
state_unlock(pthread_rwlock_t **lock)
{
    pthread_rwlock_unlock(*lock);
}

pthread_rwlock_t *
state_lock_read(struct state *state)
{
    pthread_rwlock_rdlock(&state->lock);
    return &state->lock;
}

pthread_rwlock_t *
state_lock_write(struct state *state)
{
    pthread_rwlock_wrlock(&state->lock);
    return &state->lock;
}

/* Signatures of strangers are computed under it: what was committed does not wait behind
 * those who come next. */
static bool
lock_init(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t kind;
    return !pthread_rwlockattr_init(&kind) &&
           !pthread_rwlockattr_setkind_np(&kind,
                                          PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) &&
           !pthread_rwlock_init(lock, &kind);
}

enum st_code
state_new(struct state **out, struct st_err *err)
{
    AUTO(st_freep) struct state *state = calloc(1, sizeof(*state));
    if (!state || !lock_init(&state->lock) ||
        pthread_mutex_init(&state->boots_lock, NULL))
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory for the state");
    enum st_code code = state_reset_policy(state, err);
    if (code)
        return code;
    *out = TAKE(state);
    return ST_OK;
}

void
state_free(struct state *state)
{
    if (!state)
        return;
    records_clear(&state->records);
    policy_free(state->policy);
    pthread_rwlock_destroy(&state->lock);
    pthread_mutex_destroy(&state->boots_lock);
    free(state);
}

/* Whoever reads meanwhile waits: half of the records would say that the other half does
 * not exist. */
static void
machine_reset(void *self)
{
    struct state *state = self;
    pthread_rwlock_wrlock(&state->lock);
    records_clear(&state->records);
    state_note_ek_cas(state);
    if (state_reset_policy(state, NULL))
        state_die("no memory");
}

static enum st_code
load_policy(struct state *state, const char *key, struct st_err *err)
{
    if (strncmp(key, "policy/", 7) != 0)
        return ST_OK;
    State__Policy *policy =
        record_unpack(records_find(&state->records, key), &state__policy__descriptor);
    enum st_code code = state_take_policy(state, policy, err);
    record_free_unpacked(policy);
    return code;
}

static enum st_code
machine_load(void *self, const void *key, size_t key_len, const void *value,
             size_t value_len, struct st_err *err)
{
    struct state *state = self;
    char text[STATE_KEY_MAX];
    uint8_t alias[RECORD_ALIAS_LEN] = {0};
    if (key_len >= sizeof(text) || memchr(key, 0, key_len))
        return st_fail(err, ST_DATA_LOSS, "a record's key of %zu bytes is none of ours",
                       key_len);
    memcpy(text, key, key_len);
    text[key_len] = 0;
    enum st_code code = record_check(text, value, value_len, alias, err);
    if (code)
        return code;
    code = records_put(&state->records, text, alias, value, value_len, err);
    if (code == ST_ALREADY_EXISTS)
        return st_fail(err, ST_DATA_LOSS, "record %s: another one is like it", text);
    return code ? code : load_policy(state, text, err);
}

static void
machine_loaded(void *self)
{
    struct state *state = self;
    state_note_ek_cas(state);
    pthread_rwlock_unlock(&state->lock);
    if (state->members_changed)
        state->members_changed(state->members_changed_arg);
}

static void
machine_apply(void *self, uint64_t index, const void *command, size_t command_len,
              struct replica_change *change, struct replica_result *result)
{
    struct state *state = self;
    struct applying applying = {.state = state, .change = change, .index = index};
    {
        WRITING(state);
        apply_command(&applying, command, command_len, result);
    }
    if (applying.members && state->members_changed)
        state->members_changed(state->members_changed_arg);
}

struct replica_machine
state_machine(struct state *state)
{
    return (struct replica_machine){
        .self = state,
        .reset = machine_reset,
        .load = machine_load,
        .loaded = machine_loaded,
        .apply = machine_apply,
    };
}

void
state_watch_members(struct state *state, void (*changed)(void *arg), void *arg)
{
    state->members_changed = changed;
    state->members_changed_arg = arg;
}

enum st_code
state_result(const struct replica_result *result, struct st_err *err)
{
    State__Result *said =
        state__result__unpack(&secret_allocator, result->len, result->bytes);
    if (!said)
        return st_fail(err, ST_INTERNAL, "the result of a command is not readable");
    enum st_code code = ST_OK;
    if (said->code)
        code = st_fail_for(err, (enum st_code)said->code, (enum st_reason)said->reason,
                           "%s", said->text);
    state__result__free_unpacked(said, &secret_allocator);
    return code;
}
