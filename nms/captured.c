#include "nms/captured.h"
#include "proto/grow.h"

#include <stdlib.h>
#include <string.h>

struct captured_row {
    Api__CapturedSet message;
    uint64_t made;
    uint8_t sha256[SHA256_LEN], by[SHA256_LEN];
    uint32_t pcrs[TPM_PCR_COUNT];
    ProtobufCBinaryData items[TPM_PCR_COUNT];
    uint8_t values[TPM_PCR_COUNT][SHA256_LEN];
    size_t node_room;
};

static enum st_code
no_memory(struct st_err *err)
{
    return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory for the list");
}

static void
row_fill(struct captured_row *row, const uint8_t sha256[SHA256_LEN],
         const State__Captured *captured)
{
    Api__CapturedSet *message = &row->message;
    const uint8_t *at = captured->values.data;
    api__captured_set__init(message);
    row->made = captured->made;
    memcpy(row->sha256, sha256, SHA256_LEN);
    for (uint32_t pcr = 0; pcr < TPM_PCR_COUNT; pcr++) {
        const size_t i = message->n_pcrs;
        if (!(captured->pcrs & 1u << pcr))
            continue;
        memcpy(row->values[i], at, SHA256_LEN);
        at += SHA256_LEN;
        row->items[i] = (ProtobufCBinaryData){SHA256_LEN, row->values[i]};
        row->pcrs[i] = pcr;
        message->n_pcrs++;
    }
    message->sha256 = (ProtobufCBinaryData){SHA256_LEN, row->sha256};
    message->pcrs = row->pcrs;
    message->values = row->items;
    message->n_values = message->n_pcrs;
    message->made_at = captured->made_at;
    message->approved = captured->approved;
    if (captured->made_by.len == SHA256_LEN) {
        memcpy(row->by, captured->made_by.data, SHA256_LEN);
        message->made_by = (ProtobufCBinaryData){SHA256_LEN, row->by};
    }
}

static bool
list_reserve(struct captured_list *list)
{
    size_t room = list->room; /* of both, once both have it */
    Api__CapturedSet **sets =
        st_grow(list->sets, list->count, &room, sizeof(Api__CapturedSet *));
    if (!sets)
        return false;
    list->sets = sets;
    struct captured_row **rows =
        st_grow(list->rows, list->count, &list->room, sizeof(struct captured_row *));
    if (!rows)
        return false;
    list->rows = rows;
    return true;
}

enum st_code
captured_add(void *arg, const uint8_t sha256[SHA256_LEN], const State__Captured *captured,
             struct st_err *err)
{
    struct captured_list *list = arg;
    if (!list_reserve(list))
        return no_memory(err);
    struct captured_row *row = calloc(1, sizeof(*row));
    if (!row)
        return no_memory(err);
    row_fill(row, sha256, captured);
    list->rows[list->count] = row;
    list->sets[list->count++] = &row->message;
    return ST_OK;
}

static bool
row_add_node(struct captured_row *row, const char *node_id)
{
    Api__CapturedSet *message = &row->message;
    char **ids =
        st_grow(message->node_ids, message->n_node_ids, &row->node_room, sizeof(char *));
    if (!ids)
        return false;
    message->node_ids = ids;
    char *copy = strdup(node_id);
    if (!copy)
        return false;
    message->node_ids[message->n_node_ids++] = copy;
    return true;
}

/* They are in the order of their names. */
static int
compare_name(const void *name, const void *row)
{
    return memcmp(name, (*(struct captured_row *const *)row)->sha256, SHA256_LEN);
}

static enum st_code
add_node(void *arg, const State__Node *node, int64_t seen, struct st_err *err)
{
    const struct captured_list *list = arg;
    (void)seen;
    for (size_t i = 0; i < node->n_captured && list->count > 0; i++) {
        const State__CapturedRef *ref = node->captured[i];
        struct captured_row **row =
            ref->sha256.len == SHA256_LEN
                ? bsearch(ref->sha256.data, list->rows, list->count, sizeof(*list->rows),
                          compare_name)
                : NULL;
        if (row && (*row)->made == ref->made && !row_add_node(*row, node->node_id))
            return no_memory(err);
    }
    return ST_OK;
}

enum st_code
captured_add_nodes(struct captured_list *list, struct state *state, struct st_err *err)
{
    return state_each_node(state, add_node, list, err);
}

void
captured_free(struct captured_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        Api__CapturedSet *message = list->sets[i];
        for (size_t j = 0; j < message->n_node_ids; j++)
            free(message->node_ids[j]);
        free(message->node_ids);
        free(list->rows[i]);
    }
    free(list->rows);
    free(list->sets);
}
