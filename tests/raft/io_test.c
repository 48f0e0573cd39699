/* The raft_io by itself: what libraft hands over comes back at the next load, and the
 * records of one member can replace those of another. */
#include "raft/conf.h"
#include "raft/io.h"
#include "raft/snapshot.h"
#include "tests/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct disk {
    char dir[40];
    uv_loop_t loop;
    struct store *store;
    struct raft_io face;
    struct io io;
    struct raft raft; /* only its id is looked at */
    int done;
    struct raft_snapshot *got;
};

static void
no_fatal(void *arg, const struct st_err *err)
{
    (void)arg;
    fprintf(stderr, "%s\n", err->text);
    abort();
}

static void
disk_open(struct disk *d)
{
    struct st_err err = {0};
    struct store_config config = {.dir = d->dir, .create = true};
    assert_ok(store_open(&config, &d->store, &err));
    assert_int_equal(uv_loop_init(&d->loop), 0);
    assert_ok(io_init(&d->io, &d->face, &d->loop, d->store, no_fatal, NULL, &err));
    assert_int_equal(d->face.init(&d->face, 4, "127.0.0.1:7834"), 0);
}

static void
on_closed(struct raft_io *face)
{
    (void)face;
}

static void
disk_close(struct disk *d)
{
    d->face.close(&d->face, on_closed);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&d->loop), 0);
    io_free(&d->io);
    store_close(d->store);
}

static void
disk_reopen(struct disk *d)
{
    disk_close(d);
    disk_open(d);
}

static struct disk *
disk_new(void)
{
    struct disk *d = calloc(1, sizeof(*d));
    assert_non_null(d);
    strcpy(d->dir, "/tmp/smalltown-test-XXXXXX");
    assert_non_null(mkdtemp(d->dir));
    disk_open(d);
    return d;
}

static void
disk_end(struct disk *d)
{
    disk_close(d);
    static const char *const names[] = {"store.mdb", "store.mdb-lock", "store.lock"};
    char path[80];
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(path, sizeof(path), "%s/%s", d->dir, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(d->dir), 0);
    free(d);
}

static struct raft_configuration
group(int members)
{
    struct raft_configuration g;
    raft_configuration_init(&g);
    for (int i = 1; i <= members; i++) {
        char address[24];
        snprintf(address, sizeof(address), "address %d", i);
        assert_int_equal(raft_configuration_add(&g, (raft_id)i, address,
                                                i == 2 ? RAFT_STANDBY : RAFT_VOTER),
                         0);
    }
    return g;
}

static void
disk_bootstrap(struct disk *d)
{
    struct raft_configuration g = group(3);
    assert_int_equal(d->face.bootstrap(&d->face, &g), 0);
    assert_int_equal(d->face.bootstrap(&d->face, &g), RAFT_CANTBOOTSTRAP);
    raft_configuration_close(&g);
}

struct loaded {
    raft_term term;
    raft_id vote;
    struct raft_snapshot *snapshot;
    raft_index start;
    struct raft_entry *entries;
    size_t count;
};

static void
snapshot_end(struct raft_snapshot *snapshot)
{
    if (!snapshot)
        return;
    raft_configuration_close(&snapshot->configuration);
    raft_free(snapshot->bufs[0].base);
    raft_free(snapshot->bufs);
    raft_free(snapshot);
}

static void
loaded_end(struct loaded *l)
{
    snapshot_end(l->snapshot);
    for (size_t i = 0; i < l->count; i++)
        raft_free(l->entries[i].batch);
    raft_free(l->entries);
}

static struct loaded
disk_load(struct disk *d)
{
    struct loaded l = {0};
    assert_int_equal(d->face.load(&d->face, &l.term, &l.vote, &l.snapshot, &l.start,
                                  &l.entries, &l.count),
                     0);
    return l;
}

static void
count_append(struct raft_io_append *req, int status)
{
    struct disk *d = req->data;
    assert_int_equal(status, 0);
    d->done++;
}

static void
wait_for(struct disk *d, int done)
{
    while (d->done < done)
        uv_run(&d->loop, UV_RUN_ONCE);
    d->done = 0;
}

static void
disk_append(struct disk *d, raft_term term, unsigned short type, const char *text)
{
    struct raft_entry entry = {
        .term = term,
        .type = type,
        .buf = {.base = (void *)(uintptr_t)text, .len = strlen(text)}};
    struct raft_io_append req = {.data = d};
    assert_int_equal(d->face.append(&d->face, &req, &entry, 1, count_append), 0);
    assert_int_equal(d->done, 0); /* never from inside the call */
    wait_for(d, 1);
}

