/* The records on disk: whole or not at all, private, and what is damaged is named. */
#include "store/store.h"
#include "tests/cmocka.h"

#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct folder {
    char dir[40];
    char path[60];
    struct store *store;
    pthread_mutex_t lock; /* guards what follows */
    int done;
    int failed;
};

static void
note_failure(void *arg, const struct st_err *err)
{
    struct folder *f = arg;
    pthread_mutex_lock(&f->lock);
    f->failed += err->code != ST_OK && err->text[0];
    pthread_mutex_unlock(&f->lock);
}

static enum st_code
reopen(struct folder *f, bool create, size_t map_size, struct st_err *err)
{
    store_close(f->store);
    f->store = NULL;
    struct store_config config = {.dir = f->dir,
                                  .create = create,
                                  .map_size = map_size,
                                  .failed = note_failure,
                                  .arg = f};
    return store_open(&config, &f->store, err);
}

static int
set_up(void **state)
{
    struct folder *f = calloc(1, sizeof(*f));
    struct st_err err = {0};
    assert_non_null(f);
    strcpy(f->dir, "/tmp/smalltown-test-XXXXXX");
    pthread_mutex_init(&f->lock, NULL);
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/store.mdb", f->dir);
    assert_ok(reopen(f, true, 0, &err));
    *state = f;
    return 0;
}

static int
tear_down(void **state)
{
    struct folder *f = *state;
    store_close(f->store);
    static const char *const names[] = {"store.mdb", "store.mdb-lock", "store.lock"};
    char path[80];
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(f->dir), 0);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return 0;
}

static struct store_batch *
new_batch(void)
{
    struct store_batch *batch = store_batch_new();
    assert_non_null(batch);
    return batch;
}

static void
put(struct store_batch *batch, const char *key, const char *value)
{
    store_put_record(batch, key, strlen(key), value, strlen(value));
}

/* Entries 1 to 9 "entry N", configurations 1 and 5 "conf N", three records as of 7. */
static void
fill(struct folder *f)
{
    struct store_batch *batch = new_batch();
    struct st_err err = {0};
    char text[10][16];
    store_put_member(batch, 3);
    store_put_hard(batch, 2, 3);
    for (uint64_t i = 1; i <= 9; i++) {
        snprintf(text[i], sizeof(text[i]), "entry %d", (int)i);
        store_append(batch, i, i < 5 ? 1 : 2, (uint16_t)(i % 3), text[i],
                     strlen(text[i]));
    }
    store_put_configuration(batch, 1, "conf 1", 6);
    store_put_configuration(batch, 5, "conf 5", 6);
    put(batch, "node/one", "the first value");
    put(batch, "node/two", "the second value");
    put(batch, "policy", "");
    store_put_applied(batch, 7);
    assert_ok(store_write(f->store, batch, &err));
}

struct collected {
    char text[1000];
};

static enum st_code
collect_entry(void *arg, const struct store_entry *entry, struct st_err *err)
{
    struct collected *c = arg;
    size_t used = strlen(c->text);
    (void)err;
    snprintf(c->text + used, sizeof(c->text) - used, "%d.%d.%d=%.*s;", (int)entry->index,
             (int)entry->term, entry->type, (int)entry->len, (const char *)entry->bytes);
    return ST_OK;
}

static enum st_code
collect_record(void *arg, const void *key, size_t key_len, const void *value,
               size_t value_len, struct st_err *err)
{
    struct collected *c = arg;
    size_t used = strlen(c->text);
    (void)err;
    snprintf(c->text + used, sizeof(c->text) - used, "%.*s=%.*s;", (int)key_len,
             (const char *)key, (int)value_len, (const char *)value);
    return ST_OK;
}

static void
assert_records(struct folder *f, const char *expected)
{
    struct collected c = {{0}};
    struct st_err err = {0};
    assert_ok(store_each_record(f->store, collect_record, &c, &err));
    assert_string_equal(c.text, expected);
}

