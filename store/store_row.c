#include "store/store_internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* CRC-32C (Castagnoli), reflected. */
enum {
    CRC_POLYNOMIAL = 0x82f63b78
};

static uint32_t crc_table[256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void
crc_make_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ (uint32_t)CRC_POLYNOMIAL : crc >> 1;
        crc_table[i] = crc;
    }
}

static uint32_t
crc_add(uint32_t crc, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < len; i++)
        crc = crc_table[(crc ^ at[i]) & 0xff] ^ crc >> 8;
    return crc;
}

uint32_t
store_checksum(enum store_table table, const void *key, size_t key_len, const void *rest,
               size_t len)
{
    pthread_once(&crc_once, crc_make_table);
    uint8_t place[2] = {(uint8_t)table, (uint8_t)key_len};
    uint32_t crc = crc_add(0xffffffff, place, sizeof(place));
    crc = crc_add(crc, key, key_len);
    return ~crc_add(crc, rest, len);
}

void
store_pack(uint8_t *out, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

uint64_t
store_unpack(const uint8_t *in, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)in[i] << (8 * i);
    return value;
}

void
store_boot_name(uint64_t member, char out[BOOT_NAME_MAX])
{
    snprintf(out, BOOT_NAME_MAX, "boot/%llu", (unsigned long long)member);
}

void
store_index_key(uint64_t index, uint8_t out[8])
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(index >> (56 - 8 * i));
}

uint64_t
store_key_index(const MDB_val *key)
{
    const uint8_t *bytes = key->mv_data;
    uint64_t index = 0;
    for (size_t i = 0; i < key->mv_size && i < 8; i++)
        index = index << 8 | bytes[i];
    return index;
}

enum st_code
store_fail(struct store *store, int status, const char *what, struct st_err *err)
{
    enum st_code code = ST_INTERNAL;
    switch (status) {
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
    case MDB_BAD_VALSIZE:
        code = ST_DATA_LOSS;
        break;
    case MDB_MAP_FULL:
    case ENOSPC:
        code = ST_RESOURCE_EXHAUSTED;
        break;
    default:
        break;
    }
    return st_fail(err, code, "cannot %s %s: %s", what, store->path,
                   mdb_strerror(status));
}

/* "record node/17", "log entry 12". */
static void
name_row(enum store_table table, const MDB_val *key, char *out, size_t size)
{
    if (table == TABLE_LOG || table == TABLE_CONF) {
        snprintf(out, size, "%s %llu", table == TABLE_LOG ? "log entry" : "configuration",
                 (unsigned long long)store_key_index(key));
        return;
    }
    int used = snprintf(out, size, "%s ", table == TABLE_META ? "meta record" : "record");
    const uint8_t *bytes = key->mv_data;
    for (size_t i = 0; i < key->mv_size && (size_t)used + 5 < size; i++)
        used += snprintf(out + used, size - (size_t)used,
                         isprint(bytes[i]) ? "%c" : "\\x%02x", bytes[i]);
}

enum st_code
store_row(struct store *store, enum store_table table, const MDB_val *key,
          const MDB_val *row, const uint8_t **out, size_t *out_len, struct st_err *err)
{
    const uint8_t *bytes = row->mv_data;
    if (row->mv_size < ROW_HEAD ||
        store_unpack(bytes, 4) != store_checksum(table, key->mv_data, key->mv_size,
                                                 bytes + ROW_HEAD,
                                                 row->mv_size - ROW_HEAD)) {
        char name[250];
        name_row(table, key, name, sizeof(name));
        return st_fail(err, ST_DATA_LOSS, "%s of %s is corrupt: wrong checksum", name,
                       store->path);
    }
    *out = bytes + ROW_HEAD;
    *out_len = row->mv_size - ROW_HEAD;
    return ST_OK;
}

enum st_code
store_get(struct store *store, MDB_txn *txn, enum store_table table, const void *key,
          size_t key_len, const uint8_t **out, size_t *out_len, struct st_err *err)
{
    MDB_val k = {key_len, (void *)(uintptr_t)key}, row;
    int status = mdb_get(txn, store->tables[table], &k, &row);
    if (status == MDB_NOTFOUND) {
        *out = NULL;
        *out_len = 0;
        return ST_OK;
    }
    if (status)
        return store_fail(store, status, "read", err);
    return store_row(store, table, &k, &row, out, out_len, err);
}

enum st_code
store_put(struct store *store, MDB_txn *txn, enum store_table table, const void *key,
          size_t key_len, const void *rest, size_t len, struct st_err *err)
{
    /* An entry that is not behind the last one is a bug, and refused by MDB_APPEND. */
    unsigned flags = MDB_RESERVE | (table == TABLE_LOG ? MDB_APPEND : 0);
    MDB_val k = {key_len, (void *)(uintptr_t)key}, row = {ROW_HEAD + len, NULL};
    int status = mdb_put(txn, store->tables[table], &k, &row, flags);
    if (status)
        return store_fail(store, status, "write", err);
    uint8_t *bytes = row.mv_data;
    store_pack(bytes, store_checksum(table, key, key_len, rest, len), ROW_HEAD);
    if (len)
        memcpy(bytes + ROW_HEAD, rest, len);
    return ST_OK;
}

enum st_code
store_get_meta(struct store *store, MDB_txn *txn, const char *name, uint8_t *out,
               size_t len, struct st_err *err)
{
    const uint8_t *rest;
    size_t rest_len;
    enum st_code code =
        store_get(store, txn, TABLE_META, name, strlen(name), &rest, &rest_len, err);
    if (code)
        return code;
    memset(out, 0, len);
    if (!rest)
        return ST_OK;
    if (rest_len != len)
        return st_fail(err, ST_DATA_LOSS, "meta record %s of %s has %zu bytes, not %zu",
                       name, store->path, rest_len, len);
    memcpy(out, rest, len);
    return ST_OK;
}

enum st_code
store_get_state(struct store *store, MDB_txn *txn, struct store_state *out,
                struct st_err *err)
{
    uint8_t bytes[24];
    enum st_code code = store_get_meta(store, txn, "state", bytes, sizeof(bytes), err);
    if (code)
        return code;
    *out = (struct store_state){store_unpack(bytes, 8), store_unpack(bytes + 8, 8),
                                store_unpack(bytes + 16, 8)};
    return ST_OK;
}
