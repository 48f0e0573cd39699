/* join.h - how this machine becomes a member of a cluster that is there already.
 *
 * Either a host asks the masters with a ticket (`stctl master invite`), or a node was
 * told to by them (JoinCluster) and its daemon hands on what it was sent.  Both end with
 * the same files in the folder (self.h), durable, and a member that has no store yet:
 * `run` begins it, and the leader, who knows of the member, fills it.
 *
 * Nothing is written before everything was judged.  A folder that holds a store or
 * another member is refused with ST_FAILED_PRECONDITION, unless a node is sent a list
 * that revokes that one; the same once more is ST_OK. One process works on a folder at a
 * time: the others get ST_UNAVAILABLE.
 */
#ifndef NMS_JOIN_H
#define NMS_JOIN_H

#include "nms/self.h"
#include "proto/api.pb-c.h"

#include <stddef.h>
#include <stdint.h>

enum {
    JOIN_REQUEST_MAX = 64 * 1024, /* bytes of a packed JoinClusterRequest */
    JOIN_WAIT_MS = 60000,         /* for the masters' answer, with repeated questions */
};

struct join_config {
    const char *dir;
    struct st_address address; /* where the others reach this master */
    uint16_t port;             /* of the masters: PORT_NODE_MANAGEMENT */
    uint32_t wait_ms;          /* JOIN_WAIT_MS */
};

/* Reads the ticket, makes a key (durable before it is used, so that a join that was
 * interrupted goes on with it), asks the masters of the ticket.  ST_INVALID_ARGUMENT for
 * a ticket or an answer that is none; otherwise what the masters said, with what to do.
 * After rpc_init(). */
enum st_code join_with_ticket(const struct join_config *config, const char *ticket,
                              uint64_t *out_id, struct st_err *err);

/* A packed JoinClusterRequest; the caller wipes it.  ST_INVALID_ARGUMENT where its
 * certificates and key do not fit together.  (initialCluster is not read: the leader
 * dials.) */
enum st_code join_with_certificates(const struct join_config *config, const void *request,
                                    size_t len, uint64_t *out_id, struct st_err *err);

/* ---- the steps that both share ---- */

/* Makes the folder, and keeps others out of it until *out is closed. */
enum st_code join_enter(const char *dir, int *out, struct st_err *err);
void join_leavep(int *folder);

/* Who is in the folder; ST_NOT_FOUND: nobody, and no store. */
enum st_code join_there(const char *dir, struct self *out, struct st_err *err);
enum st_code join_refuse(const char *dir, const struct self *there, struct st_err *err);

/* Fills in id, cert, ca and crl of `self`, if they are for its key. */
enum st_code join_check(const Api__ConsensusCertificates *certs, struct self *self,
                        struct st_err *err);

#endif
