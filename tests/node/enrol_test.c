/* From an EnrolmentConfig to a node, and through every power cut on the way. */
#include "node/disk.h"
#include "node/enrol_keys.h"
#include "node/half.h"
#include "node/measure.h"
#include "proto/file.h"
#include "proto/scope.h"
#include "tests/node/flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* Every step once with the daemon alone killed, once with the power cut. */
static void
die_and_resume(enum node_step step, bool power)
{
    machine_start(&machine, step);
    assert_int_equal(machine_wait(&machine), 128 + 9);
    if (power)
        machine_reboot(&machine);
    bool enrolled = step >= ENROL_CONFIG_WRITTEN;
    if (enrolled)
        master.adopted = true;
    if (step == ENROL_CAPPED && !power) {
        assert_refuses("reboot");
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
            die_and_resume((enum node_step)step, power != 0);
            flow_tear_down(state);
            flow_set_up(state);
        }
}

static void
N34_a_refused_node_keeps_its_secret_and_asks_again(void **state)
{
    (void)state;
    MASTER_SCRIPT(&master, ACT_REFUSE);
    machine_start(&machine, 0);
    flow_wait_for_calls(3);
    assert_int_equal(machine_stop(&machine), 0);
    assert_false(machine_said(&machine, "decision=ok"));
    assert_not_enrolled();
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_run_until_served(&machine);
    assert_enrolled();
    assert_unlocks_after_a_reboot();
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
    assert_true(machine_said(&second, "smalltown-crypttab.socket smalltown-node"));
    assert_int_equal(machine_stop(&machine), 0);
}

static void
a_volume_that_holds_data_is_not_formatted(void **state)
{
    (void)state;
    machine_volume_fill(&machine, 1080, 2, 0xef); /* as ext4 begins */
    assert_refuses("the data volume is not blank");
    assert_int_equal(atomic_load(&master.calls), 0);
    assert_false(machine_has(&machine, "sealed"));
}

static void
an_enrolled_volume_is_not_formatted_by_a_new_enrolment(void **state)
{
    struct disk_found found;
    struct st_err err = {0};
    (void)state;
    flow_enrol_and_adopt();
    const char *files[] = {"sealed", "identity"};
    for (int i = 0; i < 2; i++) {
        char path[MACHINE_PATH];
        machine_path(&machine, files[i], path);
        assert_int_equal(unlink(path), 0);
    }
    machine_config_put(&machine); /* an operator starts over with the old disk */
    MASTER_SCRIPT(&master, ACT_HONEST);
    assert_refuses("the data volume is not blank");
    assert_ok(disk_observe(machine.volume, &found, &err));
    assert_int_equal(found.state, START_VOLUME_ENROLLED);
    assert_int_equal(atomic_load(&master.calls), 0);
}

static void
N34_a_half_done_enrolment_does_not_take_the_volume_of_another(void **state)
{
    static const char other[] = "smalltown-00000000000000000000000000000001";
    SECRET key = {0};
    struct st_err err = {0};
    (void)state;
    machine_start(&machine, ENROL_FORMATTED);
    assert_int_equal(machine_wait(&machine), 128 + 9);
    assert_ok(secret_random(&key, UNLOCK_KEY_LEN, &err));
    machine_volume_blank(&machine);
    assert_ok(disk_format(machine.volume, &key, other, DISK_XTS, &err));
    assert_refuses("it is not touched");
    machine_volume_blank(&machine);
    assert_ok(disk_begin_format(machine.volume, other, &err));
    machine_volume_fill(&machine, 40000, 5000, 0x5a); /* torn by another */
    assert_refuses("it is not touched");
    assert_int_equal(atomic_load(&master.calls), 0);
}

static void
id_on_volume(char out[NODE_ID_LEN + 1])
{
    struct disk_found found;
    struct st_err err = {0};
    assert_ok(disk_observe(machine.volume, &found, &err));
    strcpy(out, found.node_id);
}

