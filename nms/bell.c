#include "nms/bell.h"

#include <time.h>

void
bell_init(struct bell *bell)
{
    *bell = (struct bell){.rung = true};
    pthread_mutex_init(&bell->lock, NULL);
    pthread_cond_init(&bell->changed, NULL);
}

void
bell_end(struct bell *bell)
{
    pthread_cond_destroy(&bell->changed);
    pthread_mutex_destroy(&bell->lock);
}

enum st_code
bell_start(struct bell *bell, void *(*run)(void *arg), void *arg, const char *whom,
           struct st_err *err)
{
    if (pthread_create(&bell->thread, NULL, run, arg))
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no thread for %s", whom);
    bell->started = true;
    return ST_OK;
}

void
bell_stop(struct bell *bell)
{
    if (!bell->started)
        return;
    bell->stopping = true; /* before the ring: whoever takes that sees it */
    bell_ring(bell);
    pthread_join(bell->thread, NULL);
    bell->started = false;
}

void
bell_ring(struct bell *bell)
{
    pthread_mutex_lock(&bell->lock);
    bell->rung = true;
    pthread_cond_signal(&bell->changed);
    pthread_mutex_unlock(&bell->lock);
}

bool
bell_wait(struct bell *bell, int64_t until_ms, bool *rung)
{
    const struct timespec until = {until_ms / 1000, until_ms % 1000 * 1000000};
    int late = 0;
    pthread_mutex_lock(&bell->lock);
    while (!bell->rung && !late)
        late = until_ms ? pthread_cond_clockwait(&bell->changed, &bell->lock,
                                                 CLOCK_MONOTONIC, &until)
                        : pthread_cond_wait(&bell->changed, &bell->lock);
    if (rung)
        *rung |= bell->rung;
    bell->rung = false;
    pthread_mutex_unlock(&bell->lock);
    return !bell->stopping;
}
