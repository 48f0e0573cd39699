/* sim.h - members of a consensus group in virtual time, which lose their memory.
 *
 * libraft's own simulator (raft_fixture) cannot start a member from its disk again, so
 * here is a raft_io of ours: a queue of events, a network that delays, loses, repeats and
 * reorders, and a disk per member as the store is: writes finish in order, each whole or
 * not at all, and a crash keeps some of those that were under way.  The members are the
 * installed libraft, behind the cure or as it is.
 *
 * What must hold is looked at after every event (sim_check.c).  One seed, one run.
 */
#ifndef TESTS_RAFT_SIM_H
#define TESTS_RAFT_SIM_H

#include "raft/cure.h"

#include <stddef.h>
#include <stdint.h>

enum {
    SIM_MEMBERS_MAX = 8,
    SIM_INDEX_MAX = 8192,
    SIM_TERM_MAX = 4096,
    SIM_TICK_MS = 100,
};

/* ---- the disk ---- */

struct sim_entry {
    struct sim_entry *next; /* of all that were ever made */
    raft_term term;
    unsigned short type;
    size_t len;
    uint8_t bytes[];
};

/* What the machine has made of the commands up to an index. */
struct sim_state {
    raft_index index;
    raft_term term;
    uint64_t chain;
};

struct sim_disk {
    raft_term term;
    raft_id vote;
    raft_index first, last; /* entries: none where last < first */
    struct sim_entry *entries[SIM_INDEX_MAX];
    raft_index configuration_index; /* the newest below `first` */
    struct sim_entry *configuration;
    struct sim_state applied;
};

/* What is on its way to the disk. */
struct sim_op {
    struct sim_op *next;
    enum sim_op_kind {
        SIM_APPEND,
        SIM_TRUNCATE,
        SIM_COMPACT,
        SIM_INSTALL,
        SIM_GET
    } kind;
    raft_time when;
    void *req; /* libraft's */
    struct sim_state state;
    raft_index configuration_index;
    struct sim_entry *configuration;
    raft_index index; /* the first that is meant */
    unsigned n;
    struct sim_entry *entries[];
};

/* ---- a member ---- */

struct sim_sent {
    struct sim_sent *next;
    struct raft_io_send *req;
    int status;
    raft_time when;
};

struct sim_member {
    struct sim *sim;
    raft_id id;
    char address[8];
    bool up;
    unsigned life; /* counts its starts */
    raft_time frozen_until;
    unsigned disk_ms;
    struct sim_disk disk;

    /* Of this life. */
    struct raft raft;
    struct raft_fsm fsm;
    struct raft_io io;
    struct cure cure;
    raft_io_tick_cb tick;
    raft_io_recv_cb recv;
    raft_io_close_cb closed;
    raft_index next_index;
    struct sim_op *ops, **last_op;
    struct sim_sent *sents, **last_sent;
    struct sim_state state;

    /* What it was asked for: a command or a barrier, and a change. */
    bool flying;
    uint64_t value;
    raft_index known; /* the newest acknowledged when the barrier set out */
    struct raft_apply apply;
    struct raft_barrier barrier;
    bool changing;
    struct raft_change change;
    bool handing_over;
    struct raft_transfer transfer;

    /* sim_check.c: as of the last look. */
    raft_index commit;
    int role;
    raft_term term;
};

/* ---- all of them ---- */

struct sim_letter {
    unsigned from, to;
    struct raft_message message;
};

struct sim_event {
    raft_time when;
    uint64_t number;
    enum sim_event_kind {
        SIM_TICK,
        SIM_DISK,
        SIM_SENT,
        SIM_ARRIVAL,
        SIM_WAKE
    } kind;
    unsigned member;
    unsigned life;
    struct sim_letter *letter;
};

struct sim {
    bool cured;
    bool pre_vote;
    bool trace;
    uint64_t random;
    raft_time now;
    struct sim_member members[SIM_MEMBERS_MAX];
    unsigned n; /* that were ever started */
    unsigned threshold, trailing;

    struct sim_event *events; /* a heap */
    size_t events_count, events_max;
    uint64_t events_ever;

    bool cut[SIM_MEMBERS_MAX][SIM_MEMBERS_MAX]; /* from, to */
    unsigned delay_ms, loss_percent, twice_percent;
    struct sim_entry *every_entry;

    /* sim_check.c */
    char failure[256];                     /* the first; "" where all holds */
    bool stuck;                            /* it is only that it did not go on */
    raft_term committed[SIM_INDEX_MAX];    /* term of the entry; 0 before */
    raft_term committed_in[SIM_INDEX_MAX]; /* it was so in this term at the latest */
    uint64_t applied[SIM_INDEX_MAX];       /* value; 0 before */
    uint64_t chain[SIM_INDEX_MAX];
    raft_index committed_max, acked_max;
    raft_id leader_of[SIM_TERM_MAX];
    uint64_t *acked; /* values */
    size_t acked_count, acked_size;

    struct sim_seen {
        unsigned elections, acks, crashes, installs, changes, transfers, reads;
    } seen;
};

/* sim.c.  `voters` are there from the beginning. */
struct sim *sim_begin(uint64_t seed, unsigned voters, bool cured);
void sim_end(struct sim *sim);
uint64_t sim_pick(struct sim *sim, uint64_t below);
bool sim_chance(struct sim *sim, unsigned percent);
void sim_push(struct sim *sim, struct sim_event event);
/* Until `until`, or until something does not hold, or a SIM_WAKE event: then true. */
bool sim_run(struct sim *sim, raft_time until);
void sim_trace(const struct sim *sim, const struct sim_member *member, const char *what,
               ...) __attribute__((format(printf, 3, 4)));

/* sim_member.c */
void sim_start(struct sim_member *member);
/* As kill -9, or as a power cut. */
void sim_crash(struct sim_member *member);
/* A new one that knows nothing, started; NULL where there are enough. */
struct sim_member *sim_grow(struct sim *sim);
/* Without waiting; false where it does not serve or is at it already. */
bool sim_propose(struct sim_member *member, uint64_t value);
bool sim_read(struct sim_member *member);

/* sim_disk.c */
void sim_disk_init(struct sim_member *member);
void sim_disk_bootstrap(struct sim_member *member, const struct raft_buffer *group);
void sim_disk_done(struct sim_member *member); /* the oldest that is under way */
void sim_disk_crash(struct sim_member *member);
void sim_disk_close(struct sim_member *member); /* calls back for all */
/* The newest up to an index; its index in *out, 0 where there is none. */
const struct sim_entry *sim_disk_configuration(const struct sim_disk *disk,
                                               raft_index index, raft_index *out);

/* sim_net.c */
void sim_net_init(struct sim_member *member);
void sim_net_sent(struct sim_member *member); /* the oldest */
void sim_net_close(struct sim_member *member);
void sim_net_arrive(struct sim_member *member, struct sim_letter *letter);
void sim_letter_free(struct sim_letter *letter);

/* sim_check.c */
void sim_fail(struct sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void sim_check(struct sim_member *member);
void sim_check_applied(struct sim_member *member, raft_index index, uint64_t value);
void sim_check_acked(struct sim_member *member, raft_index index, uint64_t value);
void sim_check_read(struct sim_member *member, raft_index index);
/* When all is calm: what was acknowledged is there. */
void sim_check_end(struct sim *sim);
/* Of its log in memory; 0 where there is no such entry. */
raft_term sim_term_at(const struct sim_member *member, raft_index index);

#endif
