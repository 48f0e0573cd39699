/* stctl node pcrs: what a node booted. */
#include "tools/node.h"
#include "tools/table.h"
#include "tools/text.h"

#include <string.h>

static bool
are_pcrs(size_t count, const ProtobufCBinaryData *pcrs)
{
    if (count != 0 && count != NODE_PCRS)
        return false;
    for (size_t i = 0; i < count; i++)
        if (pcrs[i].len != SHA256_LEN)
            return false;
    return true;
}

static enum st_code
pcrs_check(const Api__GetNodePcrsResponse *pcrs, struct st_err *err)
{
    if (!are_pcrs(pcrs->n_enrolled, pcrs->enrolled) ||
        !are_pcrs(pcrs->n_accepted, pcrs->accepted) ||
        !are_pcrs(pcrs->n_refused, pcrs->refused))
        return st_fail(err, ST_INTERNAL, "the answer's PCRs are not readable");
    return ST_OK;
}

#define SWAP(a, b)                                                                       \
    do {                                                                                 \
        __typeof__(a) kept_ = (a);                                                       \
        (a) = (b);                                                                       \
        (b) = kept_;                                                                     \
    } while (0)

/* Each master knows what it accepted itself.  What is not `into`'s any more is `from`'s
 * to free. */
static void
take_newer(Api__GetNodePcrsResponse *into, Api__GetNodePcrsResponse *from)
{
    if (from->n_accepted == 0 || from->accepted_at <= into->accepted_at)
        return;
    SWAP(into->n_accepted, from->n_accepted);
    SWAP(into->accepted, from->accepted);
    SWAP(into->accepted_at, from->accepted_at);
}

enum st_code
node_pcrs_get(struct connection *connection, const char *node_id, ProtobufCMessage **out,
              struct st_err *err)
{
    Api__GetNodePcrsRequest request = API__GET_NODE_PCRS_REQUEST__INIT;
    request.node_id = (char *)node_id;
    enum st_code code = connect_call(connection, "GetNodePcrs", &request.base,
                                     &api__get_node_pcrs_response__descriptor, out, err);
    return code ? code : pcrs_check((const void *)*out, err);
}

/* Of one master; who does not answer may have been the one that gave the key. */
static void
ask_one(const struct connection *connection, size_t master, const char *node_id,
        Api__GetNodePcrsResponse *into)
{
    Api__GetNodePcrsRequest request = API__GET_NODE_PCRS_REQUEST__INIT;
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    char address[ADDRESS_TEXT_MAX];
    struct st_err err = {0};
    request.node_id = (char *)node_id;
    if (!connect_call_one(connection, master, "GetNodePcrs", &request.base,
                          &api__get_node_pcrs_response__descriptor, &answer, &err) &&
        !pcrs_check((const void *)answer, &err)) {
        take_newer(into, (void *)answer);
        return;
    }
    address_format(&connection->context.addresses[master], address);
    fprintf(stderr, "stctl: master %s does not answer: what it saw last is not known\n",
            address);
}

enum st_code
node_pcrs_newest(struct connection *connection, const char *node_id,
                 ProtobufCMessage **out, struct st_err *err)
{
    const size_t masters = connection->context.address_count;
    enum st_code code = node_pcrs_get(connection, node_id, out, err);
    for (size_t i = 0; !code && masters > 1 && i < masters; i++)
        ask_one(connection, i, node_id, (void *)*out);
    return code;
}

void
node_boot_text(const struct node_boot *boot, char out[NODE_BOOT_TEXT_MAX])
{
    char at[TEXT_TIME_MAX];
    text_time(boot->at, at);
    if (boot->at)
        snprintf(out, NODE_BOOT_TEXT_MAX, "%s at %s", boot->what, at);
    else
        snprintf(out, NODE_BOOT_TEXT_MAX, "of its enrolment");
}

enum st_code
node_boot_refused(const Api__GetNodePcrsResponse *pcrs, struct node_boot *out,
                  struct st_err *err)
{
    if (pcrs->n_refused == 0)
        return st_fail(err, ST_NOT_FOUND, "no boot of this node was refused");
    *out = (struct node_boot){pcrs->refused, "refused", pcrs->refused_at,
                              pcrs->refused_why, pcrs->refused_clock};
    return ST_OK;
}

