/* latencies.h - how long each call took, of one client and of all. */
#ifndef TESTS_BENCH_LATENCIES_H
#define TESTS_BENCH_LATENCIES_H

#include <stddef.h>
#include <stdint.h>

enum {
    LATENCIES_MAX = 1 << 20 /* of one client */
};

struct latencies {
    uint32_t *us;
    size_t count;
};

uint64_t now_ns(void);
/* Room for LATENCIES_MAX, to be freed; without memory the program ends. */
void latencies_open(struct latencies *latencies);
void latencies_add(struct latencies *latencies, uint64_t began_ns, uint64_t ended_ns);
/* Those of one client to those of others, which grow; NULL, 0 at first. */
void latencies_join(struct latencies *all, const struct latencies *one);
/* One line of JSON; sorts and frees. */
void latencies_print(struct latencies *all, const char *what, uint64_t failed,
                     uint64_t ns);

#endif
