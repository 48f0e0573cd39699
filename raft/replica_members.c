#include "raft/replica_internal.h"

#include <stdio.h>
#include <string.h>

/* ---- what others see ---- */

static enum replica_role
role_of(int role)
{
    return role == RAFT_VOTER     ? REPLICA_VOTER
           : role == RAFT_STANDBY ? REPLICA_STANDBY
                                  : REPLICA_SPARE;
}

static const struct peer *
find_peer(const struct replica *replica, uint64_t id)
{
    static const struct peer unknown;
    if (replica->peers_term == replica->raft.current_term)
        for (int i = 0; i < PEERS_MAX; i++)
            if (replica->peers[i].id == id)
                return &replica->peers[i];
    return &unknown;
}

static struct replica_member
describe(const struct replica *replica, const struct raft_server *server, bool lead)
{
    bool me = server->id == replica->raft.id;
    const struct peer *peer = find_peer(replica, server->id);
    struct replica_member member = {.id = server->id, .role = role_of(server->role)};
    snprintf(member.address, sizeof(member.address), "%s", server->address);
    member.connected = me || (replica->mesh && mesh_connected(replica->mesh, server->id));
    if (!member.connected && replica->mesh)
        snprintf(member.trouble, sizeof(member.trouble), "%s",
                 mesh_trouble_with(replica->mesh, server->id));
    snprintf(member.says, sizeof(member.says), "%s",
             me              ? replica->raft.address
             : replica->mesh ? mesh_says(replica->mesh, server->id)
                             : "");
    if (!lead)
        return member;
    member.answers = me || (peer->heard && replica_now() - peer->heard < ANSWERS_MS);
    return member;
}

static unsigned
describe_all(const struct replica *replica, bool lead,
             struct replica_member out[REPLICA_MEMBERS_MAX])
{
    const struct raft_configuration *group = &replica->raft.configuration;
    unsigned count = 0;
    memset(out, 0, REPLICA_MEMBERS_MAX * sizeof(*out));
    for (unsigned i = 0; i < group->n && count < REPLICA_MEMBERS_MAX; i++) {
        unsigned at = count++;
        for (; at > 0 && out[at - 1].id > group->servers[i].id; at--)
            out[at] = out[at - 1];
        out[at] = describe(replica, &group->servers[i], lead);
    }
    return count;
}

/* Why one is not there changes with every try, and nobody is told of that alone. */
static bool
differs(const struct replica *replica, const struct replica_status *status,
        unsigned count, const struct replica_member *members)
{
    const struct replica_status *old = &replica->status;
    if (old->leader_id != status->leader_id || old->term != status->term ||
        old->serving != status->serving || old->changing != status->changing ||
        replica->member_count != count)
        return true;
    for (unsigned i = 0; i < count; i++) {
        const struct replica_member *a = &replica->members[i], *b = &members[i];
        if (a->id != b->id || a->role != b->role || a->connected != b->connected ||
            a->answers != b->answers || strcmp(a->address, b->address) ||
            strcmp(a->says, b->says))
            return true;
    }
    return false;
}

void
replica_publish(struct replica *replica)
{
    struct replica_member members[REPLICA_MEMBERS_MAX];
    struct replica_status status = {
        .id = replica->raft.id,
        .term = replica->raft.current_term,
        .commit_index = replica->raft.commit_index,
        .applied_index = replica->raft.last_applied,
        .members = replica->raft.configuration.n,
        .serving = cure_serving(&replica->cure),
        .changing = replica->raft.configuration_uncommitted_index != 0,
    };
    raft_id leader;
    const char *address;
    raft_leader(&replica->raft, &leader, &address);
    status.leader_id = leader;
    unsigned count =
        describe_all(replica, raft_state(&replica->raft) == RAFT_LEADER, members);
    pthread_mutex_lock(&replica->lock);
    bool moved = differs(replica, &status, count, members);
    replica->status = status;
    replica->member_count = count;
    memcpy(replica->members, members, sizeof(members));
    pthread_mutex_unlock(&replica->lock);
    if (moved && replica->moved)
        replica->moved(replica->moved_arg);
}

void
replica_status(struct replica *replica, struct replica_status *out)
{
    pthread_mutex_lock(&replica->lock);
    *out = replica->status;
    pthread_mutex_unlock(&replica->lock);
}

