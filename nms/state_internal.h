/* state_internal.h - what the files of the state machine share: its records, and the
 * judgements that whoever reads and whoever applies have in common.
 *
 * The lock is held by the caller, for writing in apply_*() and for reading elsewhere; but
 * for state_lock_*() and state_each(), which take it.  What writes is nms/apply.h.
 */
#ifndef NMS_STATE_INTERNAL_H
#define NMS_STATE_INTERNAL_H

#include "nms/records.h"
#include "nms/state.h"

#include <pthread.h>

struct state {
    pthread_rwlock_t lock; /* guards records, policy and ek_cas */
    struct records records;
    struct policy *policy; /* the one in force, read; never NULL */
    uint64_t policy_version;
    uint8_t ek_cas[SHA256_LEN]; /* over the names of all CAs; zeroes: there are none */
    pthread_mutex_t boots_lock; /* guards record->boot, inside lock */
    /* Set before the first command, called by the replica's thread. */
    void (*members_changed)(void *arg);
    void *members_changed_arg;
};

enum {
    STATE_KEY_MAX = 128
};
void key_of_member(uint64_t id, char out[STATE_KEY_MAX]);
void key_of_admin(const uint8_t fingerprint[SHA256_LEN], char out[STATE_KEY_MAX]);
void key_of_enrolment(const char *name, char out[STATE_KEY_MAX]);
void key_of_ticket(const char *name, char out[STATE_KEY_MAX]);
void key_of_node(const char *id, char out[STATE_KEY_MAX]);
void key_of_policy(uint64_t version, char out[STATE_KEY_MAX]);
void key_of_ek_ca(const uint8_t sha256[SHA256_LEN], char out[STATE_KEY_MAX]);
void key_of_captured(const uint8_t sha256[SHA256_LEN], char out[STATE_KEY_MAX]);
void key_of_refused(const char *node_id, char out[STATE_KEY_MAX]);
void key_of_request(uint64_t index, char out[STATE_KEY_MAX]);

/* The lock for reading or writing, until the scope ends.  Never one inside another, not
 * even for reading: who waits for writing comes before whoever would read next. */
pthread_rwlock_t *state_lock_read(struct state *state);
pthread_rwlock_t *state_lock_write(struct state *state);
void state_unlock(pthread_rwlock_t **lock);
#define READING(state)                                                                   \
    AUTO(state_unlock)                                                                   \
    __attribute__((unused)) pthread_rwlock_t *reading_ = state_lock_read(state)
#define WRITING(state)                                                                   \
    AUTO(state_unlock)                                                                   \
    __attribute__((unused)) pthread_rwlock_t *writing_ = state_lock_write(state)

/* All records of a kind, each for as long as `each` runs; with the lock for reading. */
typedef enum st_code (*state_each_fn)(void *arg, const void *message,
                                      const struct record *record, struct st_err *err);
enum st_code state_each(struct state *state, const char *prefix,
                        const ProtobufCMessageDescriptor *type, state_each_fn each,
                        void *arg, struct st_err *err);

/* The policy of this record is in force from now on, where it is the newest.
 * ST_DATA_LOSS. */
enum st_code state_take_policy(struct state *state, const State__Policy *policy,
                               struct st_err *err);
/* As before the first one was set. */
enum st_code state_reset_policy(struct state *state, struct st_err *err);
/* The CAs are others now. */
void state_note_ek_cas(struct state *state);
/* At most TPM_EK_CHAIN_CERTS, and TPM_EK_CHAIN_MAX bytes of them. */
bool is_ek_chain(const State__Node *node);

/* The node's, by the policy and what was let in beside it. */
enum st_code boot_judge(const struct state *state, const struct policy *policy,
                        const State__Node *node, const struct tpm_pcrs *pcrs,
                        struct st_err *err);
/* Whether a window lets this boot of this node in at `now`; out_window as in
 * state_window(), NULL where nobody wants to know. */
enum st_code window_judge(const struct state *state, const State__Node *node,
                          const struct tpm_pcrs *pcrs, int64_t now,
                          State__Window **out_window, struct st_err *err);
enum st_code window_find(const struct state *state, int64_t now, State__Window **out,
                         struct st_err *err);
bool refusal_is_news(const struct state *state, const char *node_id,
                     const struct tpm_pcrs *pcrs, const struct tpm_clock *clock,
                     int64_t now);
