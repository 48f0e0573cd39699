/* state.h - what the masters agree on: the deterministic machine behind the log, and how
 * the rest of a master reads it.
 *
 * Written by one thread only, the replica's, through state_machine().  Everything else
 * here may be called from any thread and answers from memory, as of the last command that
 * was applied here: who is about to release a key waits for replica_barrier() first.
 * Messages are copies; free them with their *_free below, which wipes.
 */
#ifndef NMS_STATE_H
#define NMS_STATE_H

#include "nms/policy.h"
#include "nms/records.h"
#include "nms/state.pb-c.h"
#include "proto/address.h"
#include "proto/ident.h"
#include "proto/scope.h"
#include "raft/replica.h"

#include <stdbool.h>

enum {
    REQUEST_ID_LEN = 16,
    /* Of these newest commands the outcome is remembered, and of all whose time is this
     * near to the newest's: a master asks again for NMS_COMMIT_MS. */
    STATE_REQUESTS_KEPT = 1024,
    STATE_REQUESTS_KEPT_S = 30,
    STATE_NODES_MAX = 100000,
    STATE_ENROLMENTS_MAX = 10000,
    STATE_ADMINS_MAX = 256,
    STATE_ADMIN_NAME_MAX = TPM_CA_NAME_MAX, /* with its NUL */
    STATE_ID_CERT_MAX = 2048,               /* DER of a node's id_cert */
    STATE_TICKETS_MAX = 64,
    ENROLMENT_USES_MAX = 10000,
    ENROLMENT_EXPIRES_MAX_S = 366 * 24 * 3600,
    TICKET_EXPIRES_MAX_S = 7 * 24 * 3600,
    /* Those of masters.  One that is further behind than this knows no window, which the
     * machine judges, too, and no secret of later. */
    STATE_CLOCKS_DIFFER_S = 300,
    STATE_POLICIES_KEPT = 32,
    STATE_EK_CAS_MAX = 256,
    STATE_EVIDENCE_TRIES = 10,
    STATE_WINDOW_MAX_S = 7 * 24 * 3600,
    STATE_WINDOW_NODES_MAX = 1000, /* that are named; without names it is for all */
    STATE_CAPTURED_PER_NODE = 4,   /* the oldest goes */
    STATE_REFUSED_MAX = 1024,      /* the oldest goes */
    STATE_REFUSED_PAUSE_S = 60,    /* for one node */
};

struct state;

enum st_code state_new(struct state **out, struct st_err *err);
/* After the replica was closed. */
void state_free(struct state *state);
AUTO_DEFINE(struct state *, state_freep, state_free)

/* For replica_config.  It ends the process where memory ends: a master that cannot apply
 * must not go on. */
struct replica_machine state_machine(struct state *state);

/* `changed` is told, on the replica's thread and after the command was applied or another
 * master's records were loaded, that the members or the list of revoked certificates may
 * be others now, or that a node was adopted that does not know them; it must not block.
 * Before the replica is opened. */
void state_watch_members(struct state *state, void (*changed)(void *arg), void *arg);

/* The outcome of a command, as the machine put it into its replica_result. */
enum st_code state_result(const struct replica_result *result, struct st_err *err);

/* ST_NOT_FOUND before the first command. */
enum st_code state_cluster(struct state *state, State__Cluster **out, struct st_err *err);
/* The id that the next master gets. */
uint64_t state_next_member(const State__Cluster *cluster);
/* ST_NOT_FOUND. */
enum st_code state_node(struct state *state, const char *id, State__Node **out,
                        struct st_err *err);
enum st_code state_member(struct state *state, uint64_t id, State__Member **out,
                          struct st_err *err);
/* The master that this node is.  ST_NOT_FOUND where it is none. */
enum st_code state_member_of_node(struct state *state, const char *node_id,
                                  State__Member **out, struct st_err *err);
/* Where the masters are that answer: the voters.  Returns how many.  The number is that
 * of the list: it grows whenever the list changes; NULL where nobody wants to know. */
size_t state_masters(struct state *state, struct st_address out[REPLICA_MEMBERS_MAX],
                     uint64_t *out_number);
