/* apply.h - one command of the log, carried out: what writes records, and nothing else.
 *
 * All of it runs on the replica's thread, with the lock for writing (state.c), on every
 * member with the same records before: it looks at no clock but applying->now, and at
 * nothing but the records and the command.
 */
#ifndef NMS_APPLY_H
#define NMS_APPLY_H

#include "nms/state_internal.h"
#include "proto/secret.h"

/* One command being applied. */
struct applying {
    struct state *state;
    struct replica_change *change;
    uint64_t index;
    int64_t now;            /* the proposer's clock */
    ProtobufCBinaryData by; /* SHA-256 of the asking administrator's certificate; none
                             * where a master asks */
    bool members; /* of the members, the list of revoked certificates, and the nodes that
                   * are to be told of them, something is new */
    bool voters;  /* where those are that nodes ask */
};

/* The whole of Command, with its request id. */
void apply_command(struct applying *applying, const void *bytes, size_t len,
                   struct replica_result *result);

/* Whoever asked may still do so.  `by` is the command's: empty where a master asks, or in
 * a log of before there was that. */
enum st_code asker_check(const struct applying *applying, const ProtobufCBinaryData *by,
                         struct st_err *err);

/* In time that does not depend on where they differ. */
static inline bool
bytes_equal(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
    return a->len == b->len && secret_equal_bytes(a->data, b->data, a->len);
}

/* Into memory and into the change. */
void applying_put(struct applying *applying, const char *key,
                  const uint8_t alias[RECORD_ALIAS_LEN], const ProtobufCMessage *value);
/* Another value for a node that is there; its key and alias stay. */
void applying_put_node(struct applying *applying, const State__Node *node);
void applying_delete(struct applying *applying, const char *key);

/* Freed with record_free_unpacked().  ST_NOT_FOUND. */
enum st_code member_find(const struct applying *applying, uint64_t id,
                         State__Member **out, struct st_err *err);
void member_put(struct applying *applying, const State__Member *member);
/* A new member from the parts that were checked here: the rest of it is in `member`. */
enum st_code member_admit(struct applying *applying, State__Member *member,
                          struct st_err *err);
/* From now on it is leaving.  ST_FAILED_PRECONDITION for the last voter. */
enum st_code member_leave(struct applying *applying, State__Member *member,
                          struct st_err *err);

/* After a command that changed the voters: the list of their addresses has a new number.
 */
void masters_renumber(struct applying *applying);
/* The node goes: what was let in for it alone goes as well. */
void boots_forget(struct applying *applying, const State__Node *node);
/* After recovery_judge_again(): a node whose volume was formatted once more has another.
 */
void apply_recovery_again(struct applying *applying, const State__Node *node);

/* Each checks, and where nothing is to be said against it, changes. */
enum st_code apply_found(struct applying *applying, const State__Found *found,
                         struct st_err *err);
enum st_code apply_renew_authority(struct applying *applying,
                                   const State__RenewAuthority *renew_authority,
                                   struct st_err *err);
enum st_code apply_enrol(struct applying *applying, const State__Enrol *enrol,
                         struct st_err *err);
enum st_code apply_adopt(struct applying *applying, const State__Adopt *adopt,
                         struct st_err *err);
enum st_code apply_remove_node(struct applying *applying,
                               const State__RemoveNode *remove_node, struct st_err *err);
enum st_code apply_new_enrolment(struct applying *applying,
                                 const State__NewEnrolment *new_enrolment,
                                 struct st_err *err);
enum st_code apply_new_recoverable_enrolment(struct applying *applying,
                                             const State__NewEnrolment *new_enrolment,
                                             struct st_err *err);
enum st_code apply_remove_enrolment(struct applying *applying,
                                    const State__RemoveEnrolment *remove_enrolment,
                                    struct st_err *err);
enum st_code apply_adopt_master(struct applying *applying,
                                const State__AdoptMaster *adopt_master,
                                struct st_err *err);
enum st_code apply_invite_master(struct applying *applying,
                                 const State__InviteMaster *invite_master,
                                 struct st_err *err);
enum st_code apply_revoke_ticket(struct applying *applying,
                                 const State__RevokeTicket *revoke_ticket,
                                 struct st_err *err);
enum st_code apply_join_master(struct applying *applying,
                               const State__JoinMaster *join_master, struct st_err *err);
enum st_code apply_member_phase(struct applying *applying,
                                const State__MemberPhase *member_phase,
                                struct st_err *err);
enum st_code apply_remove_master(struct applying *applying,
                                 const State__RemoveMaster *remove_master,
                                 struct st_err *err);
enum st_code apply_recover(struct applying *applying, const State__Recover *recover,
                           struct st_err *err);
enum st_code apply_move_masters(struct applying *applying,
                                const State__MoveMasters *move_masters,
                                struct st_err *err);
enum st_code apply_move_node(struct applying *applying, const State__MoveNode *move_node,
                             struct st_err *err);
enum st_code apply_add_admin(struct applying *applying, const State__AddAdmin *add_admin,
                             struct st_err *err);
enum st_code apply_remove_admin(struct applying *applying,
                                const State__RemoveAdmin *remove_admin,
                                struct st_err *err);
enum st_code apply_masters_told(struct applying *applying,
                                const State__MastersTold *masters_told,
                                struct st_err *err);
enum st_code apply_member_gone(struct applying *applying,
                               const State__MemberGone *member_gone, struct st_err *err);
/* Version 1 of a new cluster.  ST_INVALID_ARGUMENT for what is no policy. */
enum st_code apply_first_policy(struct applying *applying, const char *text,
                                struct st_err *err);
enum st_code apply_set_policy(struct applying *applying,
                              const State__SetPolicy *set_policy, struct st_err *err);
enum st_code apply_add_ek_ca(struct applying *applying, const State__AddEkCa *add_ek_ca,
                             struct st_err *err);
enum st_code apply_remove_ek_ca(struct applying *applying,
                                const State__RemoveEkCa *remove_ek_ca,
                                struct st_err *err);
enum st_code apply_open_window(struct applying *applying,
                               const State__OpenWindow *open_window, struct st_err *err);
enum st_code apply_close_window(struct applying *applying, struct st_err *err);
enum st_code apply_capture_boot(struct applying *applying,
                                const State__CaptureBoot *capture_boot,
                                struct st_err *err);
enum st_code apply_refuse_boot(struct applying *applying,
                               const State__RefuseBoot *refuse_boot, struct st_err *err);
enum st_code apply_approve_boot(struct applying *applying,
                                const State__ApproveBoot *approve_boot,
                                struct st_err *err);
enum st_code apply_remove_captured(struct applying *applying,
                                   const State__RemoveCaptured *remove_captured,
                                   struct st_err *err);
enum st_code apply_release(struct applying *applying, const State__Release *release,
                           struct st_err *err);

#endif
