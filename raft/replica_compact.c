#include "raft/replica_internal.h"

/* What of the log the records have made superfluous. */
struct superfluous {
    uint64_t entries, bytes; /* that are left from `keep` on */
    uint64_t keep;           /* the first index to keep */
};

static enum st_code
add_entry(void *arg, const struct store_entry *entry, struct st_err *err)
{
    struct superfluous *s = arg;
    (void)err;
    s->entries++;
    s->bytes += entry->len;
    return ST_OK;
}

static enum st_code
drop_entry(void *arg, const struct store_entry *entry, struct st_err *err)
{
    struct superfluous *s = arg;
    (void)err;
    if (s->entries <= LOG_ENTRIES_MAX && s->bytes <= LOG_BYTES_KEPT)
        return ST_OK;
    s->entries--;
    s->bytes -= entry->len;
    s->keep = entry->index + 1;
    return ST_OK;
}

/* libraft counts from each start anew, so that frequent ones would keep the log for ever.
 * The entry at the applied index stays, for its term. */
enum st_code
replica_compact(struct replica *replica, struct st_err *err)
{
    struct store_head head;
    enum st_code code = store_head(replica->store, &head, err);
    if (code || head.applied <= head.first)
        return code;
    struct superfluous s = {.keep = head.first};
    uint64_t last = head.applied - 1;
    code = store_each_entry(replica->store, head.first, last, add_entry, &s, err);
    if (!code)
        code = store_each_entry(replica->store, head.first, last, drop_entry, &s, err);
    if (code || s.keep == head.first)
        return code;
    struct store_batch *batch = store_batch_new();
    if (!batch)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory");
    store_cut_head(batch, s.keep);
    return store_write(replica->store, batch, err);
}
