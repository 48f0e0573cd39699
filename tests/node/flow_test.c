/* Enrolment and unlock, the daemon against a master that is honest or is not. */
#include "node/disk.h"
#include "proto/file.h"
#include "proto/scope.h"
#include "tests/node/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct master master;
static struct machine machine;

static int
set_up(void **state)
{
    (void)state;
    memset(&master, 0, sizeof(master));
    master_start(&master);
    machine_make(&machine, &master);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    machine_free(&machine);
    if (master.server)
        master_stop(&master);
    pthread_mutex_destroy(&master.lock);
    return 0;
}

static void
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

static void
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

static void
assert_unlocks_after_a_reboot(void)
{
    machine_reboot(&machine);
    master.adopted = true;
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_run_until_served(&machine);
    assert_true(machine_said(&machine, "unlock node=smalltown-"));
}

static void
a_machine_enrols_is_adopted_and_unlocks(void **state)
{
    (void)state;
    machine_run_until_served(&machine);
    assert_enrolled();
    machine_reboot(&machine);
    machine_start(&machine, 0);
    machine_wait_for(&machine, "registered; waiting: stctl node adopt smalltown-");
    assert_int_equal(atomic_load(&master.releases), 0);
    master.adopted = true;
    machine_wait_for(&machine, "serve ");
    assert_int_equal(machine_stop(&machine), 0);
    assert_int_equal(atomic_load(&master.releases), 1);
    assert_enrolled();
}

static void
sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static double
seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void
wait_for_calls(unsigned count)
{
    for (int i = 0; atomic_load(&master.calls) < count; i++) {
        assert_true(i < MACHINE_TIMEOUT_MS / 10);
        sleep_ms(10);
    }
}

static void
N34_a_refused_node_keeps_its_secret_and_asks_again(void **state)
{
    (void)state;
    MASTER_SCRIPT(&master, ACT_REFUSE);
    machine_start(&machine, 0);
    wait_for_calls(3);
    assert_int_equal(machine_stop(&machine), 0);
    assert_false(machine_said(&machine, "decision=ok"));
    assert_not_enrolled();
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_run_until_served(&machine);
    assert_enrolled();
    assert_unlocks_after_a_reboot();
}

static void
N33_nothing_but_a_last_OK_enrols(void **state)
{
    static const enum act acts[] = {
        ACT_UNAVAILABLE,     ACT_BUSY,         ACT_END_AT_OPEN,
        ACT_END_AT_FIRST,    ACT_SHORT_NONCE,  ACT_LONG_NONCE,
        ACT_WRONG_STAGE,     ACT_HUGE,         ACT_SILENT,
        ACT_OTHER_CHALLENGE, ACT_END_AT_SECOND};
    (void)state;
    machine.stream_ms = 2000;
    for (size_t i = 0; i < sizeof(acts) / sizeof(*acts); i++) {
        MASTER_SCRIPT(&master, acts[i]);
        machine_start(&machine, 0);
        wait_for_calls(2);
        assert_int_equal(machine_stop(&machine), 0);
        assert_false(machine_said(&machine, "decision=ok"));
        assert_not_enrolled();
        assert_int_equal(atomic_load(&master.commits), 0);
    }
    machine.stream_ms = 0;
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_run_until_served(&machine);
    assert_enrolled();
}

static void
a_lost_OK_is_asked_for_again(void **state)
{
    (void)state;
    MASTER_SCRIPT(&master, ACT_LOSE_OK, ACT_HONEST);
    machine_run_until_served(&machine);
    assert_int_equal(atomic_load(&master.commits), 2);
    assert_enrolled();
    assert_unlocks_after_a_reboot();
}

static void
an_OK_lost_with_the_power_is_asked_for_again(void **state)
{
    (void)state;
    MASTER_SCRIPT(&master, ACT_LOSE_OK);
    machine_start(&machine, 0);
    wait_for_calls(1);
    machine_kill(&machine);
    machine_reboot(&machine);
    assert_not_enrolled();
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_run_until_served(&machine);
    assert_enrolled();
    assert_unlocks_after_a_reboot();
}

