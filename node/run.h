/* run.h - one life of the daemon: looks, decides, does that row and nothing else.
 */
#ifndef NODE_RUN_H
#define NODE_RUN_H

#include "node/node.h"
#include "node/supervise.h"

/* node: all but esp and config is filled in.  bootstrap NULL: not allowed.  Returns ST_OK
 * when it was told to stop.  After stop_init(). */
enum st_code run_node(struct node *node, const char *esp,
                      const struct supervise *bootstrap, struct st_err *err);

#endif
