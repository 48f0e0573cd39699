/* stctl.h - what the files of the administrator's tool share.
 *
 * main() finds the verb and reads its options; the verb does one thing and returns the
 * code that becomes the exit status.  A verb prints its result to stdout, only on
 * success; failures are one sentence that main() prints to stderr.  One thread, unless a
 * file says otherwise.
 */
#ifndef TOOLS_STCTL_H
#define TOOLS_STCTL_H

#include "proto/api.pb-c.h"
#include "proto/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Every option there is; what it is called and means stands in option.c. */
enum stctl_option {
    OPTION_OUTPUT,
    OPTION_CONTEXT,
    OPTION_TIMEOUT,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_ADDRESS,
    OPTION_ALL,
    OPTION_AT,
    OPTION_CERT,
    OPTION_DIFF,
    OPTION_EXPECT,
    OPTION_EXPIRES,
    OPTION_FILE,
    OPTION_FINGERPRINT,
    OPTION_FOLLOW,
    OPTION_FOR,
    OPTION_FORCE,
    OPTION_KEY,
    OPTION_LINES,
    OPTION_MASTERS_CERT,
    OPTION_NAME,
    OPTION_NODE,
    OPTION_NODES,
    OPTION_OUT,
    OPTION_PCRS,
    OPTION_RECOVERY_KEY,
    OPTION_REFUSED,
    OPTION_ROLE,
    OPTION_STATE,
    OPTION_USES,
    OPTION_YES,
    OPTION_COUNT,
};
_Static_assert(OPTION_COUNT <= 32, "a verb's options are bits of a uint64_t");
#define OPTION_BIT(option) (UINT64_C(1) << (option))
/* One that must be given. */
#define OPTION_NEEDED(option) (OPTION_BIT(option) | OPTION_BIT(option) << 32)

enum {
    WORDS_MAX = 4, /* noun, verb and their arguments */
};

/* One command line, read.  Lends from argv. */
struct invocation {
    const char *words[WORDS_MAX]; /* what is not an option */
    int word_count;
    const char *argument;              /* the one that the verb takes, or NULL */
    const char *options[OPTION_COUNT]; /* values; "" for a flag; NULL: not given */
    uint32_t timeout_ms;
    bool json;
};

struct verb {
    /* name is NULL where the noun says it all, and two words with a space in `ca add`. */
    const char *noun, *name;
    const char *argument; /* "NAME", shown in the help; NULL: takes none */
    uint64_t options;     /* OPTION_BITs beside those that every verb takes */
    const char *summary;  /* one line */
    const char *help;     /* more lines, or NULL */
    enum st_code (*run)(const struct invocation *in, struct st_err *err);
};

extern const struct verb stctl_verbs[];
extern const size_t stctl_verb_count;
/* The words after the noun are this verb's name. */
bool verb_is_named(const struct verb *verb, const struct invocation *in);

/* admin.c, audit.c, authority.c, keygen.c, context.c, context_update.c, enrolment.c,
 * invitation.c, node.c, node_*.c, master.c, policy.c, policy_*.c, recovery.c, window.c,
 * captured.c, status.c */
