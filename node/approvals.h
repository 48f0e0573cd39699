/* approvals.h - what the cluster says about the boots under which the local half opens
 * (tpm/approval.h), as it was told now and as it is kept on the ESP.
 *
 * The newest two are kept in the file `approvals`, the newest first, each as it is in
 * struct tpm_approval: of the image that runs, and of the one before.  They are good
 * where a master sends none.  Nothing in them is secret, and a forged one opens nothing.
 */
#ifndef NODE_APPROVALS_H
#define NODE_APPROVALS_H

#include "node/esp.h"
#include "proto/api.pb-c.h"
#include "tpm/approval.h"

#include <stdbool.h>

enum {
    APPROVALS_MAX = 4, /* in one answer of a master: one for each authority of late */
    APPROVALS_KEPT = 2
};

struct approvals {
    bool has_authority; /* the cluster has one; it is the one to seal under */
    uint8_t authority[TPM_AUTHORITY_LEN];
    size_t count;
    struct tpm_approval at[APPROVALS_MAX];
};

/* What a master said.  What makes no sense is left out: without it everything is as it
 * was before there were approvals. */
void approvals_take_authority(const ProtobufCBinaryData *wire, struct approvals *out);
void approvals_take(const Api__TPM2UnlockResponse *response, struct approvals *out);

/* The one by this authority; lent, NULL where there is none. */
const struct tpm_approval *approvals_by(const struct approvals *approvals,
                                        const struct tpm_authority *authority);

/* What is kept; none where there is no file.  ST_DATA_LOSS. */
enum st_code approvals_read(const struct esp *esp, struct approvals *out,
                            struct st_err *err);
/* Whether the newest that is kept says the same. */
bool approvals_first_is(const struct esp *esp, const struct tpm_approval *approval);
/* Puts it first, and the one before behind it. */
enum st_code approvals_keep(const struct esp *esp, const struct tpm_approval *approval,
                            struct st_err *err);

#endif
