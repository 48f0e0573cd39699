/* A boot that the policy refuses: let in by a window, let in by an administrator, or kept
 * for his eyes. */
#include "nms/apply.h"
#include "proto/mutant.h"

#include <string.h>

/* A node, and what it booted. */
struct booted {
    State__Node *node;
    struct tpm_pcrs pcrs;
};

static void
booted_end(struct booted *booted)
{
    if (booted->node)
        record_free_unpacked(booted->node);
}
#define BOOTED __attribute__((cleanup(booted_end))) struct booted

static enum st_code
booted_find(const struct applying *applying, const char *node_id,
            const ProtobufCBinaryData *pcrs, struct booted *out, struct st_err *err)
{
    enum st_code code = node_id_check(node_id, err);
    if (code)
        return code;
    if (pcrs->len != sizeof(out->pcrs.digest))
        return st_fail(err, ST_INVALID_ARGUMENT, "a boot of %zu bytes", pcrs->len);
    memcpy(out->pcrs.digest, pcrs->data, sizeof(out->pcrs.digest));
    return node_find(applying->state, node_id, &out->node, err);
}

enum st_code
quote_judge(const State__Node *node, const ProtobufCBinaryData *ak_public,
            struct st_err *err)
{
    const ProtobufCBinaryData *own = &node->ak_public;
    if (REFUSES(0x41c, own->len != ak_public->len ||
                           memcmp(own->data, ak_public->data, own->len) != 0))
        return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED,
                           "%s was enrolled anew meanwhile, by another TPM",
                           node->node_id);
    if (REFUSES(0x4001, node->role == STATE__ROLE__REGISTERED))
        return st_fail_for(err, ST_FAILED_PRECONDITION, ST_REASON_NOT_ADOPTED,
                           "%s is not adopted", node->node_id);
    return ST_OK;
}

/* The same, for what a quote said. */
static enum st_code
quoted_find(const struct applying *applying, const char *node_id,
            const ProtobufCBinaryData *ak_public, const ProtobufCBinaryData *pcrs,
            struct booted *out, struct st_err *err)
{
    enum st_code code = booted_find(applying, node_id, pcrs, out, err);
    return code ? code : quote_judge(out->node, ak_public, err);
}

static void
captured_put(struct applying *applying, const uint8_t sha256[SHA256_LEN],
             const State__Captured *captured)
{
    char key[STATE_KEY_MAX];
    key_of_captured(sha256, key);
    if (captured->nodes > 0)
        applying_put(applying, key, NULL, &captured->base);
    else
        applying_delete(applying, key);
}

/* One node less refers to it; nothing where it is no more. */
static void
ref_drop(struct applying *applying, const State__CapturedRef *ref)
{
    State__Captured *captured = captured_of_ref(applying->state, ref);
    if (!captured)
        return;
    captured->nodes--;
    captured_put(applying, ref->sha256.data, captured);
    record_free_unpacked(captured);
}

/* One node more: ten that boot the same make one of it.  Returns when it was made. */
static uint64_t
captured_join(struct applying *applying, const struct policy_captured *captured,
              const uint8_t sha256[SHA256_LEN], const ProtobufCBinaryData *by,
              bool approved)
{
    char key[STATE_KEY_MAX];
    uint8_t values[TPM_PCR_COUNT * SHA256_LEN];
    State__Captured made = STATE__CAPTURED__INIT, *known = NULL;
    key_of_captured(sha256, key);
    const struct record *record = records_find(&applying->state->records, key);
    if (record) {
        known = record_unpack(record, &state__captured__descriptor);
        made = *known;
    } else {
        made.pcrs = captured->pcrs;
        made.values = (ProtobufCBinaryData){captured_pack(captured, values), values};
        made.made = applying->index;
        made.made_at = applying->now;
        made.made_by = *by;
        made.approved = approved;
    }
    made.nodes++;
    captured_put(applying, sha256, &made);
    if (known)
        record_free_unpacked(known);
    return made.made;
}

