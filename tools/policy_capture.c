/* stctl policy capture: what a node booted becomes a set of the policy. */
#include "tools/node.h"
#include "tools/policy.h"
#include "tools/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char pcrs_default[] = "2,4,11";

/* "2,4,11" as one bit each. */
static enum st_code
pcrs_parse(const char *text, unsigned *out, struct st_err *err)
{
    unsigned bits = 0;
    for (const char *at = text;; at++) {
        char *end;
        const unsigned long pcr = *at >= '0' && *at <= '9' ? strtoul(at, &end, 10) : 99;
        if (pcr >= NODE_PCRS)
            return st_fail(err, ST_INVALID_ARGUMENT,
                           "--pcrs is a list of numbers from 0 to 15, not '%.40s'", text);
        bits |= 1u << pcr;
        at = end;
        if (!*at)
            break;
        if (*at != ',')
            return st_fail(err, ST_INVALID_ARGUMENT,
                           "--pcrs is a list of numbers from 0 to 15, not '%.40s'", text);
    }
    *out = bits;
    return ST_OK;
}

static json_t *
values_of(const struct node_boot *boot, unsigned bits)
{
    json_t *values = json_object();
    for (unsigned pcr = 0; pcr < NODE_PCRS; pcr++) {
        char number[4], hex[TEXT_SHA256_MAX];
        if (!(bits & 1u << pcr))
            continue;
        snprintf(number, sizeof(number), "%u", pcr);
        text_hex(&boot->pcrs[pcr], hex);
        json_object_set_new(values, number, json_pack("[s]", hex));
    }
    return values;
}

static enum st_code
add_set(json_t *document, const char *name, const char *node, json_t *values,
        struct st_err *err)
{
    AUTO(json_freep)
    json_t *set =
        json_pack("{s:s, s:[s], s:o}", "name", name, "nodes", node, "values", values);
    json_t *sets = json_object_get(json_object_get(document, "pcrs"), "sets"), *other;
    size_t i;
    if (!set || !json_is_array(sets))
        return st_fail(err, ST_INTERNAL, "the policy has no list of sets");
    json_array_foreach(sets, i, other)
    {
        const char *taken = json_string_value(json_object_get(other, "name"));
        if (taken && !strcmp(taken, name))
            return st_fail(err, ST_ALREADY_EXISTS, "the policy has a set %s already",
                           name);
    }
    return json_array_append_new(sets, TAKE(set))
               ? st_fail(err, ST_INTERNAL, "no memory for a set")
               : ST_OK;
}

static enum st_code
boot_to_capture(const struct invocation *in, struct connection *connection,
                const char *node_id, ProtobufCMessage **out_answer, struct node_boot *out,
                struct st_err *err)
{
    const bool refused = in->options[OPTION_REFUSED];
    enum st_code code = refused ? node_pcrs_get(connection, node_id, out_answer, err)
                                : node_pcrs_newest(connection, node_id, out_answer, err);
    if (code)
        return code;
    return refused ? node_boot_refused((const void *)*out_answer, out, err)
                   : node_boot_accepted((const void *)*out_answer, out, err);
}

/* Which boot it is must be read: another one may have been meant. */
static enum st_code
print_captured(const struct invocation *in, const struct node_boot *boot, unsigned bits,
               uint64_t version, struct st_err *err)
{
    const char *pcrs = in->options[OPTION_PCRS];
    char of[NODE_BOOT_TEXT_MAX];
    if (in->json)
        return json_print(json_pack("{s:I, s:s, s:o}", "version", (json_int_t)version,
                                    "boot", boot->what, "boot_at", json_time(boot->at)),
                          err);
    node_boot_text(boot, of);
    printf("set %s is PCR %s of the boot %s\npolicy version %" PRIu64 " is in force\n",
           in->options[OPTION_NAME], pcrs ? pcrs : pcrs_default, of, version);
    if (in->options[OPTION_ALL] && bits & 1u << 2)
        printf("PCR 2 is of this machine's cards and their firmware: capture one node of "
               "each\nkind before a set of before is taken out\n");
    return ST_OK;
}

static enum st_code
capture(const struct invocation *in, struct connection *connection, const char *node_id,
        unsigned bits, struct st_err *err)
{
    AUTO(connect_answer_freep) ProtobufCMessage *pcrs = NULL, *answer = NULL;
    AUTO(json_freep) json_t *document = NULL;
    const Api__PolicyVersion *policy;
    struct node_boot boot;
    enum st_code code = boot_to_capture(in, connection, node_id, &pcrs, &boot, err);
    if (!code)
        code = policy_get(connection, 0, &answer, &policy, err);
    if (!code)
        code = policy_document(policy, &document, err);
    if (!code)
        code =
            add_set(document, in->options[OPTION_NAME],
                    in->options[OPTION_ALL] ? "*" : node_id, values_of(&boot, bits), err);
    if (code)
        return code;
    AUTO(st_freep) char *text = json_dumps(document, JSON_COMPACT);
    if (!text)
        return st_fail(err, ST_INTERNAL, "no memory for a policy");
    uint64_t version;
    code = policy_put(connection, text, policy->version, &version, err);
    return code ? code : print_captured(in, &boot, bits, version, err);
}

enum st_code
stctl_policy_capture(const struct invocation *in, struct st_err *err)
{
    const char *pcrs = in->options[OPTION_PCRS], *name = in->options[OPTION_NAME];
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *nodes = NULL;
    const Api__Node *node;
    unsigned bits;
    enum st_code code = name_check("a set", name, err);
    if (!code)
        code = pcrs_parse(pcrs ? pcrs : pcrs_default, &bits, err);
    if (!code)
        code = node_resolve(in, &connection, &nodes, &node, err);
    if (!code)
        code = capture(in, &connection, node->node_id, bits, err);
    return code;
}
