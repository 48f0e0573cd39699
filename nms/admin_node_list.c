/* ListNodes. */
#include "nms/admin.h"
#include "nms/members.h"
#include "proto/mutant.h"

/* An answer that is being made. */
struct node_list {
    struct members members; /* read before, for the nodes that are masters */
    struct rpc_list *packed;
};

static Api__Node__State
state_of(const State__Node *node)
{
    switch (node->role) {
    case STATE__ROLE__MASTER:
        return API__NODE__STATE__MASTER;
    case STATE__ROLE__WORKER:
        return API__NODE__STATE__WORKER;
    case STATE__ROLE__REGISTERED:
    case _STATE__ROLE_IS_INT_SIZE:
        break;
    }
    return API__NODE__STATE__UNININITALIZED;
}

/* Everything but the half of the disk key (N47); borrows it all. */
static void
node_show(const State__Node *node, int64_t seen, Api__NodeTPM2 *tpm, Api__Node *out)
{
    tpm->ak_pub = node->ak_public;
    tpm->ek_pubkey = node->ek_pubkey;
    tpm->ek_cert = node->ek_cert;
    out->integrity_case = API__NODE__INTEGRITY_TPM2;
    out->tpm2 = tpm;
    out->state = state_of(node);
    out->enrolled_at = node->enrolled_at;
    out->last_unlock_at = seen;
    if (!REFUSES(0x47a, true))
        out->global_unlock_key = node->global_unlock_key;
    out->node_id = node->node_id;
    out->enrolment = node->enrolment;
    out->id_cert = node->id_cert;
    out->address = node->address;
}

static void
member_show(const struct member *member, Api__Node *out)
{
    out->id = member->id;
    out->synced = member->phase == STATE__PHASE__VOTER;
    out->name = (char *)member->name;
}

static enum st_code
node_list_add(void *arg, const State__Node *node, int64_t seen, struct st_err *err)
{
    struct node_list *list = arg;
    Api__NodeTPM2 tpm = API__NODE_TPM2__INIT;
    Api__Node shown = API__NODE__INIT;
    const struct member *member = members_find_node(&list->members, node->node_id);
    node_show(node, seen, &tpm, &shown);
    if (member)
        member_show(member, &shown);
    return rpc_list_add(list->packed, &shown.base, err);
}

static enum st_code
node_list_make(struct nms *nms, struct rpc_list *packed, struct st_err *err)
{
    struct node_list list = {.packed = packed};
    if (!packed)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory for the list");
    members_read(nms->state, &list.members);
    return state_each_node(nms->state, node_list_add, &list, err);
}

static void
list_barrier_passed(void *arg, const struct st_err *barrier)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    AUTO(rpc_list_freep) struct rpc_list *list = NULL;
    struct st_err err = *barrier;
    if (!err.code)
        list = rpc_list_new(&api__list_nodes_response__descriptor, "nodes");
    if (err.code || node_list_make(pending->nms, list, &err))
        rpc_call_finish(pending->call, &err);
    else
        rpc_call_reply_list(pending->call, TAKE(list));
}

void
admin_handle_list_nodes(struct rpc_call *call, enum rpc_event what,
                        const ProtobufCMessage *message)
{
    (void)message;
    if (what != RPC_MESSAGE)
        return;
    struct admin_pending *pending = admin_pending_new(call, "");
    if (pending)
        nms_barrier(pending->nms, list_barrier_passed, pending);
}