/* Whoever came to the TPM before could have sealed them. */
static void
N48_keys_beside_a_volume_that_is_not_formatted_are_not_used(void **state)
{
    const enum node_step steps[] = {ENROL_FORMATTED, ENROL_FORMAT_BEGUN};
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        char left[NODE_ID_LEN + 1];
        machine_start(&machine, steps[i]);
        assert_int_equal(machine_wait(&machine), 128 + 9);
        id_on_volume(left);
        if (steps[i] == ENROL_FORMATTED)
            machine_volume_blank(&machine);
        machine_run_until_served(&machine);
        assert_enrolled();
        assert_string_not_equal(left, master.node_id);
        assert_unlocks_after_a_reboot();
        flow_tear_down(state);
        flow_set_up(state);
    }
}

/* As this machine would seal it with Secure Boot on, where it is off. */
static void
seal_to_other_pcrs(enum esp_file file, size_t len)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    AUTO(esp_closep) struct esp *esp = NULL;
    SECRET secret = {0};
    struct tpm_sealed sealed;
    enum half_maker maker;
    struct st_err err = {0};
    struct node node = {.efivars = "/nowhere"};
    assert_ok(tpm_open(swtpm_tcti(machine.chip), &tpm, &err));
    assert_ok(esp_open(machine.esp, &esp, &err));
    node.esp = esp;
    assert_ok(half_unseal(&node, tpm, file, len, &secret, &maker, &err));
    assert_ok(tpm_seal(tpm, &secret, measure_mask(true), &sealed, &err));
    assert_ok(esp_write(esp, file, sealed.bytes, sealed.len, &err));
}

static void
N48_what_was_sealed_to_other_pcrs_is_not_gone_on_with(void **state)
{
    (void)state;
    const enum esp_file files[] = {ESP_SEALED, ESP_PENDING};
    const size_t lens[] = {32, 96};
    for (size_t i = 0; i < 2; i++) {
        machine_start(&machine, ENROL_FORMATTED);
        assert_int_equal(machine_wait(&machine), 128 + 9);
        seal_to_other_pcrs(files[i], lens[i]);
        assert_refuses("sealed to other PCRs");
        assert_int_equal(atomic_load(&master.calls), 0);
        flow_tear_down(state);
        flow_set_up(state);
    }
}

/* As who booted something else on the machine leaves it. */
static void
N48_keys_that_something_else_made_are_not_gone_on_with(void **state)
{
    (void)state;
    const enum esp_file files[] = {ESP_SEALED, ESP_PENDING};
    for (int i = 0; i < 4; i++) {
        const bool volume = i / 2;
        char left[NODE_ID_LEN + 1] = "";
        if (!volume)
            strcpy(machine.volume, "none");
        machine_start(&machine, volume ? ENROL_FORMATTED : ENROL_HALF_SEALED);
        assert_int_equal(machine_wait(&machine), 128 + 9);
        if (volume)
            id_on_volume(left);
        machine_forget_maker(&machine, files[i % 2]);
        machine_run_until_served(&machine);
        assert_true(machine_said(&machine, "its keys were made by something else"));
        assert_enrolled();
        assert_string_not_equal(left, master.node_id);
        assert_unlocks_after_a_reboot();
        flow_tear_down(state);
        flow_set_up(state);
    }
}

/* Of a disk that gives one thing to who unseals it, and a genuine one to who judges it.
 */
static struct {
    bool armed;
    enum esp_file file;
    unsigned reads;
    size_t len;
    uint8_t genuine[ESP_CONTENT_MAX];
} liar;

enum st_code __real_esp_read(const struct esp *esp, enum esp_file file,
                             uint8_t content[ESP_CONTENT_MAX], size_t *out_len,
                             struct st_err *err);
enum st_code __wrap_esp_read(const struct esp *esp, enum esp_file file,
                             uint8_t content[ESP_CONTENT_MAX], size_t *out_len,
                             struct st_err *err);

