/* log.h - the state machine without a replica: commands are applied one after the other,
 * what they do to the records is kept as a store would keep it.
 */
#ifndef TESTS_NMS_LOG_H
#define TESTS_NMS_LOG_H

#include "nms/state.h"
#include "tests/cmocka.h"

enum {
    LOG_START = 1600000000, /* seconds since 1970 */
};

struct log_record {
    char key[REPLICA_KEY_MAX + 1];
    uint8_t *value;
    size_t len;
};

/* A member: memory, and the records on its disk. */
struct log_member {
    struct state *state;
    struct replica_machine machine;
    struct log_record *records;
    size_t count;
    uint64_t index;
};
void log_open(struct log_member *member);
void log_close(struct log_member *member);

/* Applies; the outcome of the machine.  `command` needs no request id. */
enum st_code log_apply(struct log_member *member, State__Command *command,
                       struct st_err *err);
enum st_code log_apply_bytes(struct log_member *member, const void *bytes, size_t len,
                             struct st_err *err);
/* As after a restart: a new state with the records of the disk.  ST_DATA_LOSS. */
enum st_code log_load(const struct log_member *member, struct state **out,
                      struct st_err *err);
/* The same, without putting the records into the order of their keys before. */
enum st_code log_load_as_is(const struct log_member *member, struct state **out,
                            struct st_err *err);
/* As after a snapshot: into a state that is in use. */
enum st_code log_reload(const struct log_member *member,
                        const struct replica_machine *machine, struct st_err *err);
/* Instead of what was there: the records of a file, "key hex" in each line. */
void log_read(struct log_member *member, const char *path);
/* Instead of what was there: what another member has. */
void log_copy(const struct log_member *from, struct log_member *member);
const struct log_record *log_find(const struct log_member *member, const char *key);
void log_digest(struct state *state, uint8_t out[SHA256_LEN]);

/* A node in which `seed` decides everything: id, EK, AK, key, address. */
struct log_node {
    char id[NODE_ID_LEN + 1];
    uint8_t key[32], ek[40], ak[40], cert[40], secret_hash[32], address[4];
    struct tpm_pcrs pcrs;
    State__Node message;
};
void log_node_make(unsigned seed, const uint8_t secret_hash[32], struct log_node *out);

enum st_code log_enrol(struct log_member *member, struct log_node *node, int64_t time,
                       struct st_err *err);
/* As judged with the CAs of this digest; log_enrol() does it with those that there are.
 */
enum st_code log_enrol_by(struct log_member *member, struct log_node *node,
                          const uint8_t ek_cas[SHA256_LEN], int64_t time,
                          struct st_err *err);
enum st_code log_new_enrolment(struct log_member *member, const char *name,
                               const uint8_t secret_hash[32], uint32_t uses,
                               int64_t expires_at, struct st_err *err);
enum st_code log_remove_enrolment(struct log_member *member, const char *name,
                                  struct st_err *err);
/* How often it can still be used; -1: there is none of this name. */
int log_uses_left(const struct log_member *member, const char *name);
enum st_code log_adopt(struct log_member *member, const char *id, struct st_err *err);
enum st_code log_remove_node(struct log_member *member, const char *id,
                             struct st_err *err);

/* At LOG_START + expected, by log_administrator. */
enum st_code log_set_policy(struct log_member *member, const char *text, uint32_t schema,
                            uint64_t expected, struct st_err *err);
extern uint8_t log_administrator[SHA256_LEN];

/* A cluster whose only master is member 1 on 192.0.2.1, with the list number 1. */
void log_found(struct log_member *member);
enum st_code log_adopt_master(struct log_member *member, const char *node_id, uint64_t id,
                              struct st_err *err);
enum st_code log_uninvite(struct log_member *member, const char *name,
                          struct st_err *err);
enum st_code log_invite(struct log_member *member, const char *name,
                        const uint8_t secret_hash[32], int64_t time, int64_t expires_at,
                        struct st_err *err);
/* Address 192.0.2.<address>, a public key of 32 bytes `key`. */
enum st_code log_join(struct log_member *member, const uint8_t secret_hash[32],
                      uint64_t id, uint8_t address, uint8_t key, int64_t time,
                      struct st_err *err);
enum st_code log_phase(struct log_member *member, uint64_t id, State__Phase from,
                       State__Phase to, struct st_err *err);
/* With a list that has this number, and the next master has this id.  At `time`. */
enum st_code log_recover_with(struct log_member *member, uint64_t id, uint64_t crl_number,
                              uint64_t next_member, int64_t time, struct st_err *err);
/* As it should be: the next number, and 100 ids are left out. */
enum st_code log_recover(struct log_member *member, uint64_t id, int64_t time,
                         struct st_err *err);
enum st_code log_remove_master(struct log_member *member, uint64_t id,
                               struct st_err *err);
enum st_code log_gone(struct log_member *member, uint64_t id, uint64_t crl_number,
                      struct st_err *err);

#endif
