/* TPM2Unlock: a node that restarted gets back the half of its disk key.
 *
 *   OPEN --nonce--> AWAIT_REQUEST --unlock_request--> AWAIT_BARRIER --key or refused
 *                                 quote by the AK in the   the record again, as of now,
 *                                 record, over this nonce, also for a refusal; the policy
 *                                 with our PCR 12          (and the window: boot.h)
 *
 * Before the key leaves, the records have how far this TPM has counted: a Release, whose
 * commit is the barrier.  What this master would refuse costs no entry in the log: it
 * waits for a barrier alone, and looks again.
 *
 * Whether a node exists is not for strangers: an unknown id is judged against a key that
 * nobody holds, and is refused with the same words after the same work.
 */
#include "nms/approve.h"
#include "nms/boot.h"
#include "nms/members.h"
#include "nms/nms.h"
#include "proto/mutant.h"
#include "proto/scope.h"
#include "proto/secret.h"
#include "tpm/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum stage {
    AWAIT_REQUEST = 0,
    AWAIT_BARRIER,
    ENDED,
};

struct unlocking {
    enum stage stage;
    uint8_t nonce[NONCE_LEN];
};

/* TPMT_PUBLIC of an AK whose private key nobody can know: x is the SHA-256 of "smalltown:
 * nobody has this key 1", y the even root. */
static const uint8_t nobodys_ak[] = {
    0x00, 0x23,             /* TPM_ALG_ECC */
    0x00, 0x0b,             /* nameAlg SHA-256 */
    0x00, 0x05, 0x00, 0x72, /* restricted, sign; fixedTPM, fixedParent, ... */
    0x00, 0x00,             /* no authPolicy */
    0x00, 0x10,             /* symmetric: null */
    0x00, 0x18, 0x00, 0x0b, /* ECDSA, SHA-256 */
    0x00, 0x03,             /* NIST P-256 */
    0x00, 0x10,             /* kdf: null */
    0x00, 0x20, 0xca, 0xcc, 0xac, 0xf2, 0x8a, 0xc9, 0xaa, 0xca, 0x9f, 0xe9,
    0xdf, 0x25, 0xd5, 0xdc, 0xd3, 0x89, 0xb4, 0x75, 0x68, 0x27, 0xc1, 0xb4,
    0x29, 0x0b, 0xc6, 0xf2, 0xa8, 0xe7, 0xce, 0xd1, 0xe9, 0x21, /* x */
    0x00, 0x20, 0xb5, 0xb6, 0xfa, 0xe0, 0xde, 0x9c, 0x3d, 0x98, 0xa8, 0x7b,
    0x5f, 0x71, 0x97, 0xbc, 0xed, 0xc2, 0x7e, 0xc3, 0x6d, 0x2b, 0xad, 0xe1,
    0xb2, 0xdd, 0xa5, 0xaa, 0xdb, 0x6d, 0x77, 0xb6, 0xc5, 0xc0, /* y */
};

/* From the proof to the answer: what the barrier's callback needs. */
struct releasing {
    struct nms *nms;
    struct rpc_call *call;
    struct boot_proof proof;   /* by which AK the quote was judged, and what it said */
    struct st_address address; /* where the node says that it is; len 0: it does not */
    bool settled;            /* the boot was let in by a window, or may as well not be */
    bool recorded;           /* its clock is in the records */
    struct st_err judgement; /* code 0: a good proof */
    struct approving approving;
};

static void
say_stranger(struct rpc_call *call, const char *node, const struct st_err *err)
{
    struct audit_line line;
    audit_line_fill(&line, "unlock", node, rpc_call_peer(call), err);
    nms_decided(rpc_call_context(call), AUDIT_STRANGER, &line);
}

/* Whoever has proven that he is this node; of a key that was sent, whether the boot was
 * approved too (approve.h). */
static void
say_node(const struct releasing *releasing, const struct st_err *err)
{
    struct audit_line line;
    audit_line_fill(&line, "unlock", releasing->proof.node,
                    rpc_call_peer(releasing->call), err);
    if (!err->code)
        snprintf(line.approved, sizeof(line.approved), "%s", releasing->approving.why);
    nms_decided_node(releasing->nms, &line);
}

