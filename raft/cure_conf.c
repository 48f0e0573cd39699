#include "raft/conf.h"
#include "raft/cure.h"

#include <stdlib.h>
#include <string.h>

static void
forget(struct cure_configuration *configuration)
{
    free(configuration->bytes.base);
    *configuration = (struct cure_configuration){0};
}

void
cure_forget_configurations(struct cure *cure, raft_index from)
{
    for (int i = 0; i < CURE_CONFIGURATIONS_MAX; i++)
        if (cure->configurations[i].index >= from)
            forget(&cure->configurations[i]);
}

/* A free place: where none is, the oldest goes.  One change is under way at a time, so
 * the two newest are all that is ever asked for. */
static struct cure_configuration *
make_place(struct cure *cure)
{
    struct cure_configuration *oldest = &cure->configurations[0];
    for (int i = 0; i < CURE_CONFIGURATIONS_MAX; i++)
        if (cure->configurations[i].index < oldest->index)
            oldest = &cure->configurations[i];
    forget(oldest);
    return oldest;
}

void
cure_note_configuration(struct cure *cure, raft_index index, const void *bytes,
                        size_t len)
{
    void *copy = malloc(len + 1);
    if (!copy)
        abort();
    memcpy(copy, bytes, len);
    cure_forget_configurations(cure, index);
    *make_place(cure) =
        (struct cure_configuration){.index = index, .bytes = {.base = copy, .len = len}};
}

/* Of libraft's log in memory; 0 where it has no such entry. */
static raft_term
term_of(const struct raft_log *log, raft_index index)
{
    size_t count = log->size ? (log->back + log->size - log->front) % log->size : 0;
    if (index <= log->offset || index > log->offset + count)
        return 0;
    return log->entries[(log->front + (index - log->offset - 1)) % log->size].term;
}

static bool
conflicts(const struct raft *raft, const struct raft_append_entries *args)
{
    for (unsigned i = 0; i < args->n_entries; i++) {
        raft_index index = args->prev_log_index + 1 + i;
        raft_term term = term_of(&raft->log, index);
        if (term == 0)
            return false;
        if (term != args->entries[i].term)
            return index > raft->commit_index &&
                   index <= raft->configuration_uncommitted_index;
    }
    return false;
}

void
cure_roll_back(struct cure *cure, const struct raft_append_entries *args)
{
    struct raft *raft = cure->face.data;
    if (args->term < raft->current_term || !raft->configuration_uncommitted_index ||
        term_of(&raft->log, raft->configuration_index) || !conflicts(raft, args))
        return;
    for (int i = 0; i < CURE_CONFIGURATIONS_MAX; i++) {
        struct cure_configuration *known = &cure->configurations[i];
        struct raft_configuration committed;
        if (!known->index || known->index != raft->configuration_index)
            continue;
        if (conf_decode(known->bytes.base, known->bytes.len, &committed)) {
            raft_configuration_close(&committed);
            return;
        }
        raft_configuration_close(&raft->configuration);
        raft->configuration = committed;
        raft->configuration_uncommitted_index = 0;
    }
}
