/* Who may administer.  One who may change anything is always left: nobody else could add
 * another. */
#include "nms/apply.h"
#include "proto/mutant.h"

#include <string.h>

static enum st_code
admin_check(const State__Admin *admin, struct st_err *err)
{
    if (!admin || admin->fingerprint.len != SHA256_LEN ||
        strlen(admin->name) >= STATE_ADMIN_NAME_MAX ||
        (admin->role != STATE__ADMIN_ROLE__ADMIN &&
         admin->role != STATE__ADMIN_ROLE__VIEWER))
        return st_fail(err, ST_INVALID_ARGUMENT, "an administrator without all parts");
    return ST_OK;
}

static State__Admin *
admin_of(const struct state *state, const char *key)
{
    const struct record *record = records_find(&state->records, key);
    return record ? record_unpack(record, &state__admin__descriptor) : NULL;
}

State__AdminRole
listed_role(const struct state *state, const uint8_t fingerprint[SHA256_LEN])
{
    char key[STATE_KEY_MAX];
    key_of_admin(fingerprint, key);
    State__Admin *admin = admin_of(state, key);
    const State__AdminRole role = admin ? admin->role : STATE__ADMIN_ROLE__NOBODY;
    record_free_unpacked(admin);
    return role;
}

/* Who asked was heard by what his master knew then.  Here is what came before. */
enum st_code
asker_check(const struct applying *applying, const ProtobufCBinaryData *by,
            struct st_err *err)
{
    if (applying->by.len != 0 && applying->by.len != SHA256_LEN)
        return st_fail(err, ST_INVALID_ARGUMENT, "an administrator has a fingerprint");
    if (REFUSES(0x5002, by->len > 0 && listed_role(applying->state, by->data) !=
                                           STATE__ADMIN_ROLE__ADMIN))
        return st_fail_for(err, ST_UNAUTHENTICATED, ST_REASON_REFUSED,
                           "this certificate is not that of an administrator who may "
                           "change anything any more");
    return ST_OK;
}

/* Besides the one with this key. */
static bool
another_is_left(const struct state *state, const char *key)
{
    const struct record *record;
    size_t at = records_begin(&state->records, "admin/");
    bool left = false;
    while (!left && (record = records_next(&state->records, "admin/", &at))) {
        State__Admin *admin = record_unpack(record, &state__admin__descriptor);
        left = admin->role == STATE__ADMIN_ROLE__ADMIN &&
               strcmp(record_key(record), key) != 0;
        record_free_unpacked(admin);
    }
    return left;
}

static enum st_code
leave_check(const struct state *state, const char *key, const State__Admin *admin,
            struct st_err *err)
{
    if (REFUSES(0x5001,
                admin->role == STATE__ADMIN_ROLE__ADMIN && !another_is_left(state, key)))
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "nobody else may change anything: add another administrator "
                       "first");
    return ST_OK;
}

static void
put(struct applying *applying, const char *key, const State__Admin *admin,
    int64_t added_at)
{
    State__Admin listed = *admin;
    listed.added_at = added_at;
    listed.added_by = applying->by;
    applying_put(applying, key, NULL, &listed.base);
}

static enum st_code
replace(struct applying *applying, const char *key, const State__Admin *before,
        const State__Admin *admin, struct st_err *err)
{
    enum st_code code = ST_OK;
    if (admin->role != STATE__ADMIN_ROLE__ADMIN)
        code = leave_check(applying->state, key, before, err);
    if (!code)
        put(applying, key, admin, before->added_at);
    return code;
}

enum st_code
apply_add_admin(struct applying *applying, const State__AddAdmin *add_admin,
                struct st_err *err)
{
    const State__Admin *admin = add_admin->admin;
    char key[STATE_KEY_MAX];
    enum st_code code = admin_check(admin, err);
    if (code)
        return code;
    key_of_admin(admin->fingerprint.data, key);
    State__Admin *before = admin_of(applying->state, key);
    if (before) {
        code = replace(applying, key, before, admin, err);
        record_free_unpacked(before);
        return code;
    }
    if (records_count(&applying->state->records, "admin/") >= STATE_ADMINS_MAX)
        return st_fail_for(err, ST_RESOURCE_EXHAUSTED, ST_REASON_BUSY,
                           "there are %d administrators: remove some", STATE_ADMINS_MAX);
    put(applying, key, admin, applying->now);
    return ST_OK;
}

enum st_code
apply_remove_admin(struct applying *applying, const State__RemoveAdmin *remove_admin,
                   struct st_err *err)
{
    char key[STATE_KEY_MAX];
    if (remove_admin->fingerprint.len != SHA256_LEN)
        return st_fail(err, ST_INVALID_ARGUMENT, "an administrator has a fingerprint");
    key_of_admin(remove_admin->fingerprint.data, key);
    State__Admin *admin = admin_of(applying->state, key);
    if (!admin)
        return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND,
                           "no administrator has the certificate %s",
                           strchr(key, '/') + 1);
    enum st_code code = leave_check(applying->state, key, admin, err);
    record_free_unpacked(admin);
    if (!code)
        applying_delete(applying, key);
    return code;
}