unsigned
replica_group(struct replica *replica, struct replica_member out[REPLICA_MEMBERS_MAX],
              struct replica_status *out_status)
{
    pthread_mutex_lock(&replica->lock);
    unsigned count = replica->member_count;
    memcpy(out, replica->members, sizeof(replica->members));
    *out_status = replica->status;
    pthread_mutex_unlock(&replica->lock);
    return count;
}

unsigned
replica_members(struct replica *replica, struct replica_member out[REPLICA_MEMBERS_MAX])
{
    struct replica_status status;
    return replica_group(replica, out, &status);
}

/* ---- where they are ---- */

void
replica_set_places(struct replica *replica, const struct replica_place *places,
                   unsigned count)
{
    pthread_mutex_lock(&replica->lock);
    replica->place_count = count < REPLICA_PLACES_MAX ? count : REPLICA_PLACES_MAX;
    memcpy(replica->places, places, replica->place_count * sizeof(*places));
    replica->placed = true;
    pthread_mutex_unlock(&replica->lock);
    wake_send(&replica->wake);
}

void
replica_hand_places_on(struct replica *replica)
{
    struct replica_place places[REPLICA_PLACES_MAX];
    pthread_mutex_lock(&replica->lock);
    const bool placed = replica->placed && replica->mesh && !replica->ending;
    const unsigned count = replica->place_count;
    memcpy(places, replica->places, sizeof(places));
    replica->placed &= !placed;
    pthread_mutex_unlock(&replica->lock);
    if (placed)
        mesh_set_places(replica->mesh, places, count);
}

/* ---- steps ---- */

const struct raft_server *
replica_server(const struct raft *raft, uint64_t id)
{
    for (unsigned i = 0; i < raft->configuration.n; i++)
        if (raft->configuration.servers[i].id == id)
            return &raft->configuration.servers[i];
    return NULL;
}

static void
change_end(struct change *change, const struct st_err *err)
{
    struct request *request = change->request;
    change->request = NULL;
    replica_request_end(request, err, NULL);
}

static void
step_done(struct raft_change *req, int status)
{
    struct replica *replica = req->data;
    struct st_err err = {0};
    if (status == RAFT_NOCONNECTION)
        (void)st_fail_for(&err, ST_UNAVAILABLE, ST_REASON_NO_QUORUM,
                          "the member does not answer, or does not catch up");
    else if (status)
        replica_unavailable(&err, "this member no longer leads");
    change_end(&replica->stepping, &err);
}

/* libraft wants the addresses of a group to differ, and keeps those with which members
 * joined: one of them may have moved since, and this one come to where it was. */
static bool
was_anybodys(const struct raft_configuration *group, const char *address)
{
    bool taken = false;
    for (unsigned i = 0; i < group->n; i++)
        taken |= strcmp(group->servers[i].address, address) == 0;
    return taken;
}

static enum st_code
add(struct replica *replica, struct request *request, int *out_status, struct st_err *err)
{
    const char *address = (const char *)request->command;
    char nobody[REPLICA_ADDRESS_MAX];
    if (replica_server(&replica->raft, request->id))
        return ST_OK;
    if (replica->raft.configuration.n >= REPLICA_MEMBERS_MAX)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "there are %d members already",
                       REPLICA_MEMBERS_MAX);
    if (was_anybodys(&replica->raft.configuration, address)) {
        mesh_nowhere(request->id, nobody);
        address = nobody;
    }
    *out_status = raft_add(&replica->raft, &replica->stepping.step, request->id, address,
                           step_done);
    return ST_OK;
}

static enum st_code
promote(struct replica *replica, struct request *request, int *out_status,
        struct st_err *err)
{
    const struct raft_server *known = replica_server(&replica->raft, request->id);
    if (!known)
        return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND, "no member %llu",
                           (unsigned long long)request->id);
    if (known->role == RAFT_VOTER)
        return ST_OK;
    *out_status = raft_assign(&replica->raft, &replica->stepping.step, request->id,
                              RAFT_VOTER, step_done);
    return ST_OK;
}

