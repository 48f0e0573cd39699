/* await.h - calls of administrators that end when a master has come, or has gone.
 *
 * Somebody else carries the intention on (carrier.h, on whichever master leads); here
 * only the records are watched.
 */
#ifndef NMS_AWAIT_H
#define NMS_AWAIT_H

#include "nms/nms.h"

enum await_what {
    AWAIT_VOTER,
    AWAIT_GONE,
};

enum {
    AWAIT_MS = 45000, /* then UNAVAILABLE for ST_REASON_RECORDED, and what is missing */
};

struct awaits;

enum st_code awaits_new(struct awaits **out, struct st_err *err);
/* After later_stop(), which ends all that wait.  NULL is fine. */
void awaits_free(struct awaits *awaits);

/* Calls back exactly once: at once where it is so already; with ST_ABORTED where a master
 * that was to come is leaving.  On the replica's thread, after the commit of the
 * intention. */
void await_member(struct nms *nms, uint64_t id, enum await_what what, nms_done done,
                  void *arg);

/* The members are others now.  On the replica's thread. */
void awaits_check(struct nms *nms);

#endif
