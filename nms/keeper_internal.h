/* keeper_internal.h - what the thread (keeper.c) and its steps (keeper_step.c) share. */
#ifndef NMS_KEEPER_INTERNAL_H
#define NMS_KEEPER_INTERNAL_H

#include "nms/keeper.h"
#include "nms/members.h"

enum {
    KEEPER_STEP_MS = 3000, /* bounds one wait, and so how long a stop takes */
    KEEPER_CALL_MS = 5000, /* the same of JoinCluster */
};

/* One step, waited for.  A failure is nobody's fault: it is tried again. */
enum st_code keeper_take(struct nms *nms, const struct member *member,
                         enum members_step step, struct st_err *err);

/* The newest list, where it is newer than `known`: to the replica, and to member.pb. */
enum st_code keeper_crl(struct nms *nms, uint64_t *known, struct st_err *err);

#endif
