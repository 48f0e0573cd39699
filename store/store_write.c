#include "store/failpoint.h"
#include "store/store_batch.h"
#include "store/store_internal.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* What one transaction changes beside the tables. */
struct writing {
    struct store *store;
    MDB_txn *txn;
    struct store_state state;
    bool state_changed;
};

static enum st_code
put_meta(struct writing *w, const char *name, const uint64_t *numbers, size_t count,
         struct st_err *err)
{
    uint8_t bytes[24];
    assert(count * 8 <= sizeof(bytes));
    for (size_t i = 0; i < count; i++)
        store_pack(bytes + 8 * i, numbers[i], 8);
    return store_put(w->store, w->txn, TABLE_META, name, strlen(name), bytes, 8 * count,
                     err);
}

static enum st_code
put_boot(struct writing *w, const struct change *change, struct st_err *err)
{
    char name[BOOT_NAME_MAX];
    uint8_t bytes[BOOT_LEN];
    store_boot_name(change->a, name);
    store_pack(bytes, change->b, 8);
    memcpy(bytes + 8, change->bytes, STORE_NONCE_LEN);
    return store_put(w->store, w->txn, TABLE_META, name, strlen(name), bytes,
                     sizeof(bytes), err);
}

static enum st_code
append(struct writing *w, const struct change *change, struct st_err *err)
{
    uint8_t key[8], *row;
    store_index_key(change->a, key);
    size_t len = ENTRY_HEAD + change->len;
    AUTO(st_freep) uint8_t *rest = malloc(len);
    if (!rest)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory");
    row = rest;
    store_pack(row, change->b, 8);
    store_pack(row + 8, change->type, 2);
    if (change->len)
        memcpy(row + ENTRY_HEAD, change->bytes, change->len);
    return store_put(w->store, w->txn, TABLE_LOG, key, sizeof(key), rest, len, err);
}

/* Deletes the rows of an index table from the cursor's first key at or after `from` up
 * to but without `end`. */
