/* stctl policy: what is demanded of a machine. */
#include "tools/policy.h"
#include "proto/file.h"
#include "tools/node.h"
#include "tools/table.h"
#include "tools/text.h"
#include "tools/window.h"

#include <inttypes.h>
#include <string.h>

enum st_code
policy_get(struct connection *connection, uint64_t version, ProtobufCMessage **out_answer,
           const Api__PolicyVersion **out, struct st_err *err)
{
    Api__GetPolicyRequest request = API__GET_POLICY_REQUEST__INIT;
    request.version = version;
    enum st_code code =
        connect_call(connection, "GetPolicy", &request.base,
                     &api__get_policy_response__descriptor, out_answer, err);
    if (code)
        return code;
    *out = ((const Api__GetPolicyResponse *)*out_answer)->policy;
    return *out ? ST_OK : st_fail(err, ST_INTERNAL, "the answer holds no policy");
}

enum st_code
policy_document(const Api__PolicyVersion *policy, json_t **out, struct st_err *err)
{
    json_t *document = json_loads(policy->text, JSON_REJECT_DUPLICATES, NULL);
    if (!document)
        return st_fail(err, ST_INTERNAL, "the answer's policy is not readable");
    *out = document;
    return ST_OK;
}

enum st_code
policy_put(struct connection *connection, const char *text, uint64_t expected,
           uint64_t *out_version, struct st_err *err)
{
    Api__SetPolicyRequest request = API__SET_POLICY_REQUEST__INIT;
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    request.text = (char *)text;
    request.expected_version = expected;
    enum st_code code = connect_call(connection, "SetPolicy", &request.base,
                                     &api__set_policy_response__descriptor, &answer, err);
    if (code)
        return code;
    *out_version = ((const Api__SetPolicyResponse *)answer)->version;
    return ST_OK;
}

enum st_code
policy_put_print(const struct invocation *in, struct connection *connection,
                 const char *text, uint64_t expected, struct st_err *err)
{
    uint64_t version;
    enum st_code code = policy_put(connection, text, expected, &version, err);
    if (code)
        return code;
    if (in->json)
        return json_print(json_pack("{s:I}", "version", (json_int_t)version), err);
    printf("policy version %" PRIu64 " is in force\n", version);
    return ST_OK;
}

static enum st_code
version_option(const struct invocation *in, enum stctl_option option, const char *name,
               uint64_t *out, struct st_err *err)
{
    uint32_t version = 0;
    const char *text = in->options[option];
    enum st_code code = text && strcmp(text, "0")
                            ? text_count(name, text, UINT32_MAX, &version, err)
                            : ST_OK;
    if (!code)
        *out = version;
    return code;
}

/* The document goes to stdout alone, for a file. */
static enum st_code
print_policy(const Api__GetPolicyResponse *answer, json_t *document, struct st_err *err)
{
    char text[WINDOW_TEXT_MAX];
    enum st_code code = json_print(document, err);
    window_text(answer->window, text);
    if (!code && *text)
        fprintf(stderr, "window %s\n", text);
    return code;
}

enum st_code
stctl_policy_show(const struct invocation *in, struct st_err *err)
{
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    const Api__PolicyVersion *policy;
    uint64_t version;
    json_t *document;
    enum st_code code = version_option(in, OPTION_AT, "--at", &version, err);
    if (!code)
        code = connect_open(in, &connection, err);
    if (!code)
        code = policy_get(&connection, version, &answer, &policy, err);
    if (!code)
        code = policy_document(policy, &document, err);
    if (code)
        return code;
    const Api__GetPolicyResponse *response = (const void *)answer;
    if (!in->json)
        return print_policy(response, document, err);
    return json_print(json_pack("{s:I, s:o, s:o, s:o, s:o}", "version",
                                (json_int_t)policy->version, "changed_at",
                                json_time(policy->changed_at), "changed_by",
                                json_hex(&policy->changed_by), "window",
                                window_json(response->window), "policy", document),
                      err);
}

static enum st_code
read_text(const char *path, uint8_t **out, struct st_err *err)
{
    size_t len;
    AUTO(st_freep) uint8_t *bytes = NULL;
    enum st_code code = file_read(path, POLICY_FILE_MAX, &bytes, &len, err);
    if (code)
        return code;
    if (memchr(bytes, 0, len))
        return st_fail(err, ST_INVALID_ARGUMENT, "%s is no text", path);
    *out = TAKE(bytes);
    return ST_OK;
}

/* The version that is named, or else the one in force now. */
static enum st_code
expected_version(const struct invocation *in, struct connection *connection,
                 uint64_t *out, struct st_err *err)
{
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    const Api__PolicyVersion *policy;
    if (in->options[OPTION_EXPECT])
        return version_option(in, OPTION_EXPECT, "--expect", out, err);
    enum st_code code = policy_get(connection, 0, &answer, &policy, err);
    if (!code)
        *out = policy->version;
    return code;
}

enum st_code
stctl_policy_set(const struct invocation *in, struct st_err *err)
{
    CONNECTION connection = {0};
    AUTO(st_freep) uint8_t *text = NULL;
    uint64_t expected;
    enum st_code code = read_text(in->argument, &text, err);
    if (!code)
        code = connect_open(in, &connection, err);
    if (!code)
        code = expected_version(in, &connection, &expected, err);
    if (!code)
        code = policy_put_print(in, &connection, (const char *)text, expected, err);
    return code;
}

