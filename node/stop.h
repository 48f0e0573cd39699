/* stop.h - how the daemon ends: SIGTERM or SIGINT, at any moment.
 *
 * Every durable step survives a kill -9, so nothing has to be brought to an end first:
 * a wait ends at once, and what is in the middle of a call has two seconds.
 */
#ifndef NODE_STOP_H
#define NODE_STOP_H

#include "proto/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Once, before any other thread: blocks both signals and waits for them in a thread. */
enum st_code stop_init(struct st_err *err);
bool stop_asked(void);
/* Waits, or less when the daemon is to stop; then true.  UINT32_MAX: for ever. */
bool stop_wait(uint32_t ms);
/* Readable from the moment on when the daemon is to stop; for poll(). */
int stop_fd(void);

#endif
