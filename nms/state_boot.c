/* What a node may have booted: by the policy, and by what windows and approvals let in
 * beside it.  And what was refused, for the administrator's eyes. */
#include "nms/digest.h"
#include "nms/state_internal.h"
#include "proto/mutant.h"

#include <stdlib.h>
#include <string.h>

void
state_window_free(State__Window *window)
{
    record_free_unpacked(window);
}

void
state_refused_free(State__Refused *refused)
{
    record_free_unpacked(refused);
}

size_t
captured_pack(const struct policy_captured *captured,
              uint8_t out[TPM_PCR_COUNT * SHA256_LEN])
{
    size_t len = 0;
    for (unsigned pcr = 0; pcr < TPM_PCR_COUNT; pcr++)
        if (captured->pcrs & 1u << pcr) {
            memcpy(out + len, captured->values[pcr], SHA256_LEN);
            len += SHA256_LEN;
        }
    return len;
}

/* The record was checked when it came in. */
void
captured_unpack(const State__Captured *record, struct policy_captured *out)
{
    const uint8_t *at = record->values.data;
    memset(out, 0, sizeof(*out));
    out->pcrs = record->pcrs;
    for (unsigned pcr = 0; pcr < TPM_PCR_COUNT; pcr++)
        if (out->pcrs & 1u << pcr) {
            memcpy(out->values[pcr], at, SHA256_LEN);
            at += SHA256_LEN;
        }
}

void
captured_name(const struct policy_captured *captured, uint8_t out[SHA256_LEN])
{
    uint8_t bytes[2 + TPM_PCR_COUNT * SHA256_LEN];
    bytes[0] = (uint8_t)(captured->pcrs >> 8);
    bytes[1] = (uint8_t)captured->pcrs;
    const size_t len = 2 + captured_pack(captured, bytes + 2);
    if (digest_labelled("captured", bytes, len, out, NULL))
        state_die("cannot compute SHA-256");
}

State__Captured *
captured_of_ref(const struct state *state, const State__CapturedRef *ref)
{
    char key[STATE_KEY_MAX];
    if (ref->sha256.len != SHA256_LEN)
        return NULL;
    key_of_captured(ref->sha256.data, key);
    const struct record *record = records_find(&state->records, key);
    if (!record)
        return NULL;
    State__Captured *captured = record_unpack(record, &state__captured__descriptor);
    if (!REFUSES(0x1212, captured->made != ref->made))
        return captured;
    record_free_unpacked(captured);
    return NULL;
}

/* By something that names one of `naming`. */
static bool
was_let_in(const struct state *state, const struct policy *policy,
           const State__Node *node, const struct tpm_pcrs *pcrs, unsigned naming)
{
    bool fits = false;
    for (size_t i = 0; i < node->n_captured && !fits; i++) {
        struct policy_captured captured;
        State__Captured *record = captured_of_ref(state, node->captured[i]);
        if (!record)
            continue;
        captured_unpack(record, &captured);
        fits =
            policy_fits(policy, node->node_id, &captured, pcrs) && captured.pcrs & naming;
        record_free_unpacked(record);
    }
    return fits;
}

enum st_code
boot_judge(const struct state *state, const struct policy *policy,
           const State__Node *node, const struct tpm_pcrs *pcrs, struct st_err *err)
{
    struct st_err why = {0};
    enum st_code code = policy_judge_boot(policy, node->node_id, pcrs, &why);
    if (!code || (!policy_judge_measured(policy, pcrs, NULL) &&
                  was_let_in(state, policy, node, pcrs, ~0u)))
        return ST_OK;
    if (err)
        *err = why;
    return code;
}

static enum st_code
no_node(const char *node_id, struct st_err *err)
{
    return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND, "no node %s", node_id);
}

static enum st_code
judge_by(const struct state *state, const struct policy *policy, const char *node_id,
         const struct tpm_pcrs *pcrs, struct st_err *err)
{
    State__Node *node = node_of(state, node_id);
    if (!node)
        return policy_judge_boot(policy, node_id, pcrs, err);
    enum st_code code = boot_judge(state, policy, node, pcrs, err);
    record_free_unpacked(node);
    return code;
}

enum st_code
state_judge_boot(struct state *state, const char *node_id, const struct tpm_pcrs *pcrs,
                 struct st_err *err)
{
    READING(state);
    return judge_by(state, state->policy, node_id, pcrs, err);
}

enum st_code
state_judge_boot_by(struct state *state, const struct policy *policy, const char *node_id,
                    const struct tpm_pcrs *pcrs, struct st_err *err)
{
    READING(state);
    return judge_by(state, policy, node_id, pcrs, err);
}

/* As policy_vouches_for_boot() asks it of a set; an approval is for ever, so what nobody
 * measured gets none. */
static bool
captured_vouches(const struct state *state, const State__Node *node,
                 const struct tpm_pcrs *pcrs)
{
    const unsigned all = REFUSES(0x121c, true) ? 1u << 4 | 1u << 7 : ~0u;
    return !REFUSES(0x11d, !policy_is_measured(pcrs)) &&
           was_let_in(state, state->policy, node, pcrs, all);
}

bool
state_vouches_for_boot(struct state *state, const char *node_id,
                       const struct tpm_pcrs *pcrs)
{
    READING(state);
    if (policy_vouches_for_boot(state->policy, node_id, pcrs))
        return true;
    State__Node *node = node_of(state, node_id);
    if (!node)
        return false;
    const bool vouches = captured_vouches(state, node, pcrs);
    record_free_unpacked(node);
    return vouches;
}

