/* masters.h - where the masters are: the list in enrolment.pb, and how it changes.
 *
 * It is not part of what is measured.  A node asks the masters at each unlock; while it
 * runs they tell it (SetMasters, port 7835).  What they tell may come twice, late, and
 * from one that has not heard yet that it is none any more; so a list has a number, and
 * an older one is refused.  What a master answers to an unlock is current, whatever its
 * number: that is the way out of a list that nobody should have told.
 */
#ifndef NODE_MASTERS_H
#define NODE_MASTERS_H

#include "node/node.h"
#include "proto/api.pb-c.h"

/* The list of `masters` becomes the node's, on its ESP first; nothing is written where it
 * is the same already. */
enum st_code masters_keep(struct node *node, const struct node_config *masters,
                          struct st_err *err);

/* ST_INVALID_ARGUMENT for what is no list: empty or too long, an address that no host can
 * have or that comes twice, without a number.  ST_FAILED_PRECONDITION for an older list,
 * and for another one of the same number.  On a thread of gRPC's, one at a time: of
 * node->config it changes the list alone, which nobody else reads once the disk is open.
 */
enum st_code masters_told(struct node *node, const Api__SetMastersRequest *request,
                          struct st_err *err);

/* The list becomes this one, by the word of whoever may write to the ESP of a machine
 * that does not run; it has no number, so every list of the masters is newer.  *before
 * and *after are the whole file, to be wiped.  ST_ALREADY_EXISTS where smalltown-node
 * runs on the ESP; else as config_read(). */
enum st_code masters_point(const char *esp_dir, const struct st_address *addresses,
                           size_t count, struct node_config *before,
                           struct node_config *after, struct st_err *err);

#endif
