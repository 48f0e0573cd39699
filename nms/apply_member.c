/* The masters: who comes, how far each has come, and who goes.
 *
 *   AdoptMaster, JoinMaster --> JOINING --> CATCHING_UP --> VOTER
 *                                  |             |            |
 *                      RemoveNode, RemoveMaster: LEAVING --> gone; Recover: gone,
 *                                                 or, who is left, VOTER
 *
 * Where it is a node, RemoveNode ends that, too, and RemoveMaster leaves it as a worker.
 *
 * An id is never used twice, nor the serial number of a certificate, which is the id and
 * 1: a list of revoked certificates must never hit somebody new.  Nor is one that the
 * masters may have used of whom this log lacks the end: Recover leaves a gap.
 */
#include "nms/apply.h"
#include "proto/mutant.h"

#include <inttypes.h>
#include <string.h>

enum {
    SECOND_MEMBER = 2, /* the next id where a record of 0.1 does not say */
};

uint64_t
state_next_member(const State__Cluster *cluster)
{
    return cluster->next_member ? cluster->next_member : SECOND_MEMBER;
}

void
member_put(struct applying *applying, const State__Member *member)
{
    char key[STATE_KEY_MAX];
    key_of_member(member->id, key);
    applying_put(applying, key, NULL, &member->base);
    applying->members = true;
}

enum st_code
member_find(const struct applying *applying, uint64_t id, State__Member **out,
            struct st_err *err)
{
    char key[STATE_KEY_MAX];
    key_of_member(id, key);
    const struct record *record = records_find(&applying->state->records, key);
    if (!record)
        return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND,
                           "no master has the id %" PRIu64 ": see `stctl master list`",
                           id);
    *out = record_unpack(record, &state__member__descriptor);
    return ST_OK;
}

State__Member *
member_of_node(const struct state *state, const char *node_id)
{
    const struct record *record;
    size_t at = records_begin(&state->records, "member/");
    while (*node_id && (record = records_next(&state->records, "member/", &at))) {
        State__Member *member = record_unpack(record, &state__member__descriptor);
        if (strcmp(member->node_id, node_id) == 0)
            return member;
        record_free_unpacked(member);
    }
    return NULL;
}

/* How many of the others have this address, and how many of them vote. */
static void
others_count(const struct state *state, const State__Member *member, size_t *out_there,
             size_t *out_voters)
{
    const struct record *record;
    size_t at = records_begin(&state->records, "member/");
    *out_there = *out_voters = 0;
    while ((record = records_next(&state->records, "member/", &at))) {
        State__Member *other = record_unpack(record, &state__member__descriptor);
        if (other->id != member->id) {
            *out_voters += other->phase == STATE__PHASE__VOTER;
            *out_there += other->address.len == member->address.len &&
                          memcmp(other->address.data, member->address.data,
                                 member->address.len) == 0;
        }
        record_free_unpacked(other);
    }
}

/* The address is taken also by one that is leaving: until it is gone, the group speaks to
 * it there. */
static enum st_code
admit_judge(const struct applying *applying, const State__Cluster *cluster,
            const State__Member *member, struct st_err *err)
{
    size_t there, voters;
    if (!cluster || (member->address.len != 4 && member->address.len != 16) ||
        member->cert.len == 0 || member->cert.len > CERT_MAX_LEN)
        return st_fail(err, ST_INVALID_ARGUMENT, "a master without all its parts");
    others_count(applying->state, member, &there, &voters);
    if (REFUSES(0x5281, there > 0))
        return st_fail_for(err, ST_ALREADY_EXISTS, ST_REASON_EXISTS,
                           "a master with this address is there already");
    if (records_count(&applying->state->records, "member/") >= REPLICA_MEMBERS_MAX)
        return st_fail_for(err, ST_RESOURCE_EXHAUSTED, ST_REASON_BUSY,
                           "there are %d masters already", REPLICA_MEMBERS_MAX);
    const uint64_t next = state_next_member(cluster);
    if (REFUSES(0x5282, member->id != next))
        return st_fail(err, ST_ABORTED, "the next master has the id %" PRIu64, next);
    return ST_OK;
}