/* The references that still mean something, the new one first. */
static void
refs_put(struct applying *applying, struct booted *booted, State__CapturedRef *first)
{
    State__Node *node = booted->node;
    State__CapturedRef **before = node->captured;
    const size_t count = node->n_captured;
    State__CapturedRef *refs[STATE_CAPTURED_PER_NODE] = {first};
    size_t kept = 1;
    for (size_t i = 0; i < count; i++) {
        State__Captured *known = captured_of_ref(applying->state, before[i]);
        if (!known)
            continue;
        record_free_unpacked(known);
        if (kept < STATE_CAPTURED_PER_NODE)
            refs[kept++] = before[i];
        else
            ref_drop(applying, before[i]);
    }
    node->captured = refs;
    node->n_captured = kept;
    applying_put_node(applying, node);
    node->captured = before;
    node->n_captured = count;
}

static void
refused_forget(struct applying *applying, const char *node_id)
{
    char key[STATE_KEY_MAX];
    key_of_refused(node_id, key);
    if (records_find(&applying->state->records, key))
        applying_delete(applying, key);
}

/* The boot was judged, and is refused without this. */
static void
let_in(struct applying *applying, struct booted *booted, const ProtobufCBinaryData *by,
       bool approved)
{
    struct policy_captured captured;
    uint8_t sha256[SHA256_LEN];
    State__CapturedRef ref = STATE__CAPTURED_REF__INIT;
    policy_capture(applying->state->policy, booted->node->node_id, &booted->pcrs,
                   &captured);
    captured_name(&captured, sha256);
    ref.sha256 = (ProtobufCBinaryData){SHA256_LEN, sha256};
    ref.made = captured_join(applying, &captured, sha256, by, approved);
    refs_put(applying, booted, &ref);
    refused_forget(applying, booted->node->node_id);
}

static bool
is_good_already(const struct applying *applying, const struct booted *booted)
{
    return !boot_judge(applying->state, applying->state->policy, booted->node,
                       &booted->pcrs, NULL);
}

/* NULL: it is not what was refused, or what is to be approved. */
static bool
is_behind(const struct booted *booted, const State__TpmClock *quoted)
{
    const struct tpm_clock clock = quoted ? clock_unpack(quoted) : (struct tpm_clock){0};
    return quoted && clock_judge(booted->node, &clock, NULL);
}

enum st_code
apply_capture_boot(struct applying *applying, const State__CaptureBoot *capture_boot,
                   struct st_err *err)
{
    BOOTED booted = {0};
    State__Window *window;
    enum st_code code =
        quoted_find(applying, capture_boot->node_id, &capture_boot->ak_public,
                    &capture_boot->pcrs, &booted, err);
    if (code || is_good_already(applying, &booted))
        return code;
    if ((code = window_judge(applying->state, booted.node, &booted.pcrs, applying->now,
                             &window, err)))
        return code;
    booted.node->window = window->number;
    let_in(applying, &booted, &window->opened_by, false);
    window->captured++;
    applying_put(applying, "window", NULL, &window->base);
    record_free_unpacked(window);
    return ST_OK;
}

static void
forget_oldest_refusal(struct applying *applying)
{
    char oldest_key[STATE_KEY_MAX] = "";
    int64_t oldest = INT64_MAX;
    const struct records *records = &applying->state->records;
    const struct record *record;
    if (records_count(records, "refused/") < STATE_REFUSED_MAX)
        return;
    size_t at = records_begin(records, "refused/");
    while ((record = records_next(records, "refused/", &at))) {
        State__Refused *refused = record_unpack(record, &state__refused__descriptor);
        if (!*oldest_key || refused->at < oldest) {
            oldest = refused->at;
            strcpy(oldest_key, record_key(record));
        }
        record_free_unpacked(refused);
    }
    applying_delete(applying, oldest_key);
}

enum st_code
apply_refuse_boot(struct applying *applying, const State__RefuseBoot *refuse_boot,
                  struct st_err *err)
{
    BOOTED booted = {0};
    char key[STATE_KEY_MAX];
    State__Refused refused = STATE__REFUSED__INIT;
    struct tpm_clock clock;
    enum st_code code =
        quoted_find(applying, refuse_boot->node_id, &refuse_boot->ak_public,
                    &refuse_boot->pcrs, &booted, err);
    if (code ||
        (is_good_already(applying, &booted) && !is_behind(&booted, refuse_boot->clock)))
        return code;
    if (refuse_boot->clock)
        clock = clock_unpack(refuse_boot->clock);
    if (!refusal_is_news(applying->state, refuse_boot->node_id, &booted.pcrs,
                         refuse_boot->clock ? &clock : NULL, applying->now))
        return ST_OK;
    key_of_refused(refuse_boot->node_id, key);
    if (!records_find(&applying->state->records, key))
        forget_oldest_refusal(applying);
    refused.node_id = refuse_boot->node_id;
    refused.pcrs = refuse_boot->pcrs;
    refused.at = applying->now;
    refused.clock = refuse_boot->clock;
    applying_put(applying, key, NULL, &refused.base);
    return ST_OK;
}

