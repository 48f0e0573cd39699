/* The judgement by a policy that was read. */
#include "nms/policy.h"
#include "proto/mutant.h"
#include "proto/sha256.h"

#include <stdio.h>
#include <string.h>

const char policy_default[] =
    "{\"adopt\":{\"automatic\":[]},"
    "\"ek\":{\"listed\":[],\"require\":\"none\"},"
    "\"pcrs\":{\"require_measured_boot\":true,\"require_set\":false,\"sets\":[]},"
    "\"schema\":1}";

static bool
has_digest(const struct policy_digests *digests, const uint8_t digest[SHA256_LEN])
{
    for (size_t i = 0; i < digests->count; i++)
        if (memcmp(digests->at[i], digest, SHA256_LEN) == 0)
            return true;
    return false;
}

static bool
has_name(const struct policy_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->at[i], name) == 0)
            return true;
    return false;
}

static bool
lists(const struct policy *policy, const ProtobufCBinaryData *ek_pubkey)
{
    uint8_t digest[SHA256_LEN];
    sha256_of(ek_pubkey->data, ek_pubkey->len, digest);
    return has_digest(&policy->listed, digest);
}

State__Evidence
policy_evidence(const struct policy *policy, const State__Node *node)
{
    return node->evidence != STATE__EVIDENCE__CHAIN && lists(policy, &node->ek_pubkey)
               ? STATE__EVIDENCE__LISTED
               : node->evidence;
}

bool
policy_adopts(const struct policy *policy, const char *enrolment)
{
    return has_name(&policy->automatic, enrolment);
}

static enum st_code
refused(struct st_err *err, const char *sentence)
{
    return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED, "%s", sentence);
}

enum st_code
policy_judge_evidence(const struct policy *policy, const State__Node *node,
                      struct st_err *err)
{
    if (policy->ek == POLICY_EK_NONE || lists(policy, &node->ek_pubkey))
        return ST_OK;
    if (REFUSES(0x24d, policy->ek == POLICY_EK_LISTED))
        return refused(err, "the policy lists EKs, and not the one of this TPM");
    if (REFUSES(0x24e, node->ek_cert.len == 0))
        return refused(err, "the policy wants an EK certificate, and there is none");
    if (REFUSES(0x24f, policy->ek == POLICY_EK_CHAIN &&
                           node->evidence != STATE__EVIDENCE__CHAIN))
        return refused(err, "the EK certificate leads to no CA that was added with "
                            "`stctl policy ca add`");
    return ST_OK;
}

/* PCR 0 to 7 belong to the firmware, which extends each of them before it starts anything
 * (TCG PC Client Platform Firmware Profile, 3.3.4): as they left the reset they say that
 * nobody measured. */
bool
policy_is_measured(const struct tpm_pcrs *pcrs)
{
    static const uint8_t zeroes[SHA256_LEN];
    uint8_t ones[SHA256_LEN];
    memset(ones, 0xff, sizeof(ones));
    for (int i = 0; i < 8; i++)
        if (memcmp(pcrs->digest[i], zeroes, SHA256_LEN) != 0 &&
            memcmp(pcrs->digest[i], ones, SHA256_LEN) != 0)
            return true;
    return false;
}

static bool
is_for(const struct policy_set *set, const char *node_id)
{
    return has_name(&set->nodes, "*") || has_name(&set->nodes, node_id);
}

/* One bit for each PCR that has none of the set's values. */
static unsigned
differing(const struct policy_set *set, const struct tpm_pcrs *pcrs)
{
    unsigned bits = 0;
    for (unsigned i = 0; i < TPM_PCR_COUNT; i++)
        if (set->values[i].count > 0 && !has_digest(&set->values[i], pcrs->digest[i]))
            bits |= 1u << i;
    return bits;
}

static enum st_code
refuse_difference(const struct policy_set *nearest, unsigned bits, size_t sets,
                  struct st_err *err)
{
    char list[TPM_PCR_COUNT * 4] = "", others[40] = "";
    for (unsigned i = 0; i < TPM_PCR_COUNT; i++)
        if (bits & 1u << i)
            snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%u",
                     *list ? ", " : "", i);
    if (sets > 1)
        snprintf(others, sizeof(others), ", the nearest of %zu", sets);
    return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED,
                       "PCR %s differ%s from set %s%s", list,
                       __builtin_popcount(bits) == 1 ? "s" : "", nearest->name, others);
}

