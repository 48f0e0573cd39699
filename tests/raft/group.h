/* group.h - several members in this process, over real connections, for the tests. */
#ifndef TESTS_RAFT_GROUP_H
#define TESTS_RAFT_GROUP_H

#include "raft/replica.h"
#include "tests/raft/authority.h"
#include "tests/raft/counter.h"

enum {
    GROUP_MAX = 5,
};

struct group_member {
    uint64_t id;
    char dir[40];
    char address[REPLICA_ADDRESS_MAX];
    struct issued issued;
    struct counters counters;
    struct replica *replica; /* NULL: not running */
};

/* The next sentence of a member that ended itself: its thread stands still for ever, and
 * it must not be closed. */
const char *group_await_fatal(void);

struct group {
    struct authority authority;
    uint64_t revoked[GROUP_MAX]; /* serial numbers */
    size_t revoked_count;
    struct cert list; /* of them */
    unsigned count;
    struct group_member members[GROUP_MAX]; /* ids 1 to count */
};

/* Folders and certificates; nobody runs. */
void group_init(struct group *group, unsigned count);
/* Closes who runs, and removes the folders. */
void group_end(struct group *group);

enum st_code group_open(struct group *group, uint64_t id, enum replica_begin begin,
                        struct st_err *err);
void group_close(struct group *group, uint64_t id);
/* A new list has the certificate of this one; nobody is told. */
void group_revoke(struct group *group, uint64_t id);
/* The first one begins, the others join and get a vote. */
void group_form(struct group *group);

struct group_member *group_of(struct group *group, uint64_t id);
/* Who leads and serves, as it says itself; waits for it. */
uint64_t group_leader(struct group *group);
/* Asked of whoever leads, until it is done. */
void group_step(struct group *group, enum replica_step step, uint64_t id);

/* The counter after the command, through this member, which is asked again where the
 * outcome is not known: a command may count twice. */
uint64_t group_propose(struct group *group, uint64_t id, const char *command);
/* What this member knows after a barrier. */
uint64_t group_read(struct group *group, uint64_t id, const char *name);

#endif
