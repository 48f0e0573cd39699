#include "store/store_internal.h"

#include <stdlib.h>
#include <string.h>

struct reading {
    MDB_txn *txn;
    MDB_cursor *cursor;
};

static void
reading_end(struct reading *reading)
{
    if (reading->cursor)
        mdb_cursor_close(reading->cursor);
    if (reading->txn)
        mdb_txn_abort(reading->txn);
}

static enum st_code
reading_begin(struct store *store, struct reading *reading, struct st_err *err)
{
    int status = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &reading->txn);
    return status ? store_fail(store, status, "read", err) : ST_OK;
}

static enum st_code
reading_table(struct store *store, struct reading *reading, enum store_table table,
              struct st_err *err)
{
    if (reading->cursor)
        mdb_cursor_close(TAKE(reading->cursor));
    int status = mdb_cursor_open(reading->txn, store->tables[table], &reading->cursor);
    return status ? store_fail(store, status, "read", err) : ST_OK;
}

/* The index of the first or last entry; 0 where there is none. */
static enum st_code
edge(struct store *store, struct reading *reading, MDB_cursor_op which, uint64_t *out,
     struct st_err *err)
{
    MDB_val key, row;
    int status = mdb_cursor_get(reading->cursor, &key, &row, which);
    if (status && status != MDB_NOTFOUND)
        return store_fail(store, status, "read", err);
    *out = status ? 0 : store_key_index(&key);
    return ST_OK;
}

static enum st_code
read_edges(struct store *store, struct reading *reading, struct store_head *head,
           struct st_err *err)
{
    enum st_code code = reading_table(store, reading, TABLE_LOG, err);
    if (!code)
        code = edge(store, reading, MDB_FIRST, &head->first, err);
    if (!code)
        code = edge(store, reading, MDB_LAST, &head->last, err);
    if (code || head->first)
        return code;
    head->first = head->base_index + 1;
    head->last = head->base_index;
    return ST_OK;
}

static enum st_code
read_head(struct store *store, struct reading *reading, struct store_head *head,
          struct st_err *err)
{
    uint8_t bytes[16];
    struct store_state state;
    enum st_code code = store_get_meta(store, reading->txn, "member", bytes, 8, err);
    if (code)
        return code;
    head->member = store_unpack(bytes, 8);
    code = store_get_meta(store, reading->txn, "hard", bytes, 16, err);
    if (code)
        return code;
    head->term = store_unpack(bytes, 8);
    head->vote = store_unpack(bytes + 8, 8);
    code = store_get_meta(store, reading->txn, "base", bytes, 16, err);
    if (code)
        return code;
    head->base_index = store_unpack(bytes, 8);
    head->base_term = store_unpack(bytes + 8, 8);
    code = store_get_state(store, reading->txn, &state, err);
    if (code)
        return code;
    head->applied = state.applied;
    return read_edges(store, reading, head, err);
}

enum st_code
store_head(struct store *store, struct store_head *out, struct st_err *err)
{
    AUTO(reading_end) struct reading reading = {0};
    struct store_head head = {0};
    enum st_code code = reading_begin(store, &reading, err);
    if (!code)
        code = read_head(store, &reading, &head, err);
    if (code)
        return code;
    *out = head;
    return ST_OK;
}

enum st_code
store_boot(struct store *store, uint64_t member, struct store_boot *out,
           struct st_err *err)
{
    AUTO(reading_end) struct reading reading = {0};
    char name[BOOT_NAME_MAX];
    uint8_t bytes[BOOT_LEN];
    store_boot_name(member, name);
    enum st_code code = reading_begin(store, &reading, err);
    if (!code)
        code = store_get_meta(store, reading.txn, name, bytes, sizeof(bytes), err);
    if (code)
        return code;
    out->number = store_unpack(bytes, 8);
    memcpy(out->nonce, bytes + 8, STORE_NONCE_LEN);
    return ST_OK;
}

static enum st_code
parse_entry(struct store *store, const MDB_val *key, const MDB_val *row,
            struct store_entry *out, struct st_err *err)
{
    const uint8_t *rest;
    size_t len;
    enum st_code code = store_row(store, TABLE_LOG, key, row, &rest, &len, err);
    if (code)
        return code;
    if (len < ENTRY_HEAD)
        return st_fail(err, ST_DATA_LOSS, "log entry %llu of %s is too short",
                       (unsigned long long)store_key_index(key), store->path);
    *out = (struct store_entry){.index = store_key_index(key),
                                .term = store_unpack(rest, 8),
                                .type = (uint16_t)store_unpack(rest + 8, 2),
                                .bytes = rest + ENTRY_HEAD,
                                .len = len - ENTRY_HEAD};
    return ST_OK;
}

static enum st_code
read_entry(struct store *store, struct reading *reading, uint64_t index, bool first,
           struct store_entry *out, struct st_err *err)
{
    uint8_t bytes[8];
    store_index_key(index, bytes);
    MDB_val key = {sizeof(bytes), bytes}, row;
    int status =
        mdb_cursor_get(reading->cursor, &key, &row, first ? MDB_SET_RANGE : MDB_NEXT);
    if (status && status != MDB_NOTFOUND)
        return store_fail(store, status, "read", err);
    if (status || store_key_index(&key) != index)
        return st_fail(err, ST_DATA_LOSS, "log entry %llu of %s is missing",
                       (unsigned long long)index, store->path);
    return parse_entry(store, &key, &row, out, err);
}

