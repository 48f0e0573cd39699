/* C: nothing is counted before a barrier of this term is stored.  Q: nobody else leads in
 * it. */
#include "raft/cure.h"

#include <stdlib.h>
#include <string.h>

struct cure_held {
    struct cure_held *next;
    struct raft_message message;
    char address[];
};

static void
barrier_applied(struct raft_barrier *req, int status)
{
    struct cure *cure = req->data;
    cure->barrier_under_way = false;
    if (status == 0)
        cure->serving_term = cure->barrier_term;
}

void
cure_lead(struct cure *cure)
{
    struct raft *raft = cure->face.data;
    if (raft_state(raft) != RAFT_LEADER || cure->barrier_under_way ||
        cure->barrier_term == raft->current_term)
        return;
    cure->barrier.data = cure;
    /* Where it is refused (a transfer, no memory) the next tick tries again. */
    if (raft_barrier(raft, &cure->barrier, barrier_applied))
        return;
    cure->barrier_term = raft->current_term;
    cure->barrier_under_way = true;
}

bool
cure_serving(const struct cure *cure)
{
    struct raft *raft = cure->face.data;
    return raft_state(raft) == RAFT_LEADER && cure->serving_term == raft->current_term;
}

static bool
barrier_stored(const struct cure *cure)
{
    const struct raft *raft = cure->face.data;
    return cure->barrier_term == raft->current_term &&
           raft->last_stored >= cure->barrier.index;
}

/* A full hold loses the message, as a network may. */
static void
hold(struct cure *cure, const struct raft_message *message)
{
    if (cure->held_count == CURE_HELD_MAX || !message->server_address)
        return;
    size_t size = strlen(message->server_address) + 1;
    struct cure_held *held = calloc(1, sizeof(*held) + size), **end = &cure->held;
    if (!held)
        return;
    held->message = *message;
    memcpy(held->address, message->server_address, size);
    held->message.server_address = held->address;
    while (*end)
        end = &(*end)->next;
    *end = held;
    cure->held_count++;
}

void
cure_release(struct cure *cure)
{
    if (!cure->held || !barrier_stored(cure))
        return;
    struct cure_held *list = cure->held;
    cure->held = NULL;
    cure->held_count = 0;
    while (list) {
        struct cure_held *next = list->next;
        cure->recv(&cure->face, &list->message);
        free(list);
        list = next;
    }
}

static bool
must_wait(const struct cure *cure, const struct raft_message *message)
{
    struct raft *raft = cure->face.data;
    return raft_state(raft) == RAFT_LEADER &&
           message->type == RAFT_IO_APPEND_ENTRIES_RESULT &&
           message->append_entries_result.term == raft->current_term &&
           message->append_entries_result.rejected == 0 && !barrier_stored(cure);
}

bool
cure_hold(struct cure *cure, const struct raft_message *message)
{
    if (!must_wait(cure, message))
        return false;
    hold(cure, message);
    return true;
}

void
cure_forget_held(struct cure *cure)
{
    while (cure->held) {
        struct cure_held *next = cure->held->next;
        free(cure->held);
        cure->held = next;
    }
}

/* ---- Q ---- */

static raft_term
term_of_leader(const struct raft_message *message)
{
    if (message->type == RAFT_IO_APPEND_ENTRIES)
        return message->append_entries.term;
    return message->type == RAFT_IO_INSTALL_SNAPSHOT ? message->install_snapshot.term : 0;
}

bool
cure_meets_rival(struct cure *cure, const struct raft_message *message)
{
    struct raft *raft = cure->face.data;
    if (raft_state(raft) != RAFT_LEADER || term_of_leader(message) != raft->current_term)
        return false;
    cure->rival = message->server_id;
    return true;
}
