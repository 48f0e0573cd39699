/* Who becomes a node, and who stops being one. */
#include "nms/apply.h"
#include "nms/digest.h"
#include "proto/mutant.h"
#include "proto/secret.h"
#include "proto/sha256.h"

#include <inttypes.h>
#include <string.h>

/* No key differs: this is the node that did not hear its OK. */
static bool
is_same_node(const State__Node *known, const State__Node *node)
{
    bool differs = REFUSES(0x29c, !bytes_equal(&known->ak_public, &node->ak_public)) ||
                   REFUSES(0x29d, !bytes_equal(&known->id_cert, &node->id_cert)) ||
                   REFUSES(0x29e, !bytes_equal(&known->global_unlock_key,
                                               &node->global_unlock_key)) ||
                   REFUSES(0x29f, !bytes_equal(&known->secret_hash, &node->secret_hash));
    return !differs;
}

/* *out_same false: it is not, and that alone says nothing against it. */
static enum st_code
same_judge(const struct record *record, const State__Node *node, bool *out_same,
           struct st_err *err)
{
    State__Node *known = record_unpack(record, &state__node__descriptor);
    *out_same = is_same_node(known, node);
    enum st_code code = *out_same ? recovery_judge_again(known, node, err) : ST_OK;
    record_free_unpacked(known);
    return code;
}

/* One answer for every way in which a secret can be no good. */
static enum st_code
secret_judge(const struct record *record, const State__Node *node, int64_t now,
             struct st_err *err)
{
    if (REFUSES(0x31a, !record))
        return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED,
                           "no enrolment has this secret");
    State__Enrolment *enrolment = record_unpack(record, &state__enrolment__descriptor);
    enum st_code code = ST_OK;
    if (REFUSES(0x31b, now >= enrolment->expires_at))
        code = st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED,
                           "enrolment %s has expired", enrolment->name);
    else if (REFUSES(0x31c, enrolment->uses_left == 0))
        code = st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED,
                           "enrolment %s is used up", enrolment->name);
    else
        code = recovery_judge(enrolment, node, err);
    record_free_unpacked(enrolment);
    return code;
}

enum st_code
enrol_judge(const struct state *state, const State__Node *node, int64_t now,
            struct record **out_enrolment, struct st_err *err)
{
    char key[STATE_KEY_MAX];
    uint8_t ek_hash[RECORD_ALIAS_LEN];
    enum st_code code;
    if ((code = digest_labelled("EK", node->ek_pubkey.data, node->ek_pubkey.len, ek_hash,
                                err)))
        return code;
    key_of_node(node->node_id, key);
    const struct record *same_id = records_find(&state->records, key);
    const struct record *same_ek = records_find_node_of_ek(&state->records, ek_hash);
    bool same = false;
    if (same_id && same_id == same_ek &&
        ((code = same_judge(same_id, node, &same, err)) || same)) {
        *out_enrolment = NULL;
        return code;
    }
    struct record *enrolment = enrolment_of_secret(state, &node->secret_hash);
    if ((code = secret_judge(enrolment, node, now, err)) ||
        REFUSES(0x24f0, (code = policy_judge_evidence(state->policy, node, err))))
        return code;
    if (REFUSES(0x29a, same_id))
        return st_fail_for(err, ST_ALREADY_EXISTS, ST_REASON_EXISTS,
                           "%s is a node already, with other keys", node->node_id);
    if (REFUSES(0x29b, same_ek))
        return st_fail_for(err, ST_ALREADY_EXISTS, ST_REASON_EXISTS,
                           "this TPM belongs to %s already", record_key(same_ek));
    if (records_count(&state->records, "node/") >= STATE_NODES_MAX)
        return st_fail_for(err, ST_RESOURCE_EXHAUSTED, ST_REASON_BUSY,
                           "there are %d nodes already", STATE_NODES_MAX);
    *out_enrolment = enrolment;
    return ST_OK;
}

static enum st_code
enrol_check(const State__Node *node, struct st_err *err)
{
    if (!node || node->global_unlock_key.len != UNLOCK_KEY_LEN ||
        node->ak_public.len == 0 || node->ek_pubkey.len == 0 || node->id_cert.len == 0 ||
        node->secret_hash.len != SHA256_LEN ||
        (node->pcrs.len != 0 && node->pcrs.len != sizeof(struct tpm_pcrs)) ||
        !is_ek_chain(node))
        return st_fail(err, ST_INVALID_ARGUMENT, "a node without all its parts");
    return node_id_check(node->node_id, err);
}

