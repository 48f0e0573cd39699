/* Records as they come from a store or from a snapshot, and then everything that reads
 * them.  Pieces: a key, its value, the next key. */
#include "nms/members.h"
#include "tests/fuzz/fuzz.h"
#include "tests/nms/log.h"

#include <string.h>

static enum st_code
is_named(void *arg, const uint8_t sha256[SHA256_LEN], const State__Captured *captured,
         struct st_err *err)
{
    (void)arg;
    (void)sha256;
    (void)err;
    FUZZ_HOLDS(captured->nodes > 0 && captured->values.len % SHA256_LEN == 0);
    return ST_OK;
}

static enum st_code
remember_id(void *arg, const State__Node *node, int64_t seen, struct st_err *err)
{
    (void)seen;
    (void)err;
    strcpy(arg, node->node_id);
    return ST_OK;
}

/* Of the last node that there is. */
static void
read_boots(struct state *state)
{
    char id[NODE_ID_LEN + 1] = "";
    const struct tpm_pcrs pcrs = {{{0x44}}};
    AUTO(state_window_freep) State__Window *window = NULL;
    AUTO(state_refused_freep) State__Refused *refused = NULL;
    FUZZ_HOLDS(!state_each_captured(state, NULL, is_named, NULL, NULL));
    FUZZ_HOLDS(!state_each_node(state, remember_id, id, NULL));
    if (!state_window(state, LOG_START, &window, NULL))
        FUZZ_HOLDS(window->closes_at > LOG_START);
    if (!*id)
        return;
    FUZZ_HOLDS(!state_each_captured(state, id, is_named, NULL, NULL));
    (void)!state_judge_boot(state, id, &pcrs, NULL);
    (void)!state_window_check(state, id, &pcrs, LOG_START, NULL);
    if (!state_refused(state, id, &refused, NULL))
        FUZZ_HOLDS(refused->pcrs.len == sizeof(pcrs));
}

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
    FUZZ_HOLDS(state_masters(state, masters, NULL) <= REPLICA_MEMBERS_MAX);
    FUZZ_HOLDS(members_ips(state, masters, ips, NULL) <= REPLICA_MEMBERS_MAX);
    members_read(state, &members);
    members_text(&members, text);
    FUZZ_HOLDS(!state_count(state, 0, &counts, NULL));
    FUZZ_HOLDS(!state_digest(state, digest, NULL));
    read_boots(state);
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
