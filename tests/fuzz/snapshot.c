/* All records of a leader as bytes, and then into a store's batch. */
#include "raft/snapshot.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct st_err err = {0};
    if (snapshot_check(bytes, len, &err)) {
        FUZZ_HOLDS(err.code == ST_DATA_LOSS);
        return 0;
    }
    struct store_batch *batch = store_batch_new();
    FUZZ_HOLDS(batch);
    snapshot_put_records(bytes, len, batch);
    store_batch_free(batch);
    return 0;
}
