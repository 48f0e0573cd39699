#include "raft/io.h"
#include "store/failpoint.h"

#include <stdlib.h>

/* Waits for the disk. */
static void
write_now(struct io *io, struct store_batch *batch)
{
    struct st_err err = {0};
    if (!batch)
        io_die_of_memory(io);
    if (store_write(io->store, batch, &err))
        io_die(io, &err);
}

int
io_set_term(struct raft_io *face, raft_term term)
{
    struct io *io = face->impl;
    struct store_batch *batch = store_batch_new();
    if (batch)
        store_put_hard(batch, term, 0);
    write_now(io, batch);
    io->term = term;
    FAILPOINT("raft.term.after");
    return 0;
}

int
io_set_vote(struct raft_io *face, raft_id vote)
{
    struct io *io = face->impl;
    struct store_batch *batch = store_batch_new();
    if (batch)
        store_put_hard(batch, io->term, vote);
    write_now(io, batch);
    FAILPOINT("raft.vote.after");
    return 0;
}

static void
append_entry(struct io *io, struct store_batch *batch, const struct raft_entry *entry)
{
    uint64_t index = io->next_index++;
    store_append(batch, index, entry->term, entry->type, entry->buf.base, entry->buf.len);
    if (entry->type == RAFT_CHANGE)
        store_put_configuration(batch, index, entry->buf.base, entry->buf.len);
}

static void
appended(struct io_request *request)
{
    struct raft_io_append *req = request->append;
    free(request);
    FAILPOINT("raft.append.after");
    req->cb(req, 0);
}

int
io_append(struct raft_io *face, struct raft_io_append *req,
          const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    struct io *io = face->impl;
    struct store_batch *batch = io_take_pending(io);
    FAILPOINT("raft.append.before");
    for (unsigned i = 0; i < n; i++)
        append_entry(io, batch, &entries[i]);
    req->cb = cb;
    io_submit(io, batch, appended, req);
    return 0;
}

static void
forget(struct io_request *request)
{
    free(request);
}

int
io_truncate(struct raft_io *face, raft_index index)
{
    struct io *io = face->impl;
    struct store_batch *batch = store_batch_new();
    if (!batch)
        io_die_of_memory(io);
    store_cut_tail(batch, index);
    io->next_index = index;
    io_submit(io, batch, forget, NULL);
    return 0;
}

int
io_bootstrap(struct raft_io *face, const struct raft_configuration *configuration)
{
    struct io *io = face->impl;
    struct store_head head;
    struct st_err err = {0};
    if (store_head(io->store, &head, &err))
        io_die(io, &err);
    if (head.member || head.term || head.last)
        return RAFT_CANTBOOTSTRAP;
    struct raft_buffer bytes;
    int status = raft_configuration_encode(configuration, &bytes);
    if (status)
        return status;
    struct store_batch *batch = store_batch_new();
    if (batch) {
        store_put_member(batch, io->id);
        store_put_hard(batch, 1, 0);
        store_append(batch, 1, 1, RAFT_CHANGE, bytes.base, bytes.len);
        store_put_configuration(batch, 1, bytes.base, bytes.len);
        store_put_applied(batch, 1);
    }
    write_now(io, batch);
    raft_free(bytes.base);
    return 0;
}

static enum st_code
note_term(void *arg, const struct store_entry *entry, struct st_err *err)
{
    (void)err;
    *(uint64_t *)arg = entry->term;
    return ST_OK;
}

int
io_recover(struct raft_io *face, const struct raft_configuration *configuration)
{
    struct io *io = face->impl;
    struct store_head head;
    struct st_err err = {0};
    uint64_t term;
    if (store_head(io->store, &head, &err))
        io_die(io, &err);
    term = head.base_term;
    if (head.last >= head.first &&
        store_each_entry(io->store, head.last, head.last, note_term, &term, &err))
        io_die(io, &err);
    struct raft_buffer bytes;
    int status = raft_configuration_encode(configuration, &bytes);
    if (status)
        return status;
    struct store_batch *batch = store_batch_new();
    if (batch) {
        store_append(batch, head.last + 1, term, RAFT_CHANGE, bytes.base, bytes.len);
        store_put_configuration(batch, head.last + 1, bytes.base, bytes.len);
    }
    write_now(io, batch);
    raft_free(bytes.base);
    return 0;
}