/* By what the record has; where that is nothing, any clock is good. */
enum st_code clock_judge(const State__Node *node, const struct tpm_clock *clock,
                         struct st_err *err);
struct tpm_clock clock_unpack(const State__TpmClock *clock);
/* Whether who approves of `kept` has approved of what came since; NULL: of no matter. */
bool clock_is_covered(const State__TpmClock *kept, const struct tpm_clock *clock);
/* Whether it is still refused. */
bool clock_is_refused(const struct state *state, const char *node_id,
                      const State__TpmClock *kept);
/* That the quote was of this node's TPM, and that it may unlock. */
enum st_code quote_judge(const State__Node *node, const ProtobufCBinaryData *ak_public,
                         struct st_err *err);
/* What the node was let in with; NULL where that is no more.  Freed with
 * record_free_unpacked(). */
State__Captured *captured_of_ref(const struct state *state,
                                 const State__CapturedRef *ref);
/* The name of what was captured, and what of it is kept: the values one after another. */
void captured_name(const struct policy_captured *captured, uint8_t out[SHA256_LEN]);
size_t captured_pack(const struct policy_captured *captured,
                     uint8_t out[TPM_PCR_COUNT * SHA256_LEN]);
void captured_unpack(const State__Captured *record, struct policy_captured *out);

/* Wipes what it frees, and ends the process where memory ends: masters that answered
 * differently because one had no memory would not be one cluster any more. */
extern ProtobufCAllocator state_allocator;
/* Rather than to be of another mind than the other members. */
_Noreturn void state_die(const char *sentence);

/* Never NULL: a record was checked when it came in. */
void *record_unpack(const struct record *record, const ProtobufCMessageDescriptor *type);
void record_free_unpacked(void *message);

/* What these give is freed with record_free_unpacked().  NULL: there is none yet. */
State__Cluster *cluster_of(const struct state *state);
/* NULL: no such node. */
State__Node *node_of(const struct state *state, const char *node_id);
/* ST_INVALID_ARGUMENT for what is no id; ST_NOT_FOUND. */
enum st_code node_find(const struct state *state, const char *node_id, State__Node **out,
                       struct st_err *err);

/* A key and value as they come from the store: that they belong together and are whole.
 * ST_DATA_LOSS. */
enum st_code record_check(const char *key, const void *value, size_t len,
                          uint8_t out_alias[RECORD_ALIAS_LEN], struct st_err *err);

/* Of the list of the voters' addresses; 0 where there is none. */
uint64_t masters_number(const struct state *state);

/* Whole; or none, where one may be missing. */
bool is_seal_authority(const State__SealAuthority *authority);

/* The enrolment of this secret, found in time that does not depend on it; NULL. */
struct record *enrolment_of_secret(const struct state *state,
                                   const ProtobufCBinaryData *secret_hash);

/* The ticket of this secret, in the same way; NULL. */
struct record *ticket_of_secret(const struct state *state,
                                const ProtobufCBinaryData *secret_hash);

/* The master that this node is; NULL, and NULL for a node that is none.  Freed with
 * record_free_unpacked(). */
State__Member *member_of_node(const struct state *state, const char *node_id);

/* ..NOBODY of who is not listed. */
State__AdminRole listed_role(const struct state *state,
                             const uint8_t fingerprint[SHA256_LEN]);

/* What an Enrol is judged by; out_enrolment is NULL where the node is already in, and the
 * same. */
enum st_code enrol_judge(const struct state *state, const State__Node *node, int64_t now,
                         struct record **out_enrolment, struct st_err *err);

/* Whether the node has the recovery key that its enrolment wants, sealed to whom that
 * names: nobody can put a key of his own in its place in the file of a machine. */
enum st_code recovery_judge(const State__Enrolment *enrolment, const State__Node *node,
                            struct st_err *err);
/* The same of a node that is in already, with the same keys. */
enum st_code recovery_judge_again(const State__Node *known, const State__Node *node,
                                  struct st_err *err);

/* What a JoinMaster is judged by; out_ticket is NULL where the secret was used already,
 * with the same key: out_member is whose. */
enum st_code join_judge(const struct state *state, const ProtobufCBinaryData *secret_hash,
                        const ProtobufCBinaryData *public_key, int64_t now,
                        struct record **out_ticket, uint64_t *out_member,
                        struct st_err *err);

#endif