static enum st_code
remove_member(struct replica *replica, struct request *request, int *out_status,
              struct st_err *err)
{
    const struct raft *raft = &replica->raft;
    const struct raft_server *known = replica_server(raft, request->id);
    unsigned others = 0;
    if (!known)
        return ST_OK;
    for (unsigned i = 0; i < raft->configuration.n; i++)
        others += raft->configuration.servers[i].role == RAFT_VOTER &&
                  raft->configuration.servers[i].id != request->id;
    if (others == 0)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "member %llu is the only one with a vote",
                       (unsigned long long)request->id);
    *out_status =
        raft_remove(&replica->raft, &replica->stepping.step, request->id, step_done);
    return ST_OK;
}

static enum st_code
must_lead(const struct replica *replica, struct st_err *err)
{
    if (!cure_serving(&replica->cure))
        return st_fail_for(err, ST_FAILED_PRECONDITION, ST_REASON_NO_QUORUM,
                           "this member does not lead");
    return ST_OK;
}

static enum st_code
step_begin(struct replica *replica, struct request *request, int *out_status,
           struct st_err *err)
{
    enum st_code code = must_lead(replica, err);
    if (code)
        return code;
    if (replica->stepping.request || replica->raft.configuration_uncommitted_index ||
        replica->handing.request)
        return st_fail_for(err, ST_UNAVAILABLE, ST_REASON_BUSY,
                           "another change of the members is under way");
    replica->stepping.step.data = replica;
    switch (request->step) {
    case REPLICA_STEP_ADD:
        return add(replica, request, out_status, err);
    case REPLICA_STEP_PROMOTE:
        return promote(replica, request, out_status, err);
    case REPLICA_STEP_REMOVE:
        return remove_member(replica, request, out_status, err);
    }
    return st_fail(err, ST_INVALID_ARGUMENT, "no such step");
}

/* ---- handing leadership over ---- */

static void
transfer_done(struct raft_transfer *req)
{
    struct replica *replica = req->data;
    struct st_err err = {0};
    if (raft_state(&replica->raft) == RAFT_LEADER)
        replica_unavailable(&err, "no other member took over");
    change_end(&replica->handing, &err);
}

static enum st_code
transfer_begin(struct replica *replica, struct request *request, int *out_status,
               struct st_err *err)
{
    if (raft_state(&replica->raft) != RAFT_LEADER)
        return ST_OK;
    if (replica->stepping.request || replica->handing.request)
        return st_fail_for(err, ST_UNAVAILABLE, ST_REASON_BUSY,
                           "another change of the members is under way");
    replica->handing.transfer.data = replica;
    *out_status = raft_transfer(&replica->raft, &replica->handing.transfer, request->id,
                                transfer_done);
    if (*out_status == RAFT_NOTFOUND)
        return st_fail(err, ST_FAILED_PRECONDITION, "there is no other voter");
    return ST_OK;
}

enum {
    NOT_BEGUN = -1, /* no status of libraft's: there was nothing to do */
};

void
replica_begin_change(struct replica *replica, struct request *request)
{
    bool step = request->kind == REQUEST_STEP;
    struct st_err err = {0};
    int status = NOT_BEGUN;
    enum st_code code;
    if (replica->ending) {
        replica_unavailable(&err, "this member is stopping");
        code = err.code;
    } else if (step) {
        code = step_begin(replica, request, &status, &err);
    } else {
        code = transfer_begin(replica, request, &status, &err);
    }
    /* raft_assign() may have kept the request that it refuses. */
    if (!code && status == RAFT_NOMEM)
        io_die_of_memory(&replica->io);
    struct change *change = step ? &replica->stepping : &replica->handing;
    if (code || status == NOT_BEGUN)
        replica_request_end(request, &err, NULL);
    else if (status == 0)
        change->request = request;
    else if (st_fail_for(&err, ST_UNAVAILABLE, ST_REASON_BUSY, "the group is busy: %s",
                         raft_strerror(status)))
        replica_request_end(request, &err, NULL);
}

static void
expire(struct change *change, uint64_t now)
{
    struct request *request = change->request;
    struct st_err err = {0};
    if (!request || !request->done || request->deadline > now)
        return;
    replica_unavailable(&err, "it was not done in time, and goes on");
    replica_request_answer(request, &err, NULL);
}

void
replica_expire_changes(struct replica *replica, uint64_t now)
{
    expire(&replica->stepping, now);
    expire(&replica->handing, now);
}
