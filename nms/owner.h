/* owner.h - whose the folder of a master is.
 *
 * What root writes there is root's: the master that runs as another user, as that of
 * smalltown-nms.service does, could not read it.
 */
#ifndef NMS_OWNER_H
#define NMS_OWNER_H

#include "proto/err.h"

/* Before anything is written.  ST_FAILED_PRECONDITION where this process is root's, and
 * dir is there and belongs to somebody else; the sentence says how to do verb instead.
 * At the start, from the only thread. */
enum st_code owner_check(const char *dir, const char *verb, struct st_err *err);

#endif
