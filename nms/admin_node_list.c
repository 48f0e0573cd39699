/* ListNodes. */
#include "nms/admin_pending.h"
#include "nms/members.h"
#include "proto/grow.h"
#include "proto/mutant.h"
#include "proto/secret.h"

#include <stdlib.h>
#include <string.h>

/* A list that is being made; its messages are from secret_allocator. */
struct node_list {
    struct members members; /* read before, for the nodes that are masters */
    uint64_t masters_number;
    Api__Node **nodes;
    size_t count, room;
};

static void
node_list_free(struct node_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        api__node__free_unpacked(list->nodes[i], &secret_allocator);
    free(list->nodes);
}

static bool
bytes_copy(ProtobufCBinaryData *out, const ProtobufCBinaryData *bytes)
{
    if (bytes->len == 0)
        return true;
    out->data = secret_allocator.alloc(NULL, bytes->len);
    if (!out->data)
        return false;
    memcpy(out->data, bytes->data, bytes->len);
    out->len = bytes->len;
    return true;
}

static bool
text_copy(char **out, const char *text)
{
    const size_t len = strlen(text) + 1;
    char *copy = secret_allocator.alloc(NULL, len);
    if (!copy)
        return false;
    memcpy(copy, text, len);
    *out = copy;
    return true;
}

static bool
tpm_copy(Api__Node *out, const State__Node *node)
{
    Api__NodeTPM2 *tpm = secret_allocator.alloc(NULL, sizeof(*tpm));
    if (!tpm)
        return false;
    api__node_tpm2__init(tpm);
    out->integrity_case = API__NODE__INTEGRITY_TPM2;
    out->tpm2 = tpm;
    return bytes_copy(&tpm->ak_pub, &node->ak_public) &&
           bytes_copy(&tpm->ek_pubkey, &node->ek_pubkey) &&
           bytes_copy(&tpm->ek_cert, &node->ek_cert);
}

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

static Api__Node__Evidence
evidence_of(const State__Node *node)
{
    switch (node->evidence) {
    case STATE__EVIDENCE__NOTHING:
        return API__NODE__EVIDENCE__NOTHING;
    case STATE__EVIDENCE__CERTIFICATE:
        return API__NODE__EVIDENCE__CERTIFICATE;
    case STATE__EVIDENCE__CHAIN:
        return API__NODE__EVIDENCE__CHAIN;
    case STATE__EVIDENCE__LISTED:
        return API__NODE__EVIDENCE__LISTED;
    case STATE__EVIDENCE__UNJUDGED:
    case _STATE__EVIDENCE_IS_INT_SIZE:
        break;
    }
    return API__NODE__EVIDENCE__UNJUDGED;
}

/* Everything but the half of the disk key (N47). */
static bool
node_copy(Api__Node *out, const State__Node *node, int64_t seen,
          const struct node_list *list)
{
    const struct member *member = members_find_node(&list->members, node->node_id);
    if (member) {
        out->id = member->id;
        out->synced = member->phase == STATE__PHASE__VOTER;
        if (!text_copy(&out->name, member->name))
            return false;
    }
    out->state = state_of(node);
    out->enrolled_at = node->enrolled_at;
    out->last_unlock_at = seen;
    out->evidence = evidence_of(node);
    out->outdated = state_is_outdated(node, list->masters_number);
    if (!REFUSES(0x47a, true) &&
        !bytes_copy(&out->global_unlock_key, &node->global_unlock_key))
        return false;
    return text_copy(&out->node_id, node->node_id) &&
           text_copy(&out->enrolment, node->enrolment) &&
           bytes_copy(&out->id_cert, &node->id_cert) &&
           bytes_copy(&out->address, &node->address) && tpm_copy(out, node);
}

static enum st_code
node_list_add(void *arg, const State__Node *node, int64_t seen, struct st_err *err)
{
    struct node_list *list = arg;
    Api__Node **nodes =
        st_grow(list->nodes, list->count, &list->room, sizeof(Api__Node *));
    if (!nodes)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory for the list");
    list->nodes = nodes;
    Api__Node *copy = secret_allocator.alloc(NULL, sizeof(*copy));
    if (!copy)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory for the list");
    api__node__init(copy);
    list->nodes[list->count++] = copy;
    if (!node_copy(copy, node, seen, list))
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory for the list");
    return ST_OK;
}

static void
list_send(struct admin_pending *pending)
{
    AUTO(node_list_free) struct node_list list = {0};
    struct st_err err = {0};
    members_read(pending->nms->state, &list.members);
    list.masters_number = state_masters_number(pending->nms->state);
    if (state_each_node(pending->nms->state, node_list_add, &list, &err)) {
        rpc_call_finish(pending->call, &err);
        return;
    }
    Api__ListNodesResponse response = API__LIST_NODES_RESPONSE__INIT;
    response.nodes = list.nodes;
    response.n_nodes = list.count;
    rpc_call_reply(pending->call, &response.base);
}

static void
list_barrier_passed(void *arg, const struct st_err *err)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    if (err->code)
        rpc_call_finish(pending->call, err);
    else
        list_send(pending);
}

void
admin_handle_list_nodes(struct rpc_call *call, enum rpc_event what,
                        const ProtobufCMessage *message)
{
    (void)message;
    admin_list(call, what, list_barrier_passed);
}