static enum st_code
nonce_send(struct rpc_call *call, struct st_err *err)
{
    struct unlocking *unlocking = rpc_call_state(call);
    SECRET nonce = {0};
    enum st_code code = secret_random(&nonce, NONCE_LEN, err);
    if (code)
        return code;
    memcpy(unlocking->nonce, nonce.bytes, NONCE_LEN);

    Api__TPM2UnlockInit init = API__TPM2_UNLOCK_INIT__INIT;
    init.nonce.data = unlocking->nonce;
    init.nonce.len = NONCE_LEN;
    Api__TPM2UnlockFlowResponse response = API__TPM2_UNLOCK_FLOW_RESPONSE__INIT;
    response.stage_case = API__TPM2_UNLOCK_FLOW_RESPONSE__STAGE_UNLOCK_INIT;
    response.unlock_init = &init;
    rpc_call_send(call, &response.base);
    return ST_OK;
}

/* The AK that must have signed; for an id that is not a node's, nobody's. */
static bool
ak_find(struct nms *nms, const char *node_id, struct boot_proof *out)
{
    AUTO(state_node_freep) State__Node *node = NULL;
    memcpy(out->ak, nobodys_ak, sizeof(nobodys_ak));
    out->ak_len = sizeof(nobodys_ak);
    if (state_node(nms->state, node_id, &node, NULL) ||
        node->ak_public.len > sizeof(out->ak))
        return false;
    memcpy(out->ak, node->ak_public.data, node->ak_public.len);
    out->ak_len = node->ak_public.len;
    return true;
}

/* The proof: which node, by the AK in its record, over this stream's nonce, in a boot
 * that asks for a key of this cluster.  What is relayed, or asked after the cap, is a
 * stranger's: no window is for it, and nobody is shown it to approve. */
static enum st_code
proof_check(struct nms *nms, const struct unlocking *unlocking,
            const Api__TPM2UnlockRequest *request, struct releasing *out,
            struct st_err *err)
{
    struct boot_proof *proof = &out->proof;
    const struct tpm_quote_evidence evidence = {
        .quote = request->quote.data,
        .quote_len = request->quote.len,
        .signature = request->quote_signature.data,
        .signature_len = request->quote_signature.len,
    };
    enum st_code code;
    if ((code = node_id_check(request->node_id, err)))
        return code;
    strcpy(proof->node, request->node_id);
    /* One that makes no sense costs nobody his disk: it is as if there were none. */
    if (address_unpack(&request->address, &out->address, NULL) ||
        !address_is_host(&out->address))
        out->address.len = 0;
    if ((code = tpm_pcrs_unpack(request->pcrs, request->n_pcrs, &proof->pcrs, err)))
        return code;
    const bool known = ak_find(nms, request->node_id, proof);
    code = tpm_quote_check(proof->ak, proof->ak_len, &evidence, unlocking->nonce,
                           &proof->pcrs, &proof->clock, err);
    if (code == ST_INVALID_ARGUMENT)
        return code;
    if (REFUSES(0x42a, !known))
        return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED,
                           "no node has this id");
    if (REFUSES(0x41a, code))
        return code;
    code = measure_check(&proof->pcrs, &nms->masters_cert, err);
    return REFUSES(0x4803, code) ? code : ST_OK;
}

static void
key_send(struct releasing *releasing, const State__Node *node)
{
    struct st_address masters[REPLICA_MEMBERS_MAX];
    ProtobufCBinaryData ips[REPLICA_MEMBERS_MAX];
    Api__TPM2UnlockResponse unlock = API__TPM2_UNLOCK_RESPONSE__INIT;
    unlock.global_unlock_key = node->global_unlock_key;
    unlock.role = node->role == STATE__ROLE__MASTER ? API__NODE__STATE__MASTER
                                                    : API__NODE__STATE__WORKER;
    unlock.master_ips = ips;
    unlock.n_master_ips =
        members_ips(releasing->nms->state, masters, ips, &unlock.masters_number);
    approve_put(&releasing->approving, &unlock);

    Api__TPM2UnlockFlowResponse response = API__TPM2_UNLOCK_FLOW_RESPONSE__INIT;
    response.stage_case = API__TPM2_UNLOCK_FLOW_RESPONSE__STAGE_UNLOCK_RESPONSE;
    response.unlock_response = &unlock;
    rpc_call_send(releasing->call, &response.base);
}

