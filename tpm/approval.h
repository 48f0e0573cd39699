/* approval.h - how a cluster says that a node's half also opens after another boot.
 *
 * What tpm_seal_under() makes has a policy of two branches (Part 3, 23.6, 23.7, 23.16):
 *
 *     PolicyOR( PolicyPCR(some PCRs, as they were when it was sealed),
 *               PolicyAuthorize(Name of the authority, ref) )
 *
 *     ref       SHA-256("smalltown seal v1" || node id)
 *     authority a P-256 key of the cluster; its masters have the private half
 *     approval  its ECDSA signature over SHA-256(PolicyPCR(TPM_APPROVED_PCRS) || ref)
 *
 * So an approval is for one node of one cluster and for one value of each of those PCRs.
 * It is no secret, and it stays good for as long as there is an object of this authority:
 * who signs one says so for ever.
 *
 * Bytes only: no device, no state.  Every function may be called from any thread.
 */
#ifndef TPM_APPROVAL_H
#define TPM_APPROVAL_H

#include "tpm/judge.h"

enum {
    /* What ran before (2), what was started (4), who may start things (7), the unified
     * image (11), for which cluster and before the cap (12). */
    TPM_APPROVED_PCRS = 1 << 2 | 1 << 4 | 1 << 7 | 1 << 11 | 1 << 12,
    TPM_AUTHORITY_LEN = 64,         /* a point: x, y */
    TPM_AUTHORITY_KEY_LEN = 32,     /* its private number */
    TPM_APPROVAL_SIGNATURE_LEN = 64 /* r, s */
};

/* Under whom a secret is sealed. */
struct tpm_authority {
    uint8_t point[TPM_AUTHORITY_LEN];
    uint8_t ref[SHA256_LEN];
};

struct tpm_approval {
    uint8_t point[TPM_AUTHORITY_LEN]; /* of the authority that signed */
    uint8_t policy[SHA256_LEN];       /* PolicyPCR(TPM_APPROVED_PCRS) */
    uint8_t signature[TPM_APPROVAL_SIGNATURE_LEN];
};

/* A new authority.  ST_UNAVAILABLE without entropy. */
enum st_code tpm_authority_make(struct secret *out_key, uint8_t out[TPM_AUTHORITY_LEN],
                                struct st_err *err);
/* ST_INVALID_ARGUMENT for what is no point of P-256. */
enum st_code tpm_authority_check(const uint8_t point[TPM_AUTHORITY_LEN],
                                 struct st_err *err);
/* The authority of a cluster as it is for this node. */
enum st_code tpm_authority_for(const uint8_t point[TPM_AUTHORITY_LEN],
                               const char *node_id, struct tpm_authority *out,
                               struct st_err *err);

/* Signs for ever: see above.  Whether these PCRs are good is the caller's to know. */
enum st_code tpm_approve(const struct secret *key, const struct tpm_authority *authority,
                         const struct tpm_pcrs *pcrs, struct tpm_approval *out,
                         struct st_err *err);

/* The digests that a TPM comes to, see above.  ST_INTERNAL where SHA-256 fails. */
enum st_code tpm_policy_pcrs(const struct tpm_pcrs *pcrs, uint32_t mask,
                             uint8_t out[SHA256_LEN], struct st_err *err);
/* The same of PCRs whose values are not known, but SHA-256 over them. */
enum st_code tpm_policy_pcr_digest(const uint8_t digest[SHA256_LEN], uint32_t mask,
                                   uint8_t out[SHA256_LEN], struct st_err *err);
enum st_code tpm_policy_authorize(const struct tpm_authority *authority,
                                  uint8_t out[SHA256_LEN], struct st_err *err);
enum st_code tpm_policy_or(const uint8_t first[SHA256_LEN],
                           const uint8_t second[SHA256_LEN], uint8_t out[SHA256_LEN],
                           struct st_err *err);
/* What is signed. */
enum st_code tpm_approval_digest(const uint8_t policy[SHA256_LEN],
                                 const uint8_t ref[SHA256_LEN], uint8_t out[SHA256_LEN],
                                 struct st_err *err);

/* TPMT_PUBLIC of an authority, and the Name that is made of it. */
enum {
    TPM_AUTHORITY_PUBLIC_LEN = 20 + 2 * (2 + 32)
};
void tpm_authority_public(const uint8_t point[TPM_AUTHORITY_LEN],
                          uint8_t out[TPM_AUTHORITY_PUBLIC_LEN]);
enum st_code tpm_authority_name(const uint8_t point[TPM_AUTHORITY_LEN],
                                uint8_t out[TPM_NAME_LEN], struct st_err *err);

#endif
