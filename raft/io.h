/* io.h - the disk and the clock of one member: libraft's raft_io over store/.
 *
 * Writes go to the store's writer thread and come back through the loop, in order.  State
 * records wait in `pending` for the next append, so that they cost no flush of their own;
 * a tick without one writes them.
 *
 * Everything here is of the loop thread.  A write that fails is the end: `fatal` is
 * called, and nothing is reported as written any more.
 */
#ifndef RAFT_IO_H
#define RAFT_IO_H

#include "raft/link.h"
#include "raft/wake.h"
#include "store/store.h"

#include <pthread.h>
#include <uv.h>

struct io_request;

struct io {
    struct raft_io *face; /* what libraft sees */
    uv_loop_t *loop;
    struct store *store;
    struct link link;
    void (*fatal)(void *arg, const struct st_err *err); /* does not return */
    void *arg;

    raft_io_tick_cb tick;
    raft_io_recv_cb recv;
    uv_timer_t timer;
    struct wake written; /* something is in `first`, or the store broke */
    uint64_t id;
    uint64_t next_index;
    uint64_t term;
    struct store_batch *pending;
    bool flushing; /* state records are under way without an append */
    unsigned under_way;
    raft_io_close_cb closed;
    struct st_err load_err; /* why load() failed */
    unsigned open_handles;

    pthread_mutex_t lock; /* guards what follows: the writer thread fills it */
    struct io_request *first, **last;
    bool broken;
    struct st_err why;
};

/* Owns: libraft's close ends the handles, then io_free().  borrows all but io.  A group
 * of one has no link: io->link is set by who has one. */
enum st_code io_init(struct io *io, struct raft_io *face, uv_loop_t *loop,
                     struct store *store, void (*fatal)(void *, const struct st_err *),
                     void *arg, struct st_err *err);
void io_free(struct io *io);
/* The store's `failed`, from the writer thread. */
void io_break(struct io *io, const struct st_err *why);

/* A checked message of another member; takes what libraft takes. */
void io_receive(struct io *io, struct raft_message *message);

/* Where apply() collects what it does to the records. */
static inline struct store_batch *
io_pending(struct io *io)
{
    return io->pending;
}

/* ---- between the io_*.c ---- */

struct io_request {
    struct io_request *next;
    struct io *io;
    void (*finish)(struct io_request *request); /* on the loop; frees the request */
    union {
        struct raft_io_append *append;
        struct raft_io_snapshot_put *put;
    };
};

/* Submits batch, then finish(request) on the loop. Dies without memory. */
void io_submit(struct io *io, struct store_batch *batch,
               void (*finish)(struct io_request *request), void *libraft_request);
/* Pending state records and an empty batch in their place. */
struct store_batch *io_take_pending(struct io *io);
void io_done(struct io *io); /* one less under way; ends a close that waits */
void io_die(struct io *io, const struct st_err *err) __attribute__((noreturn));
void io_die_of_memory(struct io *io) __attribute__((noreturn));

int io_load(struct raft_io *face, raft_term *term, raft_id *vote,
            struct raft_snapshot **snapshot, raft_index *start_index,
            struct raft_entry *entries[], size_t *n_entries);
int io_bootstrap(struct raft_io *face, const struct raft_configuration *configuration);
int io_recover(struct raft_io *face, const struct raft_configuration *configuration);
int io_set_term(struct raft_io *face, raft_term term);
int io_set_vote(struct raft_io *face, raft_id vote);
int io_append(struct raft_io *face, struct raft_io_append *req,
              const struct raft_entry entries[], unsigned n, raft_io_append_cb cb);
int io_truncate(struct raft_io *face, raft_index index);
int io_snapshot_put(struct raft_io *face, unsigned trailing,
                    struct raft_io_snapshot_put *req,
                    const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb);
int io_snapshot_get(struct raft_io *face, struct raft_io_snapshot_get *req,
                    raft_io_snapshot_get_cb cb);

#endif
