/* GetStatus: answered from what this master knows, so also without a majority. */
#include "nms/admin_pending.h"
#include "nms/approve.h"

void
admin_handle_status(struct rpc_call *call, enum rpc_event what,
                    const ProtobufCMessage *message)
{
    struct nms *nms = rpc_call_context(call);
    struct replica_status replica;
    struct state_counts counts;
    struct st_err err = {0};
    AUTO(state_window_freep) State__Window *window = NULL;
    Api__Window open;
    const Api__GetStatusRequest *request = (const Api__GetStatusRequest *)message;
    uint8_t digest[SHA256_LEN], authority[TPM_AUTHORITY_LEN];
    if (what != RPC_MESSAGE)
        return;
    replica_status(nms->replica, &replica);
    if (state_count(nms->state, nms_now(), &counts, &err) ||
        (request->with_digest && state_digest(nms->state, digest, &err))) {
        rpc_call_finish(call, &err);
        return;
    }
    Api__GetStatusResponse status = API__GET_STATUS_RESPONSE__INIT;
    status.cluster = nms->cluster;
    status.version = (char *)ST_VERSION;
    status.member_id = replica.id;
    status.leader_id = replica.leader_id;
    status.term = replica.term;
    status.commit_index = replica.commit_index;
    status.applied_index = replica.applied_index;
    status.members = replica.members;
    status.nodes = counts.nodes;
    status.waiting = counts.waiting;
    status.enrolments = counts.enrolments;
    status.outdated = counts.outdated;
    status.role = (char *)admin_role_name(admin_role_of(call));
    if (approve_authority(nms, authority, &status.seal_authority_since)) {
        status.seal_authority.data = authority;
        status.seal_authority.len = sizeof(authority);
    }
    if (request->with_digest) {
        status.state_digest.data = digest;
        status.state_digest.len = sizeof(digest);
    }
    if (!state_window(nms->state, nms_now(), &window, NULL)) {
        admin_window_fill(&open, window);
        status.window = &open;
    }
    rpc_call_reply(call, &status.base);
}