enum st_code
member_admit(struct applying *applying, State__Member *member, struct st_err *err)
{
    State__Cluster *cluster = cluster_of(applying->state);
    enum st_code code = admit_judge(applying, cluster, member, err);
    if (!code) {
        member->phase = STATE__PHASE__JOINING;
        member_put(applying, member);
        cluster->next_member = member->id + 1;
        applying_put(applying, "cluster", NULL, &cluster->base);
    }
    if (cluster)
        record_free_unpacked(cluster);
    return code;
}

/* The key has done its work, or nobody needs it any more. */
static void
key_forget(State__Member *member)
{
    state_allocator.free(NULL, member->key.data);
    member->key.data = NULL;
    member->key.len = 0;
}

enum st_code
member_leave(struct applying *applying, State__Member *member, struct st_err *err)
{
    size_t there, voters;
    if (member->phase == STATE__PHASE__LEAVING)
        return ST_OK;
    others_count(applying->state, member, &there, &voters);
    if (REFUSES(0x40c, member->phase == STATE__PHASE__VOTER && voters == 0))
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "the last master cannot be removed: nobody would be left to ask");
    applying->voters |= member->phase == STATE__PHASE__VOTER;
    member->phase = STATE__PHASE__LEAVING;
    key_forget(member);
    member_put(applying, member);
    return ST_OK;
}

enum st_code
apply_member_phase(struct applying *applying, const State__MemberPhase *member_phase,
                   struct st_err *err)
{
    State__Member *member;
    const State__Phase from = member_phase->from, to = member_phase->to;
    const bool known =
        (from == STATE__PHASE__JOINING && to == STATE__PHASE__CATCHING_UP) ||
        (from == STATE__PHASE__CATCHING_UP && to == STATE__PHASE__VOTER);
    if (!known)
        return st_fail(err, ST_INVALID_ARGUMENT, "a master does not come from %d to %d",
                       (int)from, (int)to);
    enum st_code code = member_find(applying, member_phase->id, &member, err);
    if (code)
        return code;
    if (member->phase == from) {
        applying->voters = to == STATE__PHASE__VOTER;
        member->phase = to;
        key_forget(member);
        member_put(applying, member);
    } else if (REFUSES(0x40d, member->phase != to)) {
        code = st_fail(err, ST_ABORTED, "master %" PRIu64 " is not where it was any more",
                       member->id);
    }
    record_free_unpacked(member);
    return code;
}

/* Of the machine that a master is.  Under its name there may be another node by now,
 * which waits to be adopted. */
static void
change_role(struct applying *applying, const char *node_id, State__Role from,
            State__Role to)
{
    State__Node *node = node_of(applying->state, node_id);
    if (!node)
        return;
    if (!REFUSES(0x4002, node->role != from)) {
        node->role = to;
        applying_put_node(applying, node);
    }
    record_free_unpacked(node);
}

/* It keeps its disk, whatever became of its folder. */
static void
demote(struct applying *applying, const char *node_id)
{
    change_role(applying, node_id, STATE__ROLE__MASTER, STATE__ROLE__WORKER);
}

enum st_code
apply_remove_master(struct applying *applying, const State__RemoveMaster *remove_master,
                    struct st_err *err)
{
    State__Member *member;
    enum st_code code = member_find(applying, remove_master->id, &member, err);
    if (code)
        return code;
    if (!(code = member_leave(applying, member, err)))
        demote(applying, member->node_id);
    record_free_unpacked(member);
    return code;
}

/* One of the others; NULL. */
static State__Member *
any_other(const struct state *state, uint64_t id)
{
    const struct record *record;
    size_t at = records_begin(&state->records, "member/");
    while ((record = records_next(&state->records, "member/", &at))) {
        State__Member *member = record_unpack(record, &state__member__descriptor);
        if (member->id != id)
            return member;
        record_free_unpacked(member);
    }
    return NULL;
}

static void
member_delete(struct applying *applying, uint64_t id)
{
    char key[STATE_KEY_MAX];
    key_of_member(id, key);
    applying_delete(applying, key);
    applying->members = true;
}

/* The list is borrowed, the rest of the record is its own. */
static void
list_put(struct applying *applying, State__Cluster *cluster, ProtobufCBinaryData crl,
         uint64_t crl_number)
{
    const ProtobufCBinaryData old = cluster->crl;
    cluster->crl = crl;
    cluster->crl_number = crl_number;
    applying_put(applying, "cluster", NULL, &cluster->base);
    cluster->crl = old;
    applying->members = true;
}

