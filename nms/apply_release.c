/* A node is about to be given its key: its TPM has counted so far. */
#include "nms/apply.h"

static bool
is_news(const State__Node *node, const struct tpm_clock *clock)
{
    const State__TpmClock *known = node->clock;
    return !known || known->clock_ms != clock->clock_ms ||
           known->reset_count != clock->reset_count ||
           known->restart_count != clock->restart_count;
}

static void
clock_put(struct applying *applying, State__Node *node, State__TpmClock *clock)
{
    State__TpmClock *before = node->clock;
    node->clock = clock;
    applying_put_node(applying, node);
    node->clock = before;
}

/* Also between two quotes of one TPM that are judged at once: the older one comes second,
 * and is refused, or first. */
enum st_code
apply_release(struct applying *applying, const State__Release *release,
              struct st_err *err)
{
    enum st_code code = node_id_check(release->node_id, err);
    if (code)
        return code;
    if (!release->clock)
        return st_fail(err, ST_INVALID_ARGUMENT, "a quote without its clock");
    State__Node *node = node_of(applying->state, release->node_id);
    if (!node)
        return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED,
                           "the node was removed a moment ago");
    const struct tpm_clock clock = clock_unpack(release->clock);
    if (!(code = quote_judge(node, &release->ak_public, err)) &&
        !(code = clock_judge(node, &clock, err)) && is_news(node, &clock))
        clock_put(applying, node, release->clock);
    record_free_unpacked(node);
    return code;
}