/* Before the barrier, on the server's threads: signing takes its time. */
static void
approve_ahead(struct releasing *releasing)
{
    struct approving *approving = &releasing->approving;
    const struct boot_proof *proof = &releasing->proof;
    approving->why = "no-set";
    if (approve_may(releasing->nms, proof->node, &proof->pcrs))
        approve_make(releasing->nms, proof->node, &proof->pcrs, approving);
}

/* After it: by what the policy and the authority are now.  What was signed for nothing
 * is forgotten, what was not signed yet is signed here. */
static void
approve(struct releasing *releasing)
{
    struct approving *approving = &releasing->approving;
    const struct boot_proof *proof = &releasing->proof;
    approving->has_authority =
        approve_authority(releasing->nms, approving->authority, NULL);
    approving->why = "no-set";
    if (!approve_may(releasing->nms, proof->node, &proof->pcrs))
        approving->count = 0;
    else if (!approving->has_authority || !approving->count ||
             memcmp(approving->made[0].point, approving->authority, TPM_AUTHORITY_LEN))
        approve_make(releasing->nms, proof->node, &proof->pcrs, approving);
    else
        approving->why = "yes";
}

/* After the barrier: a refusal is right only where nothing was changed by another master
 * that this one had not heard of. */
static enum st_code
refuse_again(const struct releasing *releasing, struct st_err *err)
{
    const struct boot_proof *proof = &releasing->proof;
    struct boot_proof now = {0};
    (void)ak_find(releasing->nms, proof->node, &now);
    if (now.ak_len != proof->ak_len || memcmp(now.ak, proof->ak, now.ak_len) != 0)
        return st_fail(err, ST_UNAVAILABLE,
                       "the node was enrolled or removed a moment ago: it may ask again");
    *err = releasing->judgement;
    return err->code;
}

/* After the barrier: the record as it is now, which need not be the one that the quote
 * was judged by. */
static enum st_code
record_check(const struct releasing *releasing, State__Node **out, struct st_err *err)
{
    AUTO(state_node_freep) State__Node *node = NULL;
    const struct boot_proof *proof = &releasing->proof;
    if (state_node(releasing->nms->state, proof->node, &node, NULL))
        return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED,
                           "the node was removed a moment ago");
    if (REFUSES(0x41b, node->ak_public.len != proof->ak_len ||
                           memcmp(node->ak_public.data, proof->ak, proof->ak_len) != 0))
        return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED,
                           "the node was enrolled anew a moment ago, by another TPM");
    if (REFUSES(0x40b, node->role == STATE__ROLE__REGISTERED))
        return st_fail_for(err, ST_FAILED_PRECONDITION, ST_REASON_NOT_ADOPTED,
                           "the node is enrolled, but not adopted");
    *out = TAKE(node);
    return ST_OK;
}

static void
releasing_end(struct releasing *releasing, const struct st_err *err)
{
    if (releasing->judgement.code)
        say_stranger(releasing->call, releasing->proof.node, err);
    else
        say_node(releasing, err);
    stranger_finish(releasing->call, err);
    rpc_call_release(releasing->call);
    free(releasing);
}

static void
moved(void *arg, const struct st_err *err)
{
    (void)arg;
    (void)err; /* it says so again the next time */
}

/* A node whose network was renumbered is called where it is now.  Whoever holds its TPM
 * may send us elsewhere, and gets nothing by it: who answers has to be this node. */
