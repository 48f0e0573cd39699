#include "nms/later.h"

#include "proto/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

struct later {
    pthread_mutex_t lock; /* guards all below but the thread */
    pthread_cond_t changed;
    struct later_call *first; /* the next one due is the first */
    bool stopping;
    pthread_t thread;
};

/* It spreads load and guards nothing: without entropy ms itself is as good. */
uint32_t
later_jitter(uint32_t ms)
{
    uint32_t random;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
        return ms;
    return ms / 2 + random % (ms + 1);
}

uint32_t
later_longer(uint32_t ms, uint32_t first, uint32_t most)
{
    const uint32_t longer = ms ? 2 * ms : first;
    return longer < most ? longer : most;
}

static void
wait_for_first(struct later *later)
{
    if (!later->first) {
        pthread_cond_wait(&later->changed, &later->lock);
        return;
    }
    const int64_t due = later->first->due_ms;
    const struct timespec until = {due / 1000, due % 1000 * 1000000};
    (void)pthread_cond_clockwait(&later->changed, &later->lock, CLOCK_MONOTONIC, &until);
}

static void *
run(void *arg)
{
    struct later *later = arg;
    pthread_mutex_lock(&later->lock);
    while (!later->stopping || later->first) {
        struct later_call *first = later->first;
        if (!first || (!later->stopping && first->due_ms > clock_ms())) {
            wait_for_first(later);
            continue;
        }
        later->first = first->next;
        const bool stopping = later->stopping;
        pthread_mutex_unlock(&later->lock);
        first->call(first->arg, stopping);
        pthread_mutex_lock(&later->lock);
    }
    pthread_mutex_unlock(&later->lock);
    return NULL;
}

enum st_code
later_start(struct later **out, struct st_err *err)
{
    struct later *later = calloc(1, sizeof(*later));
    if (!later)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory");
    pthread_mutex_init(&later->lock, NULL);
    pthread_cond_init(&later->changed, NULL);
    if (pthread_create(&later->thread, NULL, run, later)) {
        later->stopping = true;
        later_free(later);
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no thread for what comes later");
    }
    *out = later;
    return ST_OK;
}

void
later_stop(struct later *later)
{
    pthread_mutex_lock(&later->lock);
    const bool stopped = later->stopping;
    later->stopping = true;
    pthread_cond_signal(&later->changed);
    pthread_mutex_unlock(&later->lock);
    if (!stopped)
        pthread_join(later->thread, NULL);
}

void
later_free(struct later *later)
{
    if (!later)
        return;
    pthread_cond_destroy(&later->changed);
    pthread_mutex_destroy(&later->lock);
    free(later);
}

bool
later_in(struct later *later, uint32_t ms, struct later_call *item,
         void (*call)(void *arg, bool stopping), void *arg)
{
    pthread_mutex_lock(&later->lock);
    const bool taken = !later->stopping;
    if (taken) {
        struct later_call **place = &later->first;
        *item = (struct later_call){NULL, clock_ms() + ms, call, arg};
        while (*place && (*place)->due_ms <= item->due_ms)
            place = &(*place)->next;
        item->next = *place;
        *place = item;
        pthread_cond_signal(&later->changed);
    }
    pthread_mutex_unlock(&later->lock);
    return taken;
}
