/* libraft's bytes of a configuration: what is read gives the same members when libraft
 * writes it. */
#include "raft/conf.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static bool
same(const struct raft_configuration *a, const struct raft_configuration *b)
{
    if (a->n != b->n)
        return false;
    for (unsigned i = 0; i < a->n; i++)
        if (a->servers[i].id != b->servers[i].id ||
            a->servers[i].role != b->servers[i].role ||
            strcmp(a->servers[i].address, b->servers[i].address) != 0)
            return false;
    return true;
}

/* As a stored one: the padding to eight bytes is libraft's business. */
static void
write_again(const struct raft_configuration *read)
{
    struct raft_buffer written;
    struct raft_configuration again;
    FUZZ_HOLDS(raft_configuration_encode(read, &written) == 0);
    FUZZ_HOLDS(conf_decode(written.base, written.len, &again) == 0);
    FUZZ_HOLDS(same(read, &again));
    raft_configuration_close(&again);
    raft_free(written.base);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct raft_configuration read;
    if (conf_decode(bytes, len, &read) == 0)
        write_again(&read);
    raft_configuration_close(&read);
    return 0;
}
