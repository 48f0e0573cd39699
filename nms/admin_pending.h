/* admin_pending.h - a call of an administrator that waits: what all of admin_*.c stand
 * on.
 *
 * A handler makes one pending, which holds the call, and hands it to admin_propose() or
 * admin_barrier(); the callback there answers, and frees it.
 */
#ifndef NMS_ADMIN_PENDING_H
#define NMS_ADMIN_PENDING_H

#include "nms/admin.h"
#include "proto/recovery.h"
#include "tpm/approval.h"

/* What waits for a commit or a barrier: the call, and what the answer is made of. */
struct admin_pending {
    struct nms *nms;
    struct rpc_call *call;           /* held */
    nms_done heard;                  /* after a barrier */
    char name[NAME_MAX_LEN + 1];     /* of the node, enrolment, master, for the log */
    char step[16];                   /* a word more for the log, or "" */
    uint8_t fingerprint[SHA256_LEN]; /* of the administrator */
    bool has_ek; /* of a node: the audit names its chip, also once its record is gone */
    uint8_t ek[SHA256_LEN];
    struct secret secret; /* of a new enrolment, authority */
    uint8_t authority[TPM_AUTHORITY_LEN];
    uint8_t secret_hash[SHA256_LEN];
    uint32_t uses;
    int64_t expires_at;
    size_t recovery_key_len; /* of an enrolment: 0, or that of */
    uint8_t recovery_key[HPKE_KEY_LEN];
    uint64_t member_id; /* of a master that is removed */
    unsigned tries;     /* of a master that is adopted */
    uint64_t version;   /* of a policy */
    bool has_pcrs;      /* of a boot to test a policy on */
    struct tpm_pcrs pcrs;
    char *text;                 /* a policy to test, a name; malloc'ed, or NULL */
    uint8_t sha256[SHA256_LEN]; /* admin_pending_digest() */
};
/* NULL after the call was ended for want of memory. */
struct admin_pending *admin_pending_new(struct rpc_call *call, const char *name);
void admin_pending_free(struct admin_pending *pending);
AUTO_DEFINE(struct admin_pending *, admin_pending_freep, admin_pending_free)

/* The same for a call about a node. */
struct admin_pending *admin_pending_node(struct rpc_call *call, const char *node_id);
/* The same for `what` of that name; NULL also after name_check() refused it. */
struct admin_pending *admin_pending_named(struct rpc_call *call, const char *what,
                                          const char *name);

/* The same about what has no other name than its SHA-256: a certificate, a captured set.
 * The log has the beginning of it. */
struct admin_pending *admin_pending_digest(struct rpc_call *call,
                                           const uint8_t sha256[SHA256_LEN]);

/* One line for one change. */
void admin_say(const struct admin_pending *pending, const char *word,
               const struct st_err *err);

/* That line, and the end of the call: the refusal, or `response`. */
void admin_answer(const struct admin_pending *pending, const char *word,
                  const struct st_err *err, const ProtobufCMessage *response);
/* nms_propose() and nms_barrier() for whoever made the call: it fails where he may not
 * make it any more by what is in the log before the change, or before the barrier.
 * ST_UNAUTHENTICATED, ST_PERMISSION_DENIED. */
void admin_propose(struct admin_pending *pending, State__Command *command, nms_done done);
void admin_barrier(struct admin_pending *pending, nms_done done);
/* A list that is asked for without words, and made after a barrier; `done` takes the
 * pending. */
void admin_list(struct rpc_call *call, enum rpc_event what, nms_done done);

/* A master may go without force: those that are left and answer are a majority of those
 * that are left.  ST_FAILED_PRECONDITION. */
enum st_code admin_leave_check(struct nms *nms, uint64_t id, struct st_err *err);
/* This master was told already that it is the one: the others do not talk to it any more,
 * so it can only say that. */
bool admin_leaves_itself(struct nms *nms, uint64_t id);
/* await_member(AWAIT_GONE) for a call; takes pending. */
void admin_await_gone(struct admin_pending *pending, uint64_t id, nms_done done);

/* For an answer; lends all of the window. */
void admin_window_fill(Api__Window *out, const State__Window *window);

#endif
