/* A policy out of its JSON, strictly. */
#include "nms/policy.h"
#include "proto/mutant.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

AUTO_DEFINE(json_t *, json_unrefp, json_decref)

enum kind {
    OBJECT,
    ARRAY,
    STRING,
    BOOLEAN,
    INTEGER,
};

static const char *const kind_names[] = {"an object", "an array", "a string",
                                         "true or false", "a whole number"};

struct word {
    const char *name;
    enum kind kind;
};

enum {
    PATH_MAX_LEN = 160,
};

/* Where in the document: "pcrs.sets[0].values". */
struct place {
    char path[PATH_MAX_LEN];
};

static struct place
inside(const struct place *outer, const char *word)
{
    struct place place;
    snprintf(place.path, sizeof(place.path), "%.100s%s%.50s", outer->path,
             *outer->path ? "." : "", word);
    return place;
}

static struct place
item(const struct place *outer, size_t index)
{
    struct place place;
    snprintf(place.path, sizeof(place.path), "%.130s[%zu]", outer->path, index);
    return place;
}

static enum st_code
wrong(const struct place *place, struct st_err *err, const char *what)
{
    return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED, "%s: %s",
                       *place->path ? place->path : "the document", what);
}

static enum st_code
no_memory(struct st_err *err)
{
    return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory for a policy");
}

static bool
is_kind(const json_t *value, enum kind kind)
{
    switch (kind) {
    case OBJECT:
        return json_is_object(value);
    case ARRAY:
        return json_is_array(value);
    case STRING:
        return json_is_string(value);
    case BOOLEAN:
        return json_is_boolean(value);
    case INTEGER:
        return json_is_integer(value);
    }
    return false;
}

static enum st_code
kind_check(const struct place *place, const json_t *value, enum kind kind,
           struct st_err *err)
{
    char what[40];
    if (!REFUSES(0x57a, !is_kind(value, kind)))
        return ST_OK;
    snprintf(what, sizeof(what), "must be %s", kind_names[kind]);
    return wrong(place, err, what);
}

static bool
knows(const struct word *words, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(words[i].name, name) == 0)
            return true;
    return false;
}

/* Exactly these words, each of its kind. */
static enum st_code
words_check(const struct place *place, json_t *object, const struct word *words,
            size_t count, struct st_err *err)
{
    const char *name;
    json_t *value;
    enum st_code code = kind_check(place, object, OBJECT, err);
    if (code)
        return code;
    json_object_foreach(object, name, value)
    {
        const struct place here = inside(place, name);
        if (REFUSES(0x57b, !knows(words, count, name)))
            return wrong(&here, err, "there is no such word");
    }
    for (size_t i = 0; i < count; i++) {
        const struct place here = inside(place, words[i].name);
        value = json_object_get(object, words[i].name);
        if (REFUSES(0x57c, !value))
            return wrong(&here, err, "is missing");
        if ((code = kind_check(&here, value, words[i].kind, err)))
            return code;
    }
    return ST_OK;
}
#define WORDS_CHECK(place, object, words, err)                                           \
    words_check(place, object, words, sizeof(words) / sizeof(*(words)), err)

static int
digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum st_code
digest_read(const struct place *place, const json_t *value, uint8_t out[SHA256_LEN],
            struct st_err *err)
{
    static const char what[] = "must be 64 hex digits, small letters";
    enum st_code code = kind_check(place, value, STRING, err);
    if (code)
        return code;
    const char *text = json_string_value(value);
    if (REFUSES(0x57d, json_string_length(value) != 2 * SHA256_LEN))
        return wrong(place, err, what);
    for (size_t i = 0; i < SHA256_LEN; i++) {
        const int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (REFUSES(0x57e, high < 0 || low < 0))
            return wrong(place, err, what);
        out[i] = (uint8_t)(high << 4 | low);
    }
    return ST_OK;
}

static enum st_code
digests_read(const struct place *place, const json_t *array, struct policy_digests *out,
             struct st_err *err)
{
    enum st_code code = kind_check(place, array, ARRAY, err);
    if (code)
        return code;
    const size_t count = json_array_size(array);
    if (!(out->at = calloc(count + 1, sizeof(*out->at))))
        return no_memory(err);
    for (size_t i = 0; i < count; i++) {
        const struct place here = item(place, i);
        if ((code = digest_read(&here, json_array_get(array, i), out->at[i], err)))
            return code;
        out->count++;
    }
    return ST_OK;
}

typedef bool (*name_good)(const char *name);

static bool
is_name(const char *name)
{
    return !name_check("", name, NULL);
}

static bool
is_node_or_all(const char *name)
{
    return strcmp(name, "*") == 0 || !node_id_check(name, NULL);
}

