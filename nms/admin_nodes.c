/* AddNode, RemoveNode.  What makes or ends a master is answered when it is done: the
 * intention is committed first, and whichever master leads carries it on. */
#include "nms/admin_pending.h"
#include "nms/await.h"
#include "nms/issue.h"
#include "nms/members.h"

#include <string.h>

static void
adopted(void *arg, const struct st_err *err)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    const Api__AddNodeResponse response = API__ADD_NODE_RESPONSE__INIT;
    admin_answer(pending, "adopt", err, &response.base);
}

static enum st_code
add_check(const Api__AddNodeRequest *request, struct st_err *err)
{
    enum st_code code = node_id_check(request->node_id, err);
    if (code)
        return code;
    switch (request->role) {
    case API__NODE__STATE__UNININITALIZED: /* left out */
    case API__NODE__STATE__WORKER:
    case API__NODE__STATE__MASTER:
        return ST_OK;
    case _API__NODE__STATE_IS_INT_SIZE:
        break;
    }
    return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED, "no such role: %d",
                       (int)request->role);
}

/* A CA that was added since the node enrolled counts, one that was removed does not. */
static enum st_code
evidence_now(struct nms *nms, const char *node_id, struct state_evidence *out,
             struct st_err *err)
{
    AUTO(state_node_freep) State__Node *node = NULL;
    enum st_code code = state_node(nms->state, node_id, &node, err);
    if (!code)
        state_find_evidence(nms->state, node, out);
    return code;
}

/* This master may not have heard of the node yet.  A command without evidence would adopt
 * it by what its record says, of CAs that may be gone. */
static void
look_again(struct admin_pending *pending, nms_done again, const struct st_err *err)
{
    if (err->code == ST_NOT_FOUND && pending->tries++ == 0)
        admin_barrier(pending, again);
    else
        adopted(pending, err);
}

static void worker_propose(struct admin_pending *pending);
static void master_propose(struct admin_pending *pending);

static void
worker_again(void *arg, const struct st_err *barrier)
{
    struct admin_pending *pending = arg;
    if (barrier->code)
        adopted(pending, barrier);
    else
        worker_propose(pending);
}

static void
worker_recorded(void *arg, const struct st_err *err)
{
    struct admin_pending *pending = arg;
    if (err->reason == ST_REASON_CHANGED && ++pending->tries < STATE_EVIDENCE_TRIES)
        admin_barrier(pending, worker_again);
    else
        adopted(pending, err);
}

static void
worker_propose(struct admin_pending *pending)
{
    struct state_evidence evidence;
    struct st_err err = {0};
    if (evidence_now(pending->nms, pending->name, &evidence, &err)) {
        look_again(pending, worker_again, &err);
        return;
    }
    State__Adopt adopt = STATE__ADOPT__INIT;
    adopt.node_id = pending->name;
    adopt.role = STATE__ROLE__WORKER;
    adopt.evidence = evidence.found;
    adopt.ek_cas = (ProtobufCBinaryData){SHA256_LEN, evidence.ek_cas};
    adopt.ek_sha256 = (ProtobufCBinaryData){SHA256_LEN, evidence.ek_sha256};
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_ADOPT;
    command.adopt = &adopt;
    admin_propose(pending, &command, worker_recorded);
}

static void
master_again(void *arg, const struct st_err *barrier)
{
    struct admin_pending *pending = arg;
    if (barrier->code)
        adopted(pending, barrier);
    else
        master_propose(pending);
}

static void
master_recorded(void *arg, const struct st_err *err)
{
    AUTO(state_member_freep) State__Member *member = NULL;
    struct admin_pending *pending = arg;
    struct st_err outcome = *err;
    if (err->code == ST_ABORTED && ++pending->tries < ISSUE_TRIES_MAX) {
        /* Another was given this id a moment ago, or the CAs or the EK are others: hear
         * of it. */
        admin_barrier(pending, master_again);
        return;
    }
    if (err->code ||
        state_member_of_node(pending->nms->state, pending->name, &member, &outcome)) {
        adopted(pending, &outcome);
        return;
    }
    admin_say(pending, "adopt-master", err);
    await_member(pending->nms, member->id, AWAIT_VOTER, adopted, pending);
}