/* Where a CA came or went since the proposer looked, what he found may be wrong, and he
 * is told so rather than judged by it. */
static bool
is_outdated(const struct state *state, State__Evidence evidence,
            const ProtobufCBinaryData *ek_cas)
{
    return evidence != STATE__EVIDENCE__UNJUDGED &&
           (ek_cas->len != SHA256_LEN ||
            memcmp(ek_cas->data, state->ek_cas, SHA256_LEN) != 0);
}

static enum st_code
cas_changed(struct st_err *err)
{
    return st_fail_for(err, ST_ABORTED, ST_REASON_CHANGED,
                       "the CAs that certify EKs were changed meanwhile");
}

/* Who enrols with an enrolment that the policy names needs nobody's yes, where nothing
 * else is to be said against him. */
static State__Role
first_role(const struct policy *policy, const State__Node *node)
{
    return policy_adopts(policy, node->enrolment) &&
                   !policy_judge_node(policy, node, NULL)
               ? STATE__ROLE__WORKER
               : STATE__ROLE__REGISTERED;
}

/* It enrolled with a file that was older than the masters are. */
static void
note_adopted(struct applying *applying, const State__Node *node)
{
    applying->members |= state_is_outdated(node, masters_number(applying->state));
}

enum st_code
apply_enrol(struct applying *applying, const State__Enrol *enrol, struct st_err *err)
{
    char key[STATE_KEY_MAX];
    uint8_t ek_hash[RECORD_ALIAS_LEN];
    State__Node *node = enrol->node;
    struct record *record;
    enum st_code code;
    if ((code = enrol_check(node, err)))
        return code;
    if (REFUSES(0x24f1, is_outdated(applying->state, node->evidence, &enrol->ek_cas)))
        return cas_changed(err);
    if ((code = enrol_judge(applying->state, node, applying->now, &record, err)) ||
        (code = digest_labelled("EK", node->ek_pubkey.data, node->ek_pubkey.len, ek_hash,
                                err)))
        return code;
    if (!record) {
        apply_recovery_again(applying, node);
        return ST_OK;
    }
    State__Enrolment *enrolment = record_unpack(record, &state__enrolment__descriptor);
    char *no_name = node->enrolment;
    node->enrolment = enrolment->name;
    node->enrolled_at = applying->now;
    node->evidence = policy_evidence(applying->state->policy, node);
    node->role = first_role(applying->state->policy, node);
    key_of_node(node->node_id, key);
    applying_put(applying, key, ek_hash, &node->base);
    note_adopted(applying, node);
    node->enrolment = no_name;

    enrolment->uses_left--;
    key_of_enrolment(enrolment->name, key);
    applying_put(applying, key, enrolment->secret_hash.data, &enrolment->base);
    record_free_unpacked(enrolment);
    return ST_OK;
}

/* What the proposer found, and for which EK. */
struct finding {
    State__Evidence evidence;
    const ProtobufCBinaryData *ek_cas, *ek_sha256;
};

/* By this id there may be another machine than the proposer knew. */
static bool
is_of_another(const struct finding *finding, const State__Node *node)
{
    uint8_t own[SHA256_LEN];
    sha256_of(node->ek_pubkey.data, node->ek_pubkey.len, own);
    return finding->ek_sha256->len > 0 &&
           (finding->ek_sha256->len != SHA256_LEN ||
            memcmp(finding->ek_sha256->data, own, SHA256_LEN) != 0);
}

/* By the policy as it is, and the CAs that the proposer knew. */
static enum st_code
adoption_judge(const struct applying *applying, State__Node *node,
               const struct finding *finding, struct st_err *err)
{
    const struct policy *policy = applying->state->policy;
    struct st_err why = {0};
    if (node->role != STATE__ROLE__REGISTERED)
        return ST_OK;
    if (REFUSES(0x24f2, is_outdated(applying->state, finding->evidence, finding->ek_cas)))
        return cas_changed(err);
    if (REFUSES(0x24f3, is_of_another(finding, node)))
        return st_fail_for(err, ST_ABORTED, ST_REASON_CHANGED,
                           "%s was enrolled anew meanwhile, by another TPM",
                           node->node_id);
    if (finding->evidence != STATE__EVIDENCE__UNJUDGED)
        node->evidence = finding->evidence;
    node->evidence = policy_evidence(policy, node);
    if (REFUSES(0x12d, policy_judge_node(policy, node, &why)))
        return st_fail_for(err, ST_FAILED_PRECONDITION, ST_REASON_REFUSED,
                           "the policy refuses %s: %s", node->node_id, why.text);
    return ST_OK;
}