enum st_code
store_each_entry(struct store *store, uint64_t first, uint64_t last,
                 enum st_code (*visit)(void *arg, const struct store_entry *entry,
                                       struct st_err *err),
                 void *arg, struct st_err *err)
{
    AUTO(reading_end) struct reading reading = {0};
    enum st_code code = reading_begin(store, &reading, err);
    if (!code)
        code = reading_table(store, &reading, TABLE_LOG, err);
    for (uint64_t index = first; !code && index <= last; index++) {
        struct store_entry entry;
        code = read_entry(store, &reading, index, index == first, &entry, err);
        if (!code)
            code = visit(arg, &entry, err);
    }
    return code;
}

static enum st_code
each_record(struct store *store, struct reading *reading, store_visit_record visit,
            void *arg, struct st_err *err)
{
    struct store_state expected, seen = {0};
    enum st_code code = store_get_state(store, reading->txn, &expected, err);
    if (!code)
        code = reading_table(store, reading, TABLE_RECORD, err);
    if (code)
        return code;
    MDB_val key, row;
    int status;
    while (!(status = mdb_cursor_get(reading->cursor, &key, &row, MDB_NEXT))) {
        const uint8_t *rest;
        size_t len;
        code = store_row(store, TABLE_RECORD, &key, &row, &rest, &len, err);
        if (!code)
            code = visit(arg, key.mv_data, key.mv_size, rest, len, err);
        if (code)
            return code;
        seen.count++;
        seen.sum += store_unpack(row.mv_data, ROW_HEAD);
    }
    if (status != MDB_NOTFOUND)
        return store_fail(store, status, "read", err);
    if (seen.count != expected.count || seen.sum != expected.sum)
        return st_fail(err, ST_DATA_LOSS,
                       "%s has %llu records that do not add up to the %llu written",
                       store->path, (unsigned long long)seen.count,
                       (unsigned long long)expected.count);
    return ST_OK;
}

enum st_code
store_each_record(struct store *store, store_visit_record visit, void *arg,
                  struct st_err *err)
{
    AUTO(reading_end) struct reading reading = {0};
    enum st_code code = reading_begin(store, &reading, err);
    return code ? code : each_record(store, &reading, visit, arg, err);
}

/* The newest configuration at or before index, lent as long as the transaction. */
static enum st_code
find_configuration(struct store *store, struct reading *reading, uint64_t index,
                   uint64_t *out_index, const uint8_t **out, size_t *out_len,
                   struct st_err *err)
{
    enum st_code code = reading_table(store, reading, TABLE_CONF, err);
    if (code)
        return code;
    MDB_val key, row, found_key = {0}, found = {0};
    int status = mdb_cursor_get(reading->cursor, &key, &row, MDB_FIRST);
    while (!status && store_key_index(&key) <= index) {
        found_key = key;
        found = row;
        status = mdb_cursor_get(reading->cursor, &key, &row, MDB_NEXT);
    }
    if (status && status != MDB_NOTFOUND)
        return store_fail(store, status, "read", err);
    if (!found.mv_data)
        return st_fail(err, ST_NOT_FOUND, "%s has no configuration at %llu", store->path,
                       (unsigned long long)index);
    *out_index = store_key_index(&found_key);
    return store_row(store, TABLE_CONF, &found_key, &found, out, out_len, err);
}

static enum st_code
term_of_applied(struct store *store, struct reading *reading,
                const struct store_head *head, uint64_t *out, struct st_err *err)
{
    if (head->applied == head->base_index) {
        *out = head->base_term;
        return ST_OK;
    }
    struct store_entry entry;
    enum st_code code = reading_table(store, reading, TABLE_LOG, err);
    if (!code)
        code = read_entry(store, reading, head->applied, true, &entry, err);
    if (!code)
        *out = entry.term;
    return code;
}

static enum st_code
read_moment(struct store *store, struct reading *reading, struct store_moment *moment,
            struct st_err *err)
{
    struct store_head head = {0};
    struct store_state state;
    const uint8_t *bytes;
    enum st_code code = read_head(store, reading, &head, err);
    if (!code)
        code = store_get_state(store, reading->txn, &state, err);
    if (!code)
        code = term_of_applied(store, reading, &head, &moment->term, err);
    if (!code)
        code =
            find_configuration(store, reading, head.applied, &moment->configuration_index,
                               &bytes, &moment->configuration_len, err);
    if (code)
        return code;
    moment->index = head.applied;
    moment->configuration = bytes;
    moment->count = state.count;
    return ST_OK;
}

enum st_code
store_each_of_moment(struct store *store,
                     enum st_code (*moment)(void *arg, const struct store_moment *moment,
                                            struct st_err *err),
                     store_visit_record visit, void *arg, struct st_err *err)
{
    AUTO(reading_end) struct reading reading = {0};
    struct store_moment now = {0};
    enum st_code code = reading_begin(store, &reading, err);
    if (!code)
        code = read_moment(store, &reading, &now, err);
    if (!code)
        code = moment(arg, &now, err);
    if (!code && visit)
        code = each_record(store, &reading, visit, arg, err);
    return code;
}