static void
note_move(const struct releasing *releasing, const State__Node *node)
{
    const struct st_address *now = &releasing->address;
    if (now->len == 0 || (now->len == node->address.len &&
                          memcmp(now->bytes, node->address.data, now->len) == 0))
        return;
    State__MoveNode move_node = STATE__MOVE_NODE__INIT;
    move_node.node_id = node->node_id;
    move_node.address = (ProtobufCBinaryData){now->len, (uint8_t *)now->bytes};
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_MOVE_NODE;
    command.move_node = &move_node;
    nms_propose(releasing->nms, &command, moved, NULL);
}

static void
hand_over(struct releasing *releasing, const State__Node *node)
{
    const struct st_err ok = {0};
    const struct state_boot boot = {.at = nms_now(), .pcrs = releasing->proof.pcrs};
    approve(releasing);
    key_send(releasing, node);
    note_move(releasing, node);
    state_node_booted(releasing->nms->state, releasing->proof.node, &boot);
    state_node_seen(releasing->nms->state, releasing->proof.node, boot.at);
    releasing_end(releasing, &ok);
}

static void release(struct releasing *releasing);

/* Code 0: it was let in, as the records say by now. */
static void
boot_settled(void *arg, const struct st_err *err)
{
    struct releasing *releasing = arg;
    releasing->settled = true;
    if (err->code)
        releasing_end(releasing, err);
    else
        release(releasing);
}

static void
refused_for_good(void *arg, const struct st_err *err)
{
    releasing_end(arg, err);
}

static void
recorded(void *arg, const struct st_err *err)
{
    struct releasing *releasing = arg;
    releasing->recorded = true;
    if (REFUSES(0x43a, err->code))
        releasing_end(releasing, err);
    else
        release(releasing);
}

static void
record_clock(struct releasing *releasing)
{
    struct boot_proof *proof = &releasing->proof;
    State__TpmClock clock;
    State__Release release = STATE__RELEASE__INIT;
    State__Command command = STATE__COMMAND__INIT;
    state_clock_pack(&proof->clock, &clock);
    release.node_id = proof->node;
    release.ak_public = (ProtobufCBinaryData){proof->ak_len, proof->ak};
    release.clock = &clock;
    command.change_case = STATE__COMMAND__CHANGE_RELEASE;
    command.release = &release;
    nms_propose(releasing->nms, &command, recorded, releasing);
}

static void
release(struct releasing *releasing)
{
    AUTO(state_node_freep) State__Node *node = NULL;
    const struct boot_proof *proof = &releasing->proof;
    struct state *state = releasing->nms->state;
    const char *peer = rpc_call_peer(releasing->call);
    struct st_err err = {0};
    if (record_check(releasing, &node, &err)) {
        releasing_end(releasing, &err);
        return;
    }
    /* First: a copy of its TPM comes through no window, and leaves no boot that is good
     * from then on. */
    if (!releasing->recorded &&
        REFUSES(0x15d, state_clock_check(state, proof->node, &proof->clock, &err))) {
        boot_went_back(releasing->nms, proof, peer, &err, refused_for_good, releasing);
        return;
    }
    const bool is_bad =
        REFUSES(0x12e, state_judge_boot(state, proof->node, &proof->pcrs, &err));
    if (is_bad && releasing->settled)
        releasing_end(releasing, &err);
    else if (is_bad)
        boot_refused(releasing->nms, proof, peer, &err, boot_settled, releasing);
    else if (releasing->recorded)
        hand_over(releasing, node);
    else
        record_clock(releasing);
}

/* As far as this master knows, which may not have heard of everything. */
static bool
seems_good(const struct releasing *releasing)
{
    AUTO(state_node_freep) State__Node *node = NULL;
    const struct boot_proof *proof = &releasing->proof;
    struct state *state = releasing->nms->state;
    return !releasing->judgement.code && !record_check(releasing, &node, NULL) &&
           !state_judge_boot(state, proof->node, &proof->pcrs, NULL) &&
           !state_clock_check(state, proof->node, &proof->clock, NULL);
}