/* Every step once with the daemon alone killed, once with the power cut. */
static void
die_and_resume(enum enrol_step step, bool power)
{
    machine_start(&machine, step);
    assert_int_equal(machine_wait(&machine), 128 + 9);
    if (power)
        machine_reboot(&machine);
    bool enrolled = step >= ENROL_CONFIG_WRITTEN;
    if (enrolled)
        master.adopted = true;
    if (step == ENROL_CAPPED && !power) {
        machine_start(&machine, 0);
        assert_int_equal(machine_wait(&machine), 1);
        assert_true(machine_said(&machine, "reboot"));
    } else
        machine_run_until_served(&machine);
    assert_enrolled();
    assert_unlocks_after_a_reboot();
}

static void
an_enrolment_resumes_after_kill_at_every_step(void **state)
{
    for (int step = ENROL_MEASURED; step <= ENROL_CAPPED; step++)
        for (int power = 0; power < 2; power++) {
            print_message("killed at step %d, %s\n", step, power ? "power" : "daemon");
            die_and_resume((enum enrol_step)step, power != 0);
            tear_down(state);
            set_up(state);
        }
}

static void
N34_a_killed_enrolment_goes_on_with_the_same_keys(void **state)
{
    (void)state;
    machine_start(&machine, ENROL_COMMITTED);
    assert_int_equal(machine_wait(&machine), 128 + 9);
    assert_not_enrolled();
    assert_true(master.has_record);
    machine_reboot(&machine);
    machine_run_until_served(&machine);
    /* The master refuses any other keys of this id or EK: it was the same. */
    assert_int_equal(atomic_load(&master.commits), 2);
    assert_enrolled();
}

static void
enrol_and_adopt(void)
{
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_run_until_served(&machine);
    master.adopted = true;
    machine_reboot(&machine);
}

static void
nothing_but_a_whole_unlock_opens_the_disk(void **state)
{
    static const enum act acts[] = {
        ACT_REFUSE,    ACT_UNAVAILABLE, ACT_BUSY,         ACT_END_AT_OPEN,
        ACT_HUGE,      ACT_SHORT_NONCE, ACT_LONG_NONCE,   ACT_WRONG_STAGE,
        ACT_SHORT_KEY, ACT_SILENT,      ACT_END_AT_FIRST, ACT_KEY_THEN_ERROR};
    (void)state;
    enrol_and_adopt();
    machine.stream_ms = 2000;
    for (size_t i = 0; i < sizeof(acts) / sizeof(*acts); i++) {
        MASTER_SCRIPT(&master, acts[i]);
        machine_start(&machine, 0);
        wait_for_calls(2);
        assert_int_equal(machine_stop(&machine), 0);
        assert_false(machine_said(&machine, "decision=ok"));
        assert_enrolled();
    }
    machine.stream_ms = 0;
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_run_until_served(&machine);
}

static void
N51_another_certificate_hears_nothing(void **state)
{
    struct master other = {0};
    (void)state;
    master_start(&other);
    machine.master = &other; /* whose port it is; the config names the first */
    machine_start(&machine, 0);
    machine_wait_for(&machine, "decision=retry");
    sleep_ms(500);
    assert_int_equal(machine_stop(&machine), 0);
    assert_int_equal(atomic_load(&other.calls), 0);
    assert_not_enrolled();
    machine.master = &master;
    enrol_and_adopt();
    machine.master = &other;
    machine_start(&machine, 0);
    machine_wait_for(&machine, "decision=retry");
    sleep_ms(500);
    assert_int_equal(machine_stop(&machine), 0);
    assert_int_equal(atomic_load(&other.calls), 0);
    machine.master = &master;
    master_stop(&other);
    pthread_mutex_destroy(&other.lock);
}