static void
assert_entries(struct folder *f, uint64_t first, uint64_t last, const char *expected)
{
    struct collected c = {{0}};
    struct st_err err = {0};
    assert_ok(store_each_entry(f->store, first, last, collect_entry, &c, &err));
    assert_string_equal(c.text, expected);
}

static void
what_is_written_is_there_after_reopening(void **state)
{
    struct folder *f = *state;
    struct st_err err = {0};
    struct store_head head;
    fill(f);
    assert_ok(reopen(f, false, 0, &err));
    assert_ok(store_head(f->store, &head, &err));
    assert_int_equal(head.member, 3);
    assert_int_equal(head.term, 2);
    assert_int_equal(head.vote, 3);
    assert_int_equal(head.applied, 7);
    assert_int_equal(head.first, 1);
    assert_int_equal(head.last, 9);
    assert_records(f, "node/one=the first value;node/two=the second value;policy=;");
    assert_entries(f, 3, 5, "3.1.0=entry 3;4.1.1=entry 4;5.2.2=entry 5;");
}

struct found {
    uint64_t index;
    char text[16];
};

static enum st_code
note_configuration(void *arg, const struct store_moment *moment, struct st_err *err)
{
    struct found *found = arg;
    (void)err;
    found->index = moment->configuration_index;
    snprintf(found->text, sizeof(found->text), "%.*s", (int)moment->configuration_len,
             (const char *)moment->configuration);
    return ST_OK;
}

/* That of the moment at which this entry is the last that is applied. */
static enum st_code
configuration_at(struct folder *f, uint64_t at, struct found *out)
{
    struct st_err err = {0};
    struct store_batch *batch = new_batch();
    store_put_applied(batch, at);
    assert_ok(store_write(f->store, batch, &err));
    return store_each_of_moment(f->store, note_configuration, NULL, out, NULL);
}

static void
assert_configuration(struct folder *f, uint64_t at, uint64_t index, const char *expected)
{
    struct found found;
    assert_code(configuration_at(f, at, &found), ST_OK);
    assert_int_equal(found.index, index);
    assert_string_equal(found.text, expected);
}

static void
a_configuration_is_found_by_index(void **state)
{
    struct folder *f = *state;
    fill(f);
    assert_configuration(f, 1, 1, "conf 1");
    assert_configuration(f, 4, 1, "conf 1");
    assert_configuration(f, 5, 5, "conf 5");
    assert_configuration(f, 9, 5, "conf 5");
    assert_code(configuration_at(f, 0, &(struct found){0}), ST_NOT_FOUND);
}

static void
a_start_of_a_member_is_remembered(void **state)
{
    struct folder *f = *state;
    struct st_err err = {0};
    struct store_boot seen, boot = {.number = 7, .nonce = "fifteen letters"};
    fill(f);
    assert_ok(store_boot(f->store, 2, &seen, &err));
    assert_int_equal(seen.number, 0);
    struct store_batch *batch = new_batch();
    store_put_boot(batch, 2, &boot);
    store_replace(batch, 20, 4); /* a snapshot forgets nobody */
    assert_ok(store_write(f->store, batch, &err));
    assert_ok(reopen(f, false, 0, &err));
    assert_ok(store_boot(f->store, 2, &seen, &err));
    assert_memory_equal(&seen, &boot, sizeof(boot));
    assert_ok(store_boot(f->store, 20, &seen, &err));
    assert_int_equal(seen.number, 0);
}

