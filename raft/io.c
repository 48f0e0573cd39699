#include "raft/io.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void
io_die(struct io *io, const struct st_err *err)
{
    io->fatal(io->arg, err);
    abort();
}

void
io_die_of_memory(struct io *io)
{
    struct st_err err;
    if (st_fail(&err, ST_RESOURCE_EXHAUSTED, "out of memory"))
        io_die(io, &err);
    abort();
}

struct store_batch *
io_take_pending(struct io *io)
{
    struct store_batch *fresh = store_batch_new();
    if (!fresh)
        io_die_of_memory(io);
    struct store_batch *taken = io->pending;
    io->pending = fresh;
    return taken;
}

/* On the writer thread. */
static void
request_written(void *arg)
{
    struct io_request *request = arg;
    struct io *io = request->io;
    pthread_mutex_lock(&io->lock);
    request->next = NULL;
    *io->last = request;
    io->last = &request->next;
    pthread_mutex_unlock(&io->lock);
    wake_send(&io->written);
}

void
io_submit(struct io *io, struct store_batch *batch,
          void (*finish)(struct io_request *request), void *libraft_request)
{
    struct io_request *request = calloc(1, sizeof(*request));
    if (!request)
        io_die_of_memory(io);
    request->io = io;
    request->finish = finish;
    request->append = libraft_request;
    io->under_way++;
    store_submit(io->store, batch, request_written, request);
}

void
io_break(struct io *io, const struct st_err *why)
{
    pthread_mutex_lock(&io->lock);
    io->broken = true;
    io->why = *why;
    pthread_mutex_unlock(&io->lock);
    wake_send(&io->written);
}

static void
on_written(void *arg)
{
    struct io *io = arg;
    pthread_mutex_lock(&io->lock);
    struct io_request *list = io->first;
    io->first = NULL;
    io->last = &io->first;
    bool broken = io->broken;
    pthread_mutex_unlock(&io->lock);
    while (list) {
        struct io_request *next = list->next;
        list->finish(list);
        list = next;
        io_done(io);
    }
    if (broken)
        io_die(io, &io->why);
}

static void
handle_closed(uv_handle_t *handle)
{
    struct io *io = handle->data;
    if (--io->open_handles == 0)
        io->closed(io->face);
}

void
io_done(struct io *io)
{
    if (--io->under_way || !io->closed)
        return;
    uv_close((uv_handle_t *)&io->timer, handle_closed);
    uv_close((uv_handle_t *)&io->written.poll, handle_closed);
}

static void
flushed(struct io_request *request)
{
    request->io->flushing = false;
    free(request);
}

static void
flush(struct io *io)
{
    io->flushing = true;
    io_submit(io, io_take_pending(io), flushed, NULL);
}

static void
on_timer(uv_timer_t *timer)
{
    struct io *io = timer->data;
    if (!io->flushing && !store_batch_empty(io->pending))
        flush(io);
    io->tick(io->face);
}

static int
io_begin(struct raft_io *face, raft_id id, const char *address)
{
    struct io *io = face->impl;
    (void)address;
    io->id = id;
    return 0;
}

static int
io_start(struct raft_io *face, unsigned ms, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
    struct io *io = face->impl;
    io->tick = tick;
    io->recv = recv;
    return uv_timer_start(&io->timer, on_timer, ms, ms) ? RAFT_IOERR : 0;
}

static void
io_close(struct raft_io *face, raft_io_close_cb cb)
{
    struct io *io = face->impl;
    uv_timer_stop(&io->timer);
    io->closed = cb;
    flush(io); /* also where there is nothing: it waits for what is under way */
}

static int
io_send(struct raft_io *face, struct raft_io_send *req,
        const struct raft_message *message, raft_io_send_cb cb)
{
    struct io *io = face->impl;
    if (!io->link.send)
        return RAFT_NOCONNECTION;
    req->cb = cb;
    return io->link.send(io->link.self, req, message);
}

void
io_receive(struct io *io, struct raft_message *message)
{
    io->recv(io->face, message);
}

static raft_time
io_time(struct raft_io *face)
{
    struct io *io = face->impl;
    return uv_now(io->loop);
}

/* Spreads election timeouts; a constant would only be slow. */
static int
io_random(struct raft_io *face, int min, int max)
{
    (void)face;
    uint32_t number = 0;
    if (max <= min || getrandom(&number, sizeof(number), GRND_NONBLOCK) < 0)
        return min;
    return min + (int)(number % (uint32_t)(max - min));
}

enum st_code
io_init(struct io *io, struct raft_io *face, uv_loop_t *loop, struct store *store,
        void (*fatal)(void *, const struct st_err *), void *arg, struct st_err *err)
{
    *io = (struct io){
        .face = face, .loop = loop, .store = store, .fatal = fatal, .arg = arg};
    io->last = &io->first;
    io->written.fd = -1;
    io->pending = store_batch_new();
    if (!io->pending)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory");
    pthread_mutex_init(&io->lock, NULL);
    uv_timer_init(loop, &io->timer);
    int status = wake_init(&io->written, loop, on_written, io);
    if (status)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "cannot start the loop: %s",
                       uv_strerror(status));
    io->timer.data = io->written.poll.data = io;
    io->open_handles = 2;
    memset(face, 0, sizeof(*face));
    face->version = 1;
    face->impl = io;
    face->init = io_begin;
    face->close = io_close;
    face->load = io_load;
    face->start = io_start;
    face->bootstrap = io_bootstrap;
    face->recover = io_recover;
    face->set_term = io_set_term;
    face->set_vote = io_set_vote;
    face->send = io_send;
    face->append = io_append;
    face->truncate = io_truncate;
    face->snapshot_put = io_snapshot_put;
    face->snapshot_get = io_snapshot_get;
    face->time = io_time;
    face->random = io_random;
    return ST_OK;
}

void
io_free(struct io *io)
{
    wake_free(&io->written);
    store_batch_free(io->pending);
    pthread_mutex_destroy(&io->lock);
}
