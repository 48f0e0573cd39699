/* cluster.h - members in libraft's simulator, with or without the cure, for the tests. */
#ifndef TESTS_RAFT_CLUSTER_H
#define TESTS_RAFT_CLUSTER_H

#include "raft/cure.h"

#include <raft/fixture.h>
#include <stdint.h>

enum {
    CLUSTER_INDEX_MAX = 4096,
};

struct cluster;

/* Below the cure: what a member sends, and a way in for messages. */
struct cluster_tap {
    struct raft_io *io;
    int (*send)(struct raft_io *, struct raft_io_send *, const struct raft_message *,
                raft_io_send_cb);
    int (*start)(struct raft_io *, unsigned, raft_io_tick_cb, raft_io_recv_cb);
    raft_io_recv_cb recv;
    unsigned results; /* AppendEntries results sent so far, and the last one */
    struct raft_append_entries_result result;
    raft_id to;
    struct raft_request_vote_result vote; /* the last one sent */
};

struct cluster_machine {
    struct cluster *cluster;
    unsigned member;
};

struct cluster {
    struct raft_fixture fixture;
    bool cured;
    struct raft_fsm fsms[RAFT_FIXTURE_MAX_SERVERS];
    struct cluster_machine machines[RAFT_FIXTURE_MAX_SERVERS];
    struct cure cures[RAFT_FIXTURE_MAX_SERVERS];
    struct cluster_tap taps[RAFT_FIXTURE_MAX_SERVERS];
    /* What any member applied at an index; 0 before.  Two that differ: */
    uint64_t applied[CLUSTER_INDEX_MAX];
    unsigned contradictions;
};

/* One at a time.  Bootstrapped, not started. */
struct cluster *cluster_begin(unsigned members, unsigned voters, bool cured);
void cluster_end(struct cluster *cluster);
struct raft *cluster_member(struct cluster *cluster, unsigned member);

/* On the disk of a member before the start. */
void cluster_add_entry(struct cluster *cluster, unsigned member, raft_term term,
                       uint64_t value);

/* A configuration there, of all members; `voters` has a bit for each that is one. */
void cluster_add_change(struct cluster *cluster, unsigned member, raft_term term,
                        unsigned voters);

/* As if it had arrived from `from`; entries are taken. */
void cluster_deliver(struct cluster *cluster, unsigned from, unsigned to,
                     struct raft_message message);
/* One entry as AppendEntries wants it. */
struct raft_entry *cluster_entry(raft_term term, unsigned short type, const void *bytes,
                                 size_t len);

struct raft_entry *cluster_change(struct cluster *cluster, raft_term term,
                                  unsigned voters);
/* The message with them. */
struct raft_message cluster_append(raft_term term, raft_index prev, raft_term prev_term,
                                   struct raft_entry *entries, unsigned n);

/* Nothing from or to it arrives. */
void cluster_isolate(struct cluster *cluster, unsigned member);

/* Without waiting for it; false where the member does not lead. */
bool cluster_propose(struct cluster *cluster, unsigned member, uint64_t value);

/* Of a member's log in memory; 0 where there is none. */
raft_term cluster_term_at(struct cluster *cluster, unsigned member, raft_index index);
/* The leader says that its commit index is committed, and fewer than a majority of its
 * voters have that entry. */
bool cluster_commits_alone(struct cluster *cluster);
/* The leader's commit index is beyond where its term began, at an entry of an earlier
 * term. */
bool cluster_commits_by_counting(struct cluster *cluster, raft_index from);

#endif