enum st_code
node_boot_accepted(const Api__GetNodePcrsResponse *pcrs, struct node_boot *out,
                   struct st_err *err)
{
    if (pcrs->n_accepted == 0 && pcrs->n_enrolled == 0)
        return st_fail(err, ST_NOT_FOUND,
                       "the master that answered knows no PCRs of this "
                       "node: let it unlock once");
    if (pcrs->n_accepted == 0)
        *out = (struct node_boot){pcrs->enrolled, "enrolled", 0, "", NULL};
    else
        *out =
            (struct node_boot){pcrs->accepted, "accepted", pcrs->accepted_at, "", NULL};
    return ST_OK;
}

enum st_code
node_boot_newest(const Api__GetNodePcrsResponse *pcrs, struct node_boot *out,
                 struct st_err *err)
{
    if (pcrs->n_refused > 0 && pcrs->refused_at >= pcrs->accepted_at)
        return node_boot_refused(pcrs, out, err);
    return node_boot_accepted(pcrs, out, err);
}

static json_t *
pcrs_json(size_t count, const ProtobufCBinaryData *pcrs)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        char hex[TEXT_SHA256_MAX];
        text_hex(&pcrs[i], hex);
        json_array_append_new(list, json_string(hex));
    }
    return list;
}

static enum st_code
print_json(const char *node_id, const Api__GetNodePcrsResponse *pcrs, struct st_err *err)
{
    return json_print(json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:s}", "node_id", node_id,
                                "enrolled", pcrs_json(pcrs->n_enrolled, pcrs->enrolled),
                                "accepted", pcrs_json(pcrs->n_accepted, pcrs->accepted),
                                "accepted_at", json_time(pcrs->accepted_at), "refused",
                                pcrs_json(pcrs->n_refused, pcrs->refused), "refused_at",
                                json_time(pcrs->refused_at), "refused_why",
                                pcrs->refused_why),
                      err);
}

static void
short_hex(size_t count, const ProtobufCBinaryData *pcrs, size_t i,
          char out[TEXT_SHA256_MAX])
{
    strcpy(out, "-");
    if (i < count)
        text_hex(&pcrs[i], out);
    out[NODE_PCR_SHORT] = 0;
}

static void
print_table(const Api__GetNodePcrsResponse *pcrs)
{
    AUTO(table_freep)
    struct table *table =
        table_new(4, (const char *[]){"PCR", "ENROLLED", "ACCEPTED", "REFUSED"});
    for (size_t i = 0; i < NODE_PCRS; i++) {
        char number[24], enrolled[TEXT_SHA256_MAX], accepted[TEXT_SHA256_MAX],
            refused[TEXT_SHA256_MAX];
        snprintf(number, sizeof(number), "%zu", i);
        short_hex(pcrs->n_enrolled, pcrs->enrolled, i, enrolled);
        short_hex(pcrs->n_accepted, pcrs->accepted, i, accepted);
        short_hex(pcrs->n_refused, pcrs->refused, i, refused);
        table_row(table, (const char *[]){number, enrolled, accepted, refused});
    }
    table_print(table, stdout, table_width(stdout));
}

static enum st_code
print_diff(const struct invocation *in, struct connection *connection,
           const char *node_id, const Api__GetNodePcrsResponse *pcrs, struct st_err *err)
{
    AUTO(node_diff_free) struct node_diff diff = {0};
    struct node_boot boot;
    enum st_code code = node_boot_newest(pcrs, &boot, err);
    if (!code)
        code = node_diff(connection, node_id, pcrs, &boot, &diff, err);
    if (code)
        return code;
    if (in->json)
        return json_print(json_pack("{s:s, s:s, s:o, s:s, s:i, s:O, s:O}", "node_id",
                                    node_id, "boot", boot.what, "at", json_time(boot.at),
                                    "why", boot.why, "sets", (int)diff.sets, "differs",
                                    diff.differs, "fits", diff.fits),
                          err);
    node_diff_print(&diff, &boot, stdout);
    if (*boot.why)
        printf("\nAs a machine does that is restored from a snapshot. If this one was:\n"
               "    stctl node approve %s\n",
               node_id);
    return ST_OK;
}

enum st_code
stctl_node_pcrs(const struct invocation *in, struct st_err *err)
{
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *nodes = NULL, *answer = NULL;
    const Api__Node *node;
    enum st_code code = node_resolve(in, &connection, &nodes, &node, err);
    if (!code)
        code = node_pcrs_newest(&connection, node->node_id, &answer, err);
    if (code)
        return code;
    const Api__GetNodePcrsResponse *pcrs = (const void *)answer;
    if (in->options[OPTION_DIFF])
        return print_diff(in, &connection, node->node_id, pcrs, err);
    if (in->json)
        return print_json(node->node_id, pcrs, err);
    print_table(pcrs);
    return ST_OK;
}
