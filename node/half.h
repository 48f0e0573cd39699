/* half.h - secrets in files that only this TPM opens, in this boot chain, before the cap.
 */
#ifndef NODE_HALF_H
#define NODE_HALF_H

#include "node/node.h"

/* Sealed to the PCRs of measure_mask(), which include the measured config. */
enum st_code half_seal(const struct node *node, struct tpm *tpm, enum esp_file file,
                       const struct secret *secret, struct st_err *err);
/* `len` bytes.  ST_PERMISSION_DENIED where PCRs differ; ST_FAILED_PRECONDITION where this
 * is another TPM; ST_DATA_LOSS for a damaged file; ST_NOT_FOUND. */
enum st_code half_unseal(const struct node *node, struct tpm *tpm, enum esp_file file,
                         size_t len, struct secret *out, struct st_err *err);

#endif