enum st_code
__wrap_esp_read(const struct esp *esp, enum esp_file file,
                uint8_t content[ESP_CONTENT_MAX], size_t *out_len, struct st_err *err)
{
    if (!liar.armed || file != liar.file || liar.reads++ == 0)
        return __real_esp_read(esp, file, content, out_len, err);
    memcpy(content, liar.genuine, liar.len);
    *out_len = liar.len;
    return ST_OK;
}

static bool
keys_are_ours(void)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    AUTO(esp_closep) struct esp *esp = NULL;
    KEYS keys = {0};
    struct st_err err = {0};
    struct node node = {.efivars = "/nowhere"};
    assert_ok(tpm_open(swtpm_tcti(machine.chip), &tpm, &err));
    assert_ok(esp_open(machine.esp, &esp, &err));
    node.esp = esp;
    liar.reads = 0;
    assert_ok(keys_unseal(&node, tpm, &keys, &err));
    return keys.ours;
}

static void
N48_what_is_judged_is_what_was_unsealed(void **state)
{
    (void)state;
    const enum esp_file files[] = {ESP_SEALED, ESP_PENDING};
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        struct esp *esp;
        struct st_err err = {0};
        machine_start(&machine, ENROL_FORMATTED);
        assert_int_equal(machine_wait(&machine), 128 + 9);
        assert_ok(esp_open(machine.esp, &esp, &err));
        assert_ok(esp_read(esp, files[i], liar.genuine, &liar.len, &err));
        esp_close(esp);
        assert_true(keys_are_ours());
        machine_forget_maker(&machine, files[i]);
        liar.file = files[i];
        liar.armed = true;
        const bool ours = keys_are_ours();
        liar.armed = false;
        assert_false(ours);
        flow_tear_down(state);
        flow_set_up(state);
    }
}

static void
N48_an_identity_of_such_keys_is_nobody(void **state)
{
    (void)state;
    const enum node_step steps[] = {ENROL_IDENTITY_WRITTEN, ENROL_VOLUME_ENROLLED};
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        struct disk_found before, after;
        struct st_err err = {0};
        machine_start(&machine, steps[i]);
        assert_int_equal(machine_wait(&machine), 128 + 9);
        assert_ok(disk_observe(machine.volume, &before, &err));
        machine_forget_maker(&machine, ESP_PENDING);
        MASTER_SCRIPT(&master, ACT_HONEST);
        assert_refuses("has an identity, and its keys were made by");
        assert_int_equal(atomic_load(&master.calls), 0);
        assert_ok(disk_observe(machine.volume, &after, &err));
        assert_int_equal(before.state, after.state);
        assert_string_equal(before.node_id, after.node_id);
        flow_tear_down(state);
        flow_set_up(state);
    }
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

static void
N48_a_machine_does_not_enrol_anew_in_a_boot_that_unlocked(void **state)
{
    static const char *const files[] = {"sealed", "identity"};
    (void)state;
    flow_enrol_and_adopt();
    machine_run_until_served(&machine);
    for (int i = 0; i < 2; i++) {
        char path[MACHINE_PATH];
        machine_path(&machine, files[i], path);
        assert_int_equal(unlink(path), 0);
    }
    machine_volume_blank(&machine);
    machine_config_put(&machine);
    MASTER_SCRIPT(&master, ACT_HONEST);
    assert_refuses("reboot, then this machine enrols");
    assert_int_equal(atomic_load(&master.calls), 0);
    assert_false(machine_has(&machine, "pending"));
}

/* In the process of the daemon. */
#define MAPS_NOTHING "ST_MAPS_NOTHING"

enum st_code __real_disk_map(const char *path, const char *name, const struct secret *key,
                             bool *out_mapped, struct st_err *err);
enum st_code __wrap_disk_map(const char *path, const char *name, const struct secret *key,
                             bool *out_mapped, struct st_err *err);

enum st_code
__wrap_disk_map(const char *path, const char *name, const struct secret *key,
                bool *out_mapped, struct st_err *err)
{
    if (getenv(MAPS_NOTHING))
        return st_fail(err, ST_INTERNAL, "map %s: no memory", path);
    return __real_disk_map(path, name, key, out_mapped, err);
}

