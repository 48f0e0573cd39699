#include "raft/cure.h"

#include <stdlib.h>
#include <string.h>

struct cure_held {
    struct cure_held *next;
    struct raft_message message;
    char address[];
};

/* A write of libraft's, and the term it was begun in. */
struct cured_append {
    struct raft_io_append inner;
    struct raft_io_append *req;
    struct cure *cure;
    raft_term term;
};

static void
moved(struct cure *cure)
{
    cure_lead(cure);
    if (cure->moved)
        cure->moved(cure->arg);
}

/* ---- C: a barrier first ---- */

static void
barrier_applied(struct raft_barrier *req, int status)
{
    struct cure *cure = req->data;
    cure->barrier_under_way = false;
    if (status == 0)
        cure->serving_term = cure->barrier_term;
}

void
cure_lead(struct cure *cure)
{
    struct raft *raft = cure->face.data;
    if (raft_state(raft) != RAFT_LEADER || cure->barrier_under_way ||
        cure->barrier_term == raft->current_term)
        return;
    cure->barrier.data = cure;
    /* Where it is refused (a transfer, no memory) the next tick tries again. */
    if (raft_barrier(raft, &cure->barrier, barrier_applied))
        return;
    cure->barrier_term = raft->current_term;
    cure->barrier_under_way = true;
}

bool
cure_serving(const struct cure *cure)
{
    struct raft *raft = cure->face.data;
    return raft_state(raft) == RAFT_LEADER && cure->serving_term == raft->current_term;
}

static bool
barrier_stored(const struct cure *cure)
{
    const struct raft *raft = cure->face.data;
    return cure->barrier_term == raft->current_term &&
           raft->last_stored >= cure->barrier.index;
}

/* A full hold loses the message, as a network may. */
static void
hold(struct cure *cure, const struct raft_message *message)
{
    if (cure->held_count == CURE_HELD_MAX || !message->server_address)
        return;
    size_t size = strlen(message->server_address) + 1;
    struct cure_held *held = calloc(1, sizeof(*held) + size), **end = &cure->held;
    if (!held)
        return;
    held->message = *message;
    memcpy(held->address, message->server_address, size);
    held->message.server_address = held->address;
    while (*end)
        end = &(*end)->next;
    *end = held;
    cure->held_count++;
}

static void
release(struct cure *cure)
{
    struct cure_held *list = cure->held;
    cure->held = NULL;
    cure->held_count = 0;
    while (list) {
        struct cure_held *next = list->next;
        cure->recv(&cure->face, &list->message);
        free(list);
        list = next;
    }
}

static bool
must_wait(const struct cure *cure, const struct raft_message *message)
{
    struct raft *raft = cure->face.data;
    return raft_state(raft) == RAFT_LEADER &&
           message->type == RAFT_IO_APPEND_ENTRIES_RESULT &&
           message->append_entries_result.term == raft->current_term &&
           message->append_entries_result.rejected == 0 && !barrier_stored(cure);
}

/* ---- F: a sole voter takes a term of its own ---- */

static bool
sole_voter(const struct raft *raft)
{
    unsigned voters = 0;
    bool me = false;
    for (unsigned i = 0; i < raft->configuration.n; i++) {
        const struct raft_server *server = &raft->configuration.servers[i];
        voters += server->role == RAFT_VOTER;
        me |= server->role == RAFT_VOTER && server->id == raft->id;
    }
    return voters == 1 && me;
}

static int
take_term(struct cure *cure)
{
    struct raft *raft = cure->face.data;
    int status = cure->inner->set_term(cure->inner, raft->current_term + 1);
    if (status)
        return status;
    raft->current_term++;
    raft->voted_for = 0;
    status = cure->inner->set_vote(cure->inner, raft->id);
    if (!status)
        raft->voted_for = raft->id;
    return status;
}

static bool
about_to_elect_itself(struct cure *cure)
{
    struct raft *raft = cure->face.data;
    return raft_state(raft) == RAFT_FOLLOWER && sole_voter(raft) &&
           cure->inner->time(cure->inner) - raft->election_timer_start >=
               raft->follower_state.randomized_election_timeout;
}

/* ---- what the inner one calls ---- */

