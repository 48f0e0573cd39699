/* policy.h - the policy as several verbs need it. */
#ifndef TOOLS_POLICY_H
#define TOOLS_POLICY_H

#include "tools/connect.h"

enum {
    POLICY_FILE_MAX = 64 * 1024, /* the masters take a little less, and say so */
};

/* A version, or 0 for the one in force; the answer owns it. */
enum st_code policy_get(struct connection *connection, uint64_t version,
                        ProtobufCMessage **out_answer, const Api__PolicyVersion **out,
                        struct st_err *err);
/* Its document. */
enum st_code policy_document(const Api__PolicyVersion *policy, json_t **out,
                             struct st_err *err);
/* Compare and set. */
enum st_code policy_put(struct connection *connection, const char *text,
                        uint64_t expected, uint64_t *out_version, struct st_err *err);
/* The same, and says which version it is now. */
enum st_code policy_put_print(const struct invocation *in, struct connection *connection,
                              const char *text, uint64_t expected, struct st_err *err);

#endif
