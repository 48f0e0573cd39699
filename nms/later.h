/* later.h - one thread that calls back after a pause, so that nobody else has to sleep.
 *
 * Every function here may be called from any thread, but for later_stop() from the
 * thread that it ends.
 */
#ifndef NMS_LATER_H
#define NMS_LATER_H

#include "proto/err.h"

#include <stdbool.h>
#include <stdint.h>

struct later;

/* Inside what waits; its owner keeps it in memory until it was called. */
struct later_call {
    struct later_call *next;
    int64_t due_ms;
    void (*call)(void *arg, bool stopping);
    void *arg;
};

enum st_code later_start(struct later **out, struct st_err *err);
/* Calls at once who is still waiting, with `stopping`, and returns when all are called.
 * From then on later_in() is refused. */
void later_stop(struct later *later);
/* Owns: after later_stop().  NULL is fine. */
void later_free(struct later *later);

/* Calls `call` once, after about ms, on the thread of `later`: it must not block.  False
 * after later_stop(): then it is never called. */
bool later_in(struct later *later, uint32_t ms, struct later_call *item,
              void (*call)(void *arg, bool stopping), void *arg);

/* ms, give or take half of it: whoever failed together should not try again together. */
uint32_t later_jitter(uint32_t ms);
/* The pause after one of ms that was in vain: `first` where there was none, then twice as
 * long each time, up to `most`. */
uint32_t later_longer(uint32_t ms, uint32_t first, uint32_t most);

#endif
