/* second.h - another master, of whom there is nothing but what the records say.
 */
#ifndef TESTS_NMS_SECOND_H
#define TESTS_NMS_SECOND_H

#include "nms/state.h"

/* It is committed, and was carried out. */
void second_propose(struct replica *replica, State__Command *command);

/* Member 2, who came with a ticket, and whose certificate is no certificate. */
void second_add(struct replica *replica, const struct st_address *there);

#endif
