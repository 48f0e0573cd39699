#include "raft/replica_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- the flight ---- */

static void
flight_end(struct replica *replica, int status)
{
    struct flight *flight = &replica->flight;
    struct st_err err = {0};
    if (status)
        replica_unavailable(&err,
                            "this member no longer leads, and the outcome is not known");
    flight->under_way = false;
    replica_list_fail(&flight->proposals, &err); /* those applied were answered */
    replica_list_fail(&flight->barriers, &err);
}

static void
apply_done(struct raft_apply *req, int status, void *result)
{
    (void)result;
    flight_end(req->data, status);
}

static void
barrier_done(struct raft_barrier *req, int status)
{
    struct replica *replica = req->data;
    replica->answering = replica->flight.barrier.index;
    replica->answering_term = replica->raft.current_term;
    flight_end(replica, status);
}

/* What waits goes into the flight, as far as one entry holds it. */
static void
board(struct replica *replica)
{
    struct flight *flight = &replica->flight;
    struct request_list stay;
    struct request *request;
    size_t bytes = 0, count = 0;
    replica_list_init(&stay);
    while ((request = replica_list_pop(&replica->waiting))) {
        if (request->kind == REQUEST_BARRIER) {
            replica_list_push(&flight->barriers, request);
            continue;
        }
        bool fits = !stay.first && count < ENTRY_COMMANDS_MAX &&
                    (count == 0 || bytes + request->len <= ENTRY_MAX);
        bytes += request->len;
        count++;
        replica_list_push(fits ? &flight->proposals : &stay, request);
    }
    replica_list_append(&replica->waiting, &stay);
}

static int
take_off(struct replica *replica)
{
    struct flight *flight = &replica->flight;
    struct raft_buffer entry;
    flight->is_barrier = !flight->proposals.first;
    flight->under_way = true;
    if (flight->is_barrier) {
        flight->barrier.data = replica;
        return raft_barrier(&replica->raft, &flight->barrier, barrier_done);
    }
    if (replica_encode(&flight->proposals, &entry))
        return RAFT_NOMEM;
    flight->apply.data = replica;
    int status = raft_apply(&replica->raft, &flight->apply, &entry, 1, apply_done);
    if (status)
        raft_free(entry.base);
    return status;
}

/* With one voter there is nobody who could have committed what is not applied here. */
static bool
alone(const struct replica *replica)
{
    const struct raft *raft = &replica->raft;
    unsigned voters = 0;
    for (unsigned i = 0; i < raft->configuration.n; i++)
        voters += raft->configuration.servers[i].role == RAFT_VOTER;
    return voters == 1 && raft->configuration_uncommitted_index == 0 &&
           raft->last_applied == raft->commit_index;
}

/* False where it cannot leave now. */
static bool
send_off(struct replica *replica)
{
    struct flight *flight = &replica->flight;
    board(replica);
    if (!flight->proposals.first && alone(replica)) {
        const struct st_err ok = {0};
        replica->answering = replica->raft.last_applied;
        replica->answering_term = 0;
        replica_list_fail(&flight->barriers, &ok);
        return true;
    }
    int status = take_off(replica);
    if (!status)
        return true;
    flight->under_way = false;
    if (status == RAFT_NOMEM)
        io_die_of_memory(&replica->io);
    /* A transfer of leadership: they wait on. */
    replica_list_append(&flight->barriers, &flight->proposals);
    replica_list_append(&flight->barriers, &replica->waiting);
    replica_list_append(&replica->waiting, &flight->barriers);
    return false;
}

/* ---- time ---- */

static void
expire_waiting(struct replica *replica, uint64_t now)
{
    struct request_list left;
    struct request *request;
    struct st_err err = {0};
    replica_list_init(&left);
    (void)st_fail_for(&err, ST_UNAVAILABLE, ST_REASON_NO_LEADER,
                      "no leader was found in time");
    while ((request = replica_list_pop(&replica->waiting))) {
        if (request->deadline > now)
            replica_list_push(&left, request);
        else
            replica_request_end(request, &err, NULL);
    }
    replica_list_append(&replica->waiting, &left);
}