enum st_code
apply_adopt(struct applying *applying, const State__Adopt *adopt, struct st_err *err)
{
    State__Node *node;
    enum st_code code;
    if (adopt->role != STATE__ROLE__WORKER)
        return st_fail(err, ST_INVALID_ARGUMENT, "Adopt is for workers");
    if ((code = node_find(applying->state, adopt->node_id, &node, err)))
        return code;
    if (node->role == STATE__ROLE__REGISTERED) {
        const struct finding finding = {adopt->evidence, &adopt->ek_cas,
                                        &adopt->ek_sha256};
        code = adoption_judge(applying, node, &finding, err);
        node->role = adopt->role;
        if (!code) {
            applying_put_node(applying, node);
            note_adopted(applying, node);
        }
    } else if (node->role != adopt->role) {
        code = st_fail(err, ST_FAILED_PRECONDITION, "%s is adopted with another role",
                       adopt->node_id);
    }
    record_free_unpacked(node);
    return code;
}

/* While two had its name, whoever removes the node would end one of them. */
static enum st_code
former_judge(const struct applying *applying, const char *node_id, struct st_err *err)
{
    State__Member *member = member_of_node(applying->state, node_id);
    enum st_code code = ST_OK;
    if (REFUSES(0x4003, member))
        code = st_fail(err, ST_FAILED_PRECONDITION,
                       "%s is still master %" PRIu64 ": once `stctl master list` has "
                       "that no more, say this again",
                       node_id, member->id);
    record_free_unpacked(member);
    return code;
}

enum st_code
apply_adopt_master(struct applying *applying, const State__AdoptMaster *adopt_master,
                   struct st_err *err)
{
    State__Node *node;
    State__Member *member = adopt_master->member;
    enum st_code code;
    if (!member || member->key.len == 0)
        return st_fail(err, ST_INVALID_ARGUMENT, "a master without all its parts");
    if ((code = node_find(applying->state, adopt_master->node_id, &node, err)))
        return code;
    if (node->role != STATE__ROLE__MASTER) {
        State__Member made = STATE__MEMBER__INIT;
        made.id = member->id;
        made.cert = member->cert;
        made.key = member->key;
        made.address = node->address;
        made.node_id = node->node_id;
        made.name = node->node_id;
        const struct finding finding = {adopt_master->evidence, &adopt_master->ek_cas,
                                        &adopt_master->ek_sha256};
        if (!(code = adoption_judge(applying, node, &finding, err)) &&
            !(code = former_judge(applying, node->node_id, err)))
            code = member_admit(applying, &made, err);
        node->role = STATE__ROLE__MASTER;
        if (!code)
            applying_put_node(applying, node);
    }
    record_free_unpacked(node);
    return code;
}

static void
node_end(struct applying *applying, const State__Node *node)
{
    char key[STATE_KEY_MAX];
    boots_forget(applying, node);
    key_of_node(node->node_id, key);
    applying_delete(applying, key);
}

/* The record with its half of the disk key, and where it is a master, that too, at once.
 * Who did not hear the answer asks again while the master is leaving. */
enum st_code
apply_remove_node(struct applying *applying, const State__RemoveNode *remove_node,
                  struct st_err *err)
{
    State__Node *node = NULL;
    State__Member *member = member_of_node(applying->state, remove_node->node_id);
    const bool leaving = member && member->phase == STATE__PHASE__LEAVING;
    enum st_code code = node_find(applying->state, remove_node->node_id, &node, err);
    if (code == ST_NOT_FOUND && leaving)
        code = ST_OK;
    else if (!code && (!member || !(code = member_leave(applying, member, err))))
        node_end(applying, node);
    record_free_unpacked(node);
    record_free_unpacked(member);
    return code;
}