static void
cutting_the_head_keeps_the_configuration_before_it(void **state)
{
    struct folder *f = *state;
    struct st_err err = {0};
    struct store_head head;
    fill(f);
    struct store_batch *batch = new_batch();
    store_cut_head(batch, 4);
    assert_ok(store_write(f->store, batch, &err));
    assert_configuration(f, 4, 1, "conf 1");
    assert_ok(store_head(f->store, &head, &err));
    assert_int_equal(head.first, 4);
    batch = new_batch();
    store_cut_head(batch, 7);
    assert_ok(store_write(f->store, batch, &err));
    assert_configuration(f, 7, 5, "conf 5");
    assert_entries(f, 7, 9, "7.2.1=entry 7;8.2.2=entry 8;9.2.0=entry 9;");
    /* And no other one, as is seen where that is taken away, too. */
    batch = new_batch();
    store_cut_tail(batch, 5);
    store_append(batch, 4, 1, 1, "4", 1);
    assert_ok(store_write(f->store, batch, &err));
    assert_code(configuration_at(f, 4, &(struct found){0}), ST_NOT_FOUND);
}

static void
cutting_the_tail_takes_its_configurations_along(void **state)
{
    struct folder *f = *state;
    struct st_err err = {0};
    fill(f);
    struct store_batch *batch = new_batch();
    store_cut_tail(batch, 4);
    store_append(batch, 4, 9, 1, "other", 5);
    assert_ok(store_write(f->store, batch, &err));
    assert_entries(f, 3, 4, "3.1.0=entry 3;4.9.1=other;");
    assert_configuration(f, 4, 1, "conf 1");
    assert_code(
        store_each_entry(f->store, 4, 5, collect_entry, &(struct collected){{0}}, NULL),
        ST_DATA_LOSS);
}

static void
a_record_may_change_many_times_in_a_batch(void **state)
{
    struct folder *f = *state;
    struct st_err err = {0};
    fill(f);
    struct store_batch *batch = new_batch();
    put(batch, "node/one", "2");
    put(batch, "node/one", "3");
    store_delete_record(batch, "node/two", 8);
    store_delete_record(batch, "node/none", 9);
    put(batch, "node/two", "again");
    store_delete_record(batch, "node/one", 8);
    assert_ok(store_write(f->store, batch, &err));
    assert_records(f, "node/two=again;policy=;");
    assert_ok(reopen(f, false, 0, &err));
    assert_records(f, "node/two=again;policy=;");
}

static void
replacing_leaves_nothing_of_before(void **state)
{
    struct folder *f = *state;
    struct st_err err = {0};
    struct store_head head;
    fill(f);
    struct store_batch *batch = new_batch();
    store_replace(batch, 100, 8);
    store_put_configuration(batch, 90, "conf 90", 7);
    put(batch, "new", "value");
    assert_ok(store_write(f->store, batch, &err));
    assert_ok(reopen(f, false, 0, &err));
    assert_records(f, "new=value;");
    assert_ok(store_head(f->store, &head, &err));
    assert_int_equal(head.applied, 100);
    assert_int_equal(head.base_term, 8);
    assert_int_equal(head.first, 101);
    assert_int_equal(head.last, 100);
    assert_int_equal(head.term, 2); /* the hard state is not part of it */
    assert_configuration(f, 100, 90, "conf 90");
}

