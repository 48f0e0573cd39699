#include "nms/apply.h"

#include <string.h>

/* The command comes from our own proposer, but is checked like a record from disk: what
 * cannot be loaded again must not be written. */
static enum st_code
found_check(const struct applying *applying, const State__Found *found,
            struct st_err *err)
{
    if (records_find(&applying->state->records, "cluster"))
        return st_fail_for(err, ST_ALREADY_EXISTS, ST_REASON_EXISTS,
                           "the cluster exists already");
    if (!found->cluster || !found->member ||
        found->cluster->masters_seed.len != ED25519_SEED_LEN ||
        found->cluster->masters_cert.len == 0 ||
        !is_seal_authority(found->cluster->seal_authority) ||
        (found->member->address.len != 4 && found->member->address.len != 16) ||
        found->n_admins > STATE_ADMINS_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "a cluster without all its parts");
    for (size_t i = 0; i < found->n_admins; i++)
        if (found->admins[i]->fingerprint.len != SHA256_LEN)
            return st_fail(err, ST_INVALID_ARGUMENT, "an administrator's fingerprint");
    return name_check("a cluster", found->cluster->name, err);
}

enum st_code
apply_found(struct applying *applying, const State__Found *found, struct st_err *err)
{
    char key[STATE_KEY_MAX];
    enum st_code code = found_check(applying, found, err);
    if (!code && *found->policy)
        code = apply_first_policy(applying, found->policy, err);
    if (code)
        return code;
    applying_put(applying, "cluster", NULL, &found->cluster->base);
    key_of_member(found->member->id, key);
    applying_put(applying, key, NULL, &found->member->base);
    applying->voters = true;
    for (size_t i = 0; i < found->n_admins; i++) {
        key_of_admin(found->admins[i]->fingerprint.data, key);
        applying_put(applying, key, NULL, &found->admins[i]->base);
    }
    return ST_OK;
}

/* The one there is now, or none. */
static bool
is_expected(const State__Cluster *cluster, const ProtobufCBinaryData *expected)
{
    if (!cluster->seal_authority)
        return expected->len == 0;
    const ProtobufCBinaryData *point = &cluster->seal_authority->point;
    return point->len == expected->len &&
           !memcmp(point->data, expected->data, point->len);
}

enum st_code
apply_renew_authority(struct applying *applying,
                      const State__RenewAuthority *renew_authority, struct st_err *err)
{
    const bool whole =
        renew_authority->authority && is_seal_authority(renew_authority->authority);
    State__Cluster *old = whole ? cluster_of(applying->state) : NULL;
    if (!old)
        return st_fail(err, ST_INVALID_ARGUMENT, "an authority without all its parts");
    enum st_code code = ST_OK;
    if (is_expected(old, &renew_authority->expected)) {
        State__Cluster next = *old;
        next.seal_authority = renew_authority->authority;
        next.seal_authority_before = old->seal_authority;
        applying_put(applying, "cluster", NULL, &next.base);
    } else
        code = st_fail_for(err, ST_ABORTED, ST_REASON_EXISTS,
                           "the authority was renewed a moment ago: by somebody else, "
                           "or by this very request; see `stctl status`");
    record_free_unpacked(old);
    return code;
}
