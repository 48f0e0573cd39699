#include "nms/records.h"
#include "proto/grow.h"
#include "proto/scope.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static void
record_free(struct record *record)
{
    if (!record)
        return;
    free(record->boot);
    explicit_bzero(record, malloc_usable_size(record));
    free(record);
}
AUTO_DEFINE(struct record *, record_freep, record_free)

static struct record *
record_new(const char *key, const uint8_t alias[RECORD_ALIAS_LEN], const void *value,
           size_t len)
{
    const size_t key_len = strlen(key);
    struct record *record = malloc(sizeof(*record) + key_len + 1 + len);
    if (!record)
        return NULL;
    memset(record, 0, sizeof(*record));
    if (alias)
        memcpy(record->alias, alias, RECORD_ALIAS_LEN);
    record->key_len = (uint32_t)key_len;
    record->len = (uint32_t)len;
    memcpy(record->bytes, key, key_len + 1);
    if (len > 0)
        memcpy(record->bytes + key_len + 1, value, len);
    return record;
}

static int
compare_key(const struct record *record, const void *key)
{
    return strcmp(record_key(record), key);
}

static int
compare_alias(const struct record *record, const void *alias)
{
    return memcmp(record->alias, alias, RECORD_ALIAS_LEN);
}

typedef int (*compare_fn)(const struct record *, const void *);

/* Where `key` is or would be. */
static size_t
index_seek(const struct record_index *index, compare_fn compare, const void *key,
           bool *out_found)
{
    size_t low = 0, high = index->count;
    *out_found = false;
    /* What is loaded comes in order: look at the end first. */
    if (high > 0 && compare(index->at[high - 1], key) < 0)
        return high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(index->at[middle], key);
        if (order == 0) {
            *out_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool
index_reserve(struct record_index *index)
{
    struct record **at =
        st_grow(index->at, index->count, &index->room, sizeof(struct record *));
    if (!at)
        return false;
    index->at = at;
    return true;
}

/* The room was reserved. */
static void
index_insert(struct record_index *index, size_t place, struct record *record)
{
    memmove(index->at + place + 1, index->at + place,
            (index->count - place) * sizeof(*index->at));
    index->at[place] = record;
    index->count++;
}

static void
index_remove(struct record_index *index, size_t place)
{
    index->count--;
    memmove(index->at + place, index->at + place + 1,
            (index->count - place) * sizeof(*index->at));
}

static bool
begins_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* The index that knows records with such a key by their alias, or NULL. */
static struct record_index *
alias_index(struct records *records, const char *key)
{
    if (begins_with(key, "node/"))
        return &records->nodes_by_ek;
    if (begins_with(key, "request/"))
        return &records->requests_by_id;
    return NULL;
}

static void
alias_forget(struct records *records, const struct record *record)
{
    struct record_index *index = alias_index(records, record_key(record));
    bool found;
    if (!index)
        return;
    size_t place = index_seek(index, compare_alias, record->alias, &found);
    if (found)
        index_remove(index, place);
}

/* Another record than `old` already has this alias. */
static bool
alias_taken(struct record_index *index, const uint8_t *alias, const struct record *old)
{
    bool found;
    size_t place = index_seek(index, compare_alias, alias, &found);
    return found && index->at[place] != old;
}

enum st_code
records_put(struct records *records, const char *key,
            const uint8_t alias[RECORD_ALIAS_LEN], const void *value, size_t len,
            struct st_err *err)
{
    bool found;
    struct record_index *keys = &records->by_key;
    struct record_index *aliases = alias_index(records, key);
    AUTO(record_freep) struct record *record = record_new(key, alias, value, len);
    if (!record || !index_reserve(keys) || (aliases && !index_reserve(aliases)))
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory for a record");

    size_t place = index_seek(keys, compare_key, key, &found);
    struct record *old = found ? keys->at[place] : NULL;
    if (aliases && alias_taken(aliases, record->alias, old))
        return st_fail(err, ST_ALREADY_EXISTS, "%s and another record are alike", key);
    if (old) {
        record->seen = old->seen;
        record->boot = old->boot;
        old->boot = NULL;
        alias_forget(records, old);
        record_free(old);
        keys->at[place] = record;
    } else {
        index_insert(keys, place, record);
    }
    if (aliases) {
        place = index_seek(aliases, compare_alias, record->alias, &found);
        index_insert(aliases, place, record);
    }
    record = NULL;
    return ST_OK;
}

void
records_delete(struct records *records, const char *key)
{
    bool found;
    size_t place = index_seek(&records->by_key, compare_key, key, &found);
    if (!found)
        return;
    struct record *record = records->by_key.at[place];
    alias_forget(records, record);
    index_remove(&records->by_key, place);
    record_free(record);
}

void
records_clear(struct records *records)
{
    for (size_t i = 0; i < records->by_key.count; i++)
        record_free(records->by_key.at[i]);
    free(records->by_key.at);
    free(records->nodes_by_ek.at);
    free(records->requests_by_id.at);
    memset(records, 0, sizeof(*records));
}

static struct record *
index_find(const struct record_index *index, compare_fn compare, const void *key)
{
    bool found;
    size_t place = index_seek(index, compare, key, &found);
    return found ? index->at[place] : NULL;
}

struct record *
records_find(const struct records *records, const char *key)
{
    return index_find(&records->by_key, compare_key, key);
}

struct record *
records_find_node_of_ek(const struct records *records,
                        const uint8_t ek_hash[RECORD_ALIAS_LEN])
{
    return index_find(&records->nodes_by_ek, compare_alias, ek_hash);
}

struct record *
records_find_request(const struct records *records, const uint8_t id[RECORD_ALIAS_LEN])
{
    return index_find(&records->requests_by_id, compare_alias, id);
}

size_t
records_begin(const struct records *records, const char *prefix)
{
    bool found;
    return index_seek(&records->by_key, compare_key, prefix, &found);
}

struct record *
records_next(const struct records *records, const char *prefix, size_t *at)
{
    if (*at >= records->by_key.count ||
        !begins_with(record_key(records->by_key.at[*at]), prefix))
        return NULL;
    return records->by_key.at[(*at)++];
}

size_t
records_count(const struct records *records, const char *prefix)
{
    char behind[32];
    const size_t len = strlen(prefix);
    assert(len > 0 && len < sizeof(behind));
    memcpy(behind, prefix, len + 1);
    behind[len - 1]++;
    return records_begin(records, behind) - records_begin(records, prefix);
}
