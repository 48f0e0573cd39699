/* begin.h - how a master takes its place in the group, and leaves it for now. */
#ifndef NMS_BEGIN_H
#define NMS_BEGIN_H

#include "nms/nms.h"
#include "nms/self.h"

/* Opens the replica, with carrier and tell, which it wakes.  A member that joins returns
 * when it was sent the state, however long that takes. */
enum st_code begin_replica(struct nms *nms, const struct nms_config *config,
                           struct self *self, struct st_err *err);
/* What a member.pb of 0.1 lacks is in the records: to be called once those are there. */
enum st_code begin_complete(struct nms *nms, const struct nms_config *config,
                            struct self *self, struct st_err *err);
/* What is said of a folder in which an init ended early. */
enum st_code begin_unfinished(struct st_err *err);
/* Hands leadership on and closes the replica. */
void begin_undo(struct nms *nms);

#endif
