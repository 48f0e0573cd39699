/* JoinMasters: a host without a TPM becomes a master, by a ticket.
 *
 * Shape, proof of the key, secret; then a certificate for that key under the next id, and
 * the command that consumes the ticket and records the member.  Whoever repeats secret
 * and key, because the answer was lost, is given the same certificate again.
 */
#include "nms/digest.h"
#include "nms/issue.h"
#include "nms/nms.h"
#include "proto/mutant.h"
#include "proto/proof.h"
#include "proto/scope.h"

#include <stdlib.h>
#include <string.h>

struct joining {
    struct nms *nms;
    struct rpc_call *call; /* held */
    unsigned tries;
    bool good; /* the ticket is */
    struct st_address address;
    uint8_t secret_hash[SHA256_LEN];
    uint8_t public_key[ED25519_PUBLIC_LEN];
};

static void
joining_free(struct joining *joining)
{
    rpc_call_release(joining->call);
    free(joining);
}
AUTO_DEFINE(struct joining *, joining_freep, joining_free)

static void
say(const struct joining *joining, uint64_t id, const struct st_err *err)
{
    struct audit_line line;
    char address[ADDRESS_TEXT_MAX];
    address_format(&joining->address, address);
    audit_line_fill(&line, "join", address, rpc_call_peer(joining->call), err);
    line.member = id;
    nms_decided(joining->nms, joining->good ? AUDIT_CHANGE : AUDIT_STRANGER, &line);
}

static void
refuse(const struct joining *joining, const struct st_err *err)
{
    say(joining, 0, err);
    stranger_finish(joining->call, err);
}

static enum st_code
proof_check(const Api__JoinMastersRequest *request, struct st_err *err)
{
    uint8_t message[PROOF_MASTER_LABEL_LEN + SECRET_MAX];
    const ProtobufCBinaryData *secret = &request->secret, *proof = &request->proof;
    if (request->public_key.len != ED25519_PUBLIC_LEN || secret->len == 0 ||
        secret->len > SECRET_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "a key of %zu and a secret of %zu bytes",
                       request->public_key.len, secret->len);
    proof_of_master(secret->data, secret->len, message);
    const bool good =
        proof->len == ED25519_SIGNATURE_LEN &&
        !key_verify(request->public_key.data, message,
                    PROOF_MASTER_LABEL_LEN + secret->len, proof->data, NULL);
    explicit_bzero(message, sizeof(message));
    if (REFUSES(0x30e, !good))
        return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED,
                           "the sender does not hold the key that it names");
    return ST_OK;
}

static enum st_code
request_check(const Api__JoinMastersRequest *request, struct joining *out,
              struct st_err *err)
{
    enum st_code code;
    if ((code = address_unpack(&request->address, &out->address, err)) ||
        (code = proof_check(request, err)) ||
        (code = digest_ticket_secret(request->secret.data, request->secret.len,
                                     out->secret_hash, err)))
        return code;
    memcpy(out->public_key, request->public_key.data, ED25519_PUBLIC_LEN);
    return ST_OK;
}

/* Whose certificate it was given already; 0 where it has yet to be. */
static enum st_code
secret_check(struct joining *joining, uint64_t *out_member, struct st_err *err)
{
    const ProtobufCBinaryData hash = {SHA256_LEN, (uint8_t *)joining->secret_hash};
    const ProtobufCBinaryData key = {ED25519_PUBLIC_LEN, (uint8_t *)joining->public_key};
    enum st_code code =
        state_join_check(joining->nms->state, &hash, &key, nms_now(), out_member, err);
    joining->good = joining->good || !code;
    return code;
}

static enum st_code
answer(const struct joining *joining, uint64_t id, struct st_err *err)
{
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    AUTO(state_member_freep) State__Member *member = NULL;
    const struct st_err ok = {0};
    enum st_code code;
    if ((code = state_cluster(joining->nms->state, &cluster, err)) ||
        (code = state_member(joining->nms->state, id, &member, err)))
        return code;

    Api__ConsensusCertificates certs = API__CONSENSUS_CERTIFICATES__INIT;
    certs.ca = cluster->ca_cert;
    certs.crl = cluster->crl;
    certs.cert = member->cert;
    Api__JoinMastersResponse response = API__JOIN_MASTERS_RESPONSE__INIT;
    response.certs = &certs;
    say(joining, id, &ok);
    rpc_call_reply(joining->call, &response.base);
    return ST_OK;
}

