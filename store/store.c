#include "proto/file.h"
#include "store/store_batch.h"
#include "store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const table_names[TABLE_COUNT] = {
    [TABLE_META] = "meta",
    [TABLE_LOG] = "log",
    [TABLE_CONF] = "conf",
    [TABLE_RECORD] = "record",
};

static const size_t map_size_default = (size_t)16 << 30; /* address space only */

static enum st_code
fail_errno(struct st_err *err, const char *what, const char *path)
{
    return st_fail(err, ST_INTERNAL, "cannot %s %s: %s", what, path, strerror(errno));
}

/* One process per folder: the lock goes away with the process, however it ends. */
static enum st_code
take_lock(const char *dir, int *out, struct st_err *err)
{
    char path[PATH_MAX], pid[16] = "";
    snprintf(path, sizeof(path), "%s/store.lock", dir);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_errno(err, "open", path);
    *out = fd; /* also where it fails: the caller closes it */
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK)
            return fail_errno(err, "lock", path);
        ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);
        return st_fail(err, ST_UNAVAILABLE, "another smalltown-nms (pid %ld) has %s open",
                       n > 0 ? strtol(pid, NULL, 10) : 0, dir);
    }
    int len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) || pwrite(fd, pid, (size_t)len, 0) < len)
        return fail_errno(err, "write", path);
    return ST_OK;
}

static enum st_code
sync_folder(const char *dir, struct st_err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(err, "open", dir);
    int status = fsync(fd);
    close(fd);
    return status ? fail_errno(err, "flush", dir) : ST_OK;
}

/* LMDB maps what is not there and would die of SIGBUS at the first touch.  Pages at the
 * end that were taken and given back in one transaction are never written, so a file may
 * rightly be short: it is made whole with zeros, which no page in use consists of. */
static enum st_code
fill_up(struct store *store, struct st_err *err)
{
    MDB_envinfo info;
    MDB_stat pages;
    struct stat file;
    int fd;
    if (mdb_env_info(store->env, &info) || mdb_env_stat(store->env, &pages) ||
        mdb_env_get_fd(store->env, &fd) || fstat(fd, &file))
        return fail_errno(err, "look at", store->path);
    unsigned long long wanted = (info.me_last_pgno + 1ULL) * pages.ms_psize;
    if (wanted > store->map_size)
        return st_fail(err, ST_DATA_LOSS, "%s claims %llu bytes", store->path, wanted);
    if ((unsigned long long)file.st_size < wanted && ftruncate(fd, (off_t)wanted))
        return fail_errno(err, "extend", store->path);
    return ST_OK;
}

static enum st_code
open_environment(struct store *store, struct st_err *err)
{
    int status = mdb_env_create(&store->env), dead;
    if (!status)
        status = mdb_env_set_mapsize(store->env, store->map_size);
    if (!status)
        status = mdb_env_set_maxdbs(store->env, TABLE_COUNT);
    if (!status)
        status = mdb_env_set_maxreaders(store->env, 16);
    if (!status)
        status = mdb_env_open(store->env, store->path, MDB_NOSUBDIR | MDB_NOTLS, 0600);
    if (!status)
        status = mdb_reader_check(store->env, &dead);
    return status ? store_fail(store, status, "open", err) : ST_OK;
}

static enum st_code
check_format(struct store *store, MDB_txn *txn, bool create, struct st_err *err)
{
    uint8_t bytes[4];
    enum st_code code = store_get_meta(store, txn, "format", bytes, sizeof(bytes), err);
    if (code)
        return code;
    unsigned format = (unsigned)store_unpack(bytes, 4);
    if (format > STORE_FORMAT)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "%s has format %u, this smalltown knows up to %d", store->path,
                       format, STORE_FORMAT);
    if (format)
        return ST_OK;
    if (!create)
        return st_fail(err, ST_DATA_LOSS, "%s has no format record", store->path);
    store_pack(bytes, STORE_FORMAT, 4);
    return store_put(store, txn, TABLE_META, "format", 6, bytes, sizeof(bytes), err);
}

