/* retry.h - asking again for ever, without a storm.
 */
#ifndef NODE_RETRY_H
#define NODE_RETRY_H

#include "proto/err.h"

#include <stdbool.h>
#include <stdint.h>

struct retry {
    uint32_t first_ms, max_ms; /* set by the owner */
    uint32_t attempts;
    char said[sizeof(((struct st_err *)0)->text)]; /* the last line, not said twice */
};

/* How long to wait after the n-th failure (from 1): a random part, at least half, of
 * first_ms doubled each time up to max_ms; and never less than the hint, which is spread
 * by a quarter so that those who got it together do not come together.  A hint above ten
 * minutes counts as ten minutes. */
uint32_t retry_delay(const struct retry *retry, uint32_t n, uint32_t hint_ms);

/* Tells the operator, once for the same failure again and again. */
void retry_say(struct retry *retry, const char *word, const struct st_err *err);
/* Tells, and waits; false where the daemon is to stop. */
bool retry_wait(struct retry *retry, const char *word, const struct st_err *err);

#endif
