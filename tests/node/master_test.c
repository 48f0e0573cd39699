/* A node becomes a master, and is one before anything else at every boot after. */
#include "proto/file.h"
#include "proto/scope.h"
#include "tests/node/flow.h"
#include "tests/node/joins.h"
#include "tests/patience.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* smalltown-nms as it is, but that `run` only notes when it was begun. */
static int
set_up(void **state)
{
    char text[1024];
    struct st_err err = {0};
    flow_set_up(state);
    joins_path("master", machine.master_data);
    joins_path("smalltown-nms", machine.nms);
    int n = snprintf(text, sizeof(text),
                     "#!/bin/sh\n[ $1 = run ] || exec '" SMALLTOWN_NMS "' \"$@\"\n"
                     "echo \"$*\" >> $0.said\nexec sleep 1000\n");
    assert_ok(file_write(machine.nms, 0700, text, (size_t)n, &err));
    joins_set_up();
    return 0;
}

static enum st_code
join_cluster(const struct secret *key, struct st_err *err)
{
    return joins_ask(key, 10000, err);
}

static bool
has_member(void)
{
    char path[MACHINE_PATH];
    snprintf(path, sizeof(path), "%.60s/member.pb", machine.master_data);
    return access(path, F_OK) == 0;
}

static void
a_node_becomes_a_master_and_stays_one(void **state)
{
    (void)state;
    struct st_err err = {0};
    flow_enrol_and_adopt();
    machine_start(&machine, 0);
    assert_ok(join_cluster(&joins.member.key, &err));
    assert_true(has_member());
    joins_wait_for_runs(1);
    assert_ok(join_cluster(&joins.member.key, &err)); /* whoever leads then asks again */
    assert_int_equal(machine_stop(&machine), 0);
    assert_int_equal(joins_count_said("run --data"), 1);

    /* All masters were off, this one too: it is a master while its disk is locked. */
    machine_reboot(&machine);
    MASTER_SCRIPT(&master, ACT_UNAVAILABLE);
    machine_start(&machine, 0);
    joins_wait_for_runs(2);
    flow_wait_for_calls(2);
    assert_false(machine_said(&machine, "serve "));
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_wait_for(&machine, "serve ");
    assert_ok(join_cluster(&joins.member.key, &err));
    assert_int_equal(machine_stop(&machine), 0);
    assert_int_equal(joins_count_said("run --data"), 2);
}

static void
a_node_that_was_refused_as_a_node_stays_a_master(void **state)
{
    (void)state;
    struct st_err err = {0};
    flow_enrol_and_adopt();
    machine_start(&machine, 0);
    assert_ok(join_cluster(&joins.member.key, &err));
    joins_wait_for_runs(1);
    assert_int_equal(machine_stop(&machine), 0);
    /* Not a reboot: PCR 12 is capped, so the disk stays as it is. */
    machine_start(&machine, 0);
    machine_wait_for(&machine, "only once: reboot");
    joins_wait_for_runs(2);
    sleep_ms(500);
    assert_int_equal(machine_stop(&machine), 0);
    assert_int_equal(joins_count_said("run --data"), 2);
}

static void
N52_a_node_that_was_sent_another_key_is_no_master(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct ca other;
    flow_enrol_and_adopt();
    machine_start(&machine, 0);
    assert_ok(ca_issue_member(&joins.authority, 3, 4, &other.cert, &other.key, &err));
    assert_code(join_cluster(&other.key, &err), ST_INVALID_ARGUMENT);
    assert_false(has_member());
    assert_ok(join_cluster(&joins.member.key, &err)); /* it is as it was */
    assert_int_equal(machine_stop(&machine), 0);
}

static void
a_node_that_is_killed_after_its_answer_is_a_master(void **state)
{
    (void)state;
    struct st_err err = {0};
    flow_enrol_and_adopt();
    machine_start(&machine, 0);
    assert_ok(join_cluster(&joins.member.key, &err));
    machine_kill(&machine);
    assert_true(has_member());
    machine_reboot(&machine);
    master.adopted = true;
    MASTER_SCRIPT(&master, ACT_HONEST);
    joins_run_until_master();
}

/* The masters that its file names are gone. */
static void
forget_masters(void)
{
    char path[MACHINE_PATH];
    struct st_err err = {0};
    struct node_config config;
    machine_config_get(&machine, &config);
    config.addresses[0].bytes[3] = 9;
    config.address_count = 1;
    machine_path(&machine, "enrolment.pb", path);
    assert_ok(config_write(path, &config, &err));
}

static void
a_master_whose_list_of_masters_is_old_asks_itself(void **state)
{
    (void)state;
    struct st_err err = {0};
    flow_enrol_and_adopt();
    machine_start(&machine, 0);
    assert_ok(join_cluster(&joins.member.key, &err));
    machine_reboot(&machine);
    forget_masters();
    machine_run_until_served(&machine); /* its own port 7833 is the test's */
}

static void
a_node_that_is_no_master_does_not_ask_itself(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    forget_masters();
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_start(&machine, 0);
    machine_wait_for(&machine, "no answer at 127.0.0.9");
    assert_int_equal(machine_stop(&machine), 0);
    assert_int_equal(atomic_load(&master.calls), 0);
}

int
main(int argc, char **argv)
{
    machine_child_main(argc, argv);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, flow_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_node_becomes_a_master_and_stays_one),
        TEST(a_node_that_was_refused_as_a_node_stays_a_master),
        TEST(N52_a_node_that_was_sent_another_key_is_no_master),
        TEST(a_node_that_is_killed_after_its_answer_is_a_master),
        TEST(a_master_whose_list_of_masters_is_old_asks_itself),
        TEST(a_node_that_is_no_master_does_not_ask_itself),
    };
    return FLOW_MAIN(tests);
}
