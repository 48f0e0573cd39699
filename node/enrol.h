/* enrol.h - from an EnrolmentConfig with a secret to a node of the cluster.
 */
#ifndef NODE_ENROL_H
#define NODE_ENROL_H

#include "node/facts.h"
#include "node/identity.h"
#include "node/node.h"

/* The rows START_ENROL and START_RESUME.  Returns when the node is enrolled, its volume
 * open and PCR 12 capped; node->config is then what enrolment.pb says.  Masters are asked
 * for ever.  ST_CANCELLED where the daemon is to stop; any other failure is one that
 * waiting does not cure. */
enum st_code enrol_run(struct node *node, const struct facts *facts, bool resume,
                       struct identity *out, struct st_err *err);

/* Whether this boot, and this TPM, is one with which enrol_rebind() can be: before
 * somebody types a key in vain.  Step 1. */
enum st_code enrol_may_rebind(const struct node *node, struct st_err *err);

/* Steps 1 to 6 once more, for a volume that has data: new keys, and the volume becomes
 * theirs by its recovery key (disk.h), which the caller has checked.  What follows is
 * START_RESUME.  Until the volume is bound the files of this enrolment are of no use to
 * anybody, and it is done again with other keys; afterwards, nothing is done again.
 * Files of an enrolment of before are gone. */
enum st_code enrol_rebind(const struct node *node, const struct facts *facts,
                          const struct secret *recovery, char out_id[NODE_ID_LEN + 1],
                          struct st_err *err);

#endif
