#include "raft/replica.h"

#include <pthread.h>

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    struct st_err err;
    struct replica_result *out;
};

static void
wake(void *arg, const struct st_err *err, const struct replica_result *result)
{
    struct waiting *waiting = arg;
    pthread_mutex_lock(&waiting->lock);
    waiting->err = *err;
    if (!err->code && result && waiting->out)
        *waiting->out = *result;
    waiting->done = true;
    pthread_cond_signal(&waiting->changed);
    pthread_mutex_unlock(&waiting->lock);
}

static enum st_code
wait_for(struct waiting *waiting, struct st_err *err)
{
    pthread_mutex_lock(&waiting->lock);
    while (!waiting->done)
        pthread_cond_wait(&waiting->changed, &waiting->lock);
    pthread_mutex_unlock(&waiting->lock);
    pthread_cond_destroy(&waiting->changed);
    pthread_mutex_destroy(&waiting->lock);
    if (err && waiting->err.code)
        *err = waiting->err;
    return waiting->err.code;
}

enum st_code
replica_propose_wait(struct replica *replica, const void *command, size_t len,
                     uint32_t timeout_ms, struct replica_result *out, struct st_err *err)
{
    struct waiting waiting = {.lock = PTHREAD_MUTEX_INITIALIZER,
                              .changed = PTHREAD_COND_INITIALIZER,
                              .out = out};
    replica_propose(replica, command, len, timeout_ms, wake, &waiting);
    return wait_for(&waiting, err);
}

enum st_code
replica_step_wait(struct replica *replica, enum replica_step step, uint64_t id,
                  const char *address, uint32_t timeout_ms, struct st_err *err)
{
    struct waiting waiting = {.lock = PTHREAD_MUTEX_INITIALIZER,
                              .changed = PTHREAD_COND_INITIALIZER};
    replica_step(replica, step, id, address, timeout_ms, wake, &waiting);
    return wait_for(&waiting, err);
}

enum st_code
replica_transfer_wait(struct replica *replica, uint64_t id, uint32_t timeout_ms,
                      struct st_err *err)
{
    struct waiting waiting = {.lock = PTHREAD_MUTEX_INITIALIZER,
                              .changed = PTHREAD_COND_INITIALIZER};
    replica_transfer(replica, id, timeout_ms, wake, &waiting);
    return wait_for(&waiting, err);
}

enum st_code
replica_barrier_wait(struct replica *replica, uint32_t timeout_ms, struct st_err *err)
{
    struct waiting waiting = {.lock = PTHREAD_MUTEX_INITIALIZER,
                              .changed = PTHREAD_COND_INITIALIZER};
    replica_barrier(replica, timeout_ms, wake, &waiting);
    return wait_for(&waiting, err);
}
