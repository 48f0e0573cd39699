/* places.h - where the other masters are, while this one runs.
 *
 * Four know something of it: the records, a person who told this folder (move.h), whoever
 * started this process, and each master itself.  The replica is told the first three, and
 * tries them; who leads writes what the last say into the records, and so nodes hear of
 * it (tell.h).  So what is told may be wrong, or old: it is a place to knock, and no
 * more.
 *
 * For the thread of the carrier, and whoever begins before that runs.
 */
#ifndef NMS_PLACES_H
#define NMS_PLACES_H

#include "nms/members.h"
#include "nms/nms.h"
#include "nms/self.h"

struct places {
    size_t count;
    struct self_place told[REPLICA_MEMBERS_MAX]; /* by a person */
    size_t some_count;
    struct st_address some[ADDRESSES_MAX]; /* where some master is, not known which */
};

void places_begin(struct places *places, const struct nms_config *config,
                  const struct self *self);
/* To the replica. */
void places_tell(const struct places *places, struct nms *nms);
/* Forgets, also in member.pb, what a person told and the records say by now. */
void places_settle(struct places *places, struct nms *nms);

/* Those in touch that say another address than their record does; returns how many.
 * *out_clash is one that cannot have its record there, because another master's is; 0. */
size_t places_moved(struct nms *nms, struct self_place out[REPLICA_MEMBERS_MAX],
                    uint64_t *out_clash);
enum st_code places_propose(struct nms *nms, const struct self_place *moved, size_t count,
                            struct st_err *err);

#endif
