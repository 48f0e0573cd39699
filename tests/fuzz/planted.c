/* What replay_test.py must see go red: a read behind the end, a leak, and a promise that
 * is not kept, each for an input that asks for it. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void *volatile kept;

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len == 4 && memcmp(bytes, "read", 4) == 0)
        return ((const volatile uint8_t *)bytes)[len] & 0;
    if (len == 4 && memcmp(bytes, "leak", 4) == 0) {
        kept = malloc(100);
        kept = NULL;
    }
    FUZZ_HOLDS(len != 5 || memcmp(bytes, "false", 5) != 0);
    return 0;
}
