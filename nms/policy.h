/* policy.h - what the administrators demand of a machine before it is a node, and before
 * it gets its key: one JSON document, and the judgement by it.
 *
 * The document is docs/policy.md.  It is read strictly: each word of it must be there,
 * once, and of its type, and no other word; what cannot be read is refused with the path
 * of the word, never taken for "anything goes" (N57).  The state machine reads documents
 * while it applies, so what is taken for a document of one schema never changes: masters
 * of two releases must come to the same answer.  Another word is another schema.
 *
 * Pure functions: no clock, no I/O, no locale.  Every one may be called from any thread.
 */
#ifndef NMS_POLICY_H
#define NMS_POLICY_H

#include "nms/state.pb-c.h"
#include "proto/ident.h"
#include "proto/scope.h"
#include "tpm/judge.h"

#include <stdbool.h>

enum {
    POLICY_SCHEMA = 1,
    POLICY_TEXT_MAX = 60 * 1024, /* it fits into one command */
};

/* In force until another one is set, as version 0: no certificate is asked for, but a
 * firmware that measures what it boots. */
extern const char policy_default[];

enum policy_ek {
    POLICY_EK_NONE,
    POLICY_EK_LISTED,
    POLICY_EK_CERTIFICATE,
    POLICY_EK_CHAIN,
};

struct policy_digests {
    size_t count;
    uint8_t (*at)[SHA256_LEN];
};
struct policy_names {
    size_t count;
    char (*at)[NAME_MAX_LEN + 1];
};
/* A boot that is good: of each PCR that has values, one of them. */
struct policy_set {
    char name[NAME_MAX_LEN + 1];
    struct policy_names nodes; /* ids, or "*" */
    struct policy_digests values[TPM_PCR_COUNT];
};
struct policy {
    enum policy_ek ek;
    struct policy_digests listed; /* SHA-256 of the SubjectPublicKeyInfo */
    size_t set_count;
    struct policy_set *sets;
    bool set_required, measured_boot_required;
    struct policy_names automatic; /* enrolments */
};

/* ST_INVALID_ARGUMENT with the path of what is wrong; ST_RESOURCE_EXHAUSTED for want of
 * memory alone.  out_text (may be NULL): the same document as it is kept, keys in order
 * and without white space; free() it. */
enum st_code policy_parse(const void *text, size_t len, struct policy **out,
                          char **out_text, struct st_err *err);
void policy_free(struct policy *policy);
AUTO_DEFINE(struct policy *, policy_freep, policy_free)

/* What speaks for the node's EK: what is known of its certificate (node->evidence), or,
 * where that is less than a CA's word, the list. */
State__Evidence policy_evidence(const struct policy *policy, const State__Node *node);
/* A node that came with this enrolment needs no administrator. */
bool policy_adopts(const struct policy *policy, const char *enrolment);

/* There may be a boot of this node that policy_judge_boot() refuses. */
bool policy_looks_at_boots(const struct policy *policy, const char *node_id);

/* What follows is ST_PERMISSION_DENIED with a sentence for the operator alone. */

/* What speaks for the node's EK is enough: node->evidence, ek_cert, ek_pubkey. */
enum st_code policy_judge_evidence(const struct policy *policy, const State__Node *node,
                                   struct st_err *err);
/* The node may have booted this.  The sentence names the PCRs that differ, and from which
 * set: the one that fewest differ from. */
enum st_code policy_judge_boot(const struct policy *policy, const char *node_id,
                               const struct tpm_pcrs *pcrs, struct st_err *err);
/* The first half of that: whether anybody measured, where the policy wants to know. */
enum st_code policy_judge_measured(const struct policy *policy,
                                   const struct tpm_pcrs *pcrs, struct st_err *err);
/* A set that is for the node holds this boot, and says what was started (PCR 4) or who
 * may start something (PCR 7): a stranger's image could not be in it.  (PCR 11 alone is
 * extended by the image itself.) */
bool policy_vouches_for_boot(const struct policy *policy, const char *node_id,
                             const struct tpm_pcrs *pcrs);
/* Both, the second by what it booted when it enrolled: whether it may be adopted. */
enum st_code policy_judge_node(const struct policy *policy, const State__Node *node,
                               struct st_err *err);

/* ---- a boot that was let in beside the document: nms/state_boot.c ---- */

struct policy_captured {
    unsigned pcrs;                             /* which: one bit each */
    uint8_t values[TPM_PCR_COUNT][SHA256_LEN]; /* of those; zeroes elsewhere */
};
/* Of a boot, each PCR that a set for this node names, whichever set; where there is no
 * such set, 4 and 11. */
void policy_capture(const struct policy *policy, const char *node_id,
                    const struct tpm_pcrs *pcrs, struct policy_captured *out);
/* A boot is good beside the sets where it has each value that policy_capture() would take
 * of it now: what a policy names since then was let in by nobody. */
bool policy_fits(const struct policy *policy, const char *node_id,
                 const struct policy_captured *captured, const struct tpm_pcrs *pcrs);
/* Something extended one of PCR 0 to 7. */
bool policy_is_measured(const struct tpm_pcrs *pcrs);

#endif
