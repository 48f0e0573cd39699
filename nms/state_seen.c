/* What was seen here of a node since this master started; it is in no record. */
#include "nms/state_internal.h"

#include <stdlib.h>
#include <string.h>

void
state_node_seen(struct state *state, const char *id, int64_t now)
{
    char key[STATE_KEY_MAX];
    key_of_node(id, key);
    READING(state);
    struct record *record = records_find(&state->records, key);
    if (record)
        __atomic_store_n(&record->seen, now, __ATOMIC_RELAXED);
}

void
state_node_booted(struct state *state, const char *id, const struct state_boot *boot)
{
    char key[STATE_KEY_MAX];
    key_of_node(id, key);
    READING(state);
    struct record *record = records_find(&state->records, key);
    if (!record)
        return;
    pthread_mutex_lock(&state->boots_lock);
    if (!record->boot)
        record->boot = malloc(sizeof(*boot)); /* without memory it is not shown */
    if (record->boot)
        *record->boot = *boot;
    pthread_mutex_unlock(&state->boots_lock);
}

void
state_node_boot(struct state *state, const char *id, struct state_boot *out)
{
    char key[STATE_KEY_MAX];
    key_of_node(id, key);
    memset(out, 0, sizeof(*out));
    READING(state);
    const struct record *record = records_find(&state->records, key);
    if (!record)
        return;
    pthread_mutex_lock(&state->boots_lock);
    if (record->boot)
        *out = *record->boot;
    pthread_mutex_unlock(&state->boots_lock);
}