static void
what_is_appended_is_loaded(void **state)
{
    (void)state;
    struct disk *d = disk_new();
    disk_bootstrap(d);
    struct loaded l = disk_load(d);
    loaded_end(&l);
    disk_append(d, 1, RAFT_COMMAND, "two");
    disk_append(d, 2, RAFT_BARRIER, "three..."); /* as long as one of libraft's */
    assert_int_equal(d->face.set_term(&d->face, 5), 0);
    assert_int_equal(d->face.set_vote(&d->face, 2), 0);
    disk_reopen(d);
    l = disk_load(d);
    assert_int_equal(l.term, 5);
    assert_int_equal(l.vote, 2);
    assert_int_equal(l.start, 1);
    assert_int_equal(l.count, 3);
    assert_int_equal(l.entries[0].type, RAFT_CHANGE);
    assert_int_equal(l.entries[2].term, 2);
    assert_int_equal(l.entries[2].type, RAFT_BARRIER);
    assert_memory_equal(l.entries[1].buf.base, "two", 3);
    assert_int_equal(l.snapshot->index, 1);
    assert_int_equal(l.snapshot->configuration.n, 3);
    assert_string_equal(l.snapshot->configuration.servers[2].address, "address 3");
    assert_int_equal(l.snapshot->configuration.servers[1].role, RAFT_STANDBY);
    loaded_end(&l);
    disk_end(d);
}

static void
a_new_term_takes_the_vote_back(void **state)
{
    (void)state;
    struct disk *d = disk_new();
    disk_bootstrap(d);
    assert_int_equal(d->face.set_term(&d->face, 5), 0);
    assert_int_equal(d->face.set_vote(&d->face, 2), 0);
    assert_int_equal(d->face.set_term(&d->face, 6), 0);
    disk_reopen(d);
    struct loaded l = disk_load(d);
    assert_int_equal(l.term, 6);
    assert_int_equal(l.vote, 0);
    loaded_end(&l);
    disk_end(d);
}

static void
what_is_truncated_is_gone(void **state)
{
    (void)state;
    struct disk *d = disk_new();
    disk_bootstrap(d);
    struct loaded l = disk_load(d);
    loaded_end(&l);
    disk_append(d, 1, RAFT_COMMAND, "two");
    disk_append(d, 1, RAFT_COMMAND, "three");
    assert_int_equal(d->face.truncate(&d->face, 2), 0);
    disk_append(d, 2, RAFT_COMMAND, "other");
    disk_reopen(d);
    l = disk_load(d);
    assert_int_equal(l.count, 2);
    assert_memory_equal(l.entries[1].buf.base, "other", 5);
    assert_int_equal(l.entries[1].term, 2);
    loaded_end(&l);
    disk_end(d);
}

static void
a_recovered_group_goes_on_in_the_last_term(void **state)
{
    (void)state;
    struct disk *d = disk_new();
    disk_bootstrap(d);
    struct loaded l = disk_load(d);
    loaded_end(&l);
    disk_append(d, 3, RAFT_COMMAND, "two");
    struct raft_configuration g = group(1);
    assert_int_equal(d->face.recover(&d->face, &g), 0);
    raft_configuration_close(&g);
    disk_reopen(d);
    l = disk_load(d);
    assert_int_equal(l.count, 3);
    assert_int_equal(l.entries[2].term, 3);
    assert_int_equal(l.entries[2].type, RAFT_CHANGE);
    loaded_end(&l);
    disk_end(d);
}

/* ---- snapshots ---- */

static void
take_got(struct raft_io_snapshot_get *req, struct raft_snapshot *snapshot, int status)
{
    struct disk *d = req->data;
    assert_int_equal(status, 0);
    d->got = snapshot;
    d->done++;
}

static struct raft_snapshot *
disk_get(struct disk *d)
{
    struct raft_io_snapshot_get req = {.data = d};
    assert_int_equal(d->face.snapshot_get(&d->face, &req, take_got), 0);
    assert_int_equal(d->done, 0);
    wait_for(d, 1);
    return d->got;
}

static void
count_put(struct raft_io_snapshot_put *req, int status)
{
    struct disk *d = req->data;
    assert_int_equal(status, 0);
    d->done++;
}

static void
disk_put(struct disk *d, unsigned trailing, struct raft_snapshot *snapshot)
{
    struct raft_io_snapshot_put req = {.data = d};
    assert_int_equal(d->face.snapshot_put(&d->face, trailing, &req, snapshot, count_put),
                     0);
    assert_int_equal(d->done, 0);
    wait_for(d, 1);
}

static void
pend(struct disk *d, const char *key, const char *value, uint64_t applied)
{
    store_put_record(io_pending(&d->io), key, strlen(key), value, strlen(value));
    store_put_applied(io_pending(&d->io), applied);
}

static enum st_code
join_record(void *arg, const void *key, size_t key_len, const void *value,
            size_t value_len, struct st_err *err)
{
    char *text = arg;
    (void)err;
    sprintf(text + strlen(text), "%.*s=%.*s;", (int)key_len, (const char *)key,
            (int)value_len, (const char *)value);
    return ST_OK;
}

static void
assert_records(struct disk *d, const char *expected)
{
    char text[200] = "";
    struct st_err err = {0};
    assert_ok(store_each_record(d->store, join_record, text, &err));
    assert_string_equal(text, expected);
}

static struct disk *
disk_with_records(void)
{
    struct disk *d = disk_new();
    disk_bootstrap(d);
    struct loaded l = disk_load(d);
    loaded_end(&l);
    for (int i = 2; i <= 10; i++)
        disk_append(d, 2, RAFT_COMMAND, "command");
    pend(d, "a", "1", 6);
    pend(d, "b", "", 7);
    disk_append(d, 2, RAFT_COMMAND, "command"); /* they ride along */
    return d;
}

