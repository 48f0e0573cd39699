/* nms.h - one running master: its state, its replica and its two doors, and the few
 * steps that all flows share.
 *
 * The flows (register.c, unlock.c, admin_*.c) run on the threads of the servers, what
 * they wait for (a commit, a barrier) calls back on the replica's or that of later.h.  A
 * handler never blocks.
 */
#ifndef NMS_NMS_H
#define NMS_NMS_H

#include "nms/audit.h"
#include "nms/state.h"
#include "proto/api.pb-c.h"
#include "proto/rpc_server.h"
#include "raft/replica.h"

#include <stdatomic.h>
#include <stdint.h>

enum {
    /* A proposal or a barrier that takes longer, asked again until then, is UNAVAILABLE
     */
    NMS_COMMIT_MS = 10000,
    NMS_REGISTER_MS = 60000, /* of a whole enrolment */
    NMS_UNLOCK_MS = 30000,
    NMS_ADMIN_MS = 20000,
    NMS_MASTER_MS = 60000, /* of a call that waits for a master to come or to go */
    /* 7833.  What strangers may have open; a good node that finds no room comes back. */
    NMS_FIRST_MS = 10000, /* until the first message; a slow chip quotes in one second */
    NMS_UNLOCKS = 4096,
    NMS_REGISTERS = 1024, /* a budget apart: enrolments crowd out no unlock */
    NMS_JOINS = 64,
    NMS_RETRY_MS = 1000, /* the hint beside UNAVAILABLE */
    NMS_STOP_GRACE_MS = 2000,
    NMS_DIR_MAX = 4096,
    NMS_LOGINS = 256,
};

struct nms {
    struct state *state;
    struct replica *replica;
    struct later *later;     /* for pauses: nms/later.h */
    struct carrier *carrier; /* carries on what is intended for the masters */
    struct awaits *awaits;   /* who waits for that */
    struct tell *tell;       /* tells nodes where the masters are */
    struct audit *audit;     /* what was decided here */
    /* Of connections on which an administrator was heard already; by their hash. */
    _Atomic uint64_t logins[NMS_LOGINS];
    struct rpc_method node_methods[3];
    struct rpc_server *nodes;  /* 7833 */
    struct rpc_server *admins; /* 7836 */
    /* Constant while the servers run. */
    struct cert masters_cert;
    struct secret masters_seed;
    struct st_address address;
    char cluster[NAME_MAX_LEN + 1];
    uint64_t member_id;
    char dir[NMS_DIR_MAX];
    _Atomic uint64_t
        refusals; /* boot.c's: minutes since 1970, and how many in this one */
};

struct nms_config {
    const char *dir;
    struct st_address address; /* where this master listens from now on; len 0:
                                  where it did */
    /* Where some master may be, besides where each was: ADDRESSES_MAX at most; lent for
     * nms_start(). */
    const struct st_address *masters;
    size_t master_count;
    uint16_t node_port;                  /* PORT_NODE_MANAGEMENT; 0: any, for tests */
    uint16_t admin_port;                 /* PORT_CLUSTER_MANAGEMENT; 0: any, for tests */
    void (*fatal)(const char *sentence); /* replica_config.fatal */
    void (*refused)(const char *sentence); /* replica_config.refused */
    /* Whether to give up waiting; a member that joins waits for the others without end.
     * NULL: never. */
    bool (*stopping)(void);
};

/* Serving when it returns; a member that joins serves once it was sent the state.
 * ST_CANCELLED where it was told to stop before that.  ST_NOT_FOUND where dir holds no
 * cluster; ST_UNAVAILABLE where a port or the store is in use; ST_DATA_LOSS. */
enum st_code nms_start(const struct nms_config *config, struct nms **out,
                       struct st_err *err);
/* Owns: ends open calls within NMS_STOP_GRACE_MS.  Not from a server or replica thread.
 * NULL is fine. */
void nms_stop(struct nms *nms);

/* Fills request id (where the command has none) and time, proposes, and says what came of
 * it: err->code 0 is on disk on a majority, and accepted.  Calls back exactly once, maybe
 * before it returns. */
typedef void (*nms_done)(void *arg, const struct st_err *err);
void nms_propose(struct nms *nms, State__Command *command, nms_done done, void *arg);
/* The same for a thread that may wait; not asked again where nobody leads. */
enum st_code nms_propose_wait(struct nms *nms, State__Command *command,
                              uint32_t timeout_ms, struct st_err *err);
/* err->code 0: everything that was committed before is applied here. */
void nms_barrier(struct nms *nms, nms_done done, void *arg);

/* What 7833 tells: the code and one fixed word.  The sentence is for our log. */
void stranger_finish(struct rpc_call *call, const struct st_err *err);

/* audit_say() with the policy that is in force. */
void nms_decided(struct nms *nms, enum audit_kind kind, struct audit_line *line);
/* Of a node that has proven who it is: with its chip, as its record has it. */
void nms_decided_node(struct nms *nms, struct audit_line *line);

int64_t nms_now(void); /* seconds since 1970 */

extern const struct rpc_method register_method; /* register.c */
extern const struct rpc_method unlock_method;   /* unlock.c */
extern const struct rpc_method join_masters_method;

#endif
