/* move: a folder is told where masters are, but not while one runs in it, and nothing
 * that cannot be. */
#include "nms/init.h"
#include "nms/move.h"
#include "nms/nms.h"
#include "nms/recover.h"
#include "tests/cmocka.h"
#include "tests/folder.h"
#include "tests/nms/second.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[FOLDER_MAX];

static struct st_address
address_of(uint8_t n)
{
    return (struct st_address){.bytes = {192, 0, 2, n}, .len = 4};
}

/* A second master, on 192.0.2.2, who is in the records. */
static void
add_second(void)
{
    AUTO(state_freep) struct state *state = NULL;
    struct st_err err = {0};
    struct replica *replica;
    const struct st_address there = address_of(2);
    assert_ok(state_new(&state, &err));
    const struct replica_config config = {.dir = folder,
                                          .id = 1,
                                          .address = "192.0.2.1:7834",
                                          .machine = state_machine(state)};
    assert_ok(replica_open(&config, &replica, &err));
    second_add(replica, &there);
    replica_close(replica);
}

static int
set_up(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct cert masters;
    if (folder_make(folder, "move"))
        return 1;
    const struct init_config config = {
        .dir = folder, .name = "town", .address = address_of(1)};
    assert_ok(init_cluster(&config, &masters, &err));
    add_second();
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    return folder_remove(folder);
}

static void
assert_place(const struct move_view *view, size_t i, uint64_t id, uint8_t recorded,
             uint8_t now)
{
    const struct st_address was = address_of(recorded), is = address_of(now);
    assert_int_equal(view->at[i].id, id);
    assert_true(address_equal(&view->at[i].recorded, &was));
    assert_true(address_equal(&view->at[i].now, &is));
    assert_int_equal(view->at[i].moved, recorded != now);
}

static void
who_only_looks_changes_nothing(void **state)
{
    (void)state;
    struct move_view view;
    struct st_err err = {0};
    struct self before, after;
    assert_ok(self_read(folder, &before, &err));
    assert_ok(move_masters(folder, NULL, 0, &view, &err));
    assert_int_equal(view.id, 1);
    assert_string_equal(view.cluster, "town");
    assert_int_equal(view.count, 2);
    assert_place(&view, 0, 1, 1, 1);
    assert_place(&view, 1, 2, 2, 2);
    assert_ok(self_read(folder, &after, &err));
    assert_memory_equal(&before, &after, sizeof(before));
    secret_wipe(&before.key);
    secret_wipe(&after.key);
}

static void
what_is_told_is_in_the_folder_and_all_else_as_it_was(void **state)
{
    (void)state;
    struct move_view view;
    struct recover_view recovered;
    struct st_err err = {0};
    struct self before, after;
    const struct self_place both[] = {{2, address_of(12)}, {1, address_of(11)}};
    const struct self_place back[] = {{2, address_of(2)}};
    const struct st_address mine = address_of(11), its = address_of(12);
    assert_ok(self_read(folder, &before, &err));
    assert_ok(move_masters(folder, both, 2, &view, &err));
    assert_place(&view, 0, 1, 1, 11);
    assert_place(&view, 1, 2, 2, 12);
    assert_ok(self_read(folder, &after, &err));
    assert_true(address_equal(&after.address, &mine));
    assert_int_equal(after.place_count, 1);
    assert_int_equal(after.places[0].id, 2);
    assert_true(address_equal(&after.places[0].address, &its));
    assert_memory_equal(&after.cert, &before.cert, sizeof(after.cert));
    assert_memory_equal(&after.key, &before.key, sizeof(after.key));
    assert_memory_equal(&after.crl, &before.crl, sizeof(after.crl));
    /* Twice is once, and what was told stays where only another is told. */
    assert_ok(move_masters(folder, both, 2, &view, &err));
    assert_ok(move_masters(folder, NULL, 0, &view, &err));
    assert_place(&view, 1, 2, 2, 12);
    /* Whoever goes on alone knocks there. */
    assert_ok(recover_look(folder, &recovered, &err));
    assert_true(address_equal(&recovered.members.at[0].address, &mine));
    assert_true(address_equal(&recovered.members.at[1].address, &its));
    /* Where the record is right after all, nothing is kept. */
    assert_ok(move_masters(folder, back, 1, &view, &err));
    assert_place(&view, 0, 1, 1, 11);
    assert_place(&view, 1, 2, 2, 2);
    assert_ok(self_read(folder, &after, &err));
    assert_int_equal(after.place_count, 0);
    secret_wipe(&before.key);
    secret_wipe(&after.key);
}

