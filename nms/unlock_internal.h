/* unlock_internal.h - what the proof of an unlock (unlock.c), the AK that it is judged by
 * (unlock_ak.c) and the release of the key (unlock_release.c) share.
 */
#ifndef NMS_UNLOCK_INTERNAL_H
#define NMS_UNLOCK_INTERNAL_H

#include "nms/approve.h"
#include "nms/boot.h"
#include "nms/nms.h"

/* From the proof to the answer: what the barrier's callback needs. */
struct releasing {
    struct nms *nms;
    struct rpc_call *call;
    struct boot_proof proof;   /* by which AK the quote was judged, and what it said */
    struct st_address address; /* where the node says that it is; len 0: it does not */
    bool settled;            /* the boot was let in by a window, or may as well not be */
    bool recorded;           /* its clock is in the records */
    struct st_err judgement; /* code 0: a good proof */
    struct approving approving;
};

/* The AK that must have signed; for an id that is not a node's, nobody's, and false. */
bool unlock_ak_find(struct nms *nms, const char *node_id, struct boot_proof *out);

/* Of whoever has not proven that he is this node. */
void unlock_say_stranger(struct rpc_call *call, const char *node,
                         const struct st_err *err);

/* Takes it, and answers its call.  From the handler. */
void unlock_release(struct releasing *releasing);

#endif
