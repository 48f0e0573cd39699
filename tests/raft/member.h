/* member.h - one member in a folder of its own, for the tests. */
#ifndef TESTS_RAFT_MEMBER_H
#define TESTS_RAFT_MEMBER_H

#include "raft/replica.h"
#include "tests/raft/counter.h"

struct member {
    char dir[40];
    struct counters counters;
    struct replica *replica;
    void (*fatal)(const char *sentence);
};

/* A new empty folder under /tmp. */
void member_init(struct member *member);
/* Closes the member and removes the folder. */
void member_end(struct member *member);

enum st_code member_open(struct member *member, bool bootstrap, struct st_err *err);
void member_close(struct member *member);

/* The counter after the command; fails the test where there is no answer. */
uint64_t member_propose(struct member *member, const char *command);

#endif
