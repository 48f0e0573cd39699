#include "raft/conf.h"
#include "raft/io.h"

#include <stdlib.h>
#include <string.h>

/* Everything that load() found; what is not handed on is freed. */
struct loading {
    struct raft_snapshot *snapshot;
    struct raft_entry *entries;
    size_t count;
};

static void
snapshot_free(struct raft_snapshot *snapshot)
{
    if (!snapshot)
        return;
    raft_configuration_close(&snapshot->configuration);
    for (unsigned i = 0; i < snapshot->n_bufs; i++)
        raft_free(snapshot->bufs[i].base);
    raft_free(snapshot->bufs);
    raft_free(snapshot);
}

static void
loading_end(struct loading *loading)
{
    snapshot_free(loading->snapshot);
    for (size_t i = 0; i < loading->count; i++)
        raft_free(loading->entries[i].batch);
    raft_free(loading->entries);
}

static enum st_code
take_entry(void *arg, const struct store_entry *entry, struct st_err *err)
{
    struct loading *loading = arg;
    /* A batch of its own each: memory goes with the entry.  Never empty, for libraft. */
    void *bytes = raft_malloc(entry->len + 1);
    if (!bytes)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory");
    memcpy(bytes, entry->bytes, entry->len);
    loading->entries[loading->count++] =
        (struct raft_entry){.term = entry->term,
                            .type = entry->type,
                            .buf = {.base = bytes, .len = entry->len},
                            .batch = bytes};
    return ST_OK;
}

static enum st_code
take_moment(void *arg, const struct store_moment *moment, struct st_err *err)
{
    struct loading *loading = arg;
    struct raft_snapshot *snapshot = raft_calloc(1, sizeof(*snapshot));
    if (!snapshot)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory");
    loading->snapshot = snapshot;
    snapshot->index = moment->index;
    snapshot->term = moment->term;
    snapshot->configuration_index = moment->configuration_index;
    int status = conf_decode(moment->configuration, moment->configuration_len,
                             &snapshot->configuration);
    if (status)
        return st_fail(err, ST_DATA_LOSS, "configuration %llu is not readable: %s",
                       (unsigned long long)moment->configuration_index,
                       raft_strerror(status));
    /* restore() takes the records from the store: there is nothing in the buffer. */
    snapshot->bufs = raft_calloc(1, sizeof(*snapshot->bufs));
    if (!snapshot->bufs || !(snapshot->bufs[0].base = raft_calloc(1, 1)))
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory");
    snapshot->bufs[0].len = 1;
    snapshot->n_bufs = 1;
    return ST_OK;
}

static enum st_code
load_entries(struct io *io, const struct store_head *head, struct loading *loading,
             struct st_err *err)
{
    if (head->last < head->first)
        return ST_OK;
    if (head->applied < head->base_index || head->applied > head->last ||
        head->applied + 1 < head->first)
        return st_fail(err, ST_DATA_LOSS,
                       "the records are as of %llu, the log is from %llu to %llu",
                       (unsigned long long)head->applied, (unsigned long long)head->first,
                       (unsigned long long)head->last);
    size_t count = head->last - head->first + 1;
    loading->entries = raft_calloc(count, sizeof(*loading->entries));
    if (!loading->entries)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory");
    return store_each_entry(io->store, head->first, head->last, take_entry, loading, err);
}

/* The snapshot that libraft is told of is the records as they are, at the applied index;
 * entries that it has applied stay in the log for followers that are behind. */
int
io_load(struct raft_io *face, raft_term *term, raft_id *vote,
        struct raft_snapshot **snapshot, raft_index *start_index,
        struct raft_entry *entries[], size_t *n_entries)
{
    struct io *io = face->impl;
    AUTO(loading_end) struct loading loading = {0};
    struct store_head head;
    struct st_err err = {0};
    enum st_code code = store_head(io->store, &head, &err);
    if (!code)
        code = load_entries(io, &head, &loading, &err);
    if (!code && head.applied)
        code = store_each_of_moment(io->store, take_moment, NULL, &loading, &err);
    if (code) {
        io->load_err = err;
        return code == ST_DATA_LOSS ? RAFT_CORRUPT : RAFT_IOERR;
    }
    *term = io->term = head.term;
    *vote = head.vote;
    *start_index = head.first;
    io->next_index = head.last + 1;
    *n_entries = loading.count;
    loading.count = 0;
    *entries = TAKE(loading.entries);
    *snapshot = TAKE(loading.snapshot);
    return 0;
}