static void
two_masters_change_places_where_both_are_named(void **state)
{
    (void)state;
    struct move_view view;
    struct st_err err = {0};
    const struct self_place swapped[] = {{1, address_of(2)}, {2, address_of(1)}};
    assert_ok(move_masters(folder, swapped, 2, &view, &err));
    assert_place(&view, 0, 1, 1, 2);
    assert_place(&view, 1, 2, 2, 1);
}

static void
refused(const struct self_place *places, size_t count, const char *says)
{
    struct move_view view = {.id = 77};
    struct st_err err = {0};
    struct self self;
    assert_code(move_masters(folder, places, count, &view, &err), ST_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, says));
    assert_int_equal(view.id, 77);
    assert_ok(self_read(folder, &self, &err));
    assert_int_equal(self.address.bytes[3], 1);
    assert_int_equal(self.place_count, 0);
    secret_wipe(&self.key);
}

static void
N52_two_masters_at_one_place_are_refused(void **state)
{
    (void)state;
    const struct self_place onto[] = {{1, address_of(2)}};
    const struct self_place both[] = {{1, address_of(9)}, {2, address_of(9)}};
    refused(onto, 1, "masters 1 and 2 would have the same address");
    refused(both, 2, "masters 1 and 2 would have the same address");
}

static void
N30_a_master_where_no_host_can_be_is_refused(void **state)
{
    (void)state;
    struct self_place nowhere[] = {{1, {.len = 4}}};
    refused(nowhere, 1, "no host has");
    nowhere[0].address = (struct st_address){.bytes = {224, 0, 0, 1}, .len = 4};
    refused(nowhere, 1, "no host has");
    nowhere[0].address = (struct st_address){.bytes = {0xff, 2}, .len = 16};
    refused(nowhere, 1, "no host has");
}

static void
who_is_no_master_or_is_named_twice_is_refused(void **state)
{
    (void)state;
    const struct self_place unknown[] = {{3, address_of(3)}};
    const struct self_place twice[] = {{2, address_of(8)}, {2, address_of(9)}};
    refused(unknown, 1, "knows no master 3");
    refused(twice, 2, "named twice");
}

static void
a_folder_in_which_a_master_runs_is_left_alone(void **state)
{
    (void)state;
    AUTO(state_freep) struct state *machine = NULL;
    struct st_err err = {0};
    struct replica *replica;
    struct move_view view;
    const struct self_place places[] = {{1, address_of(11)}};
    assert_ok(state_new(&machine, &err));
    const struct replica_config config = {.dir = folder,
                                          .id = 1,
                                          .address = "192.0.2.1:7834",
                                          .machine = state_machine(machine)};
    assert_ok(replica_open(&config, &replica, &err));
    assert_code(move_masters(folder, places, 1, &view, &err), ST_UNAVAILABLE);
    replica_close(replica);
    assert_ok(move_masters(folder, places, 1, &view, &err));
}

static void
a_folder_without_a_master_is_said_so(void **state)
{
    (void)state;
    struct move_view view;
    struct st_err err = {0};
    assert_code(move_masters("/nonexistent", NULL, 0, &view, &err), ST_NOT_FOUND);
}

#define MOVE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        MOVE_TEST(who_only_looks_changes_nothing),
        MOVE_TEST(what_is_told_is_in_the_folder_and_all_else_as_it_was),
        MOVE_TEST(two_masters_change_places_where_both_are_named),
        MOVE_TEST(N52_two_masters_at_one_place_are_refused),
        MOVE_TEST(N30_a_master_where_no_host_can_be_is_refused),
        MOVE_TEST(who_is_no_master_or_is_named_twice_is_refused),
        MOVE_TEST(a_folder_in_which_a_master_runs_is_left_alone),
        MOVE_TEST(a_folder_without_a_master_is_said_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
