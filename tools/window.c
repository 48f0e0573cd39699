/* stctl policy window: for some time boots may change. */
#include "tools/window.h"
#include "tools/node.h"
#include "tools/text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    NODES_MAX = 1000, /* the masters take as many */
};

void
window_text(const Api__Window *window, char out[WINDOW_TEXT_MAX])
{
    char until[TEXT_TIME_MAX], left[TEXT_AGE_MAX], whom[32] = "every node";
    out[0] = 0;
    if (!window)
        return;
    text_time(window->closes_at, until);
    text_age(time(NULL), window->closes_at, left);
    if (window->n_node_ids > 0)
        snprintf(whom, sizeof(whom), "%zu node%s", window->n_node_ids,
                 window->n_node_ids > 1 ? "s" : "");
    snprintf(out, WINDOW_TEXT_MAX, "open until %s (%s), %s, %u let in", until, left, whom,
             window->captured);
}

json_t *
window_json(const Api__Window *window)
{
    if (!window)
        return json_null();
    json_t *nodes = json_array();
    for (size_t i = 0; i < window->n_node_ids; i++)
        json_array_append_new(nodes, json_string(window->node_ids[i]));
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:i}", "opened_at", json_time(window->opened_at),
        "closes_at", json_time(window->closes_at), "opened_by",
        json_hex(&window->opened_by), "nodes", nodes, "captured", (int)window->captured);
}

/* The ids of those that were typed, lent by the answer. */
struct named {
    size_t count;
    char *ids[NODES_MAX];
};

static enum st_code
add_named(const struct connection *connection, const ProtobufCMessage *nodes,
          const char *typed, struct named *out, struct st_err *err)
{
    const Api__Node *node;
    if (out->count == NODES_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "--nodes takes at most %d", NODES_MAX);
    enum st_code code = node_find(connection, nodes, typed, &node, err);
    if (!code)
        out->ids[out->count++] = node->node_id;
    return code;
}

static enum st_code
resolve(struct connection *connection, const char *list, ProtobufCMessage **out_nodes,
        struct named *out, struct st_err *err)
{
    AUTO(st_freep) char *copy = strdup(list);
    char *rest = copy;
    if (!copy)
        return st_fail(err, ST_INTERNAL, "no memory");
    enum st_code code = node_list(connection, out_nodes, err);
    for (char *word; !code && (word = strsep(&rest, ","));)
        code = add_named(connection, *out_nodes, word, out, err);
    return code;
}

static enum st_code
seconds_option(const struct invocation *in, uint64_t *out, struct st_err *err)
{
    uint64_t ms;
    enum st_code code = text_duration("--for", in->options[OPTION_FOR], &ms, err);
    if (!code && ms < 1000)
        return st_fail(err, ST_INVALID_ARGUMENT, "--for takes at least 1s");
    if (!code)
        *out = ms / 1000;
    return code;
}

static enum st_code
print_opened(const struct invocation *in, const Api__Window *window, struct st_err *err)
{
    char text[WINDOW_TEXT_MAX];
    if (in->json)
        return json_print(window_json(window), err);
    window_text(window, text);
    printf("window %s\n", window ? text : "opened, and closed by itself");
    return ST_OK;
}

enum st_code
stctl_policy_window_open(const struct invocation *in, struct st_err *err)
{
    Api__OpenWindowRequest request = API__OPEN_WINDOW_REQUEST__INIT;
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *nodes = NULL, *answer = NULL;
    AUTO(st_freep) struct named *named = calloc(1, sizeof(*named));
    const char *list = in->options[OPTION_NODES];
    if (!named)
        return st_fail(err, ST_INTERNAL, "no memory");
    enum st_code code = seconds_option(in, &request.seconds, err);
    if (!code)
        code = connect_open(in, &connection, err);
    if (!code && list)
        code = resolve(&connection, list, &nodes, named, err);
    if (code)
        return code;
    request.node_ids = named->ids;
    request.n_node_ids = named->count;
    code = connect_call(&connection, "OpenWindow", &request.base,
                        &api__open_window_response__descriptor, &answer, err);
    return code
               ? code
               : print_opened(in, ((const Api__OpenWindowResponse *)answer)->window, err);
}

enum st_code
stctl_policy_window_close(const struct invocation *in, struct st_err *err)
{
    const Api__CloseWindowRequest request = API__CLOSE_WINDOW_REQUEST__INIT;
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    enum st_code code =
        connect_once(in, "CloseWindow", &request.base,
                     &api__close_window_response__descriptor, &answer, err);
    if (code)
        return code;
    if (in->json)
        return json_print(json_pack("{s:b}", "open", 0), err);
    printf("the window is closed; what came through it stays good "
           "(`stctl policy captured list`)\n");
    return ST_OK;
}