static bool
is_same_clock(const State__TpmClock *a, const State__TpmClock *b)
{
    if (!a || !b)
        return a == b;
    return a->clock_ms == b->clock_ms && a->reset_count == b->reset_count &&
           a->restart_count == b->restart_count;
}

/* What the administrator was shown is what is kept. */
static enum st_code
shown_check(const struct applying *applying, const struct booted *booted,
            const State__TpmClock *clock, struct st_err *err)
{
    char key[STATE_KEY_MAX];
    const char *node_id = booted->node->node_id;
    key_of_refused(node_id, key);
    const struct record *record = records_find(&applying->state->records, key);
    if (!record)
        return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND,
                           "no boot of %s was refused", node_id);
    State__Refused *refused = record_unpack(record, &state__refused__descriptor);
    const bool same =
        memcmp(refused->pcrs.data, booted->pcrs.digest, sizeof(booted->pcrs.digest)) == 0;
    const bool same_clock = is_same_clock(refused->clock, clock);
    record_free_unpacked(refused);
    if (REFUSES(0x121a, !same))
        return st_fail_for(err, ST_ABORTED, ST_REASON_EXISTS,
                           "%s was refused with other PCRs by now: look again", node_id);
    if (REFUSES(0x15c, !same_clock))
        return st_fail_for(err, ST_ABORTED, ST_REASON_EXISTS,
                           "%s was refused with another clock by now: look again",
                           node_id);
    return ST_OK;
}

/* From this clock on its TPM counts; NULL: as before. */
static void
accept_boot(struct applying *applying, struct booted *booted, bool good,
            State__TpmClock *clock, const ProtobufCBinaryData *by)
{
    State__Node *node = booted->node;
    State__TpmClock *before = node->clock;
    if (clock)
        node->clock = clock;
    if (!good) {
        let_in(applying, booted, by, true);
    } else {
        applying_put_node(applying, node);
        refused_forget(applying, node->node_id);
    }
    node->clock = before;
}

enum st_code
apply_approve_boot(struct applying *applying, const State__ApproveBoot *approve_boot,
                   struct st_err *err)
{
    BOOTED booted = {0};
    struct st_err why = {0};
    enum st_code code =
        booted_find(applying, approve_boot->node_id, &approve_boot->pcrs, &booted, err);
    if (code)
        return code;
    const bool good = is_good_already(applying, &booted);
    const bool behind = is_behind(&booted, approve_boot->clock);
    if (good && !behind)
        return ST_OK;
    if (applying->by.len == 0)
        return st_fail(err, ST_INVALID_ARGUMENT, "an approval of nobody");
    if ((code = shown_check(applying, &booted, approve_boot->clock, err)))
        return code;
    if (REFUSES(0x11c,
                policy_judge_measured(applying->state->policy, &booted.pcrs, &why)))
        return st_fail_for(err, ST_FAILED_PRECONDITION, ST_REASON_REFUSED,
                           "the policy wants a measured boot, and %s", why.text);
    accept_boot(applying, &booted, good, behind ? approve_boot->clock : NULL,
                &applying->by);
    return ST_OK;
}

enum st_code
apply_remove_captured(struct applying *applying,
                      const State__RemoveCaptured *remove_captured, struct st_err *err)
{
    char key[STATE_KEY_MAX];
    if (remove_captured->sha256.len != SHA256_LEN)
        return st_fail(err, ST_INVALID_ARGUMENT, "what was let in has a SHA-256");
    key_of_captured(remove_captured->sha256.data, key);
    if (!records_find(&applying->state->records, key))
        return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND, "no captured set %s",
                           strchr(key, '/') + 1);
    applying_delete(applying, key);
    return ST_OK;
}

void
boots_forget(struct applying *applying, const State__Node *node)
{
    for (size_t i = 0; i < node->n_captured; i++)
        ref_drop(applying, node->captured[i]);
    refused_forget(applying, node->node_id);
}
