/* The way back to the disk, and all that does not lead there. */
#include "node/disk.h"
#include "proto/file.h"
#include "proto/scope.h"
#include "tests/node/flow.h"

#include <string.h>

static void
N33_nothing_but_a_whole_unlock_opens_the_disk(void **state)
{
    static const enum act acts[] = {
        ACT_REFUSE,    ACT_UNAVAILABLE, ACT_BUSY,         ACT_END_AT_OPEN,
        ACT_HUGE,      ACT_SHORT_NONCE, ACT_LONG_NONCE,   ACT_WRONG_STAGE,
        ACT_SHORT_KEY, ACT_SILENT,      ACT_END_AT_FIRST, ACT_KEY_THEN_ERROR};
    (void)state;
    flow_enrol_and_adopt();
    machine.stream_ms = 2000;
    for (size_t i = 0; i < sizeof(acts) / sizeof(*acts); i++) {
        MASTER_SCRIPT(&master, acts[i]);
        machine_start(&machine, 0);
        flow_wait_for_calls(2);
        assert_int_equal(machine_stop(&machine), 0);
        assert_false(machine_said(&machine, "decision=ok"));
        assert_enrolled();
    }
    machine.stream_ms = 0;
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_run_until_served(&machine);
}

static void
N48_a_second_unlock_in_one_boot_is_refused(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    machine_run_until_served(&machine);
    assert_unlocks_no_more();
}

/* A step in which a slow TPM, or a slow disk, may well be then. */
static void
N48_who_stops_a_slow_machine_gets_no_second_unlock(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    machine.slow = true;
    machine_start(&machine, HALF_SEALED_ANEW);
    assert_int_equal(machine_wait(&machine), 0);
    machine.slow = false;
    assert_unlocks_no_more();
}

/* Without frame; its length. */
static size_t
read_framed(const char *name, uint8_t *out, size_t max)
{
    AUTO(st_freep) uint8_t *file = NULL;
    struct st_err err = {0};
    char path[MACHINE_PATH];
    size_t len, label = strlen("smalltown ") + strlen(name) + strlen(" v1\n");
    machine_path(&machine, name, path);
    assert_ok(file_read(path, 4096, &file, &len, &err));
    assert_in_range(len, label + SHA256_LEN + 1, label + SHA256_LEN + max);
    memcpy(out, file + label, len - label - SHA256_LEN);
    return len - label - SHA256_LEN;
}

static void
N48_nothing_unseals_the_local_half_after_the_cap(void **state)
{
    struct tpm *tpm = NULL;
    struct tpm_sealed sealed;
    struct tpm_approval approval;
    struct secret half;
    struct st_err err = {0};
    (void)state;
    flow_enrol_and_adopt();
    machine_run_until_served(&machine);
    sealed.len = read_framed("sealed", sealed.bytes, sizeof(sealed.bytes));
    assert_int_equal(read_framed("approvals", (uint8_t *)&approval, sizeof(approval)),
                     sizeof(approval));
    assert_ok(tpm_open(swtpm_tcti(machine.chip), &tpm, &err));
    assert_code(tpm_unseal(tpm, &sealed, &half, &err), ST_PERMISSION_DENIED);
    assert_code(tpm_unseal_approved(tpm, &sealed, &approval, &half, &err),
                ST_PERMISSION_DENIED);
    tpm_close(tpm);
}

/* PCR 12 itself remembers: what a daemon that was killed measured is not measured again,
 * and the masters' quote and the seal still fit. */
static void
N48_a_boot_is_measured_once_whatever_becomes_of_the_daemon(void **state)
{
    struct tpm_pcrs measured, again;
    struct st_err err = {0};
    (void)state;
    flow_enrol_and_adopt();
    MASTER_SCRIPT(&master, ACT_UNAVAILABLE);
    for (int i = 0; i < 3; i++) {
        machine_start(&machine, 0);
        flow_wait_for_calls((unsigned)i + 1);
        machine_kill(&machine);
        struct tpm *tpm = NULL;
        assert_ok(tpm_open(swtpm_tcti(machine.chip), &tpm, &err));
        assert_ok(tpm_pcrs_read(tpm, i ? &again : &measured, &err));
        tpm_close(tpm);
        if (i)
            assert_memory_equal(&measured, &again, sizeof(measured));
    }
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_run_until_served(&machine);
    assert_refuses("only once: reboot");
}

