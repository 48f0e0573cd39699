#include "nms/apply.h"
#include "proto/hpke.h"
#include "proto/secret.h"

#include <string.h>

static struct record *
record_of_secret(const struct state *state, const char *prefix,
                 const ProtobufCBinaryData *secret_hash)
{
    struct record *record, *match = NULL;
    if (secret_hash->len != RECORD_ALIAS_LEN)
        return NULL;
    size_t at = records_begin(&state->records, prefix);
    while ((record = records_next(&state->records, prefix, &at)))
        if (secret_equal_bytes(record->alias, secret_hash->data, RECORD_ALIAS_LEN))
            match = record;
    return match;
}

struct record *
enrolment_of_secret(const struct state *state, const ProtobufCBinaryData *secret_hash)
{
    return record_of_secret(state, "enrolment/", secret_hash);
}

struct record *
ticket_of_secret(const struct state *state, const ProtobufCBinaryData *secret_hash)
{
    return record_of_secret(state, "ticket/", secret_hash);
}

static enum st_code
new_enrolment_check(const struct applying *applying, const State__Enrolment *enrolment,
                    struct st_err *err)
{
    char key[STATE_KEY_MAX];
    if (!enrolment || enrolment->secret_hash.len != RECORD_ALIAS_LEN ||
        enrolment->uses_left == 0 || enrolment->uses_left > ENROLMENT_USES_MAX ||
        enrolment->expires_at - applying->now > ENROLMENT_EXPIRES_MAX_S)
        return st_fail(err, ST_INVALID_ARGUMENT, "an enrolment out of its bounds");
    enum st_code code = name_check("an enrolment", enrolment->name, err);
    if (code)
        return code;
    key_of_enrolment(enrolment->name, key);
    if (records_find(&applying->state->records, key))
        return st_fail_for(err, ST_ALREADY_EXISTS, ST_REASON_EXISTS,
                           "there is an enrolment %s already", enrolment->name);
    if (enrolment_of_secret(applying->state, &enrolment->secret_hash))
        return st_fail_for(err, ST_ALREADY_EXISTS, ST_REASON_EXISTS,
                           "there is an enrolment with this secret already");
    if (records_count(&applying->state->records, "enrolment/") >= STATE_ENROLMENTS_MAX)
        return st_fail_for(err, ST_RESOURCE_EXHAUSTED, ST_REASON_BUSY,
                           "there are %d enrolments: remove some", STATE_ENROLMENTS_MAX);
    return ST_OK;
}

static enum st_code
put_new(struct applying *applying, State__Enrolment *enrolment, size_t recovery_key_len,
        struct st_err *err)
{
    char key[STATE_KEY_MAX];
    enum st_code code = new_enrolment_check(applying, enrolment, err);
    if (code)
        return code;
    if (enrolment->recovery_key.len != recovery_key_len)
        return st_fail(err, ST_INVALID_ARGUMENT, "a recovery_key of %zu bytes",
                       enrolment->recovery_key.len);
    enrolment->created_at = applying->now;
    key_of_enrolment(enrolment->name, key);
    applying_put(applying, key, enrolment->secret_hash.data, &enrolment->base);
    return ST_OK;
}

enum st_code
apply_new_enrolment(struct applying *applying, const State__NewEnrolment *new_enrolment,
                    struct st_err *err)
{
    return put_new(applying, new_enrolment->enrolment, 0, err);
}

/* A change of its own: what a master of before would not judge is not half judged. */
enum st_code
apply_new_recoverable_enrolment(struct applying *applying,
                                const State__NewEnrolment *new_enrolment,
                                struct st_err *err)
{
    return put_new(applying, new_enrolment->enrolment, HPKE_KEY_LEN, err);
}

enum st_code
apply_remove_enrolment(struct applying *applying,
                       const State__RemoveEnrolment *remove_enrolment, struct st_err *err)
{
    char key[STATE_KEY_MAX];
    enum st_code code = name_check("an enrolment", remove_enrolment->name, err);
    if (code)
        return code;
    key_of_enrolment(remove_enrolment->name, key);
    if (!records_find(&applying->state->records, key))
        return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND, "no enrolment %s",
                           remove_enrolment->name);
    applying_delete(applying, key);
    return ST_OK;
}