static enum st_code
delete_range(struct writing *w, enum store_table table, uint64_t from, uint64_t end,
             struct st_err *err)
{
    MDB_cursor *cursor;
    int status = mdb_cursor_open(w->txn, w->store->tables[table], &cursor);
    if (status)
        return store_fail(w->store, status, "write", err);
    uint8_t bytes[8];
    store_index_key(from, bytes);
    MDB_val key = {sizeof(bytes), bytes}, row;
    status = mdb_cursor_get(cursor, &key, &row, MDB_SET_RANGE);
    while (!status && store_key_index(&key) < end) {
        status = mdb_cursor_del(cursor, 0);
        if (!status)
            status = mdb_cursor_get(cursor, &key, &row, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (status && status != MDB_NOTFOUND)
        return store_fail(w->store, status, "write", err);
    return ST_OK;
}

/* The newest configuration at or before index, 0 where there is none. */
static enum st_code
newest_configuration(struct writing *w, uint64_t index, uint64_t *out, struct st_err *err)
{
    MDB_cursor *cursor;
    int status = mdb_cursor_open(w->txn, w->store->tables[TABLE_CONF], &cursor);
    if (status)
        return store_fail(w->store, status, "write", err);
    MDB_val key, row;
    uint64_t newest = 0;
    status = mdb_cursor_get(cursor, &key, &row, MDB_FIRST);
    while (!status && store_key_index(&key) <= index) {
        newest = store_key_index(&key);
        status = mdb_cursor_get(cursor, &key, &row, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (status && status != MDB_NOTFOUND)
        return store_fail(w->store, status, "write", err);
    *out = newest;
    return ST_OK;
}

static enum st_code
cut_head(struct writing *w, uint64_t index, struct st_err *err)
{
    uint64_t keep = 0;
    enum st_code code = newest_configuration(w, index, &keep, err);
    if (!code)
        code = delete_range(w, TABLE_CONF, 0, keep, err);
    if (!code)
        code = delete_range(w, TABLE_LOG, 0, index, err);
    return code;
}

/* Takes the record as it is out of count and sum. */
static enum st_code
forget_record(struct writing *w, const struct change *change, bool *out_known,
              struct st_err *err)
{
    const uint8_t *rest;
    size_t len;
    enum st_code code = store_get(w->store, w->txn, TABLE_RECORD, change->key,
                                  change->key_len, &rest, &len, err);
    if (code)
        return code;
    *out_known = rest != NULL;
    if (!rest)
        return ST_OK;
    w->state.count--;
    w->state.sum -= store_checksum(TABLE_RECORD, change->key, change->key_len, rest, len);
    return ST_OK;
}

static enum st_code
put_record(struct writing *w, const struct change *change, struct st_err *err)
{
    bool known;
    enum st_code code = forget_record(w, change, &known, err);
    if (code)
        return code;
    w->state_changed = true;
    w->state.count++;
    w->state.sum += store_checksum(TABLE_RECORD, change->key, change->key_len,
                                   change->bytes, change->len);
    return store_put(w->store, w->txn, TABLE_RECORD, change->key, change->key_len,
                     change->bytes, change->len, err);
}

static enum st_code
delete_record(struct writing *w, const struct change *change, struct st_err *err)
{
    bool known;
    enum st_code code = forget_record(w, change, &known, err);
    if (code || !known)
        return code;
    w->state_changed = true;
    MDB_val key = {change->key_len, (void *)(uintptr_t)change->key};
    int status = mdb_del(w->txn, w->store->tables[TABLE_RECORD], &key, NULL);
    return status ? store_fail(w->store, status, "write", err) : ST_OK;
}

static enum st_code
replace(struct writing *w, const struct change *change, struct st_err *err)
{
    const enum store_table emptied[] = {TABLE_LOG, TABLE_CONF, TABLE_RECORD};
    for (size_t i = 0; i < sizeof(emptied) / sizeof(*emptied); i++) {
        int status = mdb_drop(w->txn, w->store->tables[emptied[i]], 0);
        if (status)
            return store_fail(w->store, status, "write", err);
    }
    w->state = (struct store_state){.applied = change->a};
    w->state_changed = true;
    return put_meta(w, "base", (uint64_t[]){change->a, change->b}, 2, err);
}

static enum st_code
make_change(struct writing *w, const struct change *change, struct st_err *err)
{
    uint8_t key[8];
    enum st_code code;
    switch (change->kind) {
    case CHANGE_MEMBER:
        return put_meta(w, "member", (uint64_t[]){change->a}, 1, err);
    case CHANGE_HARD:
        return put_meta(w, "hard", (uint64_t[]){change->a, change->b}, 2, err);
    case CHANGE_BOOT:
        return put_boot(w, change, err);
    case CHANGE_APPEND:
        return append(w, change, err);
    case CHANGE_CUT_TAIL:
        code = delete_range(w, TABLE_LOG, change->a, UINT64_MAX, err);
        return code ? code : delete_range(w, TABLE_CONF, change->a, UINT64_MAX, err);
    case CHANGE_CUT_HEAD:
        return cut_head(w, change->a, err);
    case CHANGE_CONFIGURATION:
        store_index_key(change->a, key);
        return store_put(w->store, w->txn, TABLE_CONF, key, sizeof(key), change->bytes,
                         change->len, err);
    case CHANGE_PUT:
        return put_record(w, change, err);
    case CHANGE_DELETE:
        return delete_record(w, change, err);
    case CHANGE_REPLACE:
        return replace(w, change, err);
    case CHANGE_APPLIED:
        w->state.applied = change->a;
        w->state_changed = true;
        return ST_OK;
    }
    return st_fail(err, ST_INTERNAL, "no such change: %d", (int)change->kind);
}

static enum st_code
make_changes(struct writing *w, const struct store_batch *batch, struct st_err *err)
{
    for (; batch; batch = batch->next) {
        if (batch->bad)
            return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory writing %s",
                           w->store->path);
        for (size_t i = 0; i < batch->count; i++) {
            enum st_code code = make_change(w, &batch->changes[i], err);
            if (code)
                return code;
        }
    }
    if (!w->state_changed)
        return ST_OK;
    return put_meta(w, "state",
                    (uint64_t[]){w->state.applied, w->state.count, w->state.sum}, 3, err);
}

/* All batches of the list in one transaction. */
static enum st_code
commit(struct store *store, const struct store_batch *list, struct st_err *err)
{
    struct writing w = {.store = store, .state = store->state};
    FAILPOINT("store.begin");
    int status = mdb_txn_begin(store->env, NULL, 0, &w.txn);
    if (status)
        return store_fail(store, status, "write", err);
    enum st_code code = make_changes(&w, list, err);
    if (code) {
        mdb_txn_abort(w.txn);
        return code;
    }
    FAILPOINT("store.commit.before");
    if (FAILPOINT_FAILS("store.commit.error")) {
        mdb_txn_abort(w.txn);
        return store_fail(store, EIO, "write", err);
    }
    status = mdb_txn_commit(w.txn);
    if (status)
        return store_fail(store, status, "write", err);
    FAILPOINT("store.commit.after");
    store->state = w.state;
    return ST_OK;
}

static void
free_list(struct store_batch *list)
{
    while (list) {
        struct store_batch *next = list->next;
        store_batch_free(list);
        list = next;
    }
}

static void
finish_list(struct store_batch *list)
{
    for (struct store_batch *batch = list; batch; batch = batch->next)
        if (batch->done)
            batch->done(batch->arg);
    free_list(list);
}

static void
break_down(struct store *store, struct store_batch *list, const struct st_err *why)
{
    pthread_mutex_lock(&store->lock);
    store->broken = true;
    store->why = *why;
    *store->queue_end = list;
    list = store->queue;
    store->queue = NULL;
    store->queue_end = &store->queue;
    pthread_cond_broadcast(&store->done);
    pthread_mutex_unlock(&store->lock);
    free_list(list);
    if (store->failed)
        store->failed(store->arg, why);
}

/* The whole queue, or NULL when the writer is to end. */
static struct store_batch *
take_queue(struct store *store)
{
    pthread_mutex_lock(&store->lock);
    while (!store->queue && !store->stop)
        pthread_cond_wait(&store->wake, &store->lock);
    struct store_batch *list = store->queue;
    store->queue = NULL;
    store->queue_end = &store->queue;
    pthread_mutex_unlock(&store->lock);
    return list;
}

static void *
write_all(void *arg)
{
    struct store *store = arg;
    struct store_batch *list;
    while ((list = take_queue(store))) {
        struct st_err err = {0};
        if (commit(store, list, &err))
            break_down(store, list, &err); /* nothing is queued after that */
        else
            finish_list(list);
    }
    return NULL;
}

enum st_code
store_writer_start(struct store *store, struct st_err *err)
{
    sigset_t all, before; /* signals are for the threads of the program */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = pthread_create(&store->writer, NULL, write_all, store);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "cannot start a thread: %s",
                       strerror(status));
    store->writer_runs = true;
    return ST_OK;
}

void
store_writer_stop(struct store *store)
{
    if (!store->writer_runs)
        return;
    pthread_mutex_lock(&store->lock);
    store->stop = true;
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->lock);
    pthread_join(store->writer, NULL);
    store->writer_runs = false;
    free_list(store->queue);
    store->queue = NULL;
    store->queue_end = &store->queue;
}

void
store_submit(struct store *store, struct store_batch *batch, void (*done)(void *arg),
             void *arg)
{
    batch->done = done;
    batch->arg = arg;
    pthread_mutex_lock(&store->lock);
    bool broken = store->broken;
    if (!broken) {
        *store->queue_end = batch;
        store->queue_end = &batch->next;
        pthread_cond_signal(&store->wake);
    }
    pthread_mutex_unlock(&store->lock);
    if (broken)
        store_batch_free(batch);
}

struct waiter {
    struct store *store;
    bool done;
};

static void
wake_waiter(void *arg)
{
    struct waiter *waiter = arg;
    pthread_mutex_lock(&waiter->store->lock);
    waiter->done = true;
    pthread_cond_broadcast(&waiter->store->done);
    pthread_mutex_unlock(&waiter->store->lock);
}

enum st_code
store_write(struct store *store, struct store_batch *batch, struct st_err *err)
{
    struct waiter waiter = {.store = store};
    store_submit(store, batch, wake_waiter, &waiter);
    pthread_mutex_lock(&store->lock);
    while (!waiter.done && !store->broken)
        pthread_cond_wait(&store->done, &store->lock);
    bool done = waiter.done;
    if (!done && err)
        *err = store->why;
    enum st_code code = done ? ST_OK : store->why.code;
    pthread_mutex_unlock(&store->lock);
    return code;
}
