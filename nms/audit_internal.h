/* audit_internal.h - what the files of the audit share. */
#ifndef NMS_AUDIT_INTERNAL_H
#define NMS_AUDIT_INTERNAL_H

#include "nms/audit.h"
#include "nms/audit_file.h"

/* Owns lines: free() them. */
enum st_code audit_collect(const struct audit_file files[AUDIT_KINDS],
                           const struct audit_query *query, struct audit_answer *out,
                           struct st_err *err);

#endif
