/* stctl node: who asked to belong, and who does. */
#include "tools/confirm.h"
#include "tools/connect.h"
#include "tools/node.h"
#include "tools/table.h"
#include "tools/text.h"

#include <string.h>
#include <time.h>

enum {
    OUTDATED_SHOWN = 10,
};

/* As the schema numbers them. */
static const char *const states[] = {"registered", "master", "worker"};

static const char *
state_name(Api__Node__State state)
{
    return (unsigned)state < 3 ? states[state] : "unknown";
}

static enum st_code
state_parse(const char *option, const char *text, int first, Api__Node__State *out,
            struct st_err *err)
{
    for (int i = first; i < 3; i++)
        if (!strcmp(text, states[i])) {
            *out = (Api__Node__State)i;
            return ST_OK;
        }
    return st_fail(err, ST_INVALID_ARGUMENT, "%s is %sworker or master, not '%.40s'",
                   option, first ? "" : "registered, ", text);
}

/* As the schema numbers them. */
static const char *const evidences[] = {"unknown", "none", "certificate", "chain",
                                        "listed"};

const char *
node_evidence(Api__Node__Evidence evidence)
{
    return (unsigned)evidence < 5 ? evidences[evidence] : "unknown";
}

enum st_code
node_list(struct connection *connection, ProtobufCMessage **out, struct st_err *err)
{
    const Api__ListNodesRequest request = API__LIST_NODES_REQUEST__INIT;
    return connect_call(connection, "ListNodes", &request.base,
                        &api__list_nodes_response__descriptor, out, err);
}

static json_t *
sha256_or_null(const ProtobufCBinaryData *bytes)
{
    char text[TEXT_SHA256_MAX];
    if (bytes->len == 0)
        return json_null();
    text_sha256(bytes->data, bytes->len, text);
    return json_string(text);
}

static json_t *
as_json(const Api__Node *node)
{
    static const Api__NodeTPM2 no_tpm = API__NODE_TPM2__INIT;
    const Api__NodeTPM2 *tpm =
        node->integrity_case == API__NODE__INTEGRITY_TPM2 ? node->tpm2 : &no_tpm;
    return json_pack(
        "{s:s, s:s, s:o, s:s, s:o, s:o, s:I, s:s, s:b, s:s, s:b, s:o, s:o, s:o, s:o}",
        "node_id", node->node_id, "state", state_name(node->state), "address",
        json_address(&node->address), "enrolment", node->enrolment, "enrolled_at",
        json_time(node->enrolled_at), "last_unlock_at", json_time(node->last_unlock_at),
        "member_id", (json_int_t)node->id, "member_name", node->name, "synced",
        node->synced, "evidence", node_evidence(node->evidence), "outdated",
        node->outdated, "id_cert_sha256", sha256_or_null(&node->id_cert), "ek_sha256",
        sha256_or_null(&tpm->ek_pubkey), "ek_cert_sha256", sha256_or_null(&tpm->ek_cert),
        "ak_sha256", sha256_or_null(&tpm->ak_pub));
}

static void
add_row(struct table *table, const Api__Node *node)
{
    char age[TEXT_AGE_MAX], address[ADDRESS_TEXT_MAX];
    text_age(node->enrolled_at, time(NULL), age);
    text_address(&node->address, address, sizeof(address));
    table_row(table,
              (const char *[]){node->node_id, state_name(node->state), age, address});
}

/* Below the list: what a person may not know what to do about. */
static void
print_outdated(const Api__ListNodesResponse *list)
{
    size_t count = 0;
    for (size_t i = 0; i < list->n_nodes; i++)
        count += list->nodes[i]->outdated;
    if (count == 0)
        return;
    printf("\n%zu %s not heard yet where the masters are now:", count,
           count == 1 ? "has" : "have");
    size_t shown = 0;
    for (size_t i = 0; i < list->n_nodes && shown < OUTDATED_SHOWN; i++)
        if (list->nodes[i]->outdated) {
            printf("\n  %s", list->nodes[i]->node_id);
            shown++;
        }
    if (shown < count)
        printf("\n  ... and %zu more: `stctl node list -o json`", count - shown);
    printf(
        "\nEach is told when port 7835 of it can be reached, or hears of it at its next"
        " unlock.\n");
}

