/* counter.h - a small state machine for the tests: records that count.
 *
 * A command is a name: it adds 1 to the record of that name, and the result is the new
 * value in decimal.  "- name" deletes it.
 */
#ifndef TESTS_RAFT_COUNTER_H
#define TESTS_RAFT_COUNTER_H

#include "raft/replica.h"

enum {
    COUNTERS_MAX = 64 * 1024,
    COUNTER_NAME_MAX = 40,
};

struct counter {
    char name[COUNTER_NAME_MAX];
    uint64_t value;
};

struct counters {
    size_t count;
    uint64_t applied;      /* commands since reset() */
    uint64_t loaded;       /* records since reset() */
    uint64_t last_index;   /* of apply() */
    struct counter *slots; /* COUNTERS_MAX, open addressing */
};

void counters_init(struct counters *counters);
void counters_free(struct counters *counters);
struct replica_machine counters_machine(struct counters *counters);
/* 0 where there is none. */
uint64_t counters_get(const struct counters *counters, const char *name);

#endif
