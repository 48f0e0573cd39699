/* A machine that has proven itself says who it wants to be, and becomes that node, or
 * not: what can be judged without the records, what Enrol would be told, the commit.  Its
 * call began in register.c.
 */
#include "nms/digest.h"
#include "nms/register_internal.h"
#include "proto/mutant.h"
#include "proto/proof.h"
#include "proto/scope.h"
#include "proto/secret.h"

#include <stdlib.h>
#include <string.h>

static enum st_code
id_proof_check(const struct enrolling *enrolling, const ProtobufCBinaryData *proof,
               const uint8_t id_key[ED25519_PUBLIC_LEN], struct st_err *err)
{
    uint8_t message[PROOF_NODE_LEN];
    if (proof->len == 0)
        return ST_OK; /* the original contract has no proof */
    proof_of_node(enrolling->nonce, message);
    if (proof->len != ED25519_SIGNATURE_LEN ||
        key_verify(id_key, message, sizeof(message), proof->data, NULL))
        return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED,
                           "the sender does not hold the key of its id_cert");
    return ST_OK;
}

static bool
all_zero(const ProtobufCBinaryData *bytes)
{
    uint8_t any = 0;
    for (size_t i = 0; i < bytes->len; i++)
        any |= bytes->data[i];
    return any == 0;
}

static enum st_code
global_key_check(const ProtobufCBinaryData *key, struct st_err *err)
{
    if (REFUSES(0x30c, key->len != UNLOCK_KEY_LEN))
        return st_fail(err, ST_INVALID_ARGUMENT, "a global key of %zu bytes", key->len);
    if (REFUSES(0x30d, all_zero(key)))
        return st_fail(err, ST_INVALID_ARGUMENT, "a global key of zeroes");
    return ST_OK;
}

static enum st_code
config_check(const struct nms *nms, const Api__EnrolmentConfig *config, const char *id,
             struct st_err *err)
{
    const ProtobufCBinaryData *cert = &config->masters_cert;
    if (*config->node_id && strcmp(config->node_id, id) != 0)
        return st_fail(err, ST_INVALID_ARGUMENT, "calls itself %s", config->node_id);
    if (REFUSES(0x31d, cert->len > 0 &&
                           (cert->len != nms->masters_cert.len ||
                            memcmp(cert->data, nms->masters_cert.der, cert->len) != 0)))
        return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED,
                           "an enrolment of another cluster");
    return ST_OK;
}

/* Everything in new_node_info that can be judged without the records. */
static enum st_code
info_check(const struct nms *nms, const struct enrolling *enrolling,
           const Api__NewNodeInfo *info, char out_id[NODE_ID_LEN + 1], struct st_err *err)
{
    uint8_t id_key[ED25519_PUBLIC_LEN];
    struct st_address address;
    enum st_code code;
    if (!info->enrolment_config)
        return st_fail(err, ST_INVALID_ARGUMENT, "no enrolment_config");
    if (info->id_cert.len > STATE_ID_CERT_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "an id_cert of %zu bytes",
                       info->id_cert.len);
    if ((code = cert_public_key(info->id_cert.data, info->id_cert.len, id_key, err)))
        return st_wrap(err, "id_cert");
    node_id_of_key(id_key, out_id);
    if (REFUSES(0x30a, (code = id_proof_check(enrolling, &info->id_proof, id_key, err))))
        return code;
    if (REFUSES(0x30b, (code = address_unpack(&info->ip, &address, err))))
        return code;
    if ((code = global_key_check(&info->global_unlock_key, err)))
        return code;
    return config_check(nms, info->enrolment_config, out_id, err);
}

/* What the commit needs; the call's own state belongs to the server's threads. */
struct committing {
    struct nms *nms;
    struct rpc_call *call;
    State__Node *node;
    struct state_evidence evidence; /* that the node has */
    unsigned tries;
    bool again; /* it is adopted already, and did not hear its OK */
};

static void
committing_free(struct committing *committing)
{
    if (committing->call)
        rpc_call_release(committing->call);
    if (committing->node)
        state__node__free_unpacked(committing->node, &secret_allocator);
    free(committing);
}
AUTO_DEFINE(struct committing *, committing_freep, committing_free)

static bool
is_adopted(const struct committing *committing)
{
    AUTO(state_node_freep) State__Node *now = NULL;
    return !state_node(committing->nms->state, committing->node->node_id, &now, NULL) &&
           now->role != STATE__ROLE__REGISTERED;
}

/* Where the policy adopts nobody else says so. */
static void
say(const struct committing *committing, const struct st_err *err)
{
    struct nms *nms = committing->nms;
    const State__Node *node = committing->node;
    const bool known = !err->code || state_knows_secret(nms->state, &node->secret_hash);
    struct audit_line line;
    audit_line_fill(&line, "enrol", node->node_id, rpc_call_peer(committing->call), err);
    audit_line_ek(&line, node->ek_pubkey.data, node->ek_pubkey.len);
    nms_decided(nms, known ? AUDIT_NODE : AUDIT_STRANGER, &line);
    if (err->code || committing->again || !is_adopted(committing))
        return;
    strcpy(line.what, "adopt");
    strcpy(line.step, "auto");
    nms_decided(nms, AUDIT_NODE, &line);
}

static void
committed(struct committing *committing, const struct st_err *err)
{
    say(committing, err);
    stranger_finish(committing->call, err);
    committing_free(committing);
}

/* What Enrol would be told, as far as this master knows.  A stranger's certificates are
 * followed to the CAs, up to 256 of them, only where that decides: not before he would be
 * in with the best evidence that there is, and not again while the CAs are the same.  It
 * is the replica's thread that comes back from a barrier. */