static void
N48_a_second_unlock_in_one_boot_is_refused(void **state)
{
    (void)state;
    enrol_and_adopt();
    machine_run_until_served(&machine);
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_start(&machine, 0);
    assert_int_equal(machine_wait(&machine), 1);
    assert_true(machine_said(&machine, "only once: reboot"));
    assert_int_equal(atomic_load(&master.calls), 0);
    assert_unlocks_after_a_reboot();
}

static void
N48_nothing_unseals_the_local_half_after_the_cap(void **state)
{
    struct tpm *tpm = NULL;
    struct tpm_sealed sealed;
    struct secret half;
    struct st_err err = {0};
    AUTO(st_freep) uint8_t *file = NULL;
    char path[MACHINE_PATH];
    size_t len, label = strlen("smalltown sealed v1\n");
    (void)state;
    enrol_and_adopt();
    machine_run_until_served(&machine);
    machine_path(&machine, "sealed", path);
    assert_ok(file_read(path, 4096, &file, &len, &err));
    sealed.len = len - label - SHA256_LEN;
    memcpy(sealed.bytes, file + label, sealed.len);
    assert_ok(tpm_open(swtpm_tcti(machine.chip), &tpm, &err));
    assert_code(tpm_unseal(tpm, &sealed, &half, &err), ST_PERMISSION_DENIED);
    tpm_close(tpm);
}

static void
N48_the_volume_of_another_node_is_not_opened(void **state)
{
    static const char other[] = "smalltown-00000000000000000000000000000001";
    struct disk_found found;
    SECRET key = {0};
    struct st_err err = {0};
    (void)state;
    enrol_and_adopt();
    machine_volume_blank(&machine);
    assert_ok(secret_random(&key, UNLOCK_KEY_LEN, &err));
    assert_ok(disk_format(machine.volume, &key, other, &err));
    assert_ok(disk_set_enrolled(machine.volume, other, &err));
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_start(&machine, 0);
    assert_int_equal(machine_wait(&machine), 1);
    assert_true(machine_said(&machine, "belongs to another node"));
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
    enrol_and_adopt();
    machine_volume_blank(&machine);
    assert_ok(secret_random(&key, UNLOCK_KEY_LEN, &err));
    assert_ok(disk_format(machine.volume, &key, master.node_id, &err));
    assert_ok(disk_set_enrolled(machine.volume, master.node_id, &err));
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_start(&machine, 0);
    assert_int_equal(machine_wait(&machine), 1);
    assert_true(machine_said(&machine, "does not open the data volume"));
    assert_false(machine_said(&machine, "decision=ok"));
    assert_ok(disk_check_key(machine.volume, &key, &err)); /* as it was */
    machine_start(&machine, 0);
    assert_int_equal(machine_wait(&machine), 1);
    assert_true(machine_said(&machine, "only once: reboot"));
    assert_int_equal(atomic_load(&master.releases), 1);
}

static void
a_wrong_global_half_opens_nothing_and_formats_nothing(void **state)
{
    (void)state;
    enrol_and_adopt();
    MASTER_SCRIPT(&master, ACT_OTHER_KEY);
    machine_start(&machine, 0);
    assert_int_equal(machine_wait(&machine), 1);
    assert_true(machine_said(&machine, "does not open"));
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
    enrol_and_adopt();
    master.adopted = false;
    machine_start(&machine, 0);
    machine_wait_for(&machine, "waiting");
    assert_int_equal(machine_stop(&machine), 0);
    master_start(&other);
    machine_config_get(&machine, &config);
    config.masters = other.cert;
    machine_path(&machine, "enrolment.pb", path);
    assert_ok(config_write(path, &config, &err));
    machine_start(&machine, 0);
    assert_int_equal(machine_wait(&machine), 1);
    assert_true(machine_said(&machine, "PCR 12 holds the measurement of something else"));
    assert_int_equal(atomic_load(&other.calls), 0);
    master_stop(&other);
    pthread_mutex_destroy(&other.lock);
}