static enum st_code
judge_sets(const struct policy *policy, const char *node_id, const struct tpm_pcrs *pcrs,
           struct st_err *err)
{
    const struct policy_set *nearest = NULL;
    unsigned nearest_bits = 0;
    size_t count = 0;
    for (size_t i = 0; i < policy->set_count; i++) {
        const struct policy_set *set = &policy->sets[i];
        if (!is_for(set, node_id))
            continue;
        const unsigned bits = differing(set, pcrs);
        if (bits == 0)
            return ST_OK;
        count++;
        if (!nearest || __builtin_popcount(bits) < __builtin_popcount(nearest_bits)) {
            nearest = set;
            nearest_bits = bits;
        }
    }
    if (REFUSES(0x12a, nearest != NULL))
        return refuse_difference(nearest, nearest_bits, count, err);
    if (REFUSES(0x12b, policy->set_required))
        return refused(err, "the policy has no set of PCRs for this node");
    return ST_OK;
}

bool
policy_vouches_for_boot(const struct policy *policy, const char *node_id,
                        const struct tpm_pcrs *pcrs)
{
    for (size_t i = 0; i < policy->set_count; i++) {
        const struct policy_set *set = &policy->sets[i];
        if (is_for(set, node_id) && differing(set, pcrs) == 0 &&
            !REFUSES(0x1202, !set->values[4].count && !set->values[7].count))
            return true;
    }
    return false;
}

enum st_code
policy_judge_measured(const struct policy *policy, const struct tpm_pcrs *pcrs,
                      struct st_err *err)
{
    if (REFUSES(0x11a, policy->measured_boot_required && !policy_is_measured(pcrs)))
        return refused(err, "PCR 0 to 7 were never extended: nothing measured this boot. "
                            "Only `require_measured_boot: false` lets it in");
    return ST_OK;
}

enum st_code
policy_judge_boot(const struct policy *policy, const char *node_id,
                  const struct tpm_pcrs *pcrs, struct st_err *err)
{
    enum st_code code = policy_judge_measured(policy, pcrs, err);
    return code ? code : judge_sets(policy, node_id, pcrs, err);
}

/* Without a set: the boot loader and the image. */
static unsigned
named_pcrs(const struct policy *policy, const char *node_id)
{
    unsigned bits = 0;
    for (size_t i = 0; i < policy->set_count; i++)
        for (unsigned pcr = 0; pcr < TPM_PCR_COUNT; pcr++)
            if (is_for(&policy->sets[i], node_id) &&
                policy->sets[i].values[pcr].count > 0)
                bits |= 1u << pcr;
    return bits ? bits : 1u << 4 | 1u << 11;
}

void
policy_capture(const struct policy *policy, const char *node_id,
               const struct tpm_pcrs *pcrs, struct policy_captured *out)
{
    memset(out, 0, sizeof(*out));
    out->pcrs = named_pcrs(policy, node_id);
    for (unsigned pcr = 0; pcr < TPM_PCR_COUNT; pcr++)
        if (out->pcrs & 1u << pcr)
            memcpy(out->values[pcr], pcrs->digest[pcr], SHA256_LEN);
}

bool
policy_fits(const struct policy *policy, const char *node_id,
            const struct policy_captured *captured, const struct tpm_pcrs *pcrs)
{
    const unsigned bits = named_pcrs(policy, node_id);
    if (REFUSES(0x12f, bits & ~captured->pcrs))
        return false;
    for (unsigned pcr = 0; pcr < TPM_PCR_COUNT; pcr++)
        if (REFUSES(0x1211, bits & 1u << pcr && memcmp(captured->values[pcr],
                                                       pcrs->digest[pcr], SHA256_LEN)))
            return false;
    return true;
}

bool
policy_looks_at_boots(const struct policy *policy, const char *node_id)
{
    for (size_t i = 0; i < policy->set_count; i++)
        if (is_for(&policy->sets[i], node_id))
            return true;
    return policy->measured_boot_required || policy->set_required;
}

enum st_code
policy_judge_node(const struct policy *policy, const State__Node *node,
                  struct st_err *err)
{
    struct tpm_pcrs pcrs;
    enum st_code code = policy_judge_evidence(policy, node, err);
    if (code || !policy_looks_at_boots(policy, node->node_id))
        return code;
    if (REFUSES(0x12c, node->pcrs.len != sizeof(pcrs.digest)))
        return refused(err, "the node enrolled when no PCRs were kept: enrol it anew");
    memcpy(pcrs.digest, node->pcrs.data, sizeof(pcrs.digest));
    return policy_judge_boot(policy, node->node_id, &pcrs, err);
}
