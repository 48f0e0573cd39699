/* wake.h - another thread wakes the loop.
 *
 * Instead of uv_async_t: libuv 1.44 lets the loop that was woken wait, in a loop with
 * sched_yield(), until the sender has left uv_async_send().  Where the kernel runs the
 * loop in the sender's place, as it likes to, that yields to everything else on the
 * machine: every fourth commit of a lone client paid it.
 */
#ifndef RAFT_WAKE_H
#define RAFT_WAKE_H

#include <uv.h>

struct wake {
    uv_poll_t poll; /* uv_close() it; its data is the owner's */
    int fd;         /* eventfd(2); -1: none */
    void (*woken)(void *arg);
    void *arg;
};

/* woken() is called on the loop's thread, at least once after each wake_send().  0, or
 * what libuv says. */
int wake_init(struct wake *wake, uv_loop_t *loop, void (*woken)(void *arg), void *arg);
/* Any thread, until wake_free(). */
void wake_send(const struct wake *wake);
/* After `poll` was closed, or where it was never opened and fd is -1. */
void wake_free(struct wake *wake);

#endif