static enum st_code
list_judge(const State__Cluster *cluster, ProtobufCBinaryData crl, struct st_err *err)
{
    if (!cluster || crl.len == 0 || crl.len > CRL_MAX_LEN)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "a list of revoked certificates of %zu bytes", crl.len);
    return ST_OK;
}

static enum st_code
recover_judge(const State__Cluster *cluster, const State__Recover *recover,
              struct st_err *err)
{
    enum st_code code = list_judge(cluster, recover->crl, err);
    if (code)
        return code;
    if (REFUSES(0x5382, recover->crl_number <= cluster->crl_number))
        return st_fail(err, ST_ABORTED,
                       "the list of revoked certificates has the number %" PRIu64,
                       cluster->crl_number);
    if (REFUSES(0x5285, recover->next_member <= state_next_member(cluster)))
        return st_fail(err, ST_ABORTED, "the next master has the id %" PRIu64,
                       state_next_member(cluster));
    return ST_OK;
}

/* The node that it was is gone; who has the name by now, or later, is somebody else, and
 * his end would be the master's. */
static void
node_forget(const struct state *state, State__Member *member)
{
    State__Node *node = node_of(state, member->node_id);
    const bool gone = !node || node->role == STATE__ROLE__REGISTERED;
    record_free_unpacked(node);
    if (*member->node_id && REFUSES(0x4004, gone))
        *member->node_id = 0;
}

/* Nobody is left who would carry on what was to become of it.  Its certificate is good:
 * it would be revoked with the end of its record. */
static void
stay(struct applying *applying, State__Member *member)
{
    if (member->phase == STATE__PHASE__VOTER)
        return;
    member->phase = STATE__PHASE__VOTER;
    key_forget(member);
    node_forget(applying->state, member);
    member_put(applying, member);
    change_role(applying, member->node_id, STATE__ROLE__WORKER, STATE__ROLE__MASTER);
}

enum st_code
apply_recover(struct applying *applying, const State__Recover *recover,
              struct st_err *err)
{
    State__Member *member;
    enum st_code code = member_find(applying, recover->id, &member, err);
    if (code)
        return code;
    State__Cluster *cluster = cluster_of(applying->state);
    if (!(code = recover_judge(cluster, recover, err)))
        stay(applying, member);
    record_free_unpacked(member);
    while (!code && (member = any_other(applying->state, recover->id))) {
        member_delete(applying, member->id);
        demote(applying, member->node_id);
        record_free_unpacked(member);
    }
    if (!code) {
        cluster->next_member = recover->next_member;
        list_put(applying, cluster, recover->crl, recover->crl_number);
        /* Always: nodes may have heard of a list that this log has lost. */
        applying->voters = true;
    }
    if (cluster)
        record_free_unpacked(cluster);
    return code;
}

static enum st_code
gone_judge(const State__Member *member, const State__Cluster *cluster,
           const State__MemberGone *gone, struct st_err *err)
{
    enum st_code code = list_judge(cluster, gone->crl, err);
    if (code)
        return code;
    if (REFUSES(0x40e, member->phase != STATE__PHASE__LEAVING))
        return st_fail(err, ST_FAILED_PRECONDITION, "master %" PRIu64 " is not leaving",
                       member->id);
    if (REFUSES(0x5381, gone->crl_number != cluster->crl_number + 1))
        return st_fail(err, ST_ABORTED,
                       "the list of revoked certificates has the number %" PRIu64,
                       cluster->crl_number);
    return ST_OK;
}

enum st_code
apply_member_gone(struct applying *applying, const State__MemberGone *member_gone,
                  struct st_err *err)
{
    State__Member *member;
    enum st_code code = member_find(applying, member_gone->id, &member, err);
    if (code)
        return code;
    State__Cluster *cluster = cluster_of(applying->state);
    if (!(code = gone_judge(member, cluster, member_gone, err))) {
        list_put(applying, cluster, member_gone->crl, member_gone->crl_number);
        member_delete(applying, member->id);
    }
    if (cluster)
        record_free_unpacked(cluster);
    record_free_unpacked(member);
    return code;
}
