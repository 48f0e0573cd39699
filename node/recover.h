/* recover.h - the recovery key of the data volume: made at an enrolment, used when the
 * TPM no longer opens it.
 */
#ifndef NODE_RECOVER_H
#define NODE_RECOVER_H

#include "node/facts.h"
#include "node/node.h"

/* Before an enrolment touches anything: where its volume will need a recovery key, it is
 * known to whom that goes (the administrator of enrolment.pb, a terminal, nobody because
 * somebody said so).  ST_FAILED_PRECONDITION. */
enum st_code recover_choose(const struct node *node, const struct disk_found *disk,
                            struct st_err *err);

/* Gives the volume, which is pending, its recovery key, unless it has that of this
 * enrolment already. */
enum st_code recover_provide(const struct node *node, const struct secret *disk_key,
                             const char *node_id, struct st_err *err);

/* `smalltown-node recover`: with a fresh enrolment.pb and the recovery key, which is
 * asked for, the volume becomes that of the enrolment that follows, with its data.
 * Cut anywhere, it can be done again. */
enum st_code recover_run(struct node *node, const char *esp, struct st_err *err);

#endif
