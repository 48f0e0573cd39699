/* tell_internal.h - what the thread (tell.c) and one round of its calls (tell_round.c)
 * share.
 */
#ifndef NMS_TELL_INTERNAL_H
#define NMS_TELL_INTERNAL_H

#include "nms/tell.h"

enum {
    TELL_CALL_MS = 3000, /* bounds one call, and so how long a stop takes */
    TELL_CALLS = 16,     /* at a time: one that is gone holds up no more than itself */
    TELL_ROUND = 256,    /* nodes; who was told of them is one command */
};

/* A node that is not known to have the newest list. */
struct untold {
    char node_id[NODE_ID_LEN + 1];
    struct st_address address; /* of its record */
    uint32_t pause_ms;         /* after the last failure; 0: none */
    int64_t due_ms;
    enum st_code code; /* of the last call */
};

struct tell_round {
    struct nms *nms;
    uint64_t number; /* of the list that they are told */
    struct untold *at[TELL_ROUND];
    size_t count;
    /* Asked between two calls: true where the rest is not to be told any more. */
    bool (*ended)(void *arg);
    void *arg;
};

/* Calls each of them and puts its answer into `code`; ST_CANCELLED for those that were
 * not asked.  Returns when no call is under way.  ST_ABORTED where the list is another by
 * now; then nobody was asked. */
enum st_code tell_round(struct tell_round *round, struct st_err *err);

#endif
