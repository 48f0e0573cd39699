/* ListMasters, RemoveMaster. */
#include "nms/admin_pending.h"
#include "nms/await.h"
#include "nms/members.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static Api__Master__State
state_of(const struct member *member)
{
    switch (member->phase) {
    case STATE__PHASE__VOTER:
        return API__MASTER__STATE__VOTER;
    case STATE__PHASE__LEAVING:
        return API__MASTER__STATE__LEAVING;
    case STATE__PHASE__JOINING:
    case STATE__PHASE__CATCHING_UP:
    case _STATE__PHASE_IS_INT_SIZE:
        break;
    }
    return API__MASTER__STATE__JOINING;
}

static bool
is_connected(const struct replica_member *group, unsigned count, uint64_t id)
{
    for (unsigned i = 0; i < count; i++)
        if (group[i].id == id)
            return group[i].connected;
    return false;
}

/* As this master sees it, so also without a majority: that is when it is needed. */
void
admin_handle_list_masters(struct rpc_call *call, enum rpc_event what,
                          const ProtobufCMessage *message)
{
    struct nms *nms = rpc_call_context(call);
    struct replica_member group[REPLICA_MEMBERS_MAX];
    struct replica_status status;
    struct members members;
    Api__Master masters[REPLICA_MEMBERS_MAX], *list[REPLICA_MEMBERS_MAX];
    (void)message;
    if (what != RPC_MESSAGE)
        return;
    const unsigned count = replica_members(nms->replica, group);
    replica_status(nms->replica, &status);
    members_read(nms->state, &members);
    for (size_t i = 0; i < members.count; i++) {
        struct member *member = &members.at[i];
        Api__Master *master = list[i] = &masters[i];
        api__master__init(master);
        master->id = member->id;
        master->address =
            (ProtobufCBinaryData){member->address.len, member->address.bytes};
        master->name = member->name;
        master->node_id = member->node_id;
        master->state = state_of(member);
        master->leader = member->id == status.leader_id;
        master->connected = is_connected(group, count, member->id);
    }
    Api__ListMastersResponse response = API__LIST_MASTERS_RESPONSE__INIT;
    response.masters = list;
    response.n_masters = members.count;
    rpc_call_reply(call, &response.base);
}

enum st_code
admin_leave_check(struct nms *nms, uint64_t id, struct st_err *err)
{
    struct replica_member group[REPLICA_MEMBERS_MAX];
    struct replica_status status;
    const unsigned count = replica_members(nms->replica, group);
    replica_status(nms->replica, &status);
    return members_leave_check(group, count, nms->member_id,
                               status.leader_id == nms->member_id, id, err);
}

bool
admin_leaves_itself(struct nms *nms, uint64_t id)
{
    AUTO(state_member_freep) State__Member *member = NULL;
    return id == nms->member_id && !state_member(nms->state, id, &member, NULL) &&
           member->phase == STATE__PHASE__LEAVING;
}

/* Who is removed is told that it is leaving, but not that it is gone. */
void
admin_await_gone(struct admin_pending *pending, uint64_t id, nms_done done)
{
    struct st_err err = {0};
    if (id != pending->nms->member_id) {
        await_member(pending->nms, id, AWAIT_GONE, done, pending);
        return;
    }
    (void)st_fail_for(&err, ST_UNAVAILABLE, ST_REASON_RECORDED,
                      "this is recorded, and is carried on without you: this very master "
                      "is leaving, and will not hear the end of it");
    done(pending, &err);
}

static void
removed(void *arg, const struct st_err *err)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    const Api__RemoveMasterResponse response = API__REMOVE_MASTER_RESPONSE__INIT;
    admin_answer(pending, "remove-master", err, &response.base);
}

static void
remove_recorded(void *arg, const struct st_err *err)
{
    struct admin_pending *pending = arg;
    if (err->code)
        removed(pending, err);
    else
        admin_await_gone(pending, pending->member_id, removed);
}

void
admin_handle_remove_master(struct rpc_call *call, enum rpc_event what,
                           const ProtobufCMessage *message)
{
    const Api__RemoveMasterRequest *request = (const Api__RemoveMasterRequest *)message;
    char name[24];
    struct st_err err = {0};
    if (what != RPC_MESSAGE)
        return;
    if (!request->force && admin_leave_check(rpc_call_context(call), request->id, &err)) {
        rpc_call_finish(call, &err);
        return;
    }
    snprintf(name, sizeof(name), "%" PRIu64, request->id);
    struct admin_pending *pending = admin_pending_new(call, name);
    if (!pending)
        return;
    pending->member_id = request->id;
    if (admin_leaves_itself(pending->nms, request->id)) {
        admin_await_gone(pending, request->id, removed);
        return;
    }
    State__RemoveMaster remove_master = STATE__REMOVE_MASTER__INIT;
    remove_master.id = request->id;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_REMOVE_MASTER;
    command.remove_master = &remove_master;
    admin_propose(pending, &command, remove_recorded);
}
