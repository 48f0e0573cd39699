/* stop.h - how the daemon ends: SIGTERM or SIGINT, at any moment.
 *
 * Every durable step survives a kill -9, so nothing has to be brought to an end first:
 * a wait ends at once, and what is in the middle of a call has two seconds; six more
 * where this boot was given its key, and PCR 12 is not capped yet.  So it ends where a
 * descriptor that it cannot be without hangs up.
 */
#ifndef NODE_STOP_H
#define NODE_STOP_H

#include "proto/err.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    /* The two and the six; the unit's TimeoutStopSec has some left for a master. */
    STOP_WITHIN_MS = 8000
};

/* SIGTERM and SIGINT. */
void stop_signals(sigset_t *out);
/* Once, before any other thread: blocks both signals and waits for them in a thread. */
enum st_code stop_init(struct st_err *err);
/* From now on also when this hangs up.  Before any other thread. */
void stop_also(int fd);
/* The way out has begun and has a bound of its own: it is not cut off any more. */
void stop_leaving(void);
/* From true to false: what is done now is worth these six seconds. */
void stop_hold(bool hold);
bool stop_asked(void);
/* Waits, or less when the daemon is to stop; then true.  UINT32_MAX: for ever. */
bool stop_wait(uint32_t ms);
/* Readable from the moment on when the daemon is to stop; for poll(). */
int stop_fd(void);

#endif