static void
on_tick(struct raft_io *inner)
{
    struct cure *cure = inner->data;
    if (cure->installing)
        return;
    /* Without a durable term there is no election: the next tick tries again. */
    if (about_to_elect_itself(cure) && take_term(cure))
        return;
    cure->tick(&cure->face);
    moved(cure);
}

static void
on_recv(struct raft_io *inner, struct raft_message *message)
{
    struct cure *cure = inner->data;
    if (must_wait(cure, message)) {
        hold(cure, message);
        return;
    }
    if (message->type == RAFT_IO_APPEND_ENTRIES) {
        const struct raft_append_entries *args = &message->append_entries;
        cure_roll_back(cure, args);
        cure->comparing = true;
        cure->compared = args->prev_log_index + args->n_entries;
    }
    cure->recv(&cure->face, message);
    cure->comparing = false;
    moved(cure);
}

static void
on_closed(struct raft_io *inner)
{
    struct cure *cure = inner->data;
    cure->closed(&cure->face);
}

static void
on_appended(struct raft_io_append *inner, int status)
{
    struct cured_append *append = inner->data;
    struct cure *cure = append->cure;
    cure->finishing = true;
    cure->begun = append->term;
    append->req->cb(append->req, status);
    cure->finishing = false;
    free(append);
    if (cure->held && barrier_stored(cure))
        release(cure);
    moved(cure);
}

static void
on_put(struct raft_io_snapshot_put *inner, int status)
{
    struct cure *cure = inner->data;
    free(inner);
    cure->installing = false;
    cure->put->cb = cure->put_cb;
    cure->put_cb(cure->put, status);
    moved(cure);
}

/* ---- what libraft calls ---- */

static int
face_init(struct raft_io *face, raft_id id, const char *address)
{
    struct cure *cure = face->impl;
    return cure->inner->init(cure->inner, id, address);
}

static void
face_close(struct raft_io *face, raft_io_close_cb cb)
{
    struct cure *cure = face->impl;
    cure->closed = cb;
    cure->inner->close(cure->inner, on_closed);
}

static void
note_entries(struct cure *cure, const struct raft_entry *entries, size_t n)
{
    for (size_t i = 0; i < n; i++, cure->next_index++)
        if (entries[i].type == RAFT_CHANGE)
            cure_note_configuration(cure, cure->next_index, entries[i].buf.base,
                                    entries[i].buf.len);
}

static void
note_snapshot(struct cure *cure, const struct raft_snapshot *snapshot)
{
    struct raft_buffer bytes;
    if (!snapshot->configuration.n)
        return;
    if (raft_configuration_encode(&snapshot->configuration, &bytes))
        abort();
    cure_note_configuration(cure, snapshot->configuration_index, bytes.base, bytes.len);
    raft_free(bytes.base);
}

static int
face_load(struct raft_io *face, raft_term *term, raft_id *vote,
          struct raft_snapshot **snapshot, raft_index *start_index,
          struct raft_entry *entries[], size_t *n_entries)
{
    struct cure *cure = face->impl;
    int status = cure->inner->load(cure->inner, term, vote, snapshot, start_index,
                                   entries, n_entries);
    if (status) {
        memcpy(face->errmsg, cure->inner->errmsg, sizeof(face->errmsg));
        return status;
    }
    if (*snapshot)
        note_snapshot(cure, *snapshot);
    cure->next_index = *start_index;
    note_entries(cure, *entries, *n_entries);
    return 0;
}

static int
face_start(struct raft_io *face, unsigned ms, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
    struct cure *cure = face->impl;
    cure->tick = tick;
    cure->recv = recv;
    /* libraft makes a sole voter leader as soon as this returns. */
    int status = sole_voter(face->data) ? take_term(cure) : 0;
    return status ? status : cure->inner->start(cure->inner, ms, on_tick, on_recv);
}

static int
face_bootstrap(struct raft_io *face, const struct raft_configuration *configuration)
{
    struct cure *cure = face->impl;
    return cure->inner->bootstrap(cure->inner, configuration);
}

static int
face_recover(struct raft_io *face, const struct raft_configuration *configuration)
{
    struct cure *cure = face->impl;
    return cure->inner->recover(cure->inner, configuration);
}

static int
face_set_term(struct raft_io *face, raft_term term)
{
    struct cure *cure = face->impl;
    return cure->inner->set_term(cure->inner, term);
}

static int
face_set_vote(struct raft_io *face, raft_id vote)
{
    struct cure *cure = face->impl;
    return cure->inner->set_vote(cure->inner, vote);
}

