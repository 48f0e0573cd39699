/* patience.h - how long a test waits for what has to happen, and how.
 *
 * Far longer than a busy machine takes. tests/mutants, which expects that it does not
 * happen, says less in ST_PATIENCE_MS.
 */
#ifndef TESTS_PATIENCE_H
#define TESTS_PATIENCE_H

#include <stdlib.h>
#include <time.h>

static inline long
patience_ms(long usual)
{
    const char *less = getenv("ST_PATIENCE_MS");
    return less ? atol(less) : usual;
}

static inline void
sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

#endif