static void
N55_the_files_are_private_under_any_umask(void **state)
{
    struct folder *f = *state;
    struct stat st;
    static const char *const names[] = {"store.mdb", "store.mdb-lock", "store.lock"};
    store_close(f->store);
    f->store = NULL;
    for (int i = 0; i < 3; i++) {
        char path[80];
        snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
        unlink(path);
    }
    mode_t before = umask(0);
    struct st_err err = {0};
    enum st_code code = reopen(f, true, 0, &err);
    umask(before);
    assert_ok(code);
    for (int i = 0; i < 3; i++) {
        char path[80];
        snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}

/* ---- order and failure ---- */

struct ordered {
    struct folder *folder;
    int number;
};

static void
note_done(void *arg)
{
    struct ordered *o = arg;
    pthread_mutex_lock(&o->folder->lock);
    if (o->folder->done == o->number)
        o->folder->done++;
    pthread_mutex_unlock(&o->folder->lock);
}

static void
batches_are_done_in_order_and_all_before_closing(void **state)
{
    struct folder *f = *state;
    struct st_err err = {0};
    static struct ordered order[300];
    for (int i = 0; i < 300; i++) {
        struct store_batch *batch = new_batch();
        char value[16];
        snprintf(value, sizeof(value), "%d", i);
        put(batch, "counter", value);
        order[i] = (struct ordered){f, i};
        store_submit(f->store, batch, note_done, &order[i]);
    }
    assert_ok(reopen(f, false, 0, &err));
    assert_int_equal(f->done, 300);
    assert_records(f, "counter=299;");
}

static void
a_full_map_breaks_the_store_and_loses_nothing(void **state)
{
    struct folder *f = *state;
    struct st_err err = {0};
    static char large[64 * 1024];
    memset(large, 'x', sizeof(large));
    assert_ok(reopen(f, false, 1024 * 1024, &err));
    enum st_code code = ST_OK;
    int written = 0;
    for (int i = 0; !code && i < 100; i++) {
        struct store_batch *batch = new_batch();
        char key[16];
        snprintf(key, sizeof(key), "k%03d", i);
        store_put_record(batch, key, strlen(key), large, sizeof(large));
        code = store_write(f->store, batch, &err);
        written += !code;
    }
    assert_code(code, ST_RESOURCE_EXHAUSTED);
    assert_in_range(written, 3, 16);
    assert_code(store_write(f->store, new_batch(), &err), ST_RESOURCE_EXHAUSTED);
    static struct ordered never;
    never = (struct ordered){f, 0};
    store_submit(f->store, new_batch(), note_done, &never);
    assert_ok(reopen(f, false, 0, &err));
    assert_int_equal(f->failed, 1);
    assert_int_equal(f->done, 0);
    for (int i = 0; i < written; i++) {
        struct store_batch *batch = new_batch();
        char key[16];
        snprintf(key, sizeof(key), "k%03d", i);
        store_delete_record(batch, key, strlen(key));
        assert_ok(store_write(f->store, batch, &err));
    }
    assert_records(f, "");
}

/* ---- damage ---- */

/* Turns one bit behind the first place of `text` in the file. */
static void
flip(struct folder *f, const char *text, size_t offset)
{
    store_close(f->store);
    f->store = NULL;
    static char bytes[1024 * 1024];
    int fd = open(f->path, O_RDWR);
    ssize_t len = pread(fd, bytes, sizeof(bytes), 0);
    assert_true(len > 0);
    unsigned found = 0;
    size_t text_len = strlen(text);
    for (size_t i = 0; i + text_len <= (size_t)len; i++) {
        if (memcmp(bytes + i, text, text_len))
            continue;
        char flipped = bytes[i + offset] ^ 4;
        assert_int_equal(pwrite(fd, &flipped, 1, (off_t)(i + offset)), 1);
        found++;
    }
    close(fd);
    assert_in_range(found, 1, 3); /* copies of pages that are free are hit, too */
}

static void
assert_damage(struct folder *f, const char *name)
{
    struct st_err err = {0};
    struct collected c = {{0}};
    enum st_code code = reopen(f, false, 0, &err);
    if (!code)
        code = store_each_record(f->store, collect_record, &c, &err);
    if (!code)
        code = store_each_entry(f->store, 1, 9, collect_entry, &c, &err);
    assert_code(code, ST_DATA_LOSS);
    if (!strstr(err.text, name))
        fail_msg("no word of %s: %s", name, err.text);
}

static void
a_flipped_bit_in_a_value_is_found_and_named(void **state)
{
    struct folder *f = *state;
    fill(f);
    flip(f, "the second value", 4);
    assert_damage(f, "record node/two");
}

static void
a_flipped_bit_in_a_key_is_found_and_named(void **state)
{
    struct folder *f = *state;
    fill(f);
    flip(f, "node/two", 7);
    assert_damage(f, "record node/twk");
}

static void
a_flipped_bit_in_a_log_entry_is_found_and_named(void **state)
{
    struct folder *f = *state;
    fill(f);
    flip(f, "entry 6", 2);
    assert_damage(f, "log entry 6");
}

static void
a_flipped_bit_in_the_hard_state_is_found_and_named(void **state)
{
    struct folder *f = *state;
    struct st_err err = {0};
    struct store_head head;
    struct store_batch *batch = new_batch();
    store_put_hard(batch, 0x3132333435363738, 3);
    assert_ok(store_write(f->store, batch, &err));
    flip(f, "87654321", 0);
    assert_ok(reopen(f, false, 0, &err));
    assert_code(store_head(f->store, &head, &err), ST_DATA_LOSS);
    assert_non_null(strstr(err.text, "hard"));
}

/* With the library itself, past the store. */
static void
delete_raw(struct folder *f, const char *table, const char *key)
{
    store_close(f->store);
    f->store = NULL;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val k = {strlen(key), (void *)(uintptr_t)key};
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 4), 0);
    assert_int_equal(mdb_env_open(env, f->path, MDB_NOSUBDIR, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, table, 0, &dbi), 0);
    assert_int_equal(mdb_del(txn, dbi, &k, NULL), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void
a_record_that_vanished_is_missed(void **state)
{
    struct folder *f = *state;
    fill(f);
    delete_raw(f, "record", "node/two");
    assert_damage(f, "2 records");
}

static void
a_store_without_its_format_is_refused(void **state)
{
    struct folder *f = *state;
    fill(f);
    delete_raw(f, "meta", "format");
    assert_damage(f, "format");
}

static void
a_file_that_was_cut_is_refused(void **state)
{
    struct folder *f = *state;
    struct stat st;
    fill(f);
    store_close(f->store);
    f->store = NULL;
    assert_int_equal(stat(f->path, &st), 0);
    int refused = 0;
    for (off_t size = st.st_size - 4096; size >= 0; size -= 4096) {
        struct collected c = {{0}};
        assert_int_equal(truncate(f->path, size), 0);
        enum st_code code = reopen(f, false, 0, NULL);
        if (!code)
            code = store_each_record(f->store, collect_record, &c, NULL);
        if (!code)
            code = store_each_entry(f->store, 1, 9, collect_entry, &c, NULL);
        /* The last pages may be free ones; from the first that is not, never again. */
        if (code)
            refused++;
        else
            assert_int_equal(refused, 0);
        store_close(f->store);
        f->store = NULL;
    }
    assert_true(refused >= 2);
}

static void
a_file_that_is_no_store_is_refused(void **state)
{
    struct folder *f = *state;
    store_close(f->store);
    f->store = NULL;
    int fd = open(f->path, O_WRONLY | O_TRUNC);
    for (int i = 0; i < 100; i++)
        assert_int_equal(write(fd, "this is something else\n", 23), 23);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(write(fd, "this is something else\n", 23), 23);
    close(fd);
    assert_code(reopen(f, false, 0, NULL), ST_DATA_LOSS);
    assert_code(reopen(f, true, 0, NULL), ST_DATA_LOSS);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_there_after_reopening),
        TEST(a_configuration_is_found_by_index),
        TEST(a_start_of_a_member_is_remembered),
        TEST(cutting_the_head_keeps_the_configuration_before_it),
        TEST(cutting_the_tail_takes_its_configurations_along),
        TEST(a_record_may_change_many_times_in_a_batch),
        TEST(replacing_leaves_nothing_of_before),
        TEST(N55_the_files_are_private_under_any_umask),
        TEST(batches_are_done_in_order_and_all_before_closing),
        TEST(a_full_map_breaks_the_store_and_loses_nothing),
        TEST(a_flipped_bit_in_a_value_is_found_and_named),
        TEST(a_flipped_bit_in_a_key_is_found_and_named),
        TEST(a_flipped_bit_in_a_log_entry_is_found_and_named),
        TEST(a_flipped_bit_in_the_hard_state_is_found_and_named),
        TEST(a_record_that_vanished_is_missed),
        TEST(a_store_without_its_format_is_refused),
        TEST(a_file_that_was_cut_is_refused),
        TEST(a_file_that_is_no_store_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