static void
barrier_passed(void *arg, const struct st_err *barrier)
{
    struct releasing *releasing = arg;
    struct st_err err = *barrier;
    if (err.code || (releasing->judgement.code && refuse_again(releasing, &err)))
        releasing_end(releasing, &err);
    else
        release(releasing);
}

static enum st_code
step_request(struct rpc_call *call, const Api__TPM2UnlockRequest *request,
             struct releasing *releasing, struct st_err *err)
{
    struct nms *nms = rpc_call_context(call);
    struct unlocking *unlocking = rpc_call_state(call);
    enum st_code code =
        proof_check(nms, unlocking, request, releasing, &releasing->judgement);
    if (code && code != ST_PERMISSION_DENIED) {
        *err = releasing->judgement;
        return code;
    }
    releasing->judgement.code = code;
    releasing->nms = nms;
    releasing->call = rpc_call_hold(call);
    if (!code)
        approve_ahead(releasing);
    unlocking->stage = AWAIT_BARRIER;
    const bool good = seems_good(releasing);
    if (REFUSES(0x46e, good))
        rpc_call_vouch(call);
    if (good)
        record_clock(releasing);
    else
        nms_barrier(nms, barrier_passed, releasing);
    return ST_OK;
}

static void
refuse(struct rpc_call *call, const char *node, const struct st_err *err)
{
    struct unlocking *unlocking = rpc_call_state(call);
    unlocking->stage = ENDED;
    say_stranger(call, node, err);
    stranger_finish(call, err);
}

static void
on_message(struct rpc_call *call, const Api__TPM2UnlockFlowRequeset *request)
{
    const struct unlocking *unlocking = rpc_call_state(call);
    struct st_err err = {0};
    if (unlocking->stage == ENDED)
        return;
    if (unlocking->stage != AWAIT_REQUEST ||
        request->stage_case != API__TPM2_UNLOCK_FLOW_REQUESET__STAGE_UNLOCK_REQUEST) {
        (void)st_fail(&err, ST_INVALID_ARGUMENT, "a message out of its turn");
        refuse(call, "?", &err);
        return;
    }
    AUTO(st_freep) struct releasing *releasing = calloc(1, sizeof(*releasing));
    if (!releasing) {
        (void)st_fail(&err, ST_RESOURCE_EXHAUSTED, "no memory for an unlock");
        refuse(call, "?", &err);
        return;
    }
    if (step_request(call, request->unlock_request, releasing, &err))
        refuse(call, *releasing->proof.node ? releasing->proof.node : "?", &err);
    else
        releasing = NULL; /* the barrier's */
}

static void
on_half_closed(struct rpc_call *call)
{
    const struct unlocking *unlocking = rpc_call_state(call);
    struct st_err err = {0};
    if (unlocking->stage != AWAIT_REQUEST)
        return;
    (void)st_fail(&err, ST_INVALID_ARGUMENT, "the stream ended before the request");
    refuse(call, "?", &err);
}

static void
on_open(struct rpc_call *call)
{
    struct st_err err = {0};
    if (nonce_send(call, &err))
        refuse(call, "?", &err);
}

static void
handle(struct rpc_call *call, enum rpc_event what, const ProtobufCMessage *message)
{
    switch (what) {
    case RPC_OPEN:
        on_open(call);
        return;
    case RPC_MESSAGE:
        on_message(call, (const Api__TPM2UnlockFlowRequeset *)message);
        return;
    case RPC_HALF_CLOSED:
        on_half_closed(call);
        return;
    case RPC_DONE:
        return;
    }
}

const struct rpc_method unlock_method = {
    .path = "/api.NodeManagementService/TPM2Unlock",
    .in = &api__tpm2_unlock_flow_requeset__descriptor,
    .out = &api__tpm2_unlock_flow_response__descriptor,
    .streaming = true,
    .deadline_ms = NMS_UNLOCK_MS,
    .first_ms = NMS_FIRST_MS,
    .max_calls = NMS_UNLOCKS,
    .state_size = sizeof(struct unlocking),
    .handle = handle,
};