static void
print_verdict(const char *what, const char *refusal)
{
    AUTO(st_freep) char *text = text_printable(refusal);
    printf("%-8s %s\n", what, *refusal ? text : "yes");
}

/* The exit status says it to a script. */
static enum st_code
verdict_code(const Api__Node *node, const Api__TestPolicyResponse *verdict,
             struct st_err *err)
{
    const bool waits = node->state == API__NODE__STATE__UNININITALIZED;
    const char *refusal = waits ? verdict->adopt : verdict->unlock;
    if (!*refusal)
        return ST_OK;
    return st_fail(err, ST_FAILED_PRECONDITION, "%s would not be %s: %s", node->node_id,
                   waits ? "adopted" : "given its key", refusal);
}

static enum st_code
print_test(const struct invocation *in, const Api__Node *node,
           const struct node_boot *boot, const Api__TestPolicyResponse *verdict,
           struct st_err *err)
{
    char of[NODE_BOOT_TEXT_MAX] = "none is known";
    if (in->json)
        return json_print(
            json_pack("{s:s, s:s, s:b, s:s, s:b, s:s, s:s?, s:o}", "node_id",
                      node->node_id, "evidence", node_evidence(verdict->evidence_now),
                      "adopt", !*verdict->adopt, "adopt_refusal", verdict->adopt,
                      "unlock", !*verdict->unlock, "unlock_refusal", verdict->unlock,
                      "boot", boot->what, "boot_at", json_time(boot->at)),
            err);
    if (boot->pcrs)
        node_boot_text(boot, of);
    printf("%-8s %s\n", "node", node->node_id);
    printf("%-8s %s\n", "evidence", node_evidence(verdict->evidence_now));
    printf("%-8s %s\n", "boot", of);
    print_verdict("adopt", verdict->adopt);
    print_verdict("unlock", verdict->unlock);
    return ST_OK;
}

/* The newest boot that any master knows, whichever of them judges it; none is fine. */
static enum st_code
boot_to_test(struct connection *connection, const char *node_id,
             ProtobufCMessage **out_answer, struct node_boot *out, struct st_err *err)
{
    struct st_err none = {0};
    enum st_code code = node_pcrs_newest(connection, node_id, out_answer, err);
    if (!code && node_boot_newest((const void *)*out_answer, out, &none))
        *out = (struct node_boot){0};
    return code;
}

enum st_code
stctl_policy_test(const struct invocation *in, struct st_err *err)
{
    Api__TestPolicyRequest request = API__TEST_POLICY_REQUEST__INIT;
    CONNECTION connection = {0};
    AUTO(connect_answer_freep)
    ProtobufCMessage *nodes = NULL, *pcrs = NULL, *answer = NULL;
    struct node_boot boot;
    AUTO(st_freep) uint8_t *text = NULL;
    const Api__Node *node;
    enum st_code code = in->options[OPTION_FILE]
                            ? read_text(in->options[OPTION_FILE], &text, err)
                            : ST_OK;
    if (!code)
        code = node_resolve(in, &connection, &nodes, &node, err);
    if (!code)
        code = boot_to_test(&connection, node->node_id, &pcrs, &boot, err);
    if (code)
        return code;
    request.node_id = node->node_id;
    request.pcrs = (ProtobufCBinaryData *)boot.pcrs;
    request.n_pcrs = boot.pcrs ? NODE_PCRS : 0;
    if (text)
        request.text = (char *)text;
    code = connect_call(&connection, "TestPolicy", &request.base,
                        &api__test_policy_response__descriptor, &answer, err);
    if (!code)
        code = print_test(in, node, &boot, (const void *)answer, err);
    return code ? code : verdict_code(node, (const void *)answer, err);
}

static void
add_row(struct table *table, const Api__PolicyVersion *version)
{
    char number[24], at[TEXT_TIME_MAX], by[TEXT_SHA256_MAX];
    snprintf(number, sizeof(number), "%" PRIu64, version->version);
    text_time(version->changed_at, at);
    text_hex(&version->changed_by, by);
    table_row(table, (const char *[]){number, at, by});
}

enum st_code
stctl_policy_history(const struct invocation *in, struct st_err *err)
{
    const Api__ListPolicyHistoryRequest request = API__LIST_POLICY_HISTORY_REQUEST__INIT;
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    enum st_code code =
        connect_once(in, "ListPolicyHistory", &request.base,
                     &api__list_policy_history_response__descriptor, &answer, err);
    if (code)
        return code;
    const Api__ListPolicyHistoryResponse *list = (const void *)answer;
    AUTO(json_freep) json_t *json = json_array();
    AUTO(table_freep)
    struct table *table =
        table_new(3, (const char *[]){"VERSION", "CHANGED", "BY (SHA-256 OF CERT)"});
    for (size_t i = 0; i < list->n_versions; i++) {
        const Api__PolicyVersion *version = list->versions[i];
        json_array_append_new(
            json, json_pack("{s:I, s:o, s:o}", "version", (json_int_t)version->version,
                            "changed_at", json_time(version->changed_at), "changed_by",
                            json_hex(&version->changed_by)));
        add_row(table, version);
    }
    if (in->json)
        return json_print(TAKE(json), err);
    table_print(table, stdout, table_width(stdout));
    return ST_OK;
}
