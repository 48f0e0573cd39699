/* patience.h - how long a test waits for what has to happen.
 *
 * Far longer than a busy machine takes. tests/mutants, which expects that it does not
 * happen, says less in ST_PATIENCE_MS.
 */
#ifndef TESTS_PATIENCE_H
#define TESTS_PATIENCE_H

#include <stdlib.h>

static inline long
patience_ms(long usual)
{
    const char *less = getenv("ST_PATIENCE_MS");
    return less ? atol(less) : usual;
}

#endif
