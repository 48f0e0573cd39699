/* carrier_internal.h - what the thread (carrier.c), what it sees (carrier_view.c) and its
 * steps (carrier_step.c) share.
 */
#ifndef NMS_CARRIER_INTERNAL_H
#define NMS_CARRIER_INTERNAL_H

#include "nms/carrier.h"
#include "nms/members.h"

enum {
    CARRIER_STEP_MS = 3000, /* bounds one wait, and so how long a stop takes */
    CARRIER_CALL_MS = 5000, /* the same of JoinCluster */
};

/* The group, and then the records: a record comes before its member, and goes after it.
 */
struct carrier_view {
    struct replica_status status;
    unsigned count;
    struct replica_member group[REPLICA_MEMBERS_MAX];
    struct members members;
};

void carrier_view_read(const struct nms *nms, struct carrier_view *out);
/* The i-th of the records, and after them one of the group that has none; false where
 * there is no more. */
bool carrier_view_member(const struct nms *nms, const struct carrier_view *view, size_t i,
                         struct member *out);
struct members_facts carrier_facts(const struct nms *nms, const struct carrier_view *view,
                                   const struct member *member);

/* One step, waited for.  A failure is nobody's fault: it is tried again. */
enum st_code carrier_take(struct nms *nms, const struct member *member,
                          enum members_step step, struct st_err *err);

/* The newest list, where it is newer than `known`: to the replica, and to member.pb. */
enum st_code carrier_crl(struct nms *nms, uint64_t *known, struct st_err *err);

#endif