static void
expire(struct replica *replica)
{
    uint64_t now = replica_now();
    struct st_err err = {0};
    expire_waiting(replica, now);
    replica_unavailable(&err,
                        "no majority answered in time, and the outcome is not known");
    replica_list_give_up(&replica->flight.proposals, now, &err);
    replica_list_give_up(&replica->flight.barriers, now, &err);
    replica_expire_changes(replica, now);
}

static void
sort_in(struct replica *replica, struct request *request)
{
    struct st_err err = {0};
    if (request->refused) {
        if (st_fail(&err, ST_INVALID_ARGUMENT, "a command has more than %d bytes",
                    REPLICA_COMMAND_MAX))
            replica_request_end(request, &err, NULL);
    } else if (request->kind == REQUEST_STEP || request->kind == REQUEST_TRANSFER) {
        replica_begin_change(replica, request);
    } else {
        replica_list_push(&replica->waiting, request);
    }
}

static void
take_inbox(struct replica *replica)
{
    struct request_list taken;
    struct request *request;
    replica_list_init(&taken);
    pthread_mutex_lock(&replica->lock);
    replica_list_append(&taken, &replica->inbox);
    pthread_mutex_unlock(&replica->lock);
    while ((request = replica_list_pop(&taken)))
        sort_in(replica, request);
}

void
replica_pump(struct replica *replica)
{
    take_inbox(replica);
    if (replica->ending) {
        struct st_err err = {0};
        replica_unavailable(&err, "this member is stopping");
        replica_list_fail(&replica->waiting, &err);
        replica_fail_asked(replica, &err);
        return;
    }
    replica_settle_asked(replica);
    if (raft_state(&replica->raft) != RAFT_LEADER)
        replica_ask_leader(replica);
    while (replica->waiting.first && !replica->flight.under_way &&
           cure_serving(&replica->cure))
        if (!send_off(replica))
            break;
    expire(replica);
}

void
replica_refuse_rest(struct replica *replica)
{
    bool more = true;
    while (more) {
        replica_pump(replica);
        pthread_mutex_lock(&replica->lock);
        more = replica->inbox.first != NULL;
        pthread_mutex_unlock(&replica->lock);
    }
}

/* ---- any thread ---- */

static void
hand_in(struct replica *replica, struct request *request)
{
    if (!request)
        abort();
    pthread_mutex_lock(&replica->lock);
    replica_list_push(&replica->inbox, request);
    pthread_mutex_unlock(&replica->lock);
    wake_send(&replica->wake);
}

void
replica_propose(struct replica *replica, const void *command, size_t len,
                uint32_t timeout_ms, replica_done done, void *arg)
{
    bool refused = len > REPLICA_COMMAND_MAX;
    struct request *request = replica_request_new(
        REQUEST_PROPOSE, command, refused ? 0 : len, timeout_ms, done, arg);
    if (request)
        request->refused = refused;
    hand_in(replica, request);
}

void
replica_barrier(struct replica *replica, uint32_t timeout_ms, replica_done done,
                void *arg)
{
    hand_in(replica,
            replica_request_new(REQUEST_BARRIER, NULL, 0, timeout_ms, done, arg));
}

void
replica_step(struct replica *replica, enum replica_step step, uint64_t id,
             const char *address, uint32_t timeout_ms, replica_done done, void *arg)
{
    const char *where = address ? address : "";
    struct request *request = replica_request_new(REQUEST_STEP, where, strlen(where) + 1,
                                                  timeout_ms, done, arg);
    if (request) {
        request->step = step;
        request->id = id;
    }
    hand_in(replica, request);
}

void
replica_transfer(struct replica *replica, uint64_t id, uint32_t timeout_ms,
                 replica_done done, void *arg)
{
    struct request *request =
        replica_request_new(REQUEST_TRANSFER, NULL, 0, timeout_ms, done, arg);
    if (request)
        request->id = id;
    hand_in(replica, request);
}