static void
the_node_follows_its_masters(void **state)
{
    struct node_config config;
    (void)state;
    enrol_and_adopt();
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
a_hint_is_obeyed_and_SIGTERM_does_not_wait_for_it(void **state)
{
    (void)state;
    MASTER_SCRIPT(&master, ACT_BUSY);
    machine_start(&machine, 0);
    wait_for_calls(1);
    double begin = seconds();
    wait_for_calls(3);
    assert_true(seconds() - begin > 0.5); /* two pauses of 0.3 s and more */
    begin = seconds();
    assert_int_equal(machine_stop(&machine), 0);
    assert_true(seconds() - begin < 2);
}

static void
SIGTERM_ends_a_talk_with_a_silent_master(void **state)
{
    (void)state;
    machine.stream_ms = 50000;
    MASTER_SCRIPT(&master, ACT_SILENT);
    machine_start(&machine, 0);
    wait_for_calls(1);
    double begin = seconds();
    assert_int_equal(machine_stop(&machine), 0);
    assert_true(seconds() - begin < 4);
    assert_not_enrolled();
}

static void
a_node_waits_for_a_master_that_is_not_there_yet(void **state)
{
    (void)state;
    master_stop(&master);
    machine_start(&machine, 0); /* knows port 1 only */
    machine_wait_for(&machine, "decision=retry");
    sleep_ms(300);
    assert_int_equal(machine_stop(&machine), 0);
    assert_not_enrolled();
    master_start(&master);
    machine_run_until_served(&machine);
    assert_enrolled();
}

static void
a_node_without_a_volume_enrols_and_unlocks(void **state)
{
    (void)state;
    strcpy(machine.volume, "none");
    machine_run_until_served(&machine);
    assert_enrolled();
    assert_unlocks_after_a_reboot();
}

static void
a_node_with_an_RSA_key_enrols_and_unlocks(void **state)
{
    (void)state;
    machine.rsa = true;
    machine_run_until_served(&machine);
    assert_enrolled();
    assert_unlocks_after_a_reboot();
}

static void
two_daemons_do_not_share_an_ESP(void **state)
{
    struct machine second = machine;
    (void)state;
    machine_run_until_served(&machine);
    machine_reboot(&machine);
    machine_start(&machine, 0);
    machine_wait_for(&machine, "waiting");
    snprintf(second.log, sizeof(second.log), "%.60s/second", swtpm_folder(machine.chip));
    second.pid = 0;
    machine_start(&second, 0);
    assert_int_equal(machine_wait(&second), 1);
    assert_true(machine_said(&second, "another smalltown-node works on the ESP"));
    assert_int_equal(machine_stop(&machine), 0);
}

static void
a_volume_that_holds_data_is_not_formatted(void **state)
{
    (void)state;
    machine_volume_fill(&machine, 1080, 2, 0xef); /* as ext4 begins */
    machine_start(&machine, 0);
    assert_int_equal(machine_wait(&machine), 1);
    assert_true(machine_said(&machine, "the data volume is not blank"));
    assert_int_equal(atomic_load(&master.calls), 0);
    assert_false(machine_has(&machine, "sealed"));
}

static void
an_enrolled_volume_is_not_formatted_by_a_new_enrolment(void **state)
{
    struct disk_found found;
    struct st_err err = {0};
    (void)state;
    enrol_and_adopt();
    const char *files[] = {"sealed", "identity"};
    for (int i = 0; i < 2; i++) {
        char path[MACHINE_PATH];
        machine_path(&machine, files[i], path);
        assert_int_equal(unlink(path), 0);
    }
    machine_config_put(&machine); /* an operator starts over with the old disk */
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_start(&machine, 0);
    assert_int_equal(machine_wait(&machine), 1);
    assert_true(machine_said(&machine, "the data volume is not blank"));
    assert_ok(disk_observe(machine.volume, &found, &err));
    assert_int_equal(found.state, START_VOLUME_ENROLLED);
    assert_int_equal(atomic_load(&master.calls), 0);
}

static void
a_half_done_enrolment_does_not_take_the_volume_of_another(void **state)
{
    static const char other[] = "smalltown-00000000000000000000000000000001";
    SECRET key = {0};
    struct st_err err = {0};
    (void)state;
    machine_start(&machine, ENROL_FORMATTED);
    assert_int_equal(machine_wait(&machine), 128 + 9);
    assert_ok(secret_random(&key, UNLOCK_KEY_LEN, &err));
    machine_volume_blank(&machine);
    assert_ok(disk_format(machine.volume, &key, other, &err));
    machine_start(&machine, 0);
    assert_int_equal(machine_wait(&machine), 1);
    assert_true(machine_said(&machine, "it is not touched"));
    machine_volume_blank(&machine);
    assert_ok(disk_begin_format(machine.volume, other, &err));
    machine_volume_fill(&machine, 40000, 5000, 0x5a); /* torn by another */
    machine_start(&machine, 0);
    assert_int_equal(machine_wait(&machine), 1);
    assert_true(machine_said(&machine, "it is not touched"));
    assert_int_equal(atomic_load(&master.calls), 0);
}

static void
a_torn_format_is_done_again(void **state)
{
    (void)state;
    machine_start(&machine, ENROL_FORMAT_BEGUN);
    assert_int_equal(machine_wait(&machine), 128 + 9);
    /* LUKS2 fills the place of the keyslots with noise before it writes its header. */
    machine_volume_fill(&machine, 32768, 1 << 20, 0xa5);
    machine_run_until_served(&machine);
    assert_enrolled();
    assert_unlocks_after_a_reboot();
}

int
main(int argc, char **argv)
{
    machine_child_main(argc, argv);
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(a_machine_enrols_is_adopted_and_unlocks),
        TEST(N34_a_refused_node_keeps_its_secret_and_asks_again),
        TEST(N33_nothing_but_a_last_OK_enrols),
        TEST(a_lost_OK_is_asked_for_again),
        TEST(an_OK_lost_with_the_power_is_asked_for_again),
        TEST(an_enrolment_resumes_after_kill_at_every_step),
        TEST(N34_a_killed_enrolment_goes_on_with_the_same_keys),
        TEST(nothing_but_a_whole_unlock_opens_the_disk),
        TEST(N51_another_certificate_hears_nothing),
        TEST(N48_a_second_unlock_in_one_boot_is_refused),
        TEST(N48_nothing_unseals_the_local_half_after_the_cap),
        TEST(N48_the_volume_of_another_node_is_not_opened),
        TEST(N48_a_volume_in_our_name_with_another_key_is_not_opened),
        TEST(a_wrong_global_half_opens_nothing_and_formats_nothing),
        TEST(another_config_in_the_same_boot_is_refused),
        TEST(the_node_follows_its_masters),
        TEST(a_hint_is_obeyed_and_SIGTERM_does_not_wait_for_it),
        TEST(SIGTERM_ends_a_talk_with_a_silent_master),
        TEST(a_node_waits_for_a_master_that_is_not_there_yet),
        TEST(a_node_without_a_volume_enrols_and_unlocks),
        TEST(a_node_with_an_RSA_key_enrols_and_unlocks),
        TEST(two_daemons_do_not_share_an_ESP),
        TEST(a_volume_that_holds_data_is_not_formatted),
        TEST(an_enrolled_volume_is_not_formatted_by_a_new_enrolment),
        TEST(a_half_done_enrolment_does_not_take_the_volume_of_another),
        TEST(a_torn_format_is_done_again),
    };
    rpc_init(NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rpc_shutdown();
    return failed;
}