enum st_code stctl_keygen(const struct invocation *in, struct st_err *err);
enum st_code stctl_context_add(const struct invocation *in, struct st_err *err);
enum st_code stctl_context_update(const struct invocation *in, struct st_err *err);
enum st_code stctl_context_use(const struct invocation *in, struct st_err *err);
enum st_code stctl_context_list(const struct invocation *in, struct st_err *err);
enum st_code stctl_context_remove(const struct invocation *in, struct st_err *err);
enum st_code stctl_enrolment_create(const struct invocation *in, struct st_err *err);
enum st_code stctl_enrolment_list(const struct invocation *in, struct st_err *err);
enum st_code stctl_enrolment_revoke(const struct invocation *in, struct st_err *err);
enum st_code stctl_node_list(const struct invocation *in, struct st_err *err);
enum st_code stctl_node_show(const struct invocation *in, struct st_err *err);
enum st_code stctl_node_adopt(const struct invocation *in, struct st_err *err);
enum st_code stctl_node_remove(const struct invocation *in, struct st_err *err);
enum st_code stctl_node_recovery_key(const struct invocation *in, struct st_err *err);
enum st_code stctl_recovery_keygen(const struct invocation *in, struct st_err *err);
enum st_code stctl_recovery_open(const struct invocation *in, struct st_err *err);
enum st_code stctl_node_pcrs(const struct invocation *in, struct st_err *err);
enum st_code stctl_node_approve(const struct invocation *in, struct st_err *err);
enum st_code stctl_policy_show(const struct invocation *in, struct st_err *err);
enum st_code stctl_policy_set(const struct invocation *in, struct st_err *err);
enum st_code stctl_policy_edit(const struct invocation *in, struct st_err *err);
enum st_code stctl_policy_test(const struct invocation *in, struct st_err *err);
enum st_code stctl_policy_history(const struct invocation *in, struct st_err *err);
enum st_code stctl_policy_capture(const struct invocation *in, struct st_err *err);
enum st_code stctl_policy_window_open(const struct invocation *in, struct st_err *err);
enum st_code stctl_policy_window_close(const struct invocation *in, struct st_err *err);
enum st_code stctl_policy_captured_list(const struct invocation *in, struct st_err *err);
enum st_code stctl_policy_captured_remove(const struct invocation *in,
                                          struct st_err *err);
enum st_code stctl_admin_add(const struct invocation *in, struct st_err *err);
enum st_code stctl_admin_list(const struct invocation *in, struct st_err *err);
enum st_code stctl_admin_remove(const struct invocation *in, struct st_err *err);
enum st_code stctl_policy_ca_add(const struct invocation *in, struct st_err *err);
enum st_code stctl_policy_ca_list(const struct invocation *in, struct st_err *err);
enum st_code stctl_policy_ca_remove(const struct invocation *in, struct st_err *err);
enum st_code stctl_authority_renew(const struct invocation *in, struct st_err *err);
enum st_code stctl_master_invite(const struct invocation *in, struct st_err *err);
enum st_code stctl_master_invitations(const struct invocation *in, struct st_err *err);
enum st_code stctl_master_uninvite(const struct invocation *in, struct st_err *err);
enum st_code stctl_master_list(const struct invocation *in, struct st_err *err);
enum st_code stctl_master_remove(const struct invocation *in, struct st_err *err);
enum st_code stctl_audit_tail(const struct invocation *in, struct st_err *err);
enum st_code stctl_status(const struct invocation *in, struct st_err *err);

/* option.c: fills words and options.  ST_INVALID_ARGUMENT for what no verb knows. */
enum st_code option_read(int argc, char **argv, struct invocation *out,
                         struct st_err *err);
/* Checks the options against those that the verb takes and needs, and their common
 * values. ST_INVALID_ARGUMENT. */
enum st_code option_check(const struct verb *verb, struct invocation *in,
                          struct st_err *err);
void option_print(FILE *file, uint64_t options);
/* " --name NAME" of each that must be given, in one line. */
void option_print_needed(FILE *file, uint64_t options);

/* help.c */
void help_print(const struct invocation *in);

/* suggest.c: ", did you mean 'x'?" for the closest of the candidates, else "". */
void suggest_word(const char *typed, const char *const *candidates, size_t count,
                  char *out, size_t size);

/* exit.c: the exit status for a failure, and what the administrator should do next (NULL
 * where the sentence says it). */
int exit_status(const struct st_err *err);
const char *exit_advice(const struct st_err *err);

/* json.c: prints to stdout with a newline.  Takes value; NULL means that memory ran
 * out. */
enum st_code json_print(json_t *value, struct st_err *err);
/* "2025-01-31T12:00:00Z", or null for 0. */
json_t *json_time(int64_t seconds);
/* A digest, or null where that is none. */
json_t *json_hex(const ProtobufCBinaryData *sha256);
json_t *json_address(const ProtobufCBinaryData *wire);

#endif
