/* approve.h - what a master says of a boot beside the key: that the node's own half may
 * open under it too (tpm/approval.h).
 *
 * It is said for ever.  So that no policy refuses a boot is not enough: one has to vouch
 * for it.  (That it is said between measurement and cap alone, so that what runs after an
 * unlock has nothing to ask for, is a part of the proof: unlock.c.)
 */
#ifndef NMS_APPROVE_H
#define NMS_APPROVE_H

#include "nms/nms.h"
#include "tpm/approval.h"

/* Zeroed before it is used. */
struct approving {
    bool has_authority;
    uint8_t authority[TPM_AUTHORITY_LEN];
    size_t count; /* by the authority, and by the one before it */
    struct tpm_approval made[2];
    const char *why; /* a word for the log */
    Api__SealApproval messages[2], *list[2];
};

/* May be approved, as far as this master knows. */
bool approve_may(struct nms *nms, const char *node_id, const struct tpm_pcrs *pcrs);
/* A boot that was proved and may be approved; costs a signature or two.  Where that fails
 * it is said in the log and left: the key is not held back for it. */
void approve_make(struct nms *nms, const char *node_id, const struct tpm_pcrs *pcrs,
                  struct approving *out);
/* Into an answer; lent as long as `approving`. */
void approve_put(struct approving *approving, Api__TPM2UnlockResponse *response);

/* The authority that there is now; false where there is none.  out_made_at may be NULL.
 */
bool approve_authority(struct nms *nms, uint8_t out[TPM_AUTHORITY_LEN],
                       int64_t *out_made_at);

#endif
