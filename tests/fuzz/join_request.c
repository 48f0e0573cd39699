/* A packed JoinClusterRequest, as smalltown-nms reads it from standard input.  What was
 * taken makes a member.pb, and the same once more is taken, too. */
#include "nms/join.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    const struct join_config config = {
        .dir = fuzz_folder(),
        .address = {.len = 4, .bytes = {192, 0, 2, 7}},
    };
    struct st_err err = {0};
    uint64_t id, again;
    fuzz_no_file("member.pb");
    if (join_with_certificates(&config, bytes, len, &id, &err)) {
        FUZZ_HOLDS(err.code == ST_INVALID_ARGUMENT);
        FUZZ_HOLDS(join_there(config.dir, &(struct self){0}, NULL) == ST_NOT_FOUND);
        return 0;
    }
    FUZZ_HOLDS(!join_with_certificates(&config, bytes, len, &again, &err) && id == again);
    return 0;
}
