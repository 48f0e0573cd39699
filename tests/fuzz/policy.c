/* A policy document: what is taken for one is kept as text that is taken again, and that
 * judges the same; what is not is refused with a sentence. */
#include "nms/policy.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define NODE "smalltown-07000000000000000000000000000000"

static enum st_code
boot_judged(const struct policy *policy, uint8_t byte, struct st_err *err)
{
    struct tpm_pcrs pcrs;
    memset(pcrs.digest, byte, sizeof(pcrs.digest));
    return policy_judge_boot(policy, NODE, &pcrs, err);
}

static enum st_code
node_judged(const struct policy *policy, State__Evidence evidence, struct st_err *err)
{
    static uint8_t key[] = "an EK", pcrs[sizeof(struct tpm_pcrs)] = {0x44};
    State__Node node = STATE__NODE__INIT;
    node.node_id = (char *)NODE;
    node.ek_pubkey = (ProtobufCBinaryData){sizeof(key), key};
    if (evidence != STATE__EVIDENCE__NOTHING)
        node.ek_cert = node.ek_pubkey;
    node.evidence = evidence;
    node.pcrs = (ProtobufCBinaryData){sizeof(pcrs), pcrs};
    return policy_judge_node(policy, &node, err);
}

/* ST_PERMISSION_DENIED is the only way to say no, with a sentence. */
static void
verdicts_match(enum st_code one, const struct st_err *why, enum st_code other,
               const struct st_err *other_why)
{
    FUZZ_HOLDS(one == other);
    FUZZ_HOLDS(one == ST_OK || (one == ST_PERMISSION_DENIED && *why->text));
    FUZZ_HOLDS(one == ST_OK || strcmp(why->text, other_why->text) == 0);
}

static void
judge_alike(const struct policy *policy, const struct policy *again)
{
    static const uint8_t bytes[] = {0, 0xff, 0x44};
    static const State__Evidence evidence[] = {
        STATE__EVIDENCE__NOTHING, STATE__EVIDENCE__CERTIFICATE, STATE__EVIDENCE__CHAIN};
    for (size_t i = 0; i < sizeof(bytes); i++) {
        struct st_err one = {0}, other = {0};
        const enum st_code code = boot_judged(policy, bytes[i], &one);
        verdicts_match(code, &one, boot_judged(again, bytes[i], &other), &other);
        FUZZ_HOLDS(code == ST_OK || policy_looks_at_boots(policy, NODE));
    }
    for (size_t i = 0; i < sizeof(evidence) / sizeof(*evidence); i++) {
        struct st_err one = {0}, other = {0};
        const enum st_code code = node_judged(policy, evidence[i], &one);
        verdicts_match(code, &one, node_judged(again, evidence[i], &other), &other);
    }
    FUZZ_HOLDS(policy_adopts(policy, "rack1") == policy_adopts(again, "rack1"));
}

static void
is_kept_as_it_is(const struct policy *policy, const char *text)
{
    AUTO(policy_freep) struct policy *again = NULL;
    AUTO(st_freep) char *same = NULL;
    FUZZ_HOLDS(strlen(text) <= POLICY_TEXT_MAX);
    FUZZ_HOLDS(!policy_parse(text, strlen(text), &again, &same, NULL));
    FUZZ_HOLDS(strcmp(text, same) == 0);
    judge_alike(policy, again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    AUTO(policy_freep) struct policy *policy = NULL;
    AUTO(st_freep) char *text = NULL;
    struct st_err err = {0};
    if (policy_parse(bytes, len, &policy, &text, &err))
        FUZZ_HOLDS(err.code == ST_INVALID_ARGUMENT && *err.text && !policy && !text);
    else
        is_kept_as_it_is(policy, text);
    return 0;
}