/* False where the result must not be sent. */
static bool
clamp_result(const struct cure *cure, struct raft_append_entries_result *result)
{
    const struct raft *raft = cure->face.data;
    if (cure->finishing && cure->begun != raft->current_term)
        return false;
    if (cure->comparing && result->rejected == 0 &&
        result->last_log_index > cure->compared)
        result->last_log_index = cure->compared;
    return true;
}

static int
face_send(struct raft_io *face, struct raft_io_send *req,
          const struct raft_message *message, raft_io_send_cb cb)
{
    struct cure *cure = face->impl;
    struct raft_message copy = *message;
    if (message->server_id == 0 || !message->server_address)
        return RAFT_NOCONNECTION;
    if (message->type == RAFT_IO_APPEND_ENTRIES_RESULT &&
        !clamp_result(cure, &copy.append_entries_result))
        return RAFT_NOCONNECTION;
    return cure->inner->send(cure->inner, req, &copy, cb) ? RAFT_NOCONNECTION : 0;
}

static int
face_append(struct raft_io *face, struct raft_io_append *req,
            const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    struct cure *cure = face->impl;
    struct raft *raft = face->data;
    struct cured_append *append = calloc(1, sizeof(*append));
    if (!append)
        return RAFT_NOMEM;
    append->inner.data = append;
    append->req = req;
    append->cure = cure;
    append->term = raft->current_term;
    req->cb = cb;
    int status =
        cure->inner->append(cure->inner, &append->inner, entries, n, on_appended);
    if (status)
        free(append);
    else
        note_entries(cure, entries, n);
    return status;
}

static int
face_truncate(struct raft_io *face, raft_index index)
{
    struct cure *cure = face->impl;
    cure_forget_configurations(cure, index);
    cure->next_index = index;
    return cure->inner->truncate(cure->inner, index);
}

static int
face_snapshot_put(struct raft_io *face, unsigned trailing,
                  struct raft_io_snapshot_put *req, const struct raft_snapshot *snapshot,
                  raft_io_snapshot_put_cb cb)
{
    struct cure *cure = face->impl;
    struct raft_io_snapshot_put *inner = calloc(1, sizeof(*inner));
    if (!inner)
        return RAFT_NOMEM;
    inner->data = cure;
    cure->put = req;
    cure->put_cb = cb;
    cure->installing = trailing == 0;
    if (cure->installing) {
        cure_forget_configurations(cure, 1);
        note_snapshot(cure, snapshot);
        cure->next_index = snapshot->index + 1;
    }
    int status =
        cure->inner->snapshot_put(cure->inner, trailing, inner, snapshot, on_put);
    if (status) {
        free(inner);
        cure->installing = false;
    }
    return status;
}

static int
face_snapshot_get(struct raft_io *face, struct raft_io_snapshot_get *req,
                  raft_io_snapshot_get_cb cb)
{
    struct cure *cure = face->impl;
    return cure->inner->snapshot_get(cure->inner, req, cb);
}

static raft_time
face_time(struct raft_io *face)
{
    struct cure *cure = face->impl;
    return cure->inner->time(cure->inner);
}

static int
face_random(struct raft_io *face, int min, int max)
{
    struct cure *cure = face->impl;
    return cure->inner->random(cure->inner, min, max);
}

void
cure_init(struct cure *cure, struct raft_io *inner, void (*moved_)(void *arg), void *arg)
{
    *cure = (struct cure){.inner = inner, .moved = moved_, .arg = arg};
    inner->data = cure;
    cure->face = (struct raft_io){
        .version = 1,
        .impl = cure,
        .init = face_init,
        .close = face_close,
        .load = face_load,
        .start = face_start,
        .bootstrap = face_bootstrap,
        .recover = face_recover,
        .set_term = face_set_term,
        .set_vote = face_set_vote,
        .send = face_send,
        .append = face_append,
        .truncate = face_truncate,
        .snapshot_put = face_snapshot_put,
        .snapshot_get = face_snapshot_get,
        .time = face_time,
        .random = face_random,
    };
}

void
cure_free(struct cure *cure)
{
    while (cure->held) {
        struct cure_held *next = cure->held->next;
        free(cure->held);
        cure->held = next;
    }
    cure_forget_configurations(cure, 0);
}
