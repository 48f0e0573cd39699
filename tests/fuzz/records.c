/* Records as they come from a store or from a snapshot, and then everything that reads
 * them.  Pieces: a key, its value, the next key. */
#include "nms/members.h"
#include "tests/fuzz/fuzz.h"
#include "tests/nms/log.h"

#include <string.h>

static void
read_all(struct state *state)
{
    struct st_address masters[REPLICA_MEMBERS_MAX];
    ProtobufCBinaryData ips[REPLICA_MEMBERS_MAX];
    char text[MEMBERS_TEXT_MAX];
    struct members members;
    struct state_counts counts;
    uint8_t digest[SHA256_LEN];
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    if (!state_cluster(state, &cluster, NULL))
        FUZZ_HOLDS(cluster->masters_cert.len > 0 && state_next_member(cluster) > 0);
    FUZZ_HOLDS(state_masters(state, masters) <= REPLICA_MEMBERS_MAX);
    FUZZ_HOLDS(members_ips(state, masters, ips) <= REPLICA_MEMBERS_MAX);
    members_read(state, &members);
    members_text(&members, text);
    FUZZ_HOLDS(!state_count(state, 0, &counts, NULL));
    FUZZ_HOLDS(!state_digest(state, digest, NULL));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct fuzz_input input = {bytes, len};
    struct log_member member;
    log_open(&member);
    const struct replica_machine machine = member.machine;
    struct st_err err = {0};
    while (input.left > 0) {
        FUZZ_PIECE key = fuzz_take(&input);
        FUZZ_PIECE value = fuzz_take(&input);
        if (key.len < 1 || key.len > REPLICA_KEY_MAX)
            continue; /* the store has none, and snapshot_check() takes none */
        if (machine.load(machine.self, key.bytes, key.len, value.bytes, value.len, &err))
            FUZZ_HOLDS(err.code);
    }
    read_all(member.state);
    log_close(&member);
    return 0;
}
