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

/* The newest below an index. */
static const struct cure_configuration *
newest_below(const struct cure *cure, raft_index index)
{
    const struct cure_configuration *newest = NULL;
    for (int i = 0; i < CURE_CONFIGURATIONS_MAX; i++) {
        const struct cure_configuration *known = &cure->configurations[i];
        if (known->index && known->index < index &&
            (!newest || known->index > newest->index))
            newest = known;
    }
    return newest;
}

/* What libraft is to think of the configuration that it has. */
static void
settle(struct cure *cure, const struct cure_configuration *newest)
{
    struct raft *raft = cure->face.data;
    const struct cure_configuration *before = newest_below(cure, newest->index);
    bool committed = newest->index <= raft->commit_index || !before;
    raft->configuration_index = committed ? newest->index : before->index;
    raft->configuration_uncommitted_index = committed ? 0 : newest->index;
}

void
cure_settle_configuration(struct cure *cure)
{
    const struct cure_configuration *newest = newest_below(cure, (raft_index)-1);
    if (newest)
        settle(cure, newest);
}

bool
cure_was_voter(const struct cure *cure)
{
    const struct raft *raft = cure->face.data;
    const struct cure_configuration *before =
        newest_below(cure, raft->configuration_uncommitted_index);
    struct raft_configuration configuration;
    bool voter = false;
    if (!before)
        return false;
    if (conf_decode(before->bytes.base, before->bytes.len, &configuration) == 0)
        for (unsigned i = 0; i < configuration.n; i++)
            voter |= configuration.servers[i].id == raft->id &&
                     configuration.servers[i].role == RAFT_VOTER;
    raft_configuration_close(&configuration);
    return voter;
}

void
cure_roll_back(struct cure *cure, raft_index conflict)
{
    struct raft *raft = cure->face.data;
    const struct cure_configuration *newest = newest_below(cure, conflict);
    struct raft_configuration configuration;
    if (!newest || (raft->configuration_uncommitted_index < conflict &&
                    raft->configuration_index < conflict))
        return;
    if (conf_decode(newest->bytes.base, newest->bytes.len, &configuration)) {
        raft_configuration_close(&configuration);
        return;
    }
    raft_configuration_close(&raft->configuration);
    raft->configuration = configuration;
    settle(cure, newest);
}
