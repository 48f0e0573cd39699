/* store_internal.h - the inside of the store, for store/ alone.
 *
 * Tables and their rows, all numbers little-endian but the keys, which sort:
 *
 *   meta   name         -> row      "format"  u32 version
 *                                   "member"  u64 id
 *                                   "hard"    u64 term, u64 vote
 *                                   "base"    u64 index, u64 term
 *                                   "boot/ID" u64 number, 16 bytes nonce
 *                                   "state"   u64 applied, u64 count, u64 sum
 *   log    u64 BE index -> row      u64 term, u16 type, the entry's bytes
 *   conf   u64 BE index -> row      the configuration's bytes
 *   record key          -> row      the value's bytes
 *
 *   row    u32 CRC-32C over table number, key and the rest | the rest
 *
 * `count` and `sum` are over all records: how many, and the sum of their checksums.
 */
#ifndef STORE_STORE_INTERNAL_H
#define STORE_STORE_INTERNAL_H

#include "store/store.h"

#include <lmdb.h>
#include <pthread.h>

enum store_table {
    TABLE_META,
    TABLE_LOG,
    TABLE_CONF,
    TABLE_RECORD,
    TABLE_COUNT,
};

enum {
    ROW_HEAD = 4,       /* the checksum */
    ENTRY_HEAD = 8 + 2, /* term, type */
    BOOT_LEN = 8 + STORE_NONCE_LEN,
    BOOT_NAME_MAX = 32,
};

struct store_state {
    uint64_t applied;
    uint64_t count;
    uint64_t sum;
};

struct store {
    char *path;
    int lock_fd;
    size_t map_size;
    MDB_env *env;
    MDB_dbi tables[TABLE_COUNT];
    void (*failed)(void *arg, const struct st_err *err);
    void *arg;

    /* Of the writer thread. */
    pthread_t writer;
    bool writer_runs;
    struct store_state state;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;  /* the writer: queue or stop changed */
    pthread_cond_t done;  /* who waits in store_write() */
    struct store_batch *queue, **queue_end;
    bool stop;
    bool broken;
    struct st_err why; /* it is broken */
};

void store_boot_name(uint64_t member, char out[BOOT_NAME_MAX]);

uint32_t store_checksum(enum store_table table, const void *key, size_t key_len,
                        const void *rest, size_t len);

void store_index_key(uint64_t index, uint8_t out[8]);
uint64_t store_key_index(const MDB_val *key);
void store_pack(uint8_t *out, uint64_t value, size_t bytes);
uint64_t store_unpack(const uint8_t *in, size_t bytes);

/* What LMDB said, as an error of ours. */
enum st_code store_fail(struct store *store, int status, const char *what,
                        struct st_err *err);
/* Checks a row and gives its rest, lent as long as the transaction. */
enum st_code store_row(struct store *store, enum store_table table, const MDB_val *key,
                       const MDB_val *row, const uint8_t **out, size_t *out_len,
                       struct st_err *err);
/* The row of a key; *out_len 0 and *out NULL where there is none. */
enum st_code store_get(struct store *store, MDB_txn *txn, enum store_table table,
                       const void *key, size_t key_len, const uint8_t **out,
                       size_t *out_len, struct st_err *err);
enum st_code store_put(struct store *store, MDB_txn *txn, enum store_table table,
                       const void *key, size_t key_len, const void *rest, size_t len,
                       struct st_err *err);
/* A row of meta with exactly len bytes; zeros where there is none. */
enum st_code store_get_meta(struct store *store, MDB_txn *txn, const char *name,
                            uint8_t *out, size_t len, struct st_err *err);
enum st_code store_get_state(struct store *store, MDB_txn *txn, struct store_state *out,
                             struct st_err *err);

/* The writer thread, in store_write.c. */
enum st_code store_writer_start(struct store *store, struct st_err *err);
/* Writes what is queued, then ends. */
void store_writer_stop(struct store *store);

#endif
