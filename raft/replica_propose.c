#include "raft/replica_internal.h"

#include <stdlib.h>
#include <string.h>

static uint64_t
now_ms(void)
{
    return uv_hrtime() / 1000000;
}

void
replica_list_init(struct request_list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

void
replica_list_push(struct request_list *list, struct request *request)
{
    request->next = NULL;
    *list->last = request;
    list->last = &request->next;
}

struct request *
replica_list_pop(struct request_list *list)
{
    struct request *request = list->first;
    if (!request)
        return NULL;
    list->first = request->next;
    if (!list->first)
        list->last = &list->first;
    return request;
}

static void
list_append(struct request_list *list, struct request_list *more)
{
    if (!more->first)
        return;
    *list->last = more->first;
    list->last = more->last;
    replica_list_init(more);
}

void
replica_request_end(struct request *request, const struct st_err *err,
                    const struct replica_result *result)
{
    if (request->done)
        request->done(request->arg, err, result);
    free(request);
}

void
replica_list_fail(struct request_list *list, const struct st_err *err)
{
    struct request *request;
    while ((request = replica_list_pop(list)))
        replica_request_end(request, err, NULL);
}

static void
unavailable(struct st_err *err, const char *why)
{
    if (st_fail_for(err, ST_UNAVAILABLE, ST_REASON_NO_QUORUM, "%s", why))
        err->retry_ms = 0;
}

/* ---- the flight ---- */

static void
flight_end(struct replica *replica, int status)
{
    struct flight *flight = &replica->flight;
    struct st_err err = {0};
    if (status)
        unavailable(&err, "this member no longer leads, and the outcome is not known");
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
    flight_end(req->data, status);
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
        if (request->barrier) {
            replica_list_push(&flight->barriers, request);
            continue;
        }
        bool fits = !stay.first && count < ENTRY_COMMANDS_MAX &&
                    (count == 0 || bytes + request->len <= ENTRY_MAX);
        bytes += request->len;
        count++;
        replica_list_push(fits ? &flight->proposals : &stay, request);
    }
    list_append(&replica->waiting, &stay);
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

static void
send_off(struct replica *replica)
{
    struct flight *flight = &replica->flight;
    board(replica);
    if (!flight->proposals.first && alone(replica)) {
        const struct st_err ok = {0};
        replica_list_fail(&flight->barriers, &ok);
        return;
    }
    int status = take_off(replica);
    if (!status)
        return;
    flight->under_way = false;
    if (status == RAFT_NOMEM)
        io_die_of_memory(&replica->io);
    /* A transfer of leadership: they wait on. */
    list_append(&flight->barriers, &flight->proposals);
    list_append(&flight->barriers, &replica->waiting);
    list_append(&replica->waiting, &flight->barriers);
}

/* ---- time ---- */

static void
expire_waiting(struct replica *replica, uint64_t now)
{
    struct request_list left;
    struct request *request;
    struct st_err err = {0};
    replica_list_init(&left);
    unavailable(&err, "no leader was found in time");
    while ((request = replica_list_pop(&replica->waiting))) {
        if (request->deadline > now)
            replica_list_push(&left, request);
        else
            replica_request_end(request, &err, NULL);
    }
    list_append(&replica->waiting, &left);
}

/* What is under way cannot be called back: only the answer is given up. */
static void
expire_list(struct request_list *list, uint64_t now)
{
    struct st_err err = {0};
    unavailable(&err, "no majority answered in time, and the outcome is not known");
    for (struct request *r = list->first; r; r = r->next) {
        if (r->deadline > now || !r->done)
            continue;
        replica_done done = r->done;
        r->done = NULL;
        done(r->arg, &err, NULL);
    }
}

static void
take_inbox(struct replica *replica)
{
    struct request_list taken;
    replica_list_init(&taken);
    pthread_mutex_lock(&replica->lock);
    list_append(&taken, &replica->inbox);
    pthread_mutex_unlock(&replica->lock);
    struct request *request;
    struct st_err err = {0};
    while ((request = replica_list_pop(&taken))) {
        if (!request->refused)
            replica_list_push(&replica->waiting, request);
        else if (st_fail(&err, ST_INVALID_ARGUMENT, "a command has more than %d bytes",
                         REPLICA_COMMAND_MAX))
            replica_request_end(request, &err, NULL);
    }
}

void
replica_pump(struct replica *replica)
{
    take_inbox(replica);
    if (replica->ending) {
        struct st_err err = {0};
        unavailable(&err, "this member is stopping");
        replica_list_fail(&replica->waiting, &err);
        return;
    }
    while (replica->waiting.first && !replica->flight.under_way &&
           cure_serving(&replica->cure))
        send_off(replica);
    uint64_t now = now_ms();
    expire_waiting(replica, now);
    expire_list(&replica->flight.proposals, now);
    expire_list(&replica->flight.barriers, now);
}

/* ---- any thread ---- */

static void
hand_in(struct replica *replica, const void *command, size_t len, bool barrier,
        uint32_t timeout_ms, replica_done done, void *arg)
{
    bool refused = len > REPLICA_COMMAND_MAX;
    struct request *request = calloc(1, sizeof(*request) + (refused ? 0 : len));
    if (!request)
        abort();
    request->refused = refused;
    request->done = done;
    request->arg = arg;
    request->deadline = now_ms() + timeout_ms;
    request->barrier = barrier;
    request->len = refused ? 0 : len;
    if (request->len)
        memcpy(request->command, command, len);
    pthread_mutex_lock(&replica->lock);
    replica_list_push(&replica->inbox, request);
    pthread_mutex_unlock(&replica->lock);
    uv_async_send(&replica->wake);
}

void
replica_propose(struct replica *replica, const void *command, size_t len,
                uint32_t timeout_ms, replica_done done, void *arg)
{
    hand_in(replica, command, len, false, timeout_ms, done, arg);
}

void
replica_barrier(struct replica *replica, uint32_t timeout_ms, replica_done done,
                void *arg)
{
    hand_in(replica, NULL, 0, true, timeout_ms, done, arg);
}