static enum st_code
name_read(const struct place *place, const json_t *value, name_good good,
          const char *what, char out[NAME_MAX_LEN + 1], struct st_err *err)
{
    enum st_code code = kind_check(place, value, STRING, err);
    if (code)
        return code;
    const char *name = json_string_value(value);
    if (REFUSES(0x57f, !good(name)))
        return wrong(place, err, what);
    strncpy(out, name, NAME_MAX_LEN);
    return ST_OK;
}

static enum st_code
names_read(const struct place *place, const json_t *array, name_good good,
           const char *what, struct policy_names *out, struct st_err *err)
{
    enum st_code code;
    const size_t count = json_array_size(array);
    if (!(out->at = calloc(count + 1, sizeof(*out->at))))
        return no_memory(err);
    for (size_t i = 0; i < count; i++) {
        const struct place here = item(place, i);
        if ((code =
                 name_read(&here, json_array_get(array, i), good, what, out->at[i], err)))
            return code;
        out->count++;
    }
    return ST_OK;
}

/* "0" to "15", written in the one way. */
static bool
pcr_read(const char *text, unsigned *out)
{
    for (unsigned i = 0; i < TPM_PCR_COUNT; i++) {
        char name[4];
        snprintf(name, sizeof(name), "%u", i);
        if (strcmp(text, name) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

/* A set without values would be met by every boot. */
static enum st_code
values_read(const struct place *place, json_t *object, struct policy_set *out,
            struct st_err *err)
{
    const char *name;
    json_t *array;
    enum st_code code;
    if (REFUSES(0x5701, json_object_size(object) == 0))
        return wrong(place, err, "must name a PCR");
    json_object_foreach(object, name, array)
    {
        const struct place here = inside(place, name);
        unsigned pcr = 0;
        if (REFUSES(0x5702, !pcr_read(name, &pcr)))
            return wrong(&here, err, "is no PCR from 0 to 15");
        if ((code = digests_read(&here, array, &out->values[pcr], err)))
            return code;
        if (REFUSES(0x5703, out->values[pcr].count == 0))
            return wrong(&here, err, "must have a value");
    }
    return ST_OK;
}

/* Without Secure Boot PCR 7 is the same for every image that is let in. */
static bool
binds_only_secure_boot(const struct policy_set *set)
{
    enum {
        SECURE_BOOT = 7
    };
    for (int i = 0; i < TPM_PCR_COUNT; i++)
        if (i != SECURE_BOOT && set->values[i].count > 0)
            return false;
    return set->values[SECURE_BOOT].count > 0;
}

static enum st_code
set_read(const struct place *place, json_t *object, struct policy_set *out,
         struct st_err *err)
{
    static const struct word words[] = {
        {"name", STRING}, {"nodes", ARRAY}, {"values", OBJECT}};
    enum st_code code = WORDS_CHECK(place, object, words, err);
    if (code)
        return code;
    const struct place name = inside(place, "name"), nodes = inside(place, "nodes"),
                       values = inside(place, "values");
    if ((code = name_read(&name, json_object_get(object, "name"), is_name,
                          "must be a name", out->name, err)) ||
        (code = names_read(&nodes, json_object_get(object, "nodes"), is_node_or_all,
                           "must be a whole node id, or *", &out->nodes, err)))
        return code;
    if (out->nodes.count == 0)
        return wrong(&nodes, err, "must name a node, or *");
    if ((code = values_read(&values, json_object_get(object, "values"), out, err)))
        return code;
    if (REFUSES(0x5708, binds_only_secure_boot(out)))
        return wrong(&values, err,
                     "must name more than PCR 7, which says nothing of the image");
    return ST_OK;
}

static enum st_code
sets_read(const struct place *place, const json_t *array, struct policy *out,
          struct st_err *err)
{
    enum st_code code;
    const size_t count = json_array_size(array);
    if (!(out->sets = calloc(count + 1, sizeof(*out->sets))))
        return no_memory(err);
    for (size_t i = 0; i < count; i++) {
        const struct place here = item(place, i);
        struct policy_set *set = &out->sets[out->set_count++];
        if ((code = set_read(&here, json_array_get(array, i), set, err)))
            return code;
        for (size_t j = 0; j < i; j++)
            if (strcmp(out->sets[j].name, set->name) == 0)
                return wrong(&here, err, "another set has this name");
    }
    return ST_OK;
}

static enum st_code
pcrs_read(const struct place *place, json_t *object, struct policy *out,
          struct st_err *err)
{
    static const struct word words[] = {
        {"sets", ARRAY}, {"require_set", BOOLEAN}, {"require_measured_boot", BOOLEAN}};
    enum st_code code = WORDS_CHECK(place, object, words, err);
    if (code)
        return code;
    const struct place sets = inside(place, "sets");
    out->set_required = json_is_true(json_object_get(object, "require_set"));
    out->measured_boot_required =
        json_is_true(json_object_get(object, "require_measured_boot"));
    return sets_read(&sets, json_object_get(object, "sets"), out, err);
}

static enum st_code
ek_read(const struct place *place, json_t *object, struct policy *out, struct st_err *err)
{
    static const struct word words[] = {{"require", STRING}, {"listed", ARRAY}};
    static const char *const tiers[] = {
        [POLICY_EK_NONE] = "none",
        [POLICY_EK_LISTED] = "listed",
        [POLICY_EK_CERTIFICATE] = "certificate",
        [POLICY_EK_CHAIN] = "chain",
    };
    enum st_code code = WORDS_CHECK(place, object, words, err);
    if (code)
        return code;
    const struct place require = inside(place, "require"),
                       listed = inside(place, "listed");
    const char *tier = json_string_value(json_object_get(object, "require"));
    unsigned i = 0;
    while (i <= POLICY_EK_CHAIN && strcmp(tier, tiers[i]) != 0)
        i++;
    if (REFUSES(0x5704, i > POLICY_EK_CHAIN))
        return wrong(&require, err, "must be chain, certificate, listed or none");
    out->ek = (enum policy_ek)i;
    return digests_read(&listed, json_object_get(object, "listed"), &out->listed, err);
}

static enum st_code
adopt_read(const struct place *place, json_t *object, struct policy *out,
           struct st_err *err)
{
    static const struct word words[] = {{"automatic", ARRAY}};
    enum st_code code = WORDS_CHECK(place, object, words, err);
    if (code)
        return code;
    const struct place automatic = inside(place, "automatic");
    return names_read(&automatic, json_object_get(object, "automatic"), is_name,
                      "must be the name of an enrolment", &out->automatic, err);
}

static enum st_code
document_read(json_t *root, struct policy *out, struct st_err *err)
{
    static const struct word words[] = {
        {"schema", INTEGER}, {"ek", OBJECT}, {"pcrs", OBJECT}, {"adopt", OBJECT}};
    const struct place top = {""};
    const struct place schema = inside(&top, "schema"), ek = inside(&top, "ek"),
                       pcrs = inside(&top, "pcrs"), adopt = inside(&top, "adopt");
    const json_t *number = json_object_get(root, "schema");
    enum st_code code;
    /* First: what the other words mean is the schema's to say. */
    if (json_is_integer(number) &&
        REFUSES(0x5705, json_integer_value(number) != POLICY_SCHEMA))
        return wrong(&schema, err, "must be 1");
    if ((code = WORDS_CHECK(&top, root, words, err)))
        return code;
    if ((code = ek_read(&ek, json_object_get(root, "ek"), out, err)) ||
        (code = pcrs_read(&pcrs, json_object_get(root, "pcrs"), out, err)))
        return code;
    return adopt_read(&adopt, json_object_get(root, "adopt"), out, err);
}

/* jansson itself refuses a word that comes twice, what is no UTF-8, and a NUL. */
static enum st_code
json_read(const void *text, size_t len, json_t **out, struct st_err *err)
{
    json_error_t error;
    if (len > POLICY_TEXT_MAX)
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "a policy of %zu bytes: %d is the limit", len,
                           POLICY_TEXT_MAX);
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!root && json_error_code(&error) == json_error_out_of_memory)
        return no_memory(err);
    if (!root)
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "line %d, column %d: %.120s", error.line, error.column,
                           error.text);
    *out = root;
    return ST_OK;
}

enum st_code
policy_parse(const void *text, size_t len, struct policy **out, char **out_text,
             struct st_err *err)
{
    AUTO(json_unrefp) json_t *root = NULL;
    AUTO(policy_freep) struct policy *policy = calloc(1, sizeof(*policy));
    AUTO(st_freep) char *kept = NULL;
    enum st_code code;
    if (!policy)
        return no_memory(err);
    if ((code = json_read(text, len, &root, err)) ||
        (code = document_read(root, policy, err)))
        return code;
    if (out_text && !(kept = json_dumps(root, JSON_SORT_KEYS | JSON_COMPACT)))
        return no_memory(err);
    *out = TAKE(policy);
    if (out_text)
        *out_text = TAKE(kept);
    return ST_OK;
}

void
policy_free(struct policy *policy)
{
    if (!policy)
        return;
    for (size_t i = 0; i < policy->set_count; i++) {
        free(policy->sets[i].nodes.at);
        for (int pcr = 0; pcr < TPM_PCR_COUNT; pcr++)
            free(policy->sets[i].values[pcr].at);
    }
    free(policy->sets);
    free(policy->listed.at);
    free(policy->automatic.at);
    free(policy);
}
