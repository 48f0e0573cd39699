/* carrier_internal.h - what the thread (carrier.c) and its steps (carrier_step.c) share.
 */
#ifndef NMS_CARRIER_INTERNAL_H
#define NMS_CARRIER_INTERNAL_H

#include "nms/carrier.h"
#include "nms/members.h"

enum {
    CARRIER_STEP_MS = 3000, /* bounds one wait, and so how long a stop takes */
    CARRIER_CALL_MS = 5000, /* the same of JoinCluster */
};

/* One step, waited for.  A failure is nobody's fault: it is tried again. */
enum st_code carrier_take(struct nms *nms, const struct member *member,
                          enum members_step step, struct st_err *err);

/* The newest list, where it is newer than `known`: to the replica, and to member.pb. */
enum st_code carrier_crl(struct nms *nms, uint64_t *known, struct st_err *err);

#endif
