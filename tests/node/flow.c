#include "tests/node/flow.h"

#include "node/disk.h"
#include "tests/patience.h"

#include <string.h>
#include <time.h>

struct master master;
struct machine machine;

int
flow_set_up(void **state)
{
    (void)state;
    memset(&master, 0, sizeof(master));
    master_start(&master);
    machine_make(&machine, &master);
    return 0;
}

int
flow_tear_down(void **state)
{
    (void)state;
    machine_free(&machine);
    if (master.server)
        master_stop(&master);
    pthread_mutex_destroy(&master.lock);
    return 0;
}

void
assert_enrolled(void)
{
    struct node_config config;
    struct disk_found found;
    struct st_err err = {0};
    machine_config_get(&machine, &config);
    assert_int_equal(config.secret.len, 0);
    assert_string_equal(config.node_id, master.node_id);
    assert_true(machine_has(&machine, "sealed"));
    assert_true(machine_has(&machine, "identity"));
    assert_false(machine_has(&machine, "pending"));
    if (strcmp(machine.volume, "none") == 0)
        return;
    assert_ok(disk_observe(machine.volume, &found, &err));
    assert_int_equal(found.state, START_VOLUME_ENROLLED);
    assert_string_equal(found.node_id, master.node_id);
}

void
assert_not_enrolled(void)
{
    struct node_config config;
    machine_config_get(&machine, &config);
    assert_int_equal(config.secret.len, sizeof(master.secret));
    assert_memory_equal(config.secret.bytes, master.secret, sizeof(master.secret));
    assert_string_equal(config.node_id, "");
    assert_false(machine_has(&machine, "identity"));
    assert_true(machine_has(&machine, "pending"));
    secret_wipe(&config.secret);
}

void
assert_unlocks_after_a_reboot(void)
{
    machine_reboot(&machine);
    master.adopted = true;
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_run_until_served(&machine);
    assert_true(machine_said(&machine, "unlock node=smalltown-"));
}

void
assert_refuses(const char *words)
{
    machine_start(&machine, 0);
    assert_int_equal(machine_wait(&machine), 1);
    if (!machine_said(&machine, words))
        fail_msg("it does not say: %s", words);
}

void
assert_unlocks_no_more(void)
{
    MASTER_SCRIPT(&master, ACT_HONEST);
    assert_refuses("only once: reboot");
    assert_int_equal(atomic_load(&master.calls), 0);
    assert_unlocks_after_a_reboot();
}

double
flow_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void
flow_wait_for_calls(unsigned count)
{
    for (int i = 0; atomic_load(&master.calls) < count; i++) {
        assert_true(i < machine_timeout_ms() / 10);
        sleep_ms(10);
    }
}

void
flow_enrol_and_adopt(void)
{
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_run_until_served(&machine);
    master.adopted = true;
    machine_reboot(&machine);
}
