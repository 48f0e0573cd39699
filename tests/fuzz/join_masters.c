/* JoinMasters with a ticket, call after call; see door.h.  First byte: whether the
 * replica is late. */
#include "tests/fuzz/door.h"

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct fuzz_input input = {bytes, len};
    struct door door;
    const bool late = fuzz_take_byte(&input) & 1;
    door_open(&door);
    door_run(&door, &join_masters_method, late, &input);
    door_close(&door);
    return 0;
}