static void
N48_the_volume_of_another_node_is_not_opened(void **state)
{
    static const char other[] = "smalltown-00000000000000000000000000000001";
    struct disk_found found;
    SECRET key = {0};
    struct st_err err = {0};
    (void)state;
    flow_enrol_and_adopt();
    machine_volume_blank(&machine);
    assert_ok(secret_random(&key, UNLOCK_KEY_LEN, &err));
    assert_ok(disk_format(machine.volume, &key, other, DISK_XTS, &err));
    assert_ok(disk_set_enrolled(machine.volume, other, &err));
    MASTER_SCRIPT(&master, ACT_HONEST);
    assert_refuses("belongs to another node");
    assert_int_equal(atomic_load(&master.calls), 0);
    assert_ok(disk_observe(machine.volume, &found, &err));
    assert_string_equal(found.node_id, other);
    assert_ok(disk_check_key(machine.volume, &key, &err));
}

static void
N48_a_volume_in_our_name_with_another_key_is_not_opened(void **state)
{
    SECRET key = {0};
    struct st_err err = {0};
    (void)state;
    flow_enrol_and_adopt();
    machine_volume_blank(&machine);
    assert_ok(secret_random(&key, UNLOCK_KEY_LEN, &err));
    assert_ok(disk_format(machine.volume, &key, master.node_id, DISK_XTS, &err));
    assert_ok(disk_set_enrolled(machine.volume, master.node_id, &err));
    MASTER_SCRIPT(&master, ACT_HONEST);
    assert_refuses("does not open the volume");
    assert_false(machine_said(&machine, "decision=ok"));
    assert_ok(disk_check_key(machine.volume, &key, &err)); /* as it was */
    assert_refuses("only once: reboot");
    assert_int_equal(atomic_load(&master.releases), 1);
}

static void
a_wrong_global_half_opens_nothing_and_formats_nothing(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    MASTER_SCRIPT(&master, ACT_OTHER_KEY);
    assert_refuses("does not open");
    assert_enrolled();
    assert_unlocks_after_a_reboot();
}

static void
another_config_in_the_same_boot_is_refused(void **state)
{
    struct node_config config;
    struct master other = {0};
    char path[MACHINE_PATH];
    struct st_err err = {0};
    (void)state;
    flow_enrol_and_adopt();
    master.adopted = false;
    machine_start(&machine, 0);
    machine_wait_for(&machine, "waiting");
    assert_int_equal(machine_stop(&machine), 0);
    master_start(&other);
    machine_config_get(&machine, &config);
    config.masters = other.cert;
    machine_path(&machine, "enrolment.pb", path);
    assert_ok(config_write(path, &config, &err));
    assert_refuses("PCR 12 holds the measurement of something else");
    assert_int_equal(atomic_load(&other.calls), 0);
    master_stop(&other);
    pthread_mutex_destroy(&other.lock);
}

static void
the_node_follows_its_masters(void **state)
{
    struct node_config config;
    (void)state;
    flow_enrol_and_adopt();
    master.masters[0] = (struct st_address){{127, 0, 0, 9}, 4};
    master.masters[1] = (struct st_address){{127, 0, 0, 1}, 4};
    master.master_count = 2;
    machine_run_until_served(&machine);
    machine_config_get(&machine, &config);
    assert_int_equal(config.address_count, 2);
    assert_int_equal(config.addresses[0].bytes[3], 9);
    assert_int_equal(config.masters.len, master.cert.len);
    assert_memory_equal(config.masters.der, master.cert.der, master.cert.len);
    master.masters[0].len = 3; /* of no use: the old ones stay */
    assert_unlocks_after_a_reboot();
    machine_config_get(&machine, &config);
    assert_int_equal(config.address_count, 2);
}

static void
N46_a_hint_is_obeyed(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    MASTER_SCRIPT(&master, ACT_BUSY);
    double begin = flow_seconds();
    machine_start(&machine, 0);
    flow_wait_for_calls(8);
    assert_true(flow_seconds() - begin > 7 * 0.3); /* seven pauses of 0.3 s and more */
    assert_int_equal(machine_stop(&machine), 0);
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_run_until_served(&machine);
}

int
main(int argc, char **argv)
{
    machine_child_main(argc, argv);
    const struct CMUnitTest tests[] = {
        FLOW_TEST(N33_nothing_but_a_whole_unlock_opens_the_disk),
        FLOW_TEST(N48_a_second_unlock_in_one_boot_is_refused),
        FLOW_TEST(N48_who_stops_a_slow_machine_gets_no_second_unlock),
        FLOW_TEST(N48_nothing_unseals_the_local_half_after_the_cap),
        FLOW_TEST(N48_a_boot_is_measured_once_whatever_becomes_of_the_daemon),
        FLOW_TEST(N48_the_volume_of_another_node_is_not_opened),
        FLOW_TEST(N48_a_volume_in_our_name_with_another_key_is_not_opened),
        FLOW_TEST(a_wrong_global_half_opens_nothing_and_formats_nothing),
        FLOW_TEST(another_config_in_the_same_boot_is_refused),
        FLOW_TEST(the_node_follows_its_masters),
        FLOW_TEST(N46_a_hint_is_obeyed),
    };
    return FLOW_MAIN(tests);
}
