/* cure.h - a raft_io around a raft_io, which keeps libraft 0.15 from its known faults.
 *
 * libraft sees cure.face; the inner one does the work.  Nothing here knows what kind of
 * raft_io that is.
 *
 *  A  A follower acknowledges its whole stored log, and commits all of it that its leader
 *     says is committed, though only the entries up to prev + n were compared: both are
 *     clamped to that.
 *  C  A leader commits entries of earlier terms by counting: it appends a barrier as soon
 *     as it leads, and sees no acknowledgement before that is stored.  cure_serving() is
 *     false until it is applied; members are changed by who serves only.
 *  D  A write begun in one term is acknowledged to the leader of a later one, or to
 *     nobody at address NULL: such a result is not sent.
 *  F  A sole voter elects itself without a new term, so that two members may have led in
 *     one: it takes a new term first, and nobody orders it to.
 *  G  A rollback of a membership change dereferences NULL when the entry of the change
 *     before it is compacted away: the rollback is done here, from a copy.
 *  H  Entries are freed twice when their acknowledgement cannot be sent: the failure is
 *     told by the callback.
 *  I  Who hands over leadership votes a second time in a term: that vote is not heard of.
 *  J  A change is lost when it is written while the follower becomes a candidate: no
 *     candidacy meanwhile, nor while a snapshot of another member is installed.
 *  K  A change that was not committed counts as committed after a restart, and is never
 *     taken back; one stays under way for ever when a snapshot is installed over it: the
 *     two indexes are put right.
 *  L  An entry that is replaced and comes back while it is still being written counts as
 *     stored: what would replace it is lost until the disk is done.
 *  M  A member whose promotion is in the candidate's log only refuses to vote, so that
 *     nobody can be elected: it votes.
 *  N  A refusal of a pre-vote for the sake of the term does not tell the term, so that
 *     the candidate never learns it: it tells.
 *  O  A leader that has written that it leaves does not stand after a restart, and nobody
 *     else may have its log: it stands, and its own vote does not count.
 *  P  Entries from before what a follower has compacted are refused for ever, or appended
 *     a second time: what is committed is skipped.
 *  Q  A leader that hears from another one of its term takes it for its own, and writes
 *     that over what it knows as a leader: it does not hear it, and the process ends.
 *
 * Also: any failure of send() but RAFT_NOCONNECTION stops libraft for ever, so there is
 * none.
 *
 * (E, the starving of commits under a steady stream, is cured by the proposer, which has
 * one entry under way at a time.)  What each does, and its tests: docs/consensus.md.
 * Loop thread only.
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

    unsigned writes_under_way;  /* L */
    unsigned changes_under_way; /* J: of them, with a configuration of another member's */

    struct raft_barrier barrier; /* C */
    bool barrier_under_way;
    raft_term barrier_term; /* of the last barrier appended */
    raft_term serving_term; /* of the last barrier applied */
    struct cure_held *held; /* results that wait for it, oldest first */
    unsigned held_count;

    bool installing;
    struct raft_io_snapshot_put *put;
    raft_io_snapshot_put_cb put_cb;
    struct raft_buffer *put_bufs;

    /* Q: 0, or who says that it leads in the term in which we do: this process must end.
     */
    raft_id rival;

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

/* ---- between cure.c and cure_*.c ---- */

/* cure_lead.c: true where it is of another one that leads in our term. */
bool cure_meets_rival(struct cure *cure, const struct raft_message *message);
/* True where the message is kept for later. */
bool cure_hold(struct cure *cure, const struct raft_message *message);
/* What was kept, as soon as the barrier is stored. */
void cure_release(struct cure *cure);
void cure_forget_held(struct cure *cure);

/* cure_vote.c */
bool cure_sole_voter(const struct raft *raft);
int cure_take_term(struct cure *cure);
bool cure_may_tick(struct cure *cure);
bool cure_may_stand(const struct cure *cure);
bool cure_voted_otherwise(const struct cure *cure, const struct raft_request_vote *args);
/* The call of libraft's, as one who may vote, or stand. */
void cure_let_vote(struct cure *cure, struct raft_message *message);
void cure_let_count(struct cure *cure, struct raft_message *message);
void cure_let_tick(struct cure *cure);
void cure_tell_term(const struct cure *cure, struct raft_request_vote_result *result);

/* cure_conf.c: what load(), append(), truncate() and an install say of configurations. */
void cure_note_configuration(struct cure *cure, raft_index index, const void *bytes,
                             size_t len);
void cure_forget_configurations(struct cure *cure, raft_index from);
/* After load(): the newest is committed only where the commit index says so. */
void cure_settle_configuration(struct cure *cure);
/* In the configuration before the one that is not committed. */
bool cure_was_voter(const struct cure *cure);
/* Before cure_conflict() is done to us. */
void cure_roll_back(struct cure *cure, raft_index conflict);

/* cure_log.c: from which index on an AppendEntries is going to replace what is not
 * committed; 0 for nothing. */
raft_index cure_conflict(const struct cure *cure, const struct raft_append_entries *args);
void cure_skip_committed(const struct cure *cure, struct raft_append_entries *args);
/* As a network may lose it. */
void cure_drop_entries(const struct raft_append_entries *args);
void cure_drop(struct raft_message *message);

#endif
