/* records.h - the records of the cluster in memory: ordered keys, each with its packed
 * bytes, and a way to find some of them by a second name.
 *
 * Ten thousand nodes of 2 kB must fit into a small master, so a record is one allocation
 * and is unpacked only while somebody reads it.  Freed bytes are wiped: they hold halves
 * of disk keys.  No locking here: struct state has it.
 */
#ifndef NMS_RECORDS_H
#define NMS_RECORDS_H

#include "proto/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RECORD_ALIAS_LEN = 32
};

struct record {
    uint8_t alias[RECORD_ALIAS_LEN]; /* a node's EK hash, an enrolment's secret hash, a
                                      * request's id; zero for the others */
    int64_t seen;                    /* of a node: last unlock here; never stored */
    struct state_boot *boot;         /* of a node, then; NULL, or malloc'ed */
    uint32_t key_len;
    uint32_t len;
    uint8_t bytes[]; /* the key, a NUL, then the packed value of len bytes */
};

static inline const char *
record_key(const struct record *record)
{
    return (const char *)record->bytes;
}
static inline const uint8_t *
record_value(const struct record *record)
{
    return record->bytes + record->key_len + 1;
}

/* Pointers in the order of key or alias; owned by `by_key` of struct records. */
struct record_index {
    struct record **at;
    size_t count, room;
};

struct records {
    struct record_index by_key;
    struct record_index nodes_by_ek;
    struct record_index requests_by_id;
};

/* Replaces what was there under this key.  alias may be NULL.  ST_RESOURCE_EXHAUSTED
 * without memory; ST_ALREADY_EXISTS where another record of the same kind has this alias
 * (nodes and requests). */
enum st_code records_put(struct records *records, const char *key,
                         const uint8_t alias[RECORD_ALIAS_LEN], const void *value,
                         size_t len, struct st_err *err);
void records_delete(struct records *records, const char *key);
void records_clear(struct records *records);

/* Lent until the next change.  NULL where there is none. */
struct record *records_find(const struct records *records, const char *key);
struct record *records_find_node_of_ek(const struct records *records,
                                       const uint8_t ek_hash[RECORD_ALIAS_LEN]);
struct record *records_find_request(const struct records *records,
                                    const uint8_t id[RECORD_ALIAS_LEN]);

/* All records whose key begins with prefix, in order.
 *     size_t at = records_begin(records, "node/");
 *     while ((record = records_next(records, "node/", &at))) */
struct record *records_next(const struct records *records, const char *prefix,
                            size_t *at);
/* Where the first of them is, for records_next(). */
size_t records_begin(const struct records *records, const char *prefix);
size_t records_count(const struct records *records, const char *prefix);

#endif
