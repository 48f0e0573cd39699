/* What an AppendEntries would do to our log: L, P. */
#include "raft/cure.h"

#include <string.h>

/* Of libraft's log in memory; 0 where it has no such entry. */
static raft_term
term_of(const struct raft_log *log, raft_index index)
{
    if (index == log->snapshot.last_index)
        return log->snapshot.last_term;
    size_t count = log->size ? (log->back + log->size - log->front) % log->size : 0;
    if (index <= log->offset || index > log->offset + count)
        return 0;
    return log->entries[(log->front + (index - log->offset - 1)) % log->size].term;
}

raft_index
cure_conflict(const struct cure *cure, const struct raft_append_entries *args)
{
    const struct raft *raft = cure->face.data;
    if (args->term < raft->current_term ||
        term_of(&raft->log, args->prev_log_index) != args->prev_log_term)
        return 0;
    for (unsigned i = 0; i < args->n_entries; i++) {
        raft_index index = args->prev_log_index + 1 + i;
        raft_term term = term_of(&raft->log, index);
        if (term == 0)
            return 0;
        if (term != args->entries[i].term)
            return index > raft->commit_index ? index : 0;
    }
    return 0;
}

void
cure_drop_entries(const struct raft_append_entries *args)
{
    if (args->n_entries)
        raft_free(args->entries[0].batch);
    raft_free(args->entries);
}

void
cure_drop(struct raft_message *message)
{
    if (message->type == RAFT_IO_APPEND_ENTRIES)
        cure_drop_entries(&message->append_entries);
    if (message->type == RAFT_IO_INSTALL_SNAPSHOT) {
        raft_configuration_close(&message->install_snapshot.conf);
        raft_free(message->install_snapshot.data.base);
    }
}

/* ---- P: what is committed needs no comparing ---- */

static void
skip_entries(struct raft_append_entries *args, raft_index n)
{
    if (n < args->n_entries) {
        args->n_entries -= (unsigned)n;
        memmove(args->entries, args->entries + n,
                args->n_entries * sizeof(*args->entries));
        return;
    }
    cure_drop_entries(args);
    args->entries = NULL;
    args->n_entries = 0;
}

void
cure_skip_committed(const struct cure *cure, struct raft_append_entries *args)
{
    const struct raft *raft = cure->face.data;
    const struct raft_log *log = &raft->log;
    raft_index known = raft->commit_index;
    if (args->term < raft->current_term || args->prev_log_index > log->offset ||
        args->prev_log_index >= known || term_of(log, args->prev_log_index) ||
        !log->offset || !term_of(log, known))
        return;
    skip_entries(args, known - args->prev_log_index);
    args->prev_log_index = known;
    args->prev_log_term = term_of(log, known);
}
