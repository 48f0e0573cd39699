/* One entry of the log, as the leader wrote it: it is applied, or it ends the process
 * before anything of it is. */
#include "raft/replica_internal.h"
#include "tests/fuzz/fuzz.h"

#include <setjmp.h>
#include <string.h>

static jmp_buf died;
static size_t applied;

void
replica_die(void *arg, const struct st_err *err)
{
    (void)arg;
    FUZZ_HOLDS(err->code == ST_DATA_LOSS && applied == 0);
    longjmp(died, 1);
}

static void
apply(void *self, uint64_t index, const void *command, size_t len,
      struct replica_change *change, struct replica_result *result)
{
    struct replica *replica = self;
    FUZZ_HOLDS(index == ((1ull << POSITION_BITS) | applied));
    FUZZ_HOLDS(len <= REPLICA_COMMAND_MAX && applied < ENTRY_COMMANDS_MAX);
    applied++;
    result->len = len < REPLICA_RESULT_MAX ? len : REPLICA_RESULT_MAX;
    memcpy(result->bytes, command, result->len);
    FUZZ_HOLDS(change->batch == replica->io.pending);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static struct replica replica;
    static struct replica_result result;
    const struct raft_buffer entry = {(void *)bytes, len};
    void *unused;
    applied = 0;
    memset(&replica, 0, sizeof(replica));
    pthread_mutex_init(&replica.lock, NULL);
    replica.machine = (struct replica_machine){.self = &replica, .apply = apply};
    replica.result = &result;
    replica.io.pending = store_batch_new();
    FUZZ_HOLDS(replica.io.pending);
    replica_machine_init(&replica);
    if (!setjmp(died))
        FUZZ_HOLDS(replica.fsm.apply(&replica.fsm, &entry, &unused) == 0);
    store_batch_free(replica.io.pending);
    return 0;
}