/* A step in which a slow TPM may well be then. */
static void
N48_who_stops_a_slow_machine_that_enrols_gets_no_unlock_in_this_boot(void **state)
{
    (void)state;
    master.adopted = true;
    machine.slow = true;
    machine_start(&machine, HALF_SEALED_ANEW);
    assert_int_equal(machine_wait(&machine), 0);
    machine.slow = false;
    assert_enrolled();
    assert_unlocks_no_more();
}

static void
N48_an_enrolment_whose_disk_does_not_open_ends_in_the_cap_too(void **state)
{
    (void)state;
    master.adopted = true;
    assert_int_equal(machine_run_with(&machine, MAPS_NOTHING), 1);
    assert_true(machine_said(&machine, "the master has committed this node, but"));
    assert_true(machine_said(&machine, "no memory"));
    assert_enrolled();
    assert_unlocks_no_more();
}

static void
a_damaged_seal_is_known_before_anybody_is_asked(void **state)
{
    static const char *const files[] = {"sealed", "pending"};
    (void)state;
    machine_start(&machine, ENROL_COMMITTED);
    assert_int_equal(machine_wait(&machine), 128 + 9);
    MASTER_SCRIPT(&master, ACT_HONEST);
    for (int i = 0; i < 2; i++) {
        char path[MACHINE_PATH];
        AUTO(st_freep) uint8_t *whole = NULL;
        size_t len;
        struct st_err err = {0};
        machine_path(&machine, files[i], path);
        assert_ok(file_read(path, 4096, &whole, &len, &err));
        whole[len / 2] ^= 1;
        assert_ok(file_write(path, 0600, whole, len, &err));
        assert_refuses("is damaged");
        whole[len / 2] ^= 1;
        assert_ok(file_write(path, 0600, whole, len, &err));
    }
    assert_int_equal(atomic_load(&master.calls), 0);
    machine_run_until_served(&machine);
    assert_enrolled();
}

int
main(int argc, char **argv)
{
    machine_child_main(argc, argv);
    const struct CMUnitTest tests[] = {
        FLOW_TEST(a_machine_enrols_is_adopted_and_unlocks),
        FLOW_TEST(an_enrolment_resumes_after_kill_at_every_step),
        FLOW_TEST(N34_a_refused_node_keeps_its_secret_and_asks_again),
        FLOW_TEST(N34_a_killed_enrolment_goes_on_with_the_same_keys),
        FLOW_TEST(a_node_without_a_volume_enrols_and_unlocks),
        FLOW_TEST(a_node_with_an_RSA_key_enrols_and_unlocks),
        FLOW_TEST(two_daemons_do_not_share_an_ESP),
        FLOW_TEST(a_volume_that_holds_data_is_not_formatted),
        FLOW_TEST(an_enrolled_volume_is_not_formatted_by_a_new_enrolment),
        FLOW_TEST(N34_a_half_done_enrolment_does_not_take_the_volume_of_another),
        FLOW_TEST(N48_keys_beside_a_volume_that_is_not_formatted_are_not_used),
        FLOW_TEST(N48_what_was_sealed_to_other_pcrs_is_not_gone_on_with),
        FLOW_TEST(N48_keys_that_something_else_made_are_not_gone_on_with),
        FLOW_TEST(N48_what_is_judged_is_what_was_unsealed),
        FLOW_TEST(N48_an_identity_of_such_keys_is_nobody),
        FLOW_TEST(a_torn_format_is_done_again),
        FLOW_TEST(N48_a_machine_does_not_enrol_anew_in_a_boot_that_unlocked),
        FLOW_TEST(N48_who_stops_a_slow_machine_that_enrols_gets_no_unlock_in_this_boot),
        FLOW_TEST(N48_an_enrolment_whose_disk_does_not_open_ends_in_the_cap_too),
        FLOW_TEST(a_damaged_seal_is_known_before_anybody_is_asked),
    };
    return FLOW_MAIN(tests);
}
