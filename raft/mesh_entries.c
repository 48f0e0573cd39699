#include "proto/mutant.h"
#include "proto/scope.h"
#include "raft/mesh_wire.h"

#include <stdlib.h>

/* ---- out ---- */

static size_t
bytes_of(const struct raft_append_entries *args)
{
    size_t len = 0;
    for (unsigned i = 0; i < args->n_entries; i++)
        len += args->entries[i].buf.len;
    return len;
}

/* A follower commits up to the smaller of leader_commit and the end of its log, which may
 * go on behind the entries that it was sent, with others than the leader's. */
struct raft_append_entries
mesh_entries_cut(const struct raft_append_entries *args, unsigned most)
{
    struct raft_append_entries cut = *args;
    size_t len = 0;
    unsigned n = 0;
    for (; n < args->n_entries && n < most; n++) {
        size_t more = args->entries[n].buf.len;
        if (n > 0 && (more > MESH_APPEND_MAX || len + more > MESH_APPEND_MAX))
            break;
        len += more;
    }
    if (n == args->n_entries)
        return cut;
    cut.n_entries = n;
    if (cut.leader_commit > args->prev_log_index + n)
        cut.leader_commit = args->prev_log_index + n;
    return cut;
}

/* The three columns, in one piece of memory. */
static uint8_t *
fill_columns(Peer__AppendEntries *message, const struct raft_append_entries *args)
{
    size_t n = args->n_entries;
    uint8_t *columns = malloc(n * (8 + 4 + 1) + 1);
    if (!columns)
        return NULL;
    message->n_entry_term = message->n_entry_len = n;
    message->entry_term = (uint64_t *)columns;
    message->entry_len = (uint32_t *)(columns + n * 8);
    message->entry_type = (ProtobufCBinaryData){n, columns + n * (8 + 4)};
    for (size_t i = 0; i < n; i++) {
        message->entry_term[i] = args->entries[i].term;
        message->entry_len[i] = (uint32_t)args->entries[i].buf.len;
        message->entry_type.data[i] = (uint8_t)args->entries[i].type;
    }
    return columns;
}

struct mesh_item *
mesh_entries_pack(const struct raft_append_entries *all)
{
    const struct raft_append_entries args = mesh_entries_cut(all, MESH_ENTRIES_MAX);
    size_t len = bytes_of(&args);
    Peer__AppendEntries message = PEER__APPEND_ENTRIES__INIT;
    message.term = args.term;
    message.prev_index = args.prev_log_index;
    message.prev_term = args.prev_log_term;
    message.commit = args.leader_commit;
    AUTO(st_freep) uint8_t *columns = NULL;
    if (len > MESH_FRAME_MAX || !(columns = fill_columns(&message, &args)))
        return NULL;
    struct mesh_item *item = mesh_frame_of(PEER__FRAME__KIND_APPEND_ENTRIES,
                                           &message.base, 8, len, args.n_entries);
    for (unsigned i = 0; item && i < args.n_entries; i++)
        mesh_frame_borrow(item, args.entries[i].buf.base, args.entries[i].buf.len);
    return item;
}

/* ---- in ---- */

/* Counts agree, terms never fall from one to the next, and lengths fill the data. */
static bool
entries_check(const Peer__AppendEntries *args)
{
    uint64_t term = args->prev_term, sum = 0;
    if (args->n_entry_term > MESH_ENTRIES_MAX ||
        args->n_entry_len != args->n_entry_term ||
        args->entry_type.len != args->n_entry_term)
        return false;
    for (size_t i = 0; i < args->n_entry_term; i++) {
        uint8_t type = args->entry_type.data[i];
        if (args->entry_term[i] == 0 || args->entry_term[i] < term ||
            args->entry_term[i] > args->term || type < RAFT_COMMAND || type > RAFT_CHANGE)
            return false;
        term = args->entry_term[i];
        sum += args->entry_len[i];
    }
    return sum == args->data.len;
}

static bool
change_check(const void *bytes, size_t len)
{
    struct raft_configuration configuration;
    bool good = mesh_configuration_decode(bytes, len, &configuration);
    raft_configuration_close(&configuration);
    return good;
}

static bool
changes_check(const Peer__AppendEntries *args)
{
    const uint8_t *at = args->data.data;
    for (size_t i = 0; i < args->n_entry_term; at += args->entry_len[i++])
        if (args->entry_type.data[i] == RAFT_CHANGE &&
            !change_check(at, args->entry_len[i]))
            return false;
    return true;
}

/* libraft frees the array, and the batch that all entries point into. */
static struct raft_entry *
make_entries(Peer__AppendEntries *args)
{
    size_t n = args->n_entry_term;
    struct raft_entry *entries = raft_calloc(n, sizeof(*entries));
    uint8_t *batch = args->data.data ? args->data.data : raft_malloc(1), *at = batch;
    if (!entries || !batch) {
        if (!args->data.data)
            raft_free(batch);
        raft_free(entries);
        return NULL;
    }
    args->data = (ProtobufCBinaryData){0};
    for (size_t i = 0; i < n; at += args->entry_len[i++])
        entries[i] = (struct raft_entry){.term = args->entry_term[i],
                                         .type = args->entry_type.data[i],
                                         .buf = {at, args->entry_len[i]},
                                         .batch = batch};
    return entries;
}

enum st_code
mesh_entries_take(Peer__AppendEntries *args, struct raft_message *message,
                  struct st_err *err)
{
    if (REFUSES(0x54e,
                !mesh_term_and_index(args->term, args->prev_index, args->prev_term)) ||
        args->commit > MESH_INDEX_MAX)
        return mesh_malformed(err, "AppendEntries");
    if (REFUSES(0x54f, !entries_check(args)) || REFUSES(0x541, !changes_check(args)))
        return mesh_malformed(err, "list of entries");
    struct raft_entry *entries = NULL;
    if (args->n_entry_term && !(entries = make_entries(args)))
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory");
    message->type = RAFT_IO_APPEND_ENTRIES;
    message->append_entries =
        (struct raft_append_entries){.term = args->term,
                                     .prev_log_index = args->prev_index,
                                     .prev_log_term = args->prev_term,
                                     .leader_commit = args->commit,
                                     .entries = entries,
                                     .n_entries = (unsigned)args->n_entry_term};
    return ST_OK;
}
