/* tell.h - tells nodes where the masters are now.
 *
 * A thread of every master.  On the one that leads it looks for adopted nodes that are
 * not known to have the newest list (state_is_outdated()), calls SetMasters on port 7835
 * of each, and writes into the records who said OK: another leader begins with those that
 * are left.  A node that does not answer is asked again, less and less often; it also
 * hears of the masters at its next unlock.
 */
#ifndef NMS_TELL_H
#define NMS_TELL_H

#include "nms/nms.h"

struct tell;

enum st_code tell_new(struct nms *nms, struct tell **out, struct st_err *err);
/* Once the replica is open. */
enum st_code tell_start(struct tell *tell, struct st_err *err);
/* Returns when the calls under way have ended, some seconds at most.  Before the replica
 * is closed. */
void tell_stop(struct tell *tell);
/* Owns: after tell_stop().  NULL is fine. */
void tell_free(struct tell *tell);

/* Leadership or the list may be another now.  Any thread; does not block. */
void tell_wake(struct tell *tell);

#endif
