/* The EnrolmentConfig on a node's ESP: what is read is read again when it was written. */
#include "node/config.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    NODE_CONFIG config = {0};
    NODE_CONFIG again = {0};
    struct st_err err = {0};
    fuzz_file("enrolment.pb", bytes, len);
    if (config_read(fuzz_path("enrolment.pb"), &config, &err)) {
        FUZZ_HOLDS(err.code == ST_DATA_LOSS && *err.text);
        return 0;
    }
    FUZZ_HOLDS(config.address_count > 0);
    FUZZ_HOLDS((config.secret.len > 0) == (*config.node_id == 0));
    FUZZ_HOLDS(!config_write(fuzz_path("enrolment.pb"), &config, &err));
    FUZZ_HOLDS(!config_read(fuzz_path("enrolment.pb"), &again, &err));
    FUZZ_HOLDS(memcmp(&config, &again, sizeof(config)) == 0);
    return 0;
}
