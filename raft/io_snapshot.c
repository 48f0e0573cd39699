#include "raft/conf.h"
#include "raft/io.h"
#include "raft/snapshot.h"
#include "store/failpoint.h"

#include <stdlib.h>
#include <string.h>

static void
snapshot_written(struct io_request *request)
{
    struct raft_io_snapshot_put *req = request->put;
    free(request);
    FAILPOINT("raft.snapshot.after");
    req->cb(req, 0);
}

/* The records as they are become what the log may forget. */
static void
compact(struct store_batch *batch, unsigned trailing,
        const struct raft_snapshot *snapshot)
{
    store_put_applied(batch, snapshot->index);
    if (snapshot->index > trailing)
        store_cut_head(batch, snapshot->index - trailing + 1);
}

/* Another member's records replace everything. */
static void
install(struct io *io, struct store_batch *batch, const struct raft_snapshot *snapshot)
{
    struct raft_buffer configuration;
    struct st_err err = {0};
    const struct raft_buffer *records = &snapshot->bufs[0];
    if (snapshot_check(records->base, records->len, &err))
        io_die(io, &err);
    if (raft_configuration_encode(&snapshot->configuration, &configuration))
        io_die_of_memory(io);
    store_replace(batch, snapshot->index, snapshot->term);
    store_put_configuration(batch, snapshot->configuration_index, configuration.base,
                            configuration.len);
    raft_free(configuration.base);
    snapshot_put_records(records->base, records->len, batch);
    io->next_index = snapshot->index + 1;
}

int
io_snapshot_put(struct raft_io *face, unsigned trailing, struct raft_io_snapshot_put *req,
                const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    struct io *io = face->impl;
    struct store_batch *batch = io_take_pending(io);
    FAILPOINT("raft.snapshot.before");
    if (trailing)
        compact(batch, trailing, snapshot);
    else
        install(io, batch, snapshot);
    req->cb = cb;
    io_submit(io, batch, snapshot_written, req);
    return 0;
}

struct getting {
    uv_work_t work;
    struct io *io;
    struct raft_io_snapshot_get *req;
    struct raft_snapshot *snapshot;
    enum st_code code;
    struct st_err err;
};

static enum st_code
fill_snapshot(struct raft_snapshot *snapshot, struct store *store, struct st_err *err)
{
    struct store_moment moment;
    AUTO(st_freep) void *configuration = NULL;
    uint8_t *bytes;
    size_t len;
    enum st_code code = snapshot_take(store, &bytes, &len, &moment, &configuration, err);
    if (code)
        return code;
    snapshot->bufs[0] = (struct raft_buffer){.base = bytes, .len = len};
    snapshot->n_bufs = 1;
    snapshot->index = moment.index;
    snapshot->term = moment.term;
    snapshot->configuration_index = moment.configuration_index;
    int status = conf_decode(moment.configuration, moment.configuration_len,
                             &snapshot->configuration);
    return status ? st_fail(err, ST_DATA_LOSS, "configuration %llu is not readable: %s",
                            (unsigned long long)moment.configuration_index,
                            raft_strerror(status))
                  : ST_OK;
}

/* On a thread of the pool. */
static void
get_work(uv_work_t *work)
{
    struct getting *getting = work->data;
    getting->code = fill_snapshot(getting->snapshot, getting->io->store, &getting->err);
}

static void
get_done(uv_work_t *work, int status)
{
    (void)status;
    struct getting *getting = work->data;
    struct io *io = getting->io;
    if (getting->code)
        io_die(io, &getting->err);
    getting->req->cb(getting->req, getting->snapshot, 0);
    free(getting);
    io_done(io);
}

int
io_snapshot_get(struct raft_io *face, struct raft_io_snapshot_get *req,
                raft_io_snapshot_get_cb cb)
{
    struct io *io = face->impl;
    struct getting *getting = calloc(1, sizeof(*getting));
    struct raft_snapshot *snapshot = raft_calloc(1, sizeof(*snapshot));
    if (!getting || !snapshot ||
        !(snapshot->bufs = raft_calloc(1, sizeof(*snapshot->bufs))))
        io_die_of_memory(io);
    req->cb = cb;
    getting->work.data = getting;
    getting->io = io;
    getting->req = req;
    getting->snapshot = snapshot;
    io->under_way++;
    if (uv_queue_work(io->loop, &getting->work, get_work, get_done))
        io_die_of_memory(io);
    return 0;
}
