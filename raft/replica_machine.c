#include "raft/replica_internal.h"
#include "store/failpoint.h"

#include <assert.h>
#include <string.h>

static void
put32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t
get32(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

int
replica_encode(const struct request_list *proposals, struct raft_buffer *out)
{
    size_t len = ENTRY_HEAD;
    uint32_t count = 0;
    for (struct request *r = proposals->first; r; r = r->next, count++)
        len += 4 + r->len;
    uint8_t *at = raft_malloc(len);
    if (!at)
        return RAFT_NOMEM;
    *out = (struct raft_buffer){.base = at, .len = len};
    *at = ENTRY_FORMAT;
    put32(at + 1, count);
    at += ENTRY_HEAD;
    for (struct request *r = proposals->first; r; r = r->next) {
        put32(at, (uint32_t)r->len);
        memcpy(at + 4, r->command, r->len);
        at += 4 + r->len;
    }
    return 0;
}

/* A command of the entry at *at; false where there is no whole one. */
static bool
next_command(const uint8_t **at, const uint8_t *end, const uint8_t **out, size_t *out_len)
{
    if (end - *at < 4)
        return false;
    size_t len = get32(*at);
    if ((size_t)(end - *at) - 4 < len || len > REPLICA_COMMAND_MAX)
        return false;
    *out = *at + 4;
    *out_len = len;
    *at += 4 + len;
    return true;
}

static bool
well_formed(const struct raft_buffer *entry)
{
    const uint8_t *at = entry->base, *end = at + entry->len, *command;
    size_t len;
    if (entry->len < ENTRY_HEAD || at[0] != ENTRY_FORMAT)
        return false;
    uint32_t count = get32(at + 1);
    if (count > ENTRY_COMMANDS_MAX)
        return false;
    at += ENTRY_HEAD;
    for (; count; count--)
        if (!next_command(&at, end, &command, &len))
            return false;
    return at == end;
}

static struct request *
answer(struct request *request, const struct replica_result *result)
{
    if (!request)
        return NULL;
    const struct st_err ok = {0};
    replica_request_answer(request, &ok, result);
    return request->next;
}

static void
apply_commands(struct replica *replica, uint64_t index, const struct raft_buffer *entry,
               struct request *proposals)
{
    const uint8_t *at = entry->base, *end = at + entry->len, *command;
    size_t len;
    struct replica_change change = {io_pending(&replica->io)};
    uint64_t own = index << POSITION_BITS;
    at += ENTRY_HEAD;
    while (next_command(&at, end, &command, &len)) {
        replica->result->len = 0;
        replica->machine.apply(replica->machine.self, own++, command, len, &change,
                               replica->result);
        assert(replica->result->len <= REPLICA_RESULT_MAX);
        FAILPOINT("raft.apply.command");
        proposals = answer(proposals, replica->result);
    }
}

static int
fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *entry, void **result)
{
    struct replica *replica = fsm->data;
    struct flight *flight = &replica->flight;
    uint64_t index = raft_last_applied(&replica->raft) + 1;
    bool ours = flight->under_way && !flight->is_barrier && flight->apply.index == index;
    *result = NULL;
    struct st_err err = {0};
    if (!well_formed(entry) && st_fail(&err, ST_DATA_LOSS, "log entry %llu is malformed",
                                       (unsigned long long)index))
        replica_die(replica, &err);
    replica->answering = index;
    replica->answering_term = replica->raft.current_term;
    pthread_mutex_lock(&replica->lock);
    /* Both, before anybody hears of it: what is applied is committed. */
    replica->status.commit_index = replica->raft.commit_index;
    replica->status.applied_index = index;
    pthread_mutex_unlock(&replica->lock);
    FAILPOINT("raft.apply.before");
    apply_commands(replica, index, entry, ours ? flight->proposals.first : NULL);
    store_put_applied(io_pending(&replica->io), index);
    FAILPOINT("raft.apply.after");
    replica->log_bytes += entry->len;
    if (replica->log_bytes >= LOG_BYTES_MAX)
        raft_set_snapshot_threshold(&replica->raft, 1);
    return 0;
}

/* How many entries at the end of libraft's log in memory may stay in it. */
static unsigned
trailing(const struct raft_log *log)
{
    size_t bytes = 0;
    unsigned count = 0;
    for (size_t at = log->back; at != log->front && count < LOG_ENTRIES_MAX; count++) {
        at = (at + log->size - 1) % log->size;
        bytes += log->entries[at].buf.len;
        if (bytes > LOG_BYTES_KEPT)
            break;
    }
    return count ? count : 1;
}

/* The records are durable in the store as they are: all that a snapshot is for here is to
 * let go of the log. */
static int
fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    struct replica *replica = fsm->data;
    *bufs = raft_calloc(1, sizeof(**bufs));
    if (!*bufs)
        return RAFT_NOMEM;
    (*bufs)[0].base = raft_calloc(1, 1);
    if (!(*bufs)[0].base) {
        raft_free(*bufs);
        return RAFT_NOMEM;
    }
    (*bufs)[0].len = 1;
    *n_bufs = 1;
    replica->log_bytes = 0;
    raft_set_snapshot_threshold(&replica->raft, LOG_ENTRIES_MAX);
    raft_set_snapshot_trailing(&replica->raft, trailing(&replica->raft.log));
    return 0;
}

static enum st_code
load_record(void *arg, const void *key, size_t key_len, const void *value,
            size_t value_len, struct st_err *err)
{
    struct replica *replica = arg;
    return replica->machine.load(replica->machine.self, key, key_len, value, value_len,
                                 err);
}

/* At the start, and after another member's records were installed: in both cases they are
 * in the store already. */
static int
fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
    struct replica *replica = fsm->data;
    struct st_err *err = &replica->start_err;
    replica->machine.reset(replica->machine.self);
    enum st_code code = store_each_record(replica->store, load_record, replica, err);
    if (code && replica->started)
        replica_die(replica, err);
    if (replica->machine.loaded)
        replica->machine.loaded(replica->machine.self);
    if (code)
        return RAFT_CORRUPT;
    /* The records are in memory now: their pages of the map need not be, too. */
    if (!replica->started && store_relax(replica->store, err))
        return RAFT_IOERR;
    raft_free(buf->base);
    return 0;
}

void
replica_machine_init(struct replica *replica)
{
    replica->fsm = (struct raft_fsm){
        .version = 1,
        .data = replica,
        .apply = fsm_apply,
        .snapshot = fsm_snapshot,
        .restore = fsm_restore,
    };
}

static_assert((int)REPLICA_KEY_MAX == (int)STORE_KEY_MAX,
              "a record's key is the store's");

void
replica_change_put(struct replica_change *change, const void *key, size_t key_len,
                   const void *value, size_t value_len)
{
    assert(key_len >= 1 && key_len <= REPLICA_KEY_MAX);
    store_put_record(change->batch, key, key_len, value, value_len);
}

void
replica_change_delete(struct replica_change *change, const void *key, size_t key_len)
{
    assert(key_len >= 1 && key_len <= REPLICA_KEY_MAX);
    store_delete_record(change->batch, key, key_len);
}