/* Of the newest list, and of the one that an adopted node is known to have. */
uint64_t state_masters_number(struct state *state);
static inline bool
state_is_outdated(const State__Node *node, uint64_t masters_number)
{
    return node->role != STATE__ROLE__REGISTERED && node->masters_number < masters_number;
}
/* When the newest change was proposed, seconds since 1970; 0 where none is remembered. */
int64_t state_changed_at(struct state *state);
/* STATE__ADMIN_ROLE__NOBODY for an unknown certificate. */
State__AdminRole state_admin_role(struct state *state,
                                  const uint8_t fingerprint[SHA256_LEN]);

/* Each of a kind in the order of its name; ends with the first failure of `each`.  The
 * message is lent until it returns; `each` must not call into the state. */
enum st_code state_each_node(struct state *state,
                             enum st_code (*each)(void *arg, const State__Node *node,
                                                  int64_t seen, struct st_err *err),
                             void *arg, struct st_err *err);
enum st_code state_each_enrolment(struct state *state,
                                  enum st_code (*each)(void *arg,
                                                       const State__Enrolment *enrolment,
                                                       struct st_err *err),
                                  void *arg, struct st_err *err);
enum st_code state_each_ticket(struct state *state,
                               enum st_code (*each)(void *arg,
                                                    const State__Ticket *ticket,
                                                    struct st_err *err),
                               void *arg, struct st_err *err);
enum st_code state_each_member(struct state *state,
                               enum st_code (*each)(void *arg,
                                                    const State__Member *member,
                                                    struct st_err *err),
                               void *arg, struct st_err *err);
enum st_code state_each_admin(struct state *state,
                              enum st_code (*each)(void *arg, const State__Admin *admin,
                                                   struct st_err *err),
                              void *arg, struct st_err *err);

struct state_counts {
    uint32_t nodes, waiting, enrolments; /* enrolments that can still be used at `now` */
    uint32_t outdated; /* nodes that are not known to know where the masters are */
};
enum st_code state_count(struct state *state, int64_t now, struct state_counts *out,
                         struct st_err *err);

/* ---- whoever comes with a secret, state_admit.c ---- */

/* What Enrol would be told at `now` as far as this master knows, so that a stranger's
 * refusal costs no entry in the log.  The machine checks again, but for the clock.  That
 * of who proposes counts, and where it is behind, what expired would be good once more:
 * ST_UNAVAILABLE with ST_REASON_CLOCK where `now` is before the enrolment was made.  The
 * clock of the master that made it may have been ahead as well. */
enum st_code state_enrol_check(struct state *state, const State__Node *node, int64_t now,
                               struct st_err *err);

/* There is an enrolment of this secret, expired or used up though it may be: who has it
 * is no mere stranger. */
bool state_knows_secret(struct state *state, const ProtobufCBinaryData *secret_hash);

/* What JoinMaster would be told, and the same about the clock.  out_member is 0, or whose
 * id the same request was given before. */
enum st_code state_join_check(struct state *state, const ProtobufCBinaryData *secret_hash,
                              const ProtobufCBinaryData *public_key, int64_t now,
                              uint64_t *out_member, struct st_err *err);

/* ---- what was seen here, state_seen.c ---- */

/* When the node was last given its key by this master; forgotten at restart. */
void state_node_seen(struct state *state, const char *id, int64_t now);

/* What it had booted then. */
struct state_boot {
    int64_t at; /* 0: never */
    struct tpm_pcrs pcrs;
};
void state_node_booted(struct state *state, const char *id,
                       const struct state_boot *boot);
void state_node_boot(struct state *state, const char *id, struct state_boot *out);

/* ---- the policy, state_policy.c ---- */

/* A version that is kept, or 0 for the one in force; where nobody set one yet, that is
 * the default, version 0.  ST_NOT_FOUND. */
enum st_code state_policy(struct state *state, uint64_t version, State__Policy **out,
                          struct st_err *err);
/* The version in force. */
uint64_t state_policy_version(struct state *state);
/* The oldest first; nothing where nobody set one yet. */
enum st_code state_each_policy(struct state *state,
                               enum st_code (*each)(void *arg,
                                                    const State__Policy *policy,
                                                    struct st_err *err),
                               void *arg, struct st_err *err);
/* What speaks for the EK of this node, by its certificate and the CAs that this master
 * knows.  Another master may have added or removed one that it has not heard of: a
 * command takes both with it, and the machine answers ST_ABORTED with ST_REASON_CHANGED
 * where the CAs are others by then, or the EK of this id is.  Whoever proposed waits for
 * a barrier, and looks again; at most STATE_EVIDENCE_TRIES times. */
