/* node.h - nodes as other verbs need them. */
#ifndef TOOLS_NODE_H
#define TOOLS_NODE_H

#include "tools/connect.h"

/* Connects, lists, finds the node whose id begins with the argument.  The answer owns the
 * node. */
enum st_code node_resolve(const struct invocation *in, struct connection *connection,
                          ProtobufCMessage **out_answer, const Api__Node **out,
                          struct st_err *err);

/* In two steps, for more than one.  The answer owns the nodes. */
enum st_code node_list(struct connection *connection, ProtobufCMessage **out,
                       struct st_err *err);
enum st_code node_find(const struct connection *connection,
                       const ProtobufCMessage *answer, const char *typed,
                       const Api__Node **out, struct st_err *err);

/* "chain", "certificate", "none", "listed", "unknown". */
const char *node_evidence(Api__Node__Evidence evidence);

/* The node's PCRs: at its enrolment, and at the last boot that was refused, by whichever
 * master.  What was accepted last is in the memory of the master that gave the key;
 * node_pcrs_newest() asks each of the context for it, and says on stderr who does not
 * answer.  connect_answer_free(). */
enum st_code node_pcrs_get(struct connection *connection, const char *node_id,
                           ProtobufCMessage **out, struct st_err *err);
enum st_code node_pcrs_newest(struct connection *connection, const char *node_id,
                              ProtobufCMessage **out, struct st_err *err);

/* Which of them: 16 values, where they are from, and when (0: when it enrolled). */
struct node_boot {
    const ProtobufCBinaryData *pcrs; /* lent by the answer */
    const char *what;
    int64_t at;
    /* Of a refused one, lent too: that its TPM went back, or "", and how far it was. */
    const char *why;
    Api__TpmClock *clock;
};
/* "accepted at TIME" and so on. */
enum {
    NODE_BOOT_TEXT_MAX = 48
};
void node_boot_text(const struct node_boot *boot, char out[NODE_BOOT_TEXT_MAX]);
/* The newest, or the last of the kind that is asked for.  ST_NOT_FOUND. */
enum st_code node_boot_newest(const Api__GetNodePcrsResponse *pcrs, struct node_boot *out,
                              struct st_err *err);
enum st_code node_boot_accepted(const Api__GetNodePcrsResponse *pcrs,
                                struct node_boot *out, struct st_err *err);
enum st_code node_boot_refused(const Api__GetNodePcrsResponse *pcrs,
                               struct node_boot *out, struct st_err *err);

enum {
    NODE_PCRS = 16,
    NODE_PCR_SHORT = 16, /* hex digits of one for people */
};

/* What a boot differs in from each set that is for the node, those of windows and
 * approvals too: node_diff.c. */
struct node_diff {
    size_t sets;     /* that are for it */
    json_t *differs; /* one object for each PCR of a set that the boot has not */
    json_t *fits;    /* names of the sets that it is in */
};
enum st_code node_diff(struct connection *connection, const char *node_id,
                       const Api__GetNodePcrsResponse *pcrs, const struct node_boot *boot,
                       struct node_diff *out, struct st_err *err);
void node_diff_print(const struct node_diff *diff, const struct node_boot *boot,
                     FILE *file);
void node_diff_free(struct node_diff *diff);
/* "captured-" and the beginning of its digest. */
enum {
    NODE_SET_MAX = 32
};
void node_set_name(const Api__CapturedSet *set, char out[NODE_SET_MAX]);

#endif