static void
one_members_records_replace_anothers(void **state)
{
    (void)state;
    struct disk *from = disk_with_records(), *to = disk_new();
    disk_bootstrap(to);
    struct loaded l = disk_load(to);
    loaded_end(&l);
    disk_append(to, 1, RAFT_COMMAND, "stale");
    pend(to, "stale", "1", 2);
    struct raft_snapshot *snapshot = disk_get(from);
    assert_int_equal(snapshot->index, 7);
    assert_int_equal(snapshot->term, 2);
    assert_int_equal(snapshot->configuration_index, 1);
    assert_int_equal(snapshot->configuration.n, 3);
    disk_put(to, 0, snapshot);
    snapshot_end(snapshot);
    assert_records(to, "a=1;b=;");
    disk_append(to, 3, RAFT_COMMAND, "eight");
    disk_reopen(to);
    assert_records(to, "a=1;b=;");
    l = disk_load(to);
    assert_int_equal(l.snapshot->index, 7);
    assert_int_equal(l.snapshot->term, 2);
    assert_int_equal(l.snapshot->configuration.n, 3);
    assert_int_equal(l.start, 8);
    assert_int_equal(l.count, 1);
    assert_int_equal(l.entries[0].term, 3);
    loaded_end(&l);
    disk_end(from);
    disk_end(to);
}

static void
a_snapshot_of_its_own_lets_go_of_the_log(void **state)
{
    (void)state;
    struct disk *d = disk_with_records();
    struct raft_buffer nothing = {0};
    struct raft_snapshot snapshot = {.index = 9,
                                     .term = 2,
                                     .configuration = group(3),
                                     .configuration_index = 1,
                                     .bufs = &nothing,
                                     .n_bufs = 1};
    pend(d, "c", "3", 9);
    disk_put(d, 2, &snapshot);
    raft_configuration_close(&snapshot.configuration);
    disk_reopen(d);
    assert_records(d, "a=1;b=;c=3;");
    struct loaded l = disk_load(d);
    assert_int_equal(l.snapshot->index, 9);
    assert_int_equal(l.snapshot->configuration_index, 1);
    assert_int_equal(l.start, 8);
    assert_int_equal(l.count, 4);
    loaded_end(&l);
    disk_end(d);
}

static void
a_snapshot_cut_anywhere_is_refused(void **state)
{
    (void)state;
    struct disk *d = disk_with_records();
    struct raft_snapshot *snapshot = disk_get(d);
    size_t len = snapshot->bufs[0].len;
    uint8_t *bytes = malloc(len + 1);
    memcpy(bytes, snapshot->bufs[0].base, len);
    bytes[len] = 0;
    assert_code(snapshot_check(bytes, len, NULL), ST_OK);
    assert_code(snapshot_check(bytes, len + 1, NULL), ST_DATA_LOSS);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *exact = malloc(cut + 1); /* so that an over-read is seen */
        uint8_t *start = exact + 1;
        memcpy(start, bytes, cut);
        assert_code(snapshot_check(start, cut, NULL), ST_DATA_LOSS);
        free(exact);
    }
    memset(bytes + 16, 0xff, 8); /* lengths of the first record */
    assert_code(snapshot_check(bytes, len, NULL), ST_DATA_LOSS);
    free(bytes);
    snapshot_end(snapshot);
    disk_end(d);
}

static void
a_configuration_cut_anywhere_is_refused(void **state)
{
    (void)state;
    struct raft_configuration g = group(3), read;
    struct raft_buffer bytes;
    assert_int_equal(raft_configuration_encode(&g, &bytes), 0);
    raft_configuration_close(&g);
    assert_int_equal(conf_decode(bytes.base, bytes.len, &read), 0);
    assert_int_equal(read.n, 3);
    assert_string_equal(read.servers[0].address, "address 1");
    assert_int_equal(read.servers[1].role, RAFT_STANDBY);
    raft_configuration_close(&read);
    size_t used = 1 + 8 + 3 * (8 + 10 + 1); /* the rest is padding */
    for (size_t cut = 0; cut < used; cut++) {
        uint8_t *exact = malloc(cut + 1);
        memcpy(exact + 1, bytes.base, cut);
        assert_int_not_equal(conf_decode(exact + 1, cut, &read), 0);
        raft_configuration_close(&read);
        free(exact);
    }
    raft_free(bytes.base);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_appended_is_loaded),
        cmocka_unit_test(a_new_term_takes_the_vote_back),
        cmocka_unit_test(what_is_truncated_is_gone),
        cmocka_unit_test(a_recovered_group_goes_on_in_the_last_term),
        cmocka_unit_test(one_members_records_replace_anothers),
        cmocka_unit_test(a_snapshot_of_its_own_lets_go_of_the_log),
        cmocka_unit_test(a_snapshot_cut_anywhere_is_refused),
        cmocka_unit_test(a_configuration_cut_anywhere_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
