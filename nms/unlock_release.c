/* From the proof of an unlock (unlock.c) to the answer.
 *
 * Before the key leaves, the records have how far this TPM has counted: a Release, whose
 * commit is the barrier.  What this master would refuse costs no entry in the log: it
 * waits for a barrier alone, and looks again.
 */
#include "nms/members.h"
#include "nms/unlock_internal.h"
#include "proto/mutant.h"
#include "proto/scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
unlock_say_stranger(struct rpc_call *call, const char *node, const struct st_err *err)
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
    (void)unlock_ak_find(releasing->nms, proof->node, &now);
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
        unlock_say_stranger(releasing->call, releasing->proof.node, err);
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

void
unlock_release(struct releasing *releasing)
{
    if (!releasing->judgement.code)
        approve_ahead(releasing);
    const bool good = seems_good(releasing);
    if (REFUSES(0x46e, good))
        rpc_call_vouch(releasing->call);
    if (good)
        record_clock(releasing);
    else
        nms_barrier(releasing->nms, barrier_passed, releasing);
}
