/* keeper.h - carries on what was intended for the masters, one step at a time.
 *
 * A thread of every master.  On the one that leads it takes members_next() for each
 * member until nothing is left to do; on all of them it gives a newer list of revoked
 * certificates to the replica and to member.pb.  Everything that it needs to know is in
 * the records and in the group, so another leader goes on where this one ended.
 */
#ifndef NMS_KEEPER_H
#define NMS_KEEPER_H

#include "nms/nms.h"

struct keeper;

/* `crl_number` is of the list that the replica was opened with. */
enum st_code keeper_new(struct nms *nms, uint64_t crl_number, struct keeper **out,
                        struct st_err *err);
/* Once the replica is open. */
enum st_code keeper_start(struct keeper *keeper, struct st_err *err);
/* Returns when the step under way has ended, some seconds at most.  Before the replica is
 * closed. */
void keeper_stop(struct keeper *keeper);
/* Owns: after keeper_stop().  NULL is fine. */
void keeper_free(struct keeper *keeper);

/* Members, leadership or list may be others now.  Any thread; does not block. */
void keeper_wake(struct keeper *keeper);

#endif
