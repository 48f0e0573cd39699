/* Which PCRs of a boot differ from which set. */
#include "tools/node.h"
#include "tools/policy.h"
#include "tools/table.h"
#include "tools/text.h"

#include <string.h>

void
node_diff_free(struct node_diff *diff)
{
    json_decref(diff->differs);
    json_decref(diff->fits);
}

void
node_set_name(const Api__CapturedSet *set, char out[NODE_SET_MAX])
{
    char hex[TEXT_SHA256_MAX];
    text_hex(&set->sha256, hex);
    snprintf(out, NODE_SET_MAX, "captured-%.16s", hex);
}

static bool
has_text(const json_t *array, const char *text)
{
    const json_t *item;
    size_t i;
    json_array_foreach(array, i, item)
    {
        const char *own = json_string_value(item);
        if (own && !strcmp(own, text))
            return true;
    }
    return false;
}

/* What a set wants is {"4": [hex, ...]}; `named` are the PCRs that a set must have. */
static void
diff_set(struct node_diff *diff, const char *name, const json_t *values,
         const json_t *named, const struct node_boot *boot)
{
    bool fits = true;
    diff->sets++;
    for (unsigned pcr = 0; pcr < NODE_PCRS; pcr++) {
        char number[12], hex[TEXT_SHA256_MAX];
        snprintf(number, sizeof(number), "%u", pcr);
        json_t *expected = json_object_get(values, number);
        text_hex(&boot->pcrs[pcr], hex);
        if (!json_object_get(named, number) || has_text(expected, hex))
            continue;
        fits = false;
        json_array_append_new(diff->differs,
                              json_pack("{s:s, s:i, s:s, s:o}", "set", name, "pcr",
                                        (int)pcr, "booted", hex, "expected",
                                        expected ? json_incref(expected) : json_array()));
    }
    if (fits)
        json_array_append_new(diff->fits, json_string(name));
}

/* The sets of the document; what they name goes into `named`. */
static void
diff_document(struct node_diff *diff, const json_t *document, const char *node_id,
              const struct node_boot *boot, json_t *named)
{
    json_t *sets = json_object_get(json_object_get(document, "pcrs"), "sets"), *set;
    size_t i;
    json_array_foreach(sets, i, set)
    {
        const json_t *nodes = json_object_get(set, "nodes");
        const char *name = json_string_value(json_object_get(set, "name"));
        json_t *values = json_object_get(set, "values");
        if (!has_text(nodes, "*") && !has_text(nodes, node_id))
            continue;
        json_object_update(named, values);
        diff_set(diff, name ? name : "-", values, values, boot);
    }
}

/* As the masters judge: each PCR that the document names, else those that the set has. */
static void
diff_captured(struct node_diff *diff, const Api__CapturedSet *set,
              const struct node_boot *boot, const json_t *named)
{
    char name[NODE_SET_MAX];
    AUTO(json_freep) json_t *values = json_object();
    for (size_t i = 0; i < set->n_pcrs && i < set->n_values; i++) {
        char number[12], hex[TEXT_SHA256_MAX];
        snprintf(number, sizeof(number), "%u", set->pcrs[i]);
        text_hex(&set->values[i], hex);
        json_object_set_new(values, number, json_pack("[s]", hex));
    }
    node_set_name(set, name);
    diff_set(diff, name, values, json_object_size(named) > 0 ? named : values, boot);
}

enum st_code
node_diff(struct connection *connection, const char *node_id,
          const Api__GetNodePcrsResponse *pcrs, const struct node_boot *boot,
          struct node_diff *out, struct st_err *err)
{
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    AUTO(json_freep) json_t *document = NULL;
    AUTO(json_freep) json_t *named = json_object();
    const Api__PolicyVersion *policy;
    enum st_code code = policy_get(connection, 0, &answer, &policy, err);
    if (!code)
        code = policy_document(policy, &document, err);
    if (code)
        return code;
    *out = (struct node_diff){.differs = json_array(), .fits = json_array()};
    diff_document(out, document, node_id, boot, named);
    for (size_t i = 0; i < pcrs->n_captured; i++)
        diff_captured(out, pcrs->captured[i], boot, named);
    return ST_OK;
}

static void
add_row(struct table *table, const json_t *row)
{
    const json_t *expected = json_object_get(row, "expected");
    const char *first = json_string_value(json_array_get(expected, 0));
    const char *set = json_string_value(json_object_get(row, "set"));
    char number[24], booted[NODE_PCR_SHORT + 1], wanted[NODE_PCR_SHORT + 24];
    snprintf(number, sizeof(number), "%d",
             (int)json_integer_value(json_object_get(row, "pcr")));
    snprintf(booted, sizeof(booted), "%s",
             json_string_value(json_object_get(row, "booted")));
    snprintf(wanted, sizeof(wanted), "%.16s", first ? first : "-");
    if (json_array_size(expected) > 1)
        snprintf(wanted + strlen(wanted), sizeof(wanted) - strlen(wanted), " +%zu",
                 json_array_size(expected) - 1);
    table_row(table, (const char *[]){number, booted, wanted, set ? set : "-"});
}

void
node_diff_print(const struct node_diff *diff, const struct node_boot *boot, FILE *file)
{
    AUTO(table_freep)
    struct table *table =
        table_new(4, (const char *[]){"PCR", "BOOTED", "EXPECTED", "SET"});
    const json_t *row;
    size_t i;
    if (*boot->why)
        fprintf(file, "%s\n", boot->why);
    if (diff->sets == 0) {
        fprintf(file, "no set of the policy is for this node\n");
        return;
    }
    if (json_array_size(diff->differs) == 0)
        fprintf(file, "nothing differs (%s)\n", boot->what);
    json_array_foreach(diff->differs, i, row) add_row(table, row);
    if (json_array_size(diff->differs) > 0)
        table_print(table, file, table_width(file));
    if (json_array_size(diff->differs) > 0 && json_array_size(diff->fits) > 0)
        fprintf(file, "\nIt is in the set %s: this boot is good.\n",
                json_string_value(json_array_get(diff->fits, 0)));
}
