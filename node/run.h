/* run.h - one life of the daemon: looks, decides, does that row and nothing else.
 *
 * Beside all rows but a bootstrap that is not done, a master that this machine is runs
 * from the start on: it answers the others before this machine's own disk is open.  Where
 * its records lie on a control volume, that is opened first (control.h).
 */
#ifndef NODE_RUN_H
#define NODE_RUN_H

#include "node/bootstrap.h"
#include "node/node.h"

/* node: all but esp and config is filled in.  bootstrap NULL: not allowed; else there
 * is a keeper.  Returns ST_OK when it was told to stop.  After stop_init(). */
enum st_code run_node(struct node *node, const char *esp,
                      const struct bootstrap *bootstrap, struct st_err *err);

#endif
