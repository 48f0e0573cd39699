/* half.h - secrets in files that only this TPM opens, in this boot chain, before the cap.
 *
 * `sealed`, the local half, is sealed to PCRs alone until the node knows the authority of
 * its cluster; from then on it also opens under the PCRs that the cluster approved
 * (tpm/approval.h).  So is `control`, the key of a control volume.
 */
#ifndef NODE_HALF_H
#define NODE_HALF_H

#include "node/approvals.h"
#include "node/node.h"

/* Sealed to the PCRs of measure_mask(), which include the measured config; ESP_CONTROL
 * and ESP_CONTROL_PENDING to those of measure_control_mask().  Written where
 * half_unseal() will know it for ours, else ST_PERMISSION_DENIED.
 */
enum st_code half_seal(const struct node *node, struct tpm *tpm, enum esp_file file,
                       const struct secret *secret, struct st_err *err);
/* Whether it would, of ESP_SEALED.  Writes nothing. */
enum st_code half_try(const struct node *node, struct tpm *tpm, struct st_err *err);
/* Who sealed it. */
enum half_maker {
    HALF_MADE_ELSEWHERE, /* somebody who booted something else on this machine, or an
                          * earlier release: sealed to fewer PCRs, or without a word of
                          * the TPM */
    HALF_MADE_HERE,      /* what this machine boots: the TPM says so */
    HALF_FOLLOWED        /* half_follow(), or somebody else: it is under an authority */
};
/* `len` bytes, by the PCRs of when they were sealed, and by whom.  ST_PERMISSION_DENIED
 * where PCRs differ; ST_FAILED_PRECONDITION where this is another TPM, or, but for
 * ESP_CONTROL, it is sealed to other PCRs than half_seal() would; ST_DATA_LOSS for a
 * damaged file; ST_NOT_FOUND. */
enum st_code half_unseal(const struct node *node, struct tpm *tpm, enum esp_file file,
                         size_t len, struct secret *out, enum half_maker *out_maker,
                         struct st_err *err);

/* ESP_SEALED or ESP_CONTROL, 32 bytes, in any way that there is: by what the masters said
 * just now, by the PCRs of when it was sealed, by what is kept.  Errors as half_unseal().
 */
enum st_code half_open(const struct node *node, struct tpm *tpm, enum esp_file file,
                       const struct approvals *said, struct secret *out,
                       struct st_err *err);
/* By what is kept alone, which opens what is under an authority.  ST_PERMISSION_DENIED.
 */
enum st_code half_open_kept(const struct node *node, struct tpm *tpm, enum esp_file file,
                            struct secret *out, struct st_err *err);
/* Once what is in the file has proven to be right and before the cap: seals it anew where
 * it is not under the authority that the masters named, or not to all PCRs that
 * half_seal() takes, and, of ESP_SEALED, keeps the approval that they sent.
 * What does not work out is said and left: the file that is there opens. */
void half_follow(const struct node *node, struct tpm *tpm, enum esp_file file,
                 const struct secret *half, const struct approvals *said);

#endif