static enum st_code
open_tables(struct store *store, MDB_txn *txn, bool create, struct st_err *err)
{
    for (int i = 0; i < TABLE_COUNT; i++) {
        int status =
            mdb_dbi_open(txn, table_names[i], create ? MDB_CREATE : 0, &store->tables[i]);
        if (status == MDB_NOTFOUND && i == TABLE_META)
            return st_fail(err, ST_NOT_FOUND, "%s is empty", store->path);
        if (status == MDB_NOTFOUND)
            return st_fail(err, ST_DATA_LOSS, "%s has no table %s", store->path,
                           table_names[i]);
        if (status)
            return store_fail(store, status, "open", err);
    }
    enum st_code code = check_format(store, txn, create, err);
    return code ? code : store_get_state(store, txn, &store->state, err);
}

static enum st_code
open_content(struct store *store, bool create, struct st_err *err)
{
    MDB_txn *txn;
    int status = mdb_txn_begin(store->env, NULL, create ? 0 : MDB_RDONLY, &txn);
    if (status)
        return store_fail(store, status, "open", err);
    enum st_code code = open_tables(store, txn, create, err);
    if (code) {
        mdb_txn_abort(txn);
        return code;
    }
    status = mdb_txn_commit(txn);
    return status ? store_fail(store, status, "open", err) : ST_OK;
}

static enum st_code
open_files(struct store *store, const struct store_config *config, struct st_err *err)
{
    bool exists = access(store->path, F_OK) == 0;
    if (!exists && errno != ENOENT && errno != ENOTDIR)
        return fail_errno(err, "open", store->path);
    if (!exists && !config->create)
        return st_fail(err, ST_NOT_FOUND, "there is no %s", store->path);
    enum st_code code = exists ? ST_OK : file_make_folder(config->dir, err);
    if (!code)
        code = take_lock(config->dir, &store->lock_fd, err);
    if (!code)
        code = open_environment(store, err);
    if (!code && exists)
        code = fill_up(store, err);
    if (!code)
        code = open_content(store, config->create, err);
    if (!code && !exists)
        code = sync_folder(config->dir, err);
    return code;
}

enum st_code
store_open(const struct store_config *config, struct store **out, struct st_err *err)
{
    AUTO(store_closep) struct store *store = calloc(1, sizeof(*store));
    if (!store || asprintf(&store->path, "%s/store.mdb", config->dir) < 0) {
        free(TAKE(store));
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory");
    }
    store->lock_fd = -1;
    store->map_size = config->map_size ? config->map_size : map_size_default;
    store->failed = config->failed;
    store->arg = config->arg;
    store->queue_end = &store->queue;
    pthread_mutex_init(&store->lock, NULL);
    pthread_cond_init(&store->wake, NULL);
    pthread_cond_init(&store->done, NULL);
    enum st_code code = open_files(store, config, err);
    if (!code)
        code = store_writer_start(store, err);
    if (code)
        return code;
    *out = TAKE(store);
    return ST_OK;
}

void
store_close(struct store *store)
{
    if (!store)
        return;
    store_writer_stop(store);
    if (store->env)
        mdb_env_close(store->env);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    pthread_cond_destroy(&store->done);
    pthread_cond_destroy(&store->wake);
    pthread_mutex_destroy(&store->lock);
    free(store->path);
    free(store);
}

static enum st_code
remove_files(const char *dir, struct st_err *err)
{
    static const char *const names[] = {"store.mdb", "store.mdb-lock"};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        if (unlink(path) && errno != ENOENT)
            return fail_errno(err, "remove", path);
    }
    return sync_folder(dir, err);
}

enum st_code
store_erase(const char *dir, struct st_err *err)
{
    int lock = -1;
    enum st_code code = take_lock(dir, &lock, err);
    if (!code)
        code = remove_files(dir, err);
    if (lock >= 0)
        close(lock);
    return code;
}

enum st_code
store_relax(struct store *store, struct st_err *err)
{
    /* Setting the size maps the file anew, without the pages that were touched. */
    int status = mdb_env_set_mapsize(store->env, store->map_size);
    return status ? store_fail(store, status, "map", err) : ST_OK;
}