static void
master_propose(struct admin_pending *pending)
{
    AUTO(issued_wipe) struct issued issued = {0};
    struct state_evidence evidence;
    struct st_err err = {0};
    if (evidence_now(pending->nms, pending->name, &evidence, &err)) {
        look_again(pending, master_again, &err);
        return;
    }
    if (issue_next(pending->nms->state, NULL, &issued, &err)) {
        adopted(pending, &err);
        return;
    }
    State__Member member = STATE__MEMBER__INIT;
    member.id = issued.id;
    member.cert = (ProtobufCBinaryData){issued.cert.len, issued.cert.der};
    member.key = (ProtobufCBinaryData){issued.key.len, issued.key.bytes};
    State__AdoptMaster adopt_master = STATE__ADOPT_MASTER__INIT;
    adopt_master.node_id = pending->name;
    adopt_master.member = &member;
    adopt_master.evidence = evidence.found;
    adopt_master.ek_cas = (ProtobufCBinaryData){SHA256_LEN, evidence.ek_cas};
    adopt_master.ek_sha256 = (ProtobufCBinaryData){SHA256_LEN, evidence.ek_sha256};
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_ADOPT_MASTER;
    command.adopt_master = &adopt_master;
    admin_propose(pending, &command, master_recorded);
}

void
admin_handle_add_node(struct rpc_call *call, enum rpc_event what,
                      const ProtobufCMessage *message)
{
    const Api__AddNodeRequest *request = (const Api__AddNodeRequest *)message;
    struct st_err err = {0};
    if (what != RPC_MESSAGE)
        return;
    if (add_check(request, &err)) {
        rpc_call_finish(call, &err);
        return;
    }
    struct admin_pending *pending = admin_pending_node(call, request->node_id);
    if (!pending)
        return;
    if (request->role == API__NODE__STATE__MASTER)
        master_propose(pending);
    else
        worker_propose(pending);
}

static void
removed(void *arg, const struct st_err *err)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    Api__RemoveNodeRequest response = API__REMOVE_NODE_REQUEST__INIT;
    response.node_id = pending->name;
    admin_answer(pending, "remove", err, &response.base);
}

/* The record is gone, and with it the half of the disk key.  The master that it was is
 * leaving: its certificate is good until it is gone. */
static void
remove_recorded(void *arg, const struct st_err *err)
{
    AUTO(state_member_freep) State__Member *member = NULL;
    struct admin_pending *pending = arg;
    if (err->code ||
        state_member_of_node(pending->nms->state, pending->name, &member, NULL)) {
        removed(pending, err);
        return;
    }
    admin_say(pending, "remove-master", err);
    admin_await_gone(pending, member->id, removed);
}

/* A second time at the master that is being removed; a first time where only the master
 * is, and the node stays. */
static bool
is_own_removal(struct admin_pending *pending, uint64_t *out_id)
{
    AUTO(state_member_freep) State__Member *member = NULL;
    AUTO(state_node_freep) State__Node *node = NULL;
    if (state_member_of_node(pending->nms->state, pending->name, &member, NULL) ||
        !state_node(pending->nms->state, pending->name, &node, NULL))
        return false;
    *out_id = member->id;
    return admin_leaves_itself(pending->nms, member->id);
}

static enum st_code
remove_check(struct nms *nms, const Api__RemoveNodeRequest *request, struct st_err *err)
{
    AUTO(state_member_freep) State__Member *member = NULL;
    enum st_code code = node_id_check(request->node_id, err);
    if (code || request->force ||
        state_member_of_node(nms->state, request->node_id, &member, NULL))
        return code;
    return admin_leave_check(nms, member->id, err);
}

void
admin_handle_remove_node(struct rpc_call *call, enum rpc_event what,
                         const ProtobufCMessage *message)
{
    const Api__RemoveNodeRequest *request = (const Api__RemoveNodeRequest *)message;
    struct st_err err = {0};
    uint64_t id;
    if (what != RPC_MESSAGE)
        return;
    if (remove_check(rpc_call_context(call), request, &err)) {
        rpc_call_finish(call, &err);
        return;
    }
    struct admin_pending *pending = admin_pending_node(call, request->node_id);
    if (!pending)
        return;
    if (is_own_removal(pending, &id)) {
        admin_await_gone(pending, id, removed);
        return;
    }
    State__RemoveNode remove_node = STATE__REMOVE_NODE__INIT;
    remove_node.node_id = request->node_id;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_REMOVE_NODE;
    command.remove_node = &remove_node;
    admin_propose(pending, &command, remove_recorded);
}
