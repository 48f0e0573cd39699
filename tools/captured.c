/* stctl policy captured: the boots that windows and approvals let in, beside the policy's
 * own sets. */
#include "tools/node.h"
#include "tools/table.h"
#include "tools/text.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

enum {
    PREFIX_MIN = 8, /* digits */
};

static enum st_code
list(struct connection *connection, ProtobufCMessage **out, struct st_err *err)
{
    const Api__ListCapturedSetsRequest request = API__LIST_CAPTURED_SETS_REQUEST__INIT;
    return connect_call(connection, "ListCapturedSets", &request.base,
                        &api__list_captured_sets_response__descriptor, out, err);
}

static json_t *
set_json(const Api__CapturedSet *set)
{
    json_t *values = json_object(), *nodes = json_array();
    for (size_t i = 0; i < set->n_pcrs && i < set->n_values; i++) {
        char number[12], hex[TEXT_SHA256_MAX];
        snprintf(number, sizeof(number), "%u", set->pcrs[i]);
        text_hex(&set->values[i], hex);
        json_object_set_new(values, number, json_string(hex));
    }
    for (size_t i = 0; i < set->n_node_ids; i++)
        json_array_append_new(nodes, json_string(set->node_ids[i]));
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:b}", "sha256", json_hex(&set->sha256),
                     "values", values, "nodes", nodes, "made_at", json_time(set->made_at),
                     "made_by", json_hex(&set->made_by), "approved", set->approved);
}

static void
add_row(struct table *table, const Api__CapturedSet *set)
{
    char name[NODE_SET_MAX], pcrs[NODE_PCRS * 12] = "", nodes[24], age[TEXT_AGE_MAX],
                                              by[TEXT_SHA256_MAX], how[40];
    for (size_t i = 0; i < set->n_pcrs && i < NODE_PCRS; i++)
        snprintf(pcrs + strlen(pcrs), sizeof(pcrs) - strlen(pcrs), "%s%u", i ? "," : "",
                 set->pcrs[i]);
    node_set_name(set, name);
    snprintf(nodes, sizeof(nodes), "%zu", set->n_node_ids);
    text_age(set->made_at, time(NULL), age);
    text_hex(&set->made_by, by);
    snprintf(how, sizeof(how), "%s %.16s", set->approved ? "approved" : "window", by);
    table_row(table, (const char *[]){name, pcrs, nodes, age, how});
}

enum st_code
stctl_policy_captured_list(const struct invocation *in, struct st_err *err)
{
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    enum st_code code = connect_open(in, &connection, err);
    if (!code)
        code = list(&connection, &answer, err);
    if (code)
        return code;
    const Api__ListCapturedSetsResponse *sets = (const void *)answer;
    AUTO(json_freep) json_t *json = json_array();
    AUTO(table_freep)
    struct table *table =
        table_new(5, (const char *[]){"SET", "PCRS", "NODES", "AGE", "BY"});
    for (size_t i = 0; i < sets->n_sets; i++) {
        json_array_append_new(json, set_json(sets->sets[i]));
        add_row(table, sets->sets[i]);
    }
    if (in->json)
        return json_print(TAKE(json), err);
    table_print(table, stdout, table_width(stdout));
    return ST_OK;
}

/* What was typed as the beginning of a digest: with "captured-" or without. */
static enum st_code
prefix_parse(const char *typed, char out[TEXT_SHA256_MAX], struct st_err *err)
{
    static const char name[] = "captured-";
    const char *digits =
        strncmp(typed, name, strlen(name)) ? typed : typed + strlen(name);
    const size_t len = strlen(digits);
    if (len < PREFIX_MIN || len >= TEXT_SHA256_MAX ||
        strspn(digits, "0123456789abcdefABCDEF") != len)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "a captured set is named by at least %d hex digits: see `stctl "
                       "policy captured list`",
                       PREFIX_MIN);
    for (size_t i = 0; i <= len; i++)
        out[i] = (char)tolower((unsigned char)digits[i]);
    return ST_OK;
}

/* Lent by the answer. */
static enum st_code
find(const Api__ListCapturedSetsResponse *sets, const char *prefix,
     const Api__CapturedSet **out, struct st_err *err)
{
    size_t count = 0;
    for (size_t i = 0; i < sets->n_sets; i++) {
        char hex[TEXT_SHA256_MAX];
        text_hex(&sets->sets[i]->sha256, hex);
        if (strncmp(hex, prefix, strlen(prefix)) == 0) {
            *out = sets->sets[i];
            count++;
        }
    }
    if (count == 1)
        return ST_OK;
    return count ? st_fail(err, ST_INVALID_ARGUMENT,
                           "%zu captured sets begin with %s: give more digits", count,
                           prefix)
                 : st_fail(err, ST_NOT_FOUND,
                           "no captured set begins with %s: see `stctl policy captured "
                           "list`",
                           prefix);
}

enum st_code
stctl_policy_captured_remove(const struct invocation *in, struct st_err *err)
{
    Api__RemoveCapturedSetRequest request = API__REMOVE_CAPTURED_SET_REQUEST__INIT;
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *sets = NULL, *answer = NULL;
    const Api__CapturedSet *set = NULL;
    char prefix[TEXT_SHA256_MAX], name[NODE_SET_MAX];
    enum st_code code = prefix_parse(in->argument, prefix, err);
    if (!code)
        code = connect_open(in, &connection, err);
    if (!code)
        code = list(&connection, &sets, err);
    if (!code)
        code = find((const void *)sets, prefix, &set, err);
    if (code)
        return code;
    request.sha256 = set->sha256;
    code = connect_call(&connection, "RemoveCapturedSet", &request.base,
                        &api__remove_captured_set_response__descriptor, &answer, err);
    if (code)
        return code;
    node_set_name(set, name);
    if (in->json)
        return json_print(json_pack("{s:s}", "removed", name), err);
    printf("%s is good for no node any more (it was for %zu)\n", name, set->n_node_ids);
    return ST_OK;
}
