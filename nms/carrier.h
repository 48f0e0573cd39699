/* carrier.h - carries on what was intended for the masters, one step at a time.
 *
 * A thread of every master.  On the one that leads it takes members_next() for each
 * member until nothing is left to do and the group is what the records say, and writes
 * down where those are that moved; on all of them it gives a newer list of revoked
 * certificates to the replica and to member.pb, and to the replica where the others may
 * be.  Everything that it needs to know is in the records and in the group, so another
 * leader goes on where this one ended.
 */
#ifndef NMS_CARRIER_H
#define NMS_CARRIER_H

#include "nms/nms.h"
#include "nms/self.h"

struct carrier;

/* `crl_number` is of the list in `self` that the replica is opened with. */
enum st_code carrier_new(struct nms *nms, const struct nms_config *config,
                         const struct self *self, uint64_t crl_number,
                         struct carrier **out, struct st_err *err);
/* Once the replica is open: whom it cannot find without. */
void carrier_tell_places(struct carrier *carrier);
enum st_code carrier_start(struct carrier *carrier, struct st_err *err);
/* Returns when the step under way has ended, some seconds at most.  Before the replica is
 * closed. */
void carrier_stop(struct carrier *carrier);
/* Owns: after carrier_stop().  NULL is fine. */
void carrier_free(struct carrier *carrier);

/* Members, leadership or list may be others now.  Any thread; does not block. */
void carrier_wake(struct carrier *carrier);

#endif
