/* one_case.c - is part of every test: ST_CASE in the environment names the cases to run,
 * as a pattern with * and ?, where it is there.
 */
#include "tests/cmocka.h"

#include <stdlib.h>

static void __attribute__((constructor)) choose(void)
{
    const char *pattern = getenv("ST_CASE");
    if (pattern)
        cmocka_set_test_filter(pattern);
}