enum st_code
stctl_node_list(const struct invocation *in, struct st_err *err)
{
    const char *wanted = in->options[OPTION_STATE];
    Api__Node__State state = 0;
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    enum st_code code = wanted ? state_parse("--state", wanted, 0, &state, err) : ST_OK;
    if (!code)
        code = connect_open(in, &connection, err);
    if (!code)
        code = node_list(&connection, &answer, err);
    if (code)
        return code;
    const Api__ListNodesResponse *list = (const void *)answer;
    AUTO(json_freep) json_t *json = json_array();
    AUTO(table_freep)
    struct table *table =
        table_new(4, (const char *[]){"NODE", "STATE", "AGE", "ADDRESS"});
    for (size_t i = 0; i < list->n_nodes; i++) {
        if (wanted && list->nodes[i]->state != state)
            continue;
        json_array_append_new(json, as_json(list->nodes[i]));
        add_row(table, list->nodes[i]);
    }
    if (in->json)
        return json_print(TAKE(json), err);
    table_print(table, stdout, table_width(stdout));
    print_outdated(list);
    return ST_OK;
}

enum st_code
node_find(const struct connection *connection, const ProtobufCMessage *answer,
          const char *typed, const Api__Node **out, struct st_err *err)
{
    const Api__ListNodesResponse *list = (const void *)answer;
    char prefix[NODE_ID_LEN + 1];
    const Api__Node *found = NULL;
    size_t count = 0;
    enum st_code code = text_node_prefix(typed, prefix, err);
    if (code)
        return code;
    for (size_t i = 0; i < list->n_nodes; i++)
        if (!strncmp(list->nodes[i]->node_id, prefix, strlen(prefix))) {
            found = list->nodes[i];
            count++;
        }
    if (count == 0)
        return st_fail(
            err, ST_NOT_FOUND, "cluster %s has no node %s%s: see `stctl node list`",
            connection->context.name, prefix, strlen(prefix) < NODE_ID_LEN ? "..." : "");
    if (count > 1)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "%zu nodes begin with %s: give more digits", count, prefix);
    *out = found;
    return ST_OK;
}

enum st_code
node_resolve(const struct invocation *in, struct connection *connection,
             ProtobufCMessage **out_answer, const Api__Node **out, struct st_err *err)
{
    char prefix[NODE_ID_LEN + 1];
    enum st_code code = text_node_prefix(in->argument, prefix, err);
    if (!code)
        code = connect_open(in, connection, err);
    if (!code)
        code = node_list(connection, out_answer, err);
    if (!code)
        code = node_find(connection, *out_answer, in->argument, out, err);
    return code;
}

static void
print_sha256(const char *title, const ProtobufCBinaryData *bytes)
{
    char text[TEXT_SHA256_MAX] = "-";
    if (bytes->len)
        text_sha256(bytes->data, bytes->len, text);
    printf("%-12s %s\n", title, text);
}

static void
print_time(const char *title, int64_t at, const char *never)
{
    char text[TEXT_TIME_MAX], age[TEXT_AGE_MAX];
    text_time(at, text);
    text_age(at, time(NULL), age);
    if (at)
        printf("%-12s %s (%s ago)\n", title, text, age);
    else
        printf("%-12s %s\n", title, never);
}

