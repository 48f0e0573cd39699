/* bell.h - a thread that sleeps until it is rung for, or a time has come.
 *
 * A ring that comes while the thread is busy is not lost: its next wait returns at once.
 */
#ifndef NMS_BELL_H
#define NMS_BELL_H

#include "proto/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct bell {
    pthread_t thread;
    bool started;
    _Atomic bool stopping; /* may be read at any time */
    pthread_mutex_t lock;  /* guards the next one */
    bool rung;
    pthread_cond_t changed;
};

/* It begins rung: the first wait returns at once. */
void bell_init(struct bell *bell);
/* After bell_stop(). */
void bell_end(struct bell *bell);

/* Calls `run` on a thread of its own; `whom` it is for is a word for the error. */
enum st_code bell_start(struct bell *bell, void *(*run)(void *arg), void *arg,
                        const char *whom, struct st_err *err);
/* Returns when `run` has; at once where nothing was started. */
void bell_stop(struct bell *bell);
/* Any thread, until bell_end(); does not block. */
void bell_ring(struct bell *bell);

/* The thread, until it is rung for or clock_ms() is `until_ms` (0: never).  False
 * where it is to stop.  *rung (may be NULL) becomes true where it was rung for. */
bool bell_wait(struct bell *bell, int64_t until_ms, bool *rung);

#endif
