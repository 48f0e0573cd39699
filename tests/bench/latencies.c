#include "tests/bench/latencies.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void
latencies_open(struct latencies *latencies)
{
    latencies->us = malloc(LATENCIES_MAX * sizeof(*latencies->us));
    if (!latencies->us)
        abort();
}

void
latencies_add(struct latencies *latencies, uint64_t began_ns, uint64_t ended_ns)
{
    if (latencies->count < LATENCIES_MAX)
        latencies->us[latencies->count++] = (uint32_t)((ended_ns - began_ns) / 1000);
}

void
latencies_join(struct latencies *all, const struct latencies *one)
{
    all->us = realloc(all->us, (all->count + one->count + 1) * sizeof(*all->us));
    if (!all->us)
        abort();
    memcpy(all->us + all->count, one->us, one->count * sizeof(*one->us));
    all->count += one->count;
}

static int
by_size(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void
latencies_print(struct latencies *all, const char *what, uint64_t failed, uint64_t ns)
{
    const size_t count = all->count;
    qsort(all->us, count, sizeof(*all->us), by_size);
    printf("{\"%s\": %zu, \"failed\": %llu, \"seconds\": %.3f, \"p50_us\": %u, "
           "\"p99_us\": %u}\n",
           what, count, (unsigned long long)failed, (double)ns / 1e9,
           count ? all->us[count / 2] : 0, count ? all->us[count - count / 100 - 1] : 0);
    free(all->us);
}