enum st_code
stctl_node_show(const struct invocation *in, struct st_err *err)
{
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    const Api__Node *node;
    enum st_code code = node_resolve(in, &connection, &answer, &node, err);
    if (code)
        return code;
    if (in->json)
        return json_print(as_json(node), err);
    char address[ADDRESS_TEXT_MAX];
    text_address(&node->address, address, sizeof(address));
    AUTO(st_freep) char *enrolment = text_printable(node->enrolment);
    AUTO(st_freep) char *name = text_printable(node->name);
    printf("%-12s %s\n", "node", node->node_id);
    printf("%-12s %s\n", "state", state_name(node->state));
    printf("%-12s %s\n", "address", address);
    printf("%-12s %s\n", "enrolment", enrolment);
    print_time("enrolled", node->enrolled_at, "-");
    printf("%-12s %s\n", "evidence", node_evidence(node->evidence));
    print_time("last unlock", node->last_unlock_at,
               "none that the asked master saw since its start");
    if (node->outdated)
        printf("%-12s not heard yet where they are now\n", "masters");
    if (node->id)
        printf("%-12s %s (%ju), %s\n", "member", name, (uintmax_t)node->id,
               node->synced ? "caught up" : "catching up");
    printf("SHA-256 of\n");
    print_sha256("  id_cert", &node->id_cert);
    if (node->integrity_case == API__NODE__INTEGRITY_TPM2) {
        print_sha256("  EK", &node->tpm2->ek_pubkey);
        print_sha256("  EK cert", &node->tpm2->ek_cert);
        print_sha256("  AK", &node->tpm2->ak_pub);
    }
    return ST_OK;
}

enum st_code
stctl_node_adopt(const struct invocation *in, struct st_err *err)
{
    const char *role = in->options[OPTION_ROLE];
    Api__AddNodeRequest request = API__ADD_NODE_REQUEST__INIT;
    request.role = API__NODE__STATE__WORKER;
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *nodes = NULL, *answer = NULL;
    const Api__Node *node;
    enum st_code code = role ? state_parse("--role", role, 1, &request.role, err) : ST_OK;
    if (!code)
        code = node_resolve(in, &connection, &nodes, &node, err);
    if (code)
        return code;
    request.node_id = node->node_id;
    if (request.role == API__NODE__STATE__MASTER)
        connect_patiently(in, &connection, "it becomes a master once it has caught up");
    code = connect_call(&connection, "AddNode", &request.base,
                        &api__add_node_response__descriptor, &answer, err);
    if (code)
        return code;
    if (in->json)
        return json_print(json_pack("{s:s, s:s}", "node_id", node->node_id, "state",
                                    state_name(request.role)),
                          err);
    printf("%s is a %s now and may unlock\n", node->node_id, state_name(request.role));
    return ST_OK;
}

/* What cannot be undone is asked for on a terminal, and wants --yes elsewhere. */
static enum st_code
confirm_removal(const struct invocation *in, const Api__Node *node, struct st_err *err)
{
    char address[ADDRESS_TEXT_MAX];
    if (in->options[OPTION_YES])
        return ST_OK;
    if (!confirm_can_ask())
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "without its recovery key the disk of %s is unreadable for ever "
                       "once it is removed: say --yes",
                       node->node_id);
    text_address(&node->address, address, sizeof(address));
    fprintf(stderr,
            "%s (%s, %s)\nWithout its recovery key its disk can never be opened again, "
            "and `stctl node\nrecovery-key` shows that only before. "
            "Remove it? [yes/no] ",
            node->node_id, state_name(node->state), address);
    if (!confirm_is_yes())
        return st_fail(err, ST_CANCELLED, "nothing was removed");
    return ST_OK;
}

enum st_code
stctl_node_remove(const struct invocation *in, struct st_err *err)
{
    Api__RemoveNodeRequest request = API__REMOVE_NODE_REQUEST__INIT;
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *nodes = NULL, *answer = NULL;
    const Api__Node *node;
    enum st_code code = node_resolve(in, &connection, &nodes, &node, err);
    if (!code)
        code = confirm_removal(in, node, err);
    if (code)
        return code;
    request.node_id = node->node_id;
    request.force = in->options[OPTION_FORCE] != NULL;
    if (node->state == API__NODE__STATE__MASTER)
        connect_patiently(in, &connection, "it leaves the other masters");
    code = connect_insist(&connection, "RemoveNode", &request.base,
                          &api__remove_node_request__descriptor, &answer, err);
    if (code)
        return code;
    if (in->json)
        return json_print(json_pack("{s:s}", "removed", node->node_id), err);
    printf("%s is removed and can never unlock again\n", node->node_id);
    return ST_OK;
}
