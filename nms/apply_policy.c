/* What is demanded of a machine: the policy, and the CAs that may certify EKs. */
#include "nms/apply.h"
#include "proto/cert.h"
#include "proto/mutant.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The others, of a later release, judge by it: whoever went on without it would let in
 * whom they refuse. */
static void
must_know(const State__SetPolicy *set_policy)
{
    if (REFUSES(0x5707, set_policy->schema > POLICY_SCHEMA))
        state_die("a policy of a later release: bring this master to that release");
}

/* In words of our own: those of a library may be others in another release, and what
 * became of a command is a record.  Where memory ends one master would refuse what the
 * others take. */
static enum st_code
parse(const char *text, struct policy **out, struct st_err *err)
{
    enum st_code code = policy_parse(text, strlen(text), out, NULL, NULL);
    if (code == ST_RESOURCE_EXHAUSTED)
        state_die("no memory");
    return code ? st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                              "this is no policy of schema %d", POLICY_SCHEMA)
                : ST_OK;
}

static void
forget_oldest(struct applying *applying, uint64_t version)
{
    char key[STATE_KEY_MAX];
    if (version <= STATE_POLICIES_KEPT)
        return;
    key_of_policy(version - STATE_POLICIES_KEPT, key);
    if (records_find(&applying->state->records, key))
        applying_delete(applying, key);
}

static enum st_code
take(struct applying *applying, const char *text, const ProtobufCBinaryData *by,
     struct st_err *err)
{
    struct state *state = applying->state;
    struct policy *parsed;
    char key[STATE_KEY_MAX];
    enum st_code code = parse(text, &parsed, err);
    if (code)
        return code;
    State__Policy policy = STATE__POLICY__INIT;
    policy.version = state->policy_version + 1;
    policy.text = (char *)text;
    policy.changed_at = applying->now;
    policy.changed_by = *by;
    key_of_policy(policy.version, key);
    applying_put(applying, key, NULL, &policy.base);
    forget_oldest(applying, policy.version);
    policy_free(state->policy);
    state->policy = parsed;
    state->policy_version = policy.version;
    return ST_OK;
}

enum st_code
apply_first_policy(struct applying *applying, const char *text, struct st_err *err)
{
    static uint8_t nobody[SHA256_LEN];
    return take(applying, text, &(ProtobufCBinaryData){SHA256_LEN, nobody}, err);
}

enum st_code
apply_set_policy(struct applying *applying, const State__SetPolicy *set_policy,
                 struct st_err *err)
{
    const struct state *state = applying->state;
    must_know(set_policy);
    if (applying->by.len == 0)
        return st_fail(err, ST_INVALID_ARGUMENT, "a policy of nobody");
    if (REFUSES(0x5706, set_policy->expected_version != state->policy_version))
        return st_fail_for(err, ST_ABORTED, ST_REASON_EXISTS,
                           "the policy is version %" PRIu64 " by now, not %" PRIu64,
                           state->policy_version, set_policy->expected_version);
    return take(applying, set_policy->text, &applying->by, err);
}

/* The same one again is fine. */
enum st_code
apply_add_ek_ca(struct applying *applying, const State__AddEkCa *add_ek_ca,
                struct st_err *err)
{
    const State__EkCa *ca = add_ek_ca->ca;
    uint8_t sha256[SHA256_LEN];
    char key[STATE_KEY_MAX];
    if (!ca || ca->cert.len == 0 || ca->cert.len > CERT_MAX_LEN || applying->by.len == 0)
        return st_fail(err, ST_INVALID_ARGUMENT, "a CA without all its parts");
    cert_fingerprint(ca->cert.data, ca->cert.len, sha256);
    key_of_ek_ca(sha256, key);
    if (records_find(&applying->state->records, key))
        return ST_OK;
    if (records_count(&applying->state->records, "ek-ca/") >= STATE_EK_CAS_MAX)
        return st_fail_for(err, ST_RESOURCE_EXHAUSTED, ST_REASON_BUSY,
                           "there are %d CAs: remove some", STATE_EK_CAS_MAX);
    State__EkCa kept = *ca;
    kept.added_at = applying->now;
    kept.added_by = applying->by;
    applying_put(applying, key, NULL, &kept.base);
    state_note_ek_cas(applying->state);
    return ST_OK;
}

enum st_code
apply_remove_ek_ca(struct applying *applying, const State__RemoveEkCa *remove_ek_ca,
                   struct st_err *err)
{
    char key[STATE_KEY_MAX];
    if (remove_ek_ca->sha256.len != SHA256_LEN)
        return st_fail(err, ST_INVALID_ARGUMENT, "a CA is named by its SHA-256");
    key_of_ek_ca(remove_ek_ca->sha256.data, key);
    if (!records_find(&applying->state->records, key))
        return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND, "no CA %s",
                           strchr(key, '/') + 1);
    applying_delete(applying, key);
    state_note_ek_cas(applying->state);
    return ST_OK;
}