static enum st_code
enrol_check(struct committing *committing, struct st_err *err)
{
    struct state *state = committing->nms->state;
    State__Node *node = committing->node;
    enum st_code code;
    node->evidence = STATE__EVIDENCE__CHAIN;
    if ((code = state_enrol_check(state, node, nms_now(), err)))
        return code;
    if (!state_evidence_holds(state, &committing->evidence))
        state_find_evidence(state, node, &committing->evidence);
    node->evidence = committing->evidence.found;
    return state_enrol_check(state, node, nms_now(), err);
}

static void commit(struct committing *committing);

static void
check_again(void *arg, const struct st_err *barrier)
{
    struct committing *committing = arg;
    struct st_err err = *barrier;
    if (err.code || enrol_check(committing, &err))
        committed(committing, &err);
    else
        commit(committing);
}

static void
answered(void *arg, const struct st_err *outcome)
{
    struct committing *committing = arg;
    struct st_err err = *outcome;
    if (err.reason == ST_REASON_CHANGED && ++committing->tries < STATE_EVIDENCE_TRIES) {
        nms_barrier(committing->nms, check_again, committing);
        return;
    }
    if (err.reason == ST_REASON_CHANGED)
        (void)st_fail(&err, ST_RESOURCE_EXHAUSTED, "the CAs keep changing");
    committed(committing, &err);
}

static void
commit(struct committing *committing)
{
    State__Enrol enrol = STATE__ENROL__INIT;
    State__Command command = STATE__COMMAND__INIT;
    State__Node node = *committing->node; /* which may have to look again */
    if (committing->evidence.directly)
        node.n_ek_chain = 0;
    enrol.node = &node;
    enrol.ek_cas = (ProtobufCBinaryData){SHA256_LEN, committing->evidence.ek_cas};
    command.change_case = STATE__COMMAND__CHANGE_ENROL;
    command.enrol = &enrol;
    nms_propose(committing->nms, &command, answered, committing);
}

static void
node_fill(const struct nms *nms, const struct enrolling *enrolling,
          const Api__NewNodeInfo *info, char *id, uint8_t secret_hash[SHA256_LEN],
          State__TpmClock *clock, State__Node *out)
{
    state__node__init(out);
    out->node_id = id;
    out->id_cert = info->id_cert;
    out->global_unlock_key = info->global_unlock_key;
    out->address = info->ip;
    out->ak_public.data = (uint8_t *)enrolling->ak.public;
    out->ak_public.len = enrolling->ak.public_len;
    out->ek_pubkey.data = (uint8_t *)enrolling->ek.spki;
    out->ek_pubkey.len = enrolling->ek.spki_len;
    out->ek_cert.data = enrolling->ek_cert;
    out->ek_cert.len = enrolling->ek_cert_len;
    out->ek_chain = (ProtobufCBinaryData *)enrolling->ek_chain_certs;
    out->n_ek_chain = enrolling->ek_chain_count;
    out->recovery = info->recovery;
    out->without_volume = info->without_volume;
    if (info->enrolment_config->masters_number == state_masters_number(nms->state))
        out->masters_number = info->enrolment_config->masters_number;
    out->secret_hash.data = secret_hash;
    out->secret_hash.len = SHA256_LEN;
    out->pcrs.data = (uint8_t *)enrolling->pcrs.digest;
    out->pcrs.len = sizeof(enrolling->pcrs.digest);
    state_clock_pack(&enrolling->clock, clock);
    out->clock = clock;
}

static State__Node *
node_copy(const State__Node *node)
{
    const size_t len = state__node__get_packed_size(node);
    uint8_t *packed = secret_allocator.alloc(NULL, len);
    if (!packed)
        return NULL;
    state__node__pack(node, packed);
    State__Node *copy = state__node__unpack(&secret_allocator, len, packed);
    secret_allocator.free(NULL, packed);
    return copy;
}

/* What this master would refuse costs no entry in the log; but it may not have heard yet
 * of an enrolment that another one made, so it asks before it says so. */
static enum st_code
node_propose(struct rpc_call *call, const State__Node *node, struct st_err *err)
{
    struct nms *nms = rpc_call_context(call);
    struct enrolling *enrolling = rpc_call_state(call);
    AUTO(committing_freep) struct committing *committing = calloc(1, sizeof(*committing));
    if (!committing || !(committing->node = node_copy(node)))
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory for an enrolment");
    committing->nms = nms;
    committing->call = rpc_call_hold(call);
    committing->again = is_adopted(committing);
    enrolling->stage = ENROL_COMMIT;
    const bool good = !enrol_check(committing, NULL);
    if (REFUSES(0x46f, good))
        rpc_call_vouch(call);
    if (good)
        commit(TAKE(committing));
    else
        nms_barrier(nms, check_again, TAKE(committing));
    return ST_OK;
}

enum st_code
register_commit(struct rpc_call *call, const Api__NewNodeInfo *info,
                char out_id[NODE_ID_LEN + 1], struct st_err *err)
{
    struct nms *nms = rpc_call_context(call);
    const struct enrolling *enrolling = rpc_call_state(call);
    char id[NODE_ID_LEN + 1];
    uint8_t secret_hash[SHA256_LEN];
    State__TpmClock clock;
    State__Node node;
    enum st_code code;
    if ((code = info_check(nms, enrolling, info, id, err)))
        return code;
    strcpy(out_id, id);
    const ProtobufCBinaryData *secret = &info->enrolment_config->enrolment_secret;
    if ((code = digest_enrolment_secret(secret->data, secret->len, secret_hash, err)))
        return code;
    node_fill(nms, enrolling, info, id, secret_hash, &clock, &node);
    return node_propose(call, &node, err);
}