struct state_evidence {
    State__Evidence found;
    bool directly; /* a CA signed the EK certificate itself: ek_chain is not needed */
    uint8_t ek_cas[SHA256_LEN];
    uint8_t ek_sha256[SHA256_LEN]; /* for whom it was found: of its ek_pubkey */
};
void state_find_evidence(struct state *state, const State__Node *node,
                         struct state_evidence *out);
/* It would be found again: the CAs are those that it was found with. */
bool state_evidence_holds(struct state *state, const struct state_evidence *evidence);
enum st_code state_each_ek_ca(struct state *state,
                              enum st_code (*each)(void *arg, const State__EkCa *ca,
                                                   struct st_err *err),
                              void *arg, struct st_err *err);

/* ---- boots, state_boot.c ---- */

/* policy_judge_boot() by the one in force, or by another; and what was let in beside it
 * is good, too. */
enum st_code state_judge_boot(struct state *state, const char *node_id,
                              const struct tpm_pcrs *pcrs, struct st_err *err);
enum st_code state_judge_boot_by(struct state *state, const struct policy *policy,
                                 const char *node_id, const struct tpm_pcrs *pcrs,
                                 struct st_err *err);
/* policy_vouches_for_boot() by the one in force; or what was let in beside it vouches,
 * which names PCR 4 or 7, too, and is measured. */
bool state_vouches_for_boot(struct state *state, const char *node_id,
                            const struct tpm_pcrs *pcrs);
/* The window that is open at `now`; ST_NOT_FOUND. */
enum st_code state_window(struct state *state, int64_t now, State__Window **out,
                          struct st_err *err);
/* What CaptureBoot would be told at `now` as far as this master knows; the machine checks
 * again.  ST_NOT_FOUND without a window; ST_PERMISSION_DENIED where it is not for this
 * node, not any more, or not for this boot. */
enum st_code state_window_check(struct state *state, const char *node_id,
                                const struct tpm_pcrs *pcrs, int64_t now,
                                struct st_err *err);
/* The last boot that was refused; ST_NOT_FOUND. */
enum st_code state_refused(struct state *state, const char *node_id, State__Refused **out,
                           struct st_err *err);
/* RefuseBoot would change something: these PCRs, and this clock where that is what is
 * refused (else NULL), are not what is kept, and what is kept is not of a moment ago. */
bool state_refusal_is_news(struct state *state, const char *node_id,
                           const struct tpm_pcrs *pcrs, const struct tpm_clock *clock,
                           int64_t now);
/* tpm_clock_check() by what the node's record has; the machine does it again in Release.
 * ST_NOT_FOUND. */
enum st_code state_clock_check(struct state *state, const char *node_id,
                               const struct tpm_clock *clock, struct st_err *err);
void state_clock_pack(const struct tpm_clock *clock, State__TpmClock *out);
/* Of one node, or where node_id is NULL all of them.  Each has a digest for a name. */
enum st_code state_each_captured(struct state *state, const char *node_id,
                                 enum st_code (*each)(void *arg,
                                                      const uint8_t sha256[SHA256_LEN],
                                                      const State__Captured *captured,
                                                      struct st_err *err),
                                 void *arg, struct st_err *err);

/* SHA-256 over all records: equal on masters that applied the same commands. */
enum st_code state_digest(struct state *state, uint8_t out[SHA256_LEN],
                          struct st_err *err);

void state_cluster_free(State__Cluster *cluster);
void state_node_free(State__Node *node);
void state_member_free(State__Member *member);
void state_policy_free(State__Policy *policy);
void state_window_free(State__Window *window);
void state_refused_free(State__Refused *refused);
AUTO_DEFINE(State__Cluster *, state_cluster_freep, state_cluster_free)
AUTO_DEFINE(State__Node *, state_node_freep, state_node_free)
AUTO_DEFINE(State__Member *, state_member_freep, state_member_free)
AUTO_DEFINE(State__Policy *, state_policy_freep, state_policy_free)
AUTO_DEFINE(State__Window *, state_window_freep, state_window_free)
AUTO_DEFINE(State__Refused *, state_refused_freep, state_refused_free)

#endif
