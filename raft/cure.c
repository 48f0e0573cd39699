#include "raft/cure.h"

#include <stdlib.h>
#include <string.h>

/* A write of libraft's, and the term it was begun in. */
struct cured_append {
    struct raft_io_append inner;
    struct raft_io_append *req;
    struct cure *cure;
    raft_term term;
    bool changes; /* has a configuration that another member made */
};

static void
moved(struct cure *cure)
{
    cure_lead(cure);
    if (cure->moved)
        cure->moved(cure->arg);
}

/* ---- what the inner one calls ---- */

static void
on_tick(struct raft_io *inner)
{
    struct cure *cure = inner->data;
    if (cure_may_tick(cure))
        cure_let_tick(cure);
    moved(cure);
}

static void
compare(struct cure *cure, struct raft_message *message)
{
    struct raft_append_entries *args = &message->append_entries;
    raft_index compared = args->prev_log_index + args->n_entries;
    cure_skip_committed(cure, args);
    raft_index conflict = cure_conflict(cure, args);
    if (conflict && cure->writes_under_way) {
        cure_drop_entries(args);
        return;
    }
    if (conflict)
        cure_roll_back(cure, conflict);
    cure->comparing = true;
    cure->compared = compared;
    if (args->leader_commit > compared)
        args->leader_commit = compared;
    cure->recv(&cure->face, message);
    cure->comparing = false;
}

static void
on_recv(struct raft_io *inner, struct raft_message *message)
{
    struct cure *cure = inner->data;
    if (cure_meets_rival(cure, message)) {
        cure_drop(message);
        moved(cure);
        return;
    }
    switch (message->type) {
    case RAFT_IO_APPEND_ENTRIES:
        compare(cure, message);
        break;
    case RAFT_IO_APPEND_ENTRIES_RESULT:
        if (!cure_hold(cure, message))
            cure->recv(&cure->face, message);
        break;
    case RAFT_IO_REQUEST_VOTE:
        if (!cure_voted_otherwise(cure, &message->request_vote))
            cure_let_vote(cure, message);
        break;
    case RAFT_IO_REQUEST_VOTE_RESULT:
        cure_let_count(cure, message);
        break;
    case RAFT_IO_TIMEOUT_NOW:
        if (cure_may_stand(cure))
            cure->recv(&cure->face, message);
        break;
    default:
        cure->recv(&cure->face, message);
        break;
    }
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
    cure->writes_under_way--;
    cure->changes_under_way -= append->changes;
    free(append);
    cure_release(cure);
    moved(cure);
}

static void
on_put(struct raft_io_snapshot_put *inner, int status)
{
    struct cure *cure = inner->data;
    struct raft *raft = cure->face.data;
    bool installed = cure->installing;
    void *given_up = installed && (status || raft_state(raft) == RAFT_UNAVAILABLE)
                         ? cure->put_bufs
                         : NULL;
    free(inner);
    cure->installing = false;
    cure->put->cb = cure->put_cb;
    cure->put_cb(cure->put, status);
    raft_free(given_up); /* which libraft forgets */
    if (installed)       /* K: of the log that it replaced */
        raft->configuration_uncommitted_index = 0;
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

/* True where there is a configuration. */
static bool
note_entries(struct cure *cure, const struct raft_entry *entries, size_t n)
{
    bool changes = false;
    for (size_t i = 0; i < n; i++, cure->next_index++) {
        if (entries[i].type != RAFT_CHANGE)
            continue;
        changes = true;
        cure_note_configuration(cure, cure->next_index, entries[i].buf.base,
                                entries[i].buf.len);
    }
    return changes;
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
    cure_settle_configuration(cure);
    /* libraft makes a sole voter leader as soon as this returns. */
    int status = cure_sole_voter(face->data) ? cure_take_term(cure) : 0;
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
    bool is_result = message->type == RAFT_IO_APPEND_ENTRIES_RESULT, sent = false;
    if (message->type == RAFT_IO_REQUEST_VOTE_RESULT)
        cure_tell_term(cure, &copy.request_vote_result);
    if (message->server_id && message->server_address &&
        (!is_result || clamp_result(cure, &copy.append_entries_result)))
        sent = cure->inner->send(cure->inner, req, &copy, cb) == 0;
    if (sent || !is_result)
        return sent ? 0 : RAFT_NOCONNECTION;
    cb(req, RAFT_NOCONNECTION); /* H */
    return 0;
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
    if (status) {
        free(append);
        return status;
    }
    append->changes = note_entries(cure, entries, n) && raft_state(raft) != RAFT_LEADER;
    cure->writes_under_way++;
    cure->changes_under_way += append->changes;
    return 0;
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
    cure->put_bufs = snapshot->bufs;
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
    cure_forget_held(cure);
    cure_forget_configurations(cure, 0);
}
