/* What each step of members_next() does. */
#include "nms/issue.h"
#include "nms/carrier_internal.h"
#include "nms/node_call.h"
#include "nms/self.h"
#include "proto/event.h"
#include "proto/scope.h"

#include <string.h>

static enum st_code
group_step(struct nms *nms, enum replica_step step, const struct member *member,
           struct st_err *err)
{
    char address[ADDRESS_TEXT_MAX];
    address_format_port(&member->address, PORT_CONSENSUS, address);
    return replica_step_wait(nms->replica, step, member->id, address, CARRIER_STEP_MS,
                             err);
}

static enum st_code
phase_set(struct nms *nms, uint64_t id, State__Phase from, State__Phase to,
          struct st_err *err)
{
    State__MemberPhase member_phase = STATE__MEMBER_PHASE__INIT;
    member_phase.id = id;
    member_phase.from = from;
    member_phase.to = to;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_MEMBER_PHASE;
    command.member_phase = &member_phase;
    return nms_propose_wait(nms, &command, CARRIER_STEP_MS, err);
}

static enum st_code
hand_over(struct nms *nms, const struct member *member, struct st_err *err)
{
    AUTO(state_member_freep) State__Member *record = NULL;
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    AUTO(state_node_freep) State__Node *node = NULL;
    struct members members;
    char text[MEMBERS_TEXT_MAX];
    enum st_code code;
    if ((code = state_cluster(nms->state, &cluster, err)) ||
        (code = state_member(nms->state, member->id, &record, err)) ||
        (code = state_node(nms->state, member->node_id, &node, err)))
        return code;
    members_read(nms->state, &members);
    members_text(&members, text);

    Api__ConsensusCertificates certs = API__CONSENSUS_CERTIFICATES__INIT;
    certs.ca = cluster->ca_cert;
    certs.crl = cluster->crl;
    certs.cert = record->cert;
    certs.key = record->key;
    Api__JoinClusterRequest request = API__JOIN_CLUSTER_REQUEST__INIT;
    request.initialcluster = text;
    request.certs = &certs;
    /* Who has them already, and our record of that was lost, says OK again. */
    if ((code = node_call(nms, node, "/api.NodeService/JoinCluster", &request.base,
                          &api__join_cluster_response__descriptor, CARRIER_CALL_MS, err)))
        return code;
    return phase_set(nms, member->id, STATE__PHASE__JOINING, STATE__PHASE__CATCHING_UP,
                     err);
}

static enum st_code
forget(struct nms *nms, const struct member *member, struct st_err *err)
{
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    AUTO(ca_wipe) struct ca ca = {0};
    struct crl crl;
    uint64_t number;
    enum st_code code;
    if ((code = state_cluster(nms->state, &cluster, err)) ||
        (code = issue_ca(cluster, &ca, err)) ||
        (code = ca_revoke(&ca, cluster->crl.data, cluster->crl.len,
                          issue_serial(member->id), nms_now(), &crl, &number, err)))
        return code;
    State__MemberGone member_gone = STATE__MEMBER_GONE__INIT;
    member_gone.id = member->id;
    member_gone.crl.data = crl.der;
    member_gone.crl.len = crl.len;
    member_gone.crl_number = number;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_MEMBER_GONE;
    command.member_gone = &member_gone;
    return nms_propose_wait(nms, &command, CARRIER_STEP_MS, err);
}

static enum st_code
not_met(struct nms *nms, uint64_t id, struct st_err *err)
{
    struct replica_member group[REPLICA_MEMBERS_MAX];
    char why[MEMBERS_APART_MAX];
    members_apart(group, replica_members(nms->replica, group), id, why);
    return st_fail(err, ST_UNAVAILABLE, "it is not connected with this master%s", why);
}

enum st_code
carrier_take(struct nms *nms, const struct member *member, enum members_step step,
             struct st_err *err)
{
    switch (step) {
    case MEMBERS_NOTHING:
        return ST_OK;
    case MEMBERS_ADD:
        return group_step(nms, REPLICA_STEP_ADD, member, err);
    case MEMBERS_HAND_OVER:
        return hand_over(nms, member, err);
    case MEMBERS_CATCH_UP:
        return phase_set(nms, member->id, STATE__PHASE__JOINING,
                         STATE__PHASE__CATCHING_UP, err);
    case MEMBERS_MEET:
        return not_met(nms, member->id, err);
    case MEMBERS_PROMOTE:
        return group_step(nms, REPLICA_STEP_PROMOTE, member, err);
    case MEMBERS_VOTE:
        return phase_set(nms, member->id, STATE__PHASE__CATCHING_UP, STATE__PHASE__VOTER,
                         err);
    case MEMBERS_YIELD:
        return replica_transfer_wait(nms->replica, 0, CARRIER_STEP_MS, err);
    case MEMBERS_REMOVE:
        return group_step(nms, REPLICA_STEP_REMOVE, member, err);
    case MEMBERS_FORGET:
        return forget(nms, member, err);
    }
    return st_fail(err, ST_INTERNAL, "no such step");
}

static enum st_code
self_keep_crl(const char *dir, const State__Cluster *cluster, struct st_err *err)
{
    struct self self;
    enum st_code code = self_read(dir, &self, err);
    if (code)
        return code;
    if (cluster->crl.len > sizeof(self.crl.der)) {
        code = st_fail(err, ST_DATA_LOSS, "a list of %zu bytes", cluster->crl.len);
    } else {
        memcpy(self.crl.der, cluster->crl.data, cluster->crl.len);
        self.crl.len = cluster->crl.len;
        code = self_write(dir, &self, err);
    }
    secret_wipe(&self.key);
    return code;
}

enum st_code
carrier_crl(struct nms *nms, uint64_t *known, struct st_err *err)
{
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    enum st_code code;
    if ((code = state_cluster(nms->state, &cluster, err)))
        return code;
    if (cluster->crl_number <= *known)
        return ST_OK;
    code = replica_set_crl(nms->replica, cluster->crl.data, cluster->crl.len, err);
    /* It has this one: only the file was not written the last time. */
    if (code && code != ST_FAILED_PRECONDITION)
        return code;
    if ((code = self_keep_crl(nms->dir, cluster, err)))
        return code;
    *known = cluster->crl_number;
    event("crl", "number=%llu decision=OK", (unsigned long long)*known);
    return ST_OK;
}
