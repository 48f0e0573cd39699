/* How far a node's TPM had counted when it was last given its key. */
#include "nms/state_internal.h"

struct tpm_clock
clock_unpack(const State__TpmClock *clock)
{
    return (struct tpm_clock){.clock_ms = clock->clock_ms,
                              .reset_count = clock->reset_count,
                              .restart_count = clock->restart_count};
}

void
state_clock_pack(const struct tpm_clock *clock, State__TpmClock *out)
{
    state__tpm_clock__init(out);
    out->clock_ms = clock->clock_ms;
    out->reset_count = clock->reset_count;
    out->restart_count = clock->restart_count;
}

enum st_code
clock_judge(const State__Node *node, const struct tpm_clock *clock, struct st_err *err)
{
    if (!node->clock)
        return ST_OK;
    const struct tpm_clock before = clock_unpack(node->clock);
    return tpm_clock_check(&before, clock, err);
}

bool
clock_is_covered(const State__TpmClock *kept, const struct tpm_clock *clock)
{
    if (!clock)
        return true;
    const struct tpm_clock before = kept ? clock_unpack(kept) : (struct tpm_clock){0};
    return kept && !tpm_clock_check(&before, clock, NULL);
}

bool
clock_is_refused(const struct state *state, const char *node_id,
                 const State__TpmClock *kept)
{
    State__Node *node = kept ? node_of(state, node_id) : NULL;
    if (!node)
        return false;
    const struct tpm_clock clock = clock_unpack(kept);
    const bool refused = clock_judge(node, &clock, NULL) != ST_OK;
    record_free_unpacked(node);
    return refused;
}

enum st_code
state_clock_check(struct state *state, const char *node_id, const struct tpm_clock *clock,
                  struct st_err *err)
{
    READING(state);
    State__Node *node = node_of(state, node_id);
    if (!node)
        return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND, "no node %s", node_id);
    enum st_code code = clock_judge(node, clock, err);
    record_free_unpacked(node);
    return code;
}
