/* cure.h - a raft_io around a raft_io, which keeps libraft 0.15 from its known faults.
 *
 * libraft sees cure.face; the inner one does the work.  Nothing here knows what kind of
 * raft_io that is.
 *
 *  A  A follower acknowledges its whole stored log though only the entries up to
 *     prev + n were compared: the result is clamped to that.
 *  C  A leader commits entries of earlier terms by counting: it appends a barrier as soon
 *     as it leads, and sees no acknowledgement before that is stored.  cure_serving() is
 *     false until it is applied.
 *  D  A write begun in one term is acknowledged to the leader of a later one, or to
 *     nobody at address NULL: such a result is not sent.
 *  F  A sole voter elects itself without a new term, so that two members may have led in
 *     one: it takes a new term first.
 *  G  A rollback of a membership change dereferences NULL when the entry of the change
 *     before it is compacted away: the rollback is done here, from a copy.
 *  Also: any failure of send() but RAFT_NOCONNECTION stops libraft for ever, so there is
 *  none; no tick while a snapshot of another member is installed.
 *
 * (E, the starving of commits under a steady stream, is cured by the proposer, which has
 * one entry under way at a time.)  Loop thread only.
 */
#ifndef RAFT_CURE_H
#define RAFT_CURE_H

#include <raft.h>
#include <stdbool.h>

enum {
    CURE_CONFIGURATIONS_MAX = 8,
    CURE_HELD_MAX = 64,
};

struct cure_held;

struct cure {
    struct raft_io face;   /* for raft_init() */
    struct raft_io *inner; /* its data is ours from cure_init() on */
    void (*moved)(void *arg);
    void *arg;
    raft_io_tick_cb tick;
    raft_io_recv_cb recv;
    raft_io_close_cb closed;

    bool comparing;      /* A: AppendEntries is being handled ... */
    raft_index compared; /* ... which says something up to here */

    bool finishing;  /* D: a write is being reported ... */
    raft_term begun; /* ... that was begun in this term */

    struct raft_barrier barrier; /* C */
    bool barrier_under_way;
    raft_term barrier_term; /* of the last barrier appended */
    raft_term serving_term; /* of the last barrier applied */
    struct cure_held *held; /* results that wait for it, oldest first */
    unsigned held_count;

    bool installing;
    struct raft_io_snapshot_put *put;
    raft_io_snapshot_put_cb put_cb;

    raft_index next_index; /* G */
    struct cure_configuration {
        raft_index index; /* 0: free */
        struct raft_buffer bytes;
    } configurations[CURE_CONFIGURATIONS_MAX];
};

/* `moved` (may be NULL) is called after everything that can have changed the state of
 * libraft. */
void cure_init(struct cure *cure, struct raft_io *inner, void (*moved)(void *arg),
               void *arg);
/* After the close callback, or where nothing was started. */
void cure_free(struct cure *cure);

/* After raft_start() and after anything else that may have made us leader. */
void cure_lead(struct cure *cure);
/* We lead and have applied all that earlier leaders committed. */
bool cure_serving(const struct cure *cure);

/* ---- between cure.c and cure_conf.c ---- */

/* G: what load(), append(), truncate() and an install say of configurations. */
void cure_note_configuration(struct cure *cure, raft_index index, const void *bytes,
                             size_t len);
void cure_forget_configurations(struct cure *cure, raft_index from);
/* Before an AppendEntries that is going to roll back what libraft no longer has. */
void cure_roll_back(struct cure *cure, const struct raft_append_entries *args);

#endif
