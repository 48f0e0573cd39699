/* guest.h - a second master for a town: it joins by a ticket, or as a node that is handed
 * its certificate, and runs in the same process with a folder and an address of its own.
 */
#ifndef TESTS_NMS_GUEST_H
#define TESTS_NMS_GUEST_H

#include "nms/self.h"
#include "tests/nms/town.h"

struct guest {
    char dir[64];
    struct st_address address;
    struct secret seed; /* of its member's key; empty: it came with the certificate */
    struct self self;
    struct nms *nms;
    struct rpc_channel *nodes, *admins; /* to it, once it runs; as the town's admin */
    /* As a node: who is asked on 7835, and what it was given. */
    struct rpc_server *door;
    struct secret door_seed;
    struct cert door_cert;
    unsigned calls;
    char cluster[512];
};

/* The n-th guest, from 1: a folder and a key. */
void guest_make(struct guest *guest, unsigned n);
/* Stops it and removes its folder. */
void guest_free(struct guest *guest);

/* JoinMasters at `channel`, as it should be; *out is freed with town_answer_free(). */
enum st_code guest_ask(const struct guest *guest, struct rpc_channel *channel,
                       const void *secret, size_t secret_len,
                       Api__JoinMastersResponse **out, struct st_err *err);
/* With the answer into member.pb. */
void guest_take(struct guest *guest, const Api__ConsensusCertificates *certs);
/* Its master, at its address; returns when it serves. */
void guest_start(struct guest *guest, const struct town *town);
void guest_stop(struct guest *guest);

/* As the node `machine`: serves JoinCluster on 7835 and puts what comes into member.pb.
 */
void guest_open_door(struct guest *guest, const struct machine *machine);
/* Waits until it was asked. */
void guest_await_call(struct guest *guest);

#endif