static void propose(struct joining *joining);

static void
again(void *arg, const struct st_err *barrier)
{
    struct joining *joining = arg;
    if (barrier->code) {
        refuse(joining, barrier);
        joining_free(joining);
    } else {
        propose(joining);
    }
}

static void
recorded(void *arg, const struct st_err *outcome)
{
    AUTO(joining_freep) struct joining *joining = arg;
    struct nms *nms = joining->nms;
    struct st_err err = *outcome;
    uint64_t id;
    if (err.code == ST_ABORTED && ++joining->tries < ISSUE_TRIES_MAX)
        /* Another was given this id a moment ago: hear of it. */
        nms_barrier(nms, again, TAKE(joining));
    else if (err.code || secret_check(joining, &id, &err) || answer(joining, id, &err))
        refuse(joining, &err);
}

/* Takes joining. */
static void
propose(struct joining *joining)
{
    AUTO(issued_wipe) struct issued issued = {0};
    struct st_err err = {0};
    if (issue_next(joining->nms->state, joining->public_key, &issued, &err)) {
        refuse(joining, &err);
        joining_free(joining);
        return;
    }
    State__Member member = STATE__MEMBER__INIT;
    member.id = issued.id;
    member.address = (ProtobufCBinaryData){joining->address.len, joining->address.bytes};
    member.cert = (ProtobufCBinaryData){issued.cert.len, issued.cert.der};
    member.public_key =
        (ProtobufCBinaryData){sizeof(joining->public_key), joining->public_key};
    State__JoinMaster join_master = STATE__JOIN_MASTER__INIT;
    join_master.secret_hash =
        (ProtobufCBinaryData){sizeof(joining->secret_hash), joining->secret_hash};
    join_master.member = &member;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_JOIN_MASTER;
    command.join_master = &join_master;
    nms_propose(joining->nms, &command, recorded, joining);
}

/* Takes joining; it was given `id` before, or 0. */
static void
admit(struct joining *joining, uint64_t id)
{
    struct st_err err = {0};
    if (!id) {
        propose(joining);
        return;
    }
    if (answer(joining, id, &err))
        refuse(joining, &err);
    joining_free(joining);
}

static void
barrier_passed(void *arg, const struct st_err *barrier)
{
    AUTO(joining_freep) struct joining *joining = arg;
    struct st_err err = *barrier;
    uint64_t id;
    if (err.code || secret_check(joining, &id, &err))
        refuse(joining, &err);
    else
        admit(TAKE(joining), id);
}

static void
handle(struct rpc_call *call, enum rpc_event what, const ProtobufCMessage *message)
{
    struct nms *nms = rpc_call_context(call);
    struct st_err err = {0};
    uint64_t id;
    if (what != RPC_MESSAGE)
        return;
    AUTO(joining_freep) struct joining *joining = calloc(1, sizeof(*joining));
    if (!joining) {
        (void)st_fail(&err, ST_RESOURCE_EXHAUSTED, "no memory for a master");
        stranger_finish(call, &err);
        return;
    }
    joining->nms = nms;
    joining->call = rpc_call_hold(call);
    if (request_check((const Api__JoinMastersRequest *)message, joining, &err)) {
        refuse(joining, &err);
        return;
    }
    const bool good = !secret_check(joining, &id, &err);
    if (REFUSES(0x46a, good))
        rpc_call_vouch(call);
    if (good)
        admit(TAKE(joining), id);
    else /* the ticket may be so new that this master has not heard of it */
        nms_barrier(nms, barrier_passed, TAKE(joining));
}

const struct rpc_method join_masters_method = {
    .path = "/api.NodeManagementService/JoinMasters",
    .in = &api__join_masters_request__descriptor,
    .out = &api__join_masters_response__descriptor,
    .deadline_ms = NMS_ADMIN_MS,
    .first_ms = NMS_FIRST_MS,
    .max_calls = NMS_JOINS,
    .handle = handle,
};