/* Open at `now`, which is the clock of whoever asks. */
enum st_code
window_find(const struct state *state, int64_t now, State__Window **out,
            struct st_err *err)
{
    const struct record *record = records_find(&state->records, "window");
    State__Window *window =
        record ? record_unpack(record, &state__window__descriptor) : NULL;
    if (window && !REFUSES(0x1213, now >= window->closes_at) &&
        !REFUSES(0x1214, now < window->opened_at - STATE_CLOCKS_DIFFER_S)) {
        *out = window;
        return ST_OK;
    }
    if (window)
        record_free_unpacked(window);
    return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND, "no window is open");
}

static bool
is_named(const State__Window *window, const char *node_id)
{
    for (size_t i = 0; i < window->n_node_ids; i++)
        if (strcmp(window->node_ids[i], node_id) == 0)
            return true;
    return window->n_node_ids == 0;
}

static enum st_code
window_refuses(struct st_err *err, const char *sentence)
{
    return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED, "%s", sentence);
}

enum st_code
window_judge(const struct state *state, const State__Node *node,
             const struct tpm_pcrs *pcrs, int64_t now, State__Window **out_window,
             struct st_err *err)
{
    State__Window *window;
    enum st_code code = window_find(state, now, &window, err);
    if (code)
        return code;
    if (REFUSES(0x1215, !is_named(window, node->node_id)))
        code = window_refuses(err, "the open window is for other nodes");
    else if (REFUSES(0x1216, node->window == window->number))
        code = window_refuses(err, "it came through the open window already");
    else if (REFUSES(0x11b, !policy_is_measured(pcrs)))
        code =
            window_refuses(err, "nothing measured this boot, and no window is for that");
    if (code || !out_window)
        record_free_unpacked(window);
    else
        *out_window = window;
    return code;
}

enum st_code
state_window(struct state *state, int64_t now, State__Window **out, struct st_err *err)
{
    READING(state);
    return window_find(state, now, out, err);
}

enum st_code
state_window_check(struct state *state, const char *node_id, const struct tpm_pcrs *pcrs,
                   int64_t now, struct st_err *err)
{
    READING(state);
    State__Node *node = node_of(state, node_id);
    if (!node)
        return no_node(node_id, err);
    enum st_code code = window_judge(state, node, pcrs, now, NULL, err);
    record_free_unpacked(node);
    return code;
}

static State__Refused *
refused_of(const struct state *state, const char *node_id)
{
    char key[STATE_KEY_MAX];
    key_of_refused(node_id, key);
    const struct record *record = records_find(&state->records, key);
    return record ? record_unpack(record, &state__refused__descriptor) : NULL;
}

enum st_code
state_refused(struct state *state, const char *node_id, State__Refused **out,
              struct st_err *err)
{
    READING(state);
    State__Refused *refused = refused_of(state, node_id);
    if (!refused)
        return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND,
                           "no boot of %s was refused", node_id);
    *out = refused;
    return ST_OK;
}

/* By the distance of two clocks: one that was far ahead silences nobody for ever.  What
 * has become good since is out of date, and holds nothing up. */
bool
refusal_is_news(const struct state *state, const char *node_id,
                const struct tpm_pcrs *pcrs, const struct tpm_clock *clock, int64_t now)
{
    State__Refused *refused = refused_of(state, node_id);
    struct tpm_pcrs kept;
    if (!refused)
        return true;
    memcpy(kept.digest, refused->pcrs.data, sizeof(kept.digest));
    const bool same = memcmp(kept.digest, pcrs->digest, sizeof(kept.digest)) == 0 &&
                      clock_is_covered(refused->clock, clock);
    const bool soon = now > refused->at - STATE_REFUSED_PAUSE_S &&
                      now < refused->at + STATE_REFUSED_PAUSE_S &&
                      (judge_by(state, state->policy, node_id, &kept, NULL) != ST_OK ||
                       clock_is_refused(state, node_id, refused->clock));
    record_free_unpacked(refused);
    return !REFUSES(0x1217, same) && !REFUSES(0x1218, soon);
}

bool
state_refusal_is_news(struct state *state, const char *node_id,
                      const struct tpm_pcrs *pcrs, const struct tpm_clock *clock,
                      int64_t now)
{
    READING(state);
    return refusal_is_news(state, node_id, pcrs, clock, now);
}

typedef enum st_code (*each_captured)(void *arg, const uint8_t sha256[SHA256_LEN],
                                      const State__Captured *captured,
                                      struct st_err *err);

static enum st_code
each_of_node(const struct state *state, const State__Node *node, each_captured each,
             void *arg, struct st_err *err)
{
    enum st_code code = ST_OK;
    for (size_t i = 0; i < node->n_captured && !code; i++) {
        State__Captured *record = captured_of_ref(state, node->captured[i]);
        if (!record)
            continue;
        code = each(arg, node->captured[i]->sha256.data, record, err);
        record_free_unpacked(record);
    }
    return code;
}

struct captured_visit {
    each_captured each;
    void *arg;
};

static enum st_code
visit_captured(void *arg, const void *message, const struct record *record,
               struct st_err *err)
{
    const struct captured_visit *visit = arg;
    struct policy_captured captured;
    uint8_t sha256[SHA256_LEN];
    (void)record;
    captured_unpack(message, &captured);
    captured_name(&captured, sha256);
    return visit->each(visit->arg, sha256, message, err);
}

enum st_code
state_each_captured(struct state *state, const char *node_id, each_captured each,
                    void *arg, struct st_err *err)
{
    struct captured_visit visit = {each, arg};
    if (!node_id)
        return state_each(state, "captured/", &state__captured__descriptor,
                          visit_captured, &visit, err);
    READING(state);
    State__Node *node = node_of(state, node_id);
    if (!node)
        return no_node(node_id, err);
    enum st_code code = each_of_node(state, node, each, arg, err);
    record_free_unpacked(node);
    return code;
}
