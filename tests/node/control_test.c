/* The control volume of a machine that is a master: made before there are records, opened
 * before anybody is asked anything, and by no other machine. */
#include "node/control.h"
#include "node/control_mount.h"
#include "node/measure.h"
#include "node/stop.h"
#include "proto/file.h"
#include "proto/scope.h"
#include "tests/node/flow.h"
#include "tests/node/joins.h"

#include <errno.h>
#include <fcntl.h>
#include <libcryptsetup.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENDS_MKE2FS "ST_ENDS_MKE2FS"

enum {
    PATIENCE_MS = 10000
};

/* Only a machine that boots can map and mount, see tests/vm: here the file system of an
 * image is a folder beside it, and mounted where there is a link to that. */
static void
fs_of(const char *volume, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s.fs", volume);
}

bool __wrap_control_is_mounted(const char *folder);
enum st_code __wrap_control_is_mapped(const char *volume, bool *out, struct st_err *err);
enum st_code __wrap_control_make_fs(const char *volume, const struct secret *key,
                                    struct st_err *err);
enum st_code __wrap_control_mount(const char *volume, const struct secret *key,
                                  const char *folder, struct st_err *err);

bool
__wrap_control_is_mounted(const char *folder)
{
    struct stat st;
    return !lstat(folder, &st) && S_ISLNK(st.st_mode);
}

enum st_code
__wrap_control_is_mapped(const char *volume, bool *out, struct st_err *err)
{
    (void)volume, (void)err;
    *out = false;
    return ST_OK;
}

enum st_code
__wrap_control_make_fs(const char *volume, const struct secret *key, struct st_err *err)
{
    char fs[PATH_MAX], command[PATH_MAX + 16];
    fs_of(volume, fs);
    if (getenv(ENDS_MKE2FS)) {
        kill(getpid(), SIGTERM); /* with the whole of its unit */
        stop_wait(PATIENCE_MS);
        return st_fail(err, ST_INTERNAL, "mke2fs was ended");
    }
    snprintf(command, sizeof(command), "rm -rf '%s'", fs);
    enum st_code code = disk_check_key(volume, key, err);
    return code || system(command) ? code : file_make_folder(fs, err);
}

enum st_code
__wrap_control_mount(const char *volume, const struct secret *key, const char *folder,
                     struct st_err *err)
{
    char fs[PATH_MAX];
    fs_of(volume, fs);
    enum st_code code = disk_check_key(volume, key, err);
    if (code)
        return code;
    if (access(fs, F_OK) || symlink(fs, folder))
        return st_fail(err, ST_INTERNAL, "no file system on %s", volume);
    return ST_OK;
}

/* smalltown-nms as it is, but that `init` writes the two files that tell, and `run` only
 * notes when it was begun. */
static void
program_put(void)
{
    char text[1024];
    struct st_err err = {0};
    int n = snprintf(text, sizeof(text),
                     "#!/bin/sh\n"
                     "case $1 in\n"
                     "run) ;;\n"
                     "init) echo \"$*\" >> $0.said; echo >$3/member.pb\n"
                     "cp $0.pem $3/masters.pem; exit;;\n"
                     "*) exec '" SMALLTOWN_NMS "' \"$@\";;\n"
                     "esac\n"
                     "echo \"$*\" >> $0.said\nexec sleep 1000\n");
    assert_ok(file_write(machine.nms, 0700, text, (size_t)n, &err));
}

/* What `init` leaves as its cluster's. */
static void
masters_pem_put(const struct cert *cert)
{
    AUTO(st_freep) char *pem = NULL;
    char path[MACHINE_PATH];
    struct st_err err = {0};
    assert_ok(cert_to_pem(cert->der, cert->len, &pem, &err));
    joins_path("smalltown-nms.pem", path);
    assert_ok(file_write(path, 0600, pem, strlen(pem), &err));
}

static void
image_make(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, MACHINE_VOLUME_SIZE), 0);
    close(fd);
}

static int
set_up(void **state)
{
    struct st_err err = {0};
    uint8_t public_key[HPKE_KEY_LEN];
    flow_set_up(state);
    assert_ok(hpke_generate(&machine.recovery, public_key, &err));
    machine_config_put(&machine);
    machine.recovery_key = NULL;
    joins_path("master", machine.master_data);
    joins_path("smalltown-nms", machine.nms);
    joins_path("control.img", machine.control);
    image_make(machine.control);
    program_put();
    masters_pem_put(&master.cert);
    joins_set_up();
    return 0;
}

/* What the kernel forgets without power. */
static void
unmount(void)
{
    if (__wrap_control_is_mounted(machine.master_data))
        assert_int_equal(unlink(machine.master_data), 0);
}

static void
reboot_(void)
{
    machine_reboot(&machine);
    unmount();
}

/* With another image. */
static void
boot(uint8_t image)
{
    machine_boot(&machine, 4, image);
    unmount();
}

static bool
has_record(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s.fs/%s", machine.control, name);
    return access(path, F_OK) == 0;
}

static enum start_volume
volume_state(void)
{
    struct disk_found found;
    struct st_err err = {0};
    assert_ok(disk_observe(machine.control, &found, &err));
    return found.state;
}

static void
assert_made(void)
{
    assert_int_equal(volume_state(), START_VOLUME_ENROLLED);
    assert_true(machine_has(&machine, "control"));
    assert_false(machine_has(&machine, "control-pending"));
}

static void
assert_untouched(void)
{
    assert_int_equal(volume_state(), START_VOLUME_BLANK);
    assert_false(machine_has(&machine, "control"));
    assert_false(machine_has(&machine, "control-pending"));
}

/* What an administrator has of the data volume, and what follows from that. */
static struct secret
recovery_key(void)
{
    struct secret key;
    struct st_err err = {0};
    assert_ok(recovery_open(master.recovery, master.recovery_len, &machine.recovery, &key,
                            &err));
    return key;
}

static enum st_code
try_second_key(void)
{
    SECRET recovery = recovery_key(), second = {0};
    struct st_err err = {0};
    assert_ok(disk_child_key_recovered(machine.volume, &recovery, &second, &err));
    return disk_recovery_check(machine.control, &second, NULL);
}

static enum st_code
join_cluster(struct st_err *err)
{
    return joins_ask(&joins.member.key, 20000, err);
}

/* Enrols, is adopted, becomes a master, and loses its power. */
static void
be_master(void)
{
    struct st_err err = {0};
    flow_enrol_and_adopt();
    machine_start(&machine, 0);
    assert_ok(join_cluster(&err));
    joins_wait_for_runs(1);
    assert_int_equal(machine_stop(&machine), 0);
    reboot_();
}

static void
assert_runs_before_anybody_answers(void)
{
    const unsigned before = joins_count_said("run --data");
    MASTER_SCRIPT(&master, ACT_UNAVAILABLE);
    machine_start(&machine, 0);
    machine_wait_for(&machine, "decision=ok");
    joins_wait_for_runs(before + 1);
    assert_int_equal(machine_stop(&machine), 0);
    MASTER_SCRIPT(&master, ACT_HONEST);
}

static void
assert_serves_and_stays_shut(const char *why)
{
    const unsigned before = joins_count_said("run --data");
    machine_run_until_served(&machine);
    assert_true(machine_said(&machine, "decision=shut"));
    assert_true(machine_said(&machine, why));
    assert_false(__wrap_control_is_mounted(machine.master_data));
    assert_int_equal(joins_count_said("run --data"), before);
}

/* It is no node yet, and is told to make a cluster. */
static void
bootstraps(void)
{
    char path[MACHINE_PATH];
    machine_path(&machine, "enrolment.pb", path);
    unlink(path);
    machine.bootstrap = true;
}

static void
be_first_master_and_enrol(void)
{
    bootstraps();
    machine_start(&machine, 0);
    joins_wait_for_runs(1);
    assert_int_equal(machine_stop(&machine), 0);
    assert_made();
    assert_true(has_record("masters.pem"));
    reboot_();
    machine_start(&machine, 0);
    joins_wait_for_runs(2);
    assert_int_equal(machine_stop(&machine), 0);
    assert_int_equal(joins_count_said("init --data"), 1);
    machine_config_put(&machine);
    reboot_();
    machine_run_until_served(&machine);
}

static void
a_first_master_makes_its_volume_before_it_has_records(void **state)
{
    (void)state;
    be_first_master_and_enrol();
    /* It is a node of its own cluster, and the recovery key is for both. */
    assert_int_equal(try_second_key(), ST_OK);
    assert_false(machine_said(&machine, "stays as it is"));
}

/* With a data volume and an enrolment of his own he would have its key by his. */
static void
N48_the_records_of_another_cluster_get_no_key_of_this_node(void **state)
{
    SECRET seed = {0};
    struct cert other;
    struct st_err err = {0};
    (void)state;
    assert_ok(secret_random(&seed, ED25519_SEED_LEN, &err));
    assert_ok(cert_self_sign(&seed, "smalltown-master", &other, &err));
    masters_pem_put(&other);
    be_first_master_and_enrol();
    assert_true(machine_said(&machine, "has no key of this data volume"));
    assert_int_equal(try_second_key(), ST_NOT_FOUND);
}

static void
a_first_master_that_is_stopped_on_the_way_did_not_fail(void **state)
{
    (void)state;
    bootstraps();
    assert_int_equal(machine_run_with(&machine, ENDS_MKE2FS), 0);
    assert_true(machine_said(&machine, "mke2fs was ended"));
    machine_start(&machine, 0);
    joins_wait_for_runs(1);
    assert_int_equal(machine_stop(&machine), 0);
    assert_made();
}

static void
a_first_master_that_is_killed_goes_on_with_the_same_volume(void **state)
{
    static const enum node_step steps[] = {CONTROL_KEY_SEALED, CONTROL_FORMATTED,
                                           CONTROL_FILLED, CONTROL_ENROLLED,
                                           CONTROL_COMMITTED};
    (void)state;
    bootstraps();
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        machine_start(&machine, steps[i]);
        assert_int_equal(machine_wait(&machine), 128 + 9);
        assert_int_equal(joins_count_said("init --data"), 0);
        reboot_();
    }
    machine_start(&machine, 0);
    joins_wait_for_runs(1);
    assert_int_equal(machine_stop(&machine), 0);
    assert_made();
    assert_int_equal(joins_count_said("init --data"), 1);
}

static void
get_pending(uint8_t out[4096], size_t *len)
{
    AUTO(st_freep) uint8_t *bytes = NULL;
    char path[MACHINE_PATH];
    struct st_err err = {0};
    machine_path(&machine, "control-pending", path);
    assert_ok(file_read(path, 4096, &bytes, len, &err));
    memcpy(out, bytes, *len);
}

/* Whoever came to the TPM before could have sealed it. */
static void
N48_a_key_beside_a_control_volume_that_is_not_formatted_is_not_used(void **state)
{
    (void)state;
    char path[MACHINE_PATH], left[NODE_ID_LEN + 1];
    uint8_t his[4096], sealed[4096];
    size_t his_len, len;
    struct disk_found found;
    struct st_err err = {0};
    bootstraps();
    machine_start(&machine, CONTROL_FORMATTED);
    assert_int_equal(machine_wait(&machine), 128 + 9);
    assert_ok(disk_observe(machine.control, &found, &err));
    strcpy(left, found.node_id);
    get_pending(his, &his_len);
    for (int torn = 0; torn < 2; torn++) {
        machine_path(&machine, "control-pending", path);
        assert_ok(file_write(path, 0600, his, his_len, &err));
        image_make(machine.control);
        if (torn)
            assert_ok(disk_begin_format(machine.control, left, &err));
        reboot_();
        machine_start(&machine, CONTROL_FORMATTED);
        assert_int_equal(machine_wait(&machine), 128 + 9);
        get_pending(sealed, &len);
        assert_true(len != his_len || memcmp(sealed, his, len) != 0);
        assert_ok(disk_observe(machine.control, &found, &err));
        assert_string_not_equal(found.node_id, left);
    }
    reboot_();
    machine_start(&machine, 0);
    joins_wait_for_runs(1);
    assert_int_equal(machine_stop(&machine), 0);
    assert_made();
}

static void
a_worker_has_none(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    machine_run_until_served(&machine);
    assert_untouched();
    assert_int_equal(access(machine.master_data, F_OK), -1);
}

static void
a_node_makes_it_when_it_becomes_a_master(void **state)
{
    struct st_err err = {0};
    (void)state;
    flow_enrol_and_adopt();
    machine_start(&machine, 0);
    assert_untouched();
    assert_ok(join_cluster(&err));
    assert_made();
    assert_true(has_record("member.pb"));
    assert_ok(join_cluster(&err)); /* whoever leads then asks again */
    assert_int_equal(machine_stop(&machine), 0);
    assert_int_equal(try_second_key(), ST_OK);
    reboot_();
    assert_runs_before_anybody_answers();
}

/* And whoever is told that it is a master by now may count on that key. */
static void
a_node_that_is_stopped_when_it_became_a_master_has_its_second_key(void **state)
{
    struct st_err err = {0};
    (void)state;
    flow_enrol_and_adopt();
    machine.slow = true;
    machine_start(&machine, CONTROL_SECOND_BEGUN);
    (void)join_cluster(&err);
    assert_int_equal(machine_wait(&machine), 0);
    assert_made();
    assert_int_equal(try_second_key(), ST_OK);
}

static void
a_node_that_is_killed_while_it_becomes_a_master_becomes_one(void **state)
{
    static const enum node_step steps[] = {CONTROL_KEY_SEALED, CONTROL_FORMATTED,
                                           CONTROL_FILLED, CONTROL_ENROLLED,
                                           CONTROL_COMMITTED};
    struct st_err err = {0};
    (void)state;
    flow_enrol_and_adopt();
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        machine_start(&machine, steps[i]);
        assert_true(join_cluster(&err) != ST_OK);
        (void)machine_wait(&machine); /* its keeper is gone */
        assert_false(has_record("member.pb"));
        reboot_();
    }
    machine_start(&machine, 0);
    assert_ok(join_cluster(&err));
    assert_made();
    assert_true(has_record("member.pb"));
    assert_int_equal(machine_stop(&machine), 0);
}

static void
all_masters_were_off_and_it_answers_before_its_own_disk_is_open(void **state)
{
    (void)state;
    be_master();
    for (int i = 0; i < 2; i++) {
        assert_runs_before_anybody_answers();
        reboot_();
    }
    machine_run_until_served(&machine);
    assert_true(machine_said(&machine, "control.img decision=ok"));
}

static void
swap_in(const char *from)
{
    AUTO(st_freep) uint8_t *bytes = malloc(MACHINE_VOLUME_SIZE);
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(machine.control, O_WRONLY);
    assert_int_equal(read(in, bytes, MACHINE_VOLUME_SIZE), MACHINE_VOLUME_SIZE);
    assert_int_equal(write(out, bytes, MACHINE_VOLUME_SIZE), MACHINE_VOLUME_SIZE);
    close(in);
    close(out);
}

/* One that another machine made, whole and good. */
static void
make_another(const char *path, const struct secret *key)
{
    char id[NODE_ID_LEN + 1];
    struct st_err err = {0};
    image_make(path);
    control_id(key, id);
    assert_ok(disk_format(path, key, id, DISK_XTS, &err));
    assert_ok(disk_set_enrolled(path, id, &err));
}

static void
N48_the_control_volume_of_another_machine_is_not_opened(void **state)
{
    char path[MACHINE_PATH];
    SECRET key = {0};
    (void)state;
    be_master();
    joins_path("other.img", path);
    assert_int_equal(secret_random(&key, UNLOCK_KEY_LEN, NULL), ST_OK);
    make_another(path, &key);
    swap_in(path);
    assert_serves_and_stays_shut("is not the one that this machine made");
}

/* A control volume whose key somebody knows, in the place of the machine's own, and that
 * key sealed by its TPM. */
static void
prepare_volume(enum esp_file file, uint32_t mask, const struct tpm_authority *authority)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    struct tpm_sealed sealed;
    char fs[PATH_MAX];
    SECRET key = {0};
    struct st_err err = {0};
    assert_ok(secret_random(&key, UNLOCK_KEY_LEN, &err));
    make_another(machine.control, &key);
    fs_of(machine.control, fs);
    assert_true(!mkdir(fs, 0700) || errno == EEXIST);
    assert_ok(tpm_open(swtpm_tcti(machine.chip), &tpm, &err));
    assert_ok(authority ? tpm_seal_under(tpm, &key, mask, authority, &sealed, &err)
                        : tpm_seal(tpm, &key, mask, &sealed, &err));
    machine_write_sealed(&machine, file, &sealed);
}

static void
assert_becomes_no_master(const char *why)
{
    struct st_err err = {0};
    machine_start(&machine, 0);
    machine_wait_for(&machine, "serve ");
    assert_code(join_cluster(&err), ST_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, why));
    assert_false(has_record("member.pb"));
    assert_int_equal(try_second_key(), ST_NOT_FOUND);
    assert_int_equal(machine_stop(&machine), 0);
}

static void
N48_a_control_volume_that_something_else_prepared_is_not_opened(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    prepare_volume(ESP_CONTROL, measure_control_mask(false), NULL);
    machine_forget_maker(&machine, ESP_CONTROL);
    assert_serves_and_stays_shut("was not made by what this machine boots");
    reboot_();
    assert_becomes_no_master("is not open");
}

/* So it opens, whatever boots, and the TPM says with what it was sealed. */
static void
N48_a_control_volume_that_was_sealed_to_what_never_changes_is_not_opened(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    prepare_volume(ESP_CONTROL, 1 << 14, NULL);
    assert_serves_and_stays_shut("was not made by what this machine boots");
    reboot_();
    assert_becomes_no_master("is not open");
}

/* PCR 12 is measured at the start where an approval that is kept could open it. */
static void
N48_what_no_authority_is_over_is_not_opened_beside_an_approval(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    machine_run_until_served(&machine);
    assert_true(machine_has(&machine, "approvals"));
    reboot_();
    machine_measure(&machine);
    prepare_volume(ESP_CONTROL, measure_control_mask(false) | 1 << 12, NULL);
    machine_forget_maker(&machine, ESP_CONTROL);
    reboot_();
    assert_serves_and_stays_shut("to itself");
}

/* The authority is no secret: it is in the file `sealed`, and in what each node hears. */
static void
N48_a_prepared_volume_under_the_authority_gets_no_records(void **state)
{
    struct tpm_authority authority;
    struct st_err err = {0};
    (void)state;
    flow_enrol_and_adopt();
    assert_ok(
        tpm_authority_for(master.authorities[0].point, master.node_id, &authority, &err));
    prepare_volume(ESP_CONTROL, measure_control_mask(false), &authority);
    assert_becomes_no_master("may be somebody else's");
    assert_true(machine_said(&machine, "has no key of this data volume"));
}

static void
N48_no_cluster_is_made_on_a_prepared_volume(void **state)
{
    struct tpm_authority authority = {0};
    SECRET key = {0};
    char path[MACHINE_PATH];
    struct st_err err = {0};
    (void)state;
    bootstraps();
    assert_ok(tpm_authority_make(&key, authority.point, &err));
    prepare_volume(ESP_CONTROL, measure_control_mask(false), &authority);
    assert_refuses("start without --bootstrap");
    assert_int_equal(joins_count_said("init --data"), 0);
    /* Nor is one run that lies there. */
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%.60s/%s", machine.master_data,
                 i ? "masters.pem" : "member.pb");
        assert_ok(file_write(path, 0600, "x", 1, &err));
    }
    machine_start(&machine, 0);
    machine_wait_for(&machine, "node decision=retry");
    assert_true(machine_said(&machine, "start without --bootstrap"));
    assert_int_equal(machine_stop(&machine), 0);
    assert_int_equal(joins_count_said("run --data"), 0);
}

static void
N48_a_half_made_control_volume_of_something_else_is_not_gone_on_with(void **state)
{
    (void)state;
    bootstraps();
    machine_start(&machine, CONTROL_FORMATTED);
    assert_int_equal(machine_wait(&machine), 128 + 9);
    machine_forget_maker(&machine, ESP_CONTROL_PENDING);
    assert_refuses("was not made by what this machine boots");
    assert_int_equal(joins_count_said("init --data"), 0);
}

/* As if the making of that volume had been cut: then it is gone on with. */
static void
N48_the_records_of_another_cluster_are_no_half_made_volume(void **state)
{
    static const char *const names[] = {"member.pb", "masters.pem"};
    char fs[PATH_MAX], path[PATH_MAX + 16];
    struct st_err err = {0};
    (void)state;
    flow_enrol_and_adopt();
    prepare_volume(ESP_CONTROL_PENDING, measure_control_mask(false), NULL);
    fs_of(machine.control, fs);
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s", fs, names[i]);
        assert_ok(file_write(path, 0600, "x", 1, &err));
    }
    machine_start(&machine, 0);
    machine_wait_for(&machine, "serve ");
    assert_true(join_cluster(&err) != ST_OK);
    assert_int_equal(machine_stop(&machine), 0);
    assert_int_equal(try_second_key(), ST_NOT_FOUND);
}

/* It is there before the masters heard that it is; which cluster's it is says the call
 * that they make again. */
static void
N48_a_member_that_lost_its_power_before_its_second_key_gets_it_by_the_next_call(
    void **state)
{
    struct st_err err = {0};
    (void)state;
    flow_enrol_and_adopt();
    machine_start(&machine, CONTROL_SECOND_BEGUN);
    assert_true(join_cluster(&err) != ST_OK);
    (void)machine_wait(&machine); /* its keeper is gone */
    assert_true(has_record("member.pb"));
    reboot_();
    machine_start(&machine, 0);
    machine_wait_for(&machine, "serve ");
    assert_true(machine_said(&machine, "until the next JoinCluster or unlock"));
    assert_false(machine_said(&machine, "stays as it is"));
    assert_int_equal(try_second_key(), ST_NOT_FOUND);
    assert_ok(join_cluster(&err));
    assert_int_equal(try_second_key(), ST_OK);
    assert_int_equal(machine_stop(&machine), 0);
}

/* Only the data volume's own machine can have given it that key. */
static void
a_volume_whose_maker_nobody_knows_opens_by_its_second_key(void **state)
{
    (void)state;
    be_master();
    machine_forget_maker(&machine, ESP_CONTROL);
    machine_run_until_served(&machine);
    assert_true(machine_said(&machine, "decision=shut"));
    assert_true(machine_said(&machine, "control.img decision=ok"));
    assert_false(machine_said(&machine, "stays as it is"));
    reboot_();
    assert_runs_before_anybody_answers();
}

static void
token_set(const char *id)
{
    char json[256];
    struct crypt_device *cd = NULL;
    snprintf(
        json, sizeof(json),
        "{\"type\":\"smalltown\",\"keyslots\":[\"0\"],\"state\":\"enrolled\",\"node\":"
        "\"%s\"}",
        id);
    assert_int_equal(crypt_init(&cd, machine.control), 0);
    assert_int_equal(crypt_load(cd, CRYPT_LUKS2, NULL), 0);
    assert_int_equal(crypt_token_json_set(cd, 0, json), 0);
    crypt_free(cd);
}

static void
N48_a_control_volume_in_our_name_with_another_key_is_not_opened(void **state)
{
    char path[MACHINE_PATH];
    struct disk_found found;
    SECRET key = {0};
    struct st_err err = {0};
    (void)state;
    be_master();
    assert_ok(disk_observe(machine.control, &found, &err));
    joins_path("other.img", path);
    assert_ok(secret_random(&key, UNLOCK_KEY_LEN, &err));
    make_another(path, &key);
    swap_in(path);
    token_set(found.node_id);
    assert_serves_and_stays_shut("the key does not open the volume");
}

static void
N48_a_control_volume_in_another_name_is_not_opened(void **state)
{
    (void)state;
    be_master();
    token_set("smalltown-00000000000000000000000000000001");
    MASTER_SCRIPT(&master, ACT_UNAVAILABLE);
    machine_start(&machine, 0);
    machine_wait_for(&machine, "is not the one that this machine made");
    flow_wait_for_calls(1);
    assert_false(__wrap_control_is_mounted(machine.master_data));
    assert_int_equal(machine_stop(&machine), 0);
}

static void
N48_a_blank_volume_in_its_place_is_left_blank(void **state)
{
    struct st_err err = {0};
    (void)state;
    be_master();
    image_make(machine.control);
    machine_start(&machine, 0);
    machine_wait_for(&machine, "this one is blank: attach the right one");
    assert_code(join_cluster(&err), ST_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "this one is blank"));
    assert_int_equal(volume_state(), START_VOLUME_BLANK);
    assert_int_equal(machine_stop(&machine), 0);
}

static void
N48_data_of_somebody_else_is_not_formatted_and_no_key_is_written(void **state)
{
    struct st_err err = {0};
    char path[MACHINE_PATH + 16];
    int fd = open(machine.control, O_WRONLY | O_CLOEXEC);
    (void)state;
    assert_int_equal(pwrite(fd, "x", 1, 1 << 16), 1);
    close(fd);
    flow_enrol_and_adopt();
    machine_start(&machine, 0);
    machine_wait_for(&machine, "decision=shut");
    assert_code(join_cluster(&err), ST_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "wipe it if nothing on it is needed"));
    assert_int_equal(volume_state(), START_VOLUME_FOREIGN);
    snprintf(path, sizeof(path), "%s/member.pb", machine.master_data);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(machine_stop(&machine), 0);
}

static void
after_an_update_it_opens_by_what_the_masters_approve_and_then_by_itself(void **state)
{
    (void)state;
    be_master();
    machine_run_until_served(&machine); /* from now on under the authority */
    boot(7);
    joins_run_until_master();
    assert_true(machine_said(&machine, "decision=shut"));
    assert_true(machine_said(&machine, "control.img decision=ok"));
    boot(7);
    assert_runs_before_anybody_answers();
    reboot_(); /* the image of before */
    assert_runs_before_anybody_answers();
}

static void
an_image_that_nobody_approved_opens_neither_volume(void **state)
{
    (void)state;
    be_master();
    master.approve = APPROVE_NOTHING;
    boot(7);
    const unsigned before = joins_count_said("run --data");
    assert_refuses("decision=shut");
    assert_true(machine_said(&machine, "nor approved since"));
    assert_int_equal(joins_count_said("run --data"), before);
}

/* Without Secure Boot the stub of our own image takes it from the firmware: into PCR 12
 * goes what the stub was given, into 9 what the kernel was. */
static void
N48_our_image_with_another_command_line_opens_neither_volume(void **state)
{
    (void)state;
    be_master();
    machine_run_until_served(&machine);
    machine_boot(&machine, 9, 1);
    unmount();
    machine_extend(&machine, 12, 1);
    const unsigned before = joins_count_said("run --data");
    assert_refuses("PCR 12 holds the measurement of something else");
    assert_true(machine_said(&machine, "control.img decision=shut"));
    assert_int_equal(joins_count_said("run --data"), before);
    reboot_();
    assert_runs_before_anybody_answers();
}

/* Without Secure Boot the firmware runs what a variable or a card of the machine names,
 * and then our own image. */
static void
N48_a_driver_before_our_image_opens_neither_volume(void **state)
{
    (void)state;
    be_master();
    machine_run_until_served(&machine);
    master.approve = APPROVE_NOTHING;
    machine_boot(&machine, 2, 1);
    unmount();
    const unsigned before = joins_count_said("run --data");
    assert_refuses("decision=shut");
    assert_true(machine_said(&machine, "nor approved since"));
    assert_int_equal(joins_count_said("run --data"), before);
    reboot_();
    assert_runs_before_anybody_answers();
}

/* As it was sealed before drivers and the command line counted. */
static void
a_volume_that_was_sealed_to_its_image_alone_opens_and_is_sealed_anew(void **state)
{
    (void)state;
    be_master();
    machine_run_until_served(&machine);
    machine_seal_to(&machine, ESP_CONTROL, 1 << 4 | 1 << 11);
    reboot_();
    assert_runs_before_anybody_answers();
    assert_int_equal(machine_mask_of(&machine, ESP_CONTROL), 1 << 4 | 1 << 11);
    reboot_();
    machine_run_until_served(&machine);
    assert_int_equal(machine_mask_of(&machine, ESP_CONTROL), measure_control_mask(false));
    reboot_();
    assert_runs_before_anybody_answers();
}

static void
what_the_data_volume_knows_opens_it_where_its_file_is_gone(void **state)
{
    static const enum node_step steps[] = {CONTROL_RESEALED, CONTROL_REKEYED, 0};
    char path[MACHINE_PATH];
    (void)state;
    be_master();
    machine_path(&machine, "control", path);
    unlink(path);
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        machine_start(&machine, steps[i]);
        if (steps[i])
            assert_int_equal(machine_wait(&machine), 128 + 9);
        else
            machine_wait_for(&machine, "serve ");
        if (steps[i])
            reboot_();
    }
    assert_int_equal(machine_stop(&machine), 0);
    assert_made();
    assert_true(has_record("member.pb"));
    reboot_();
    assert_runs_before_anybody_answers();
}

static void
put_record_in_the_clear(char path[MACHINE_PATH + 16])
{
    struct st_err err = {0};
    assert_ok(file_make_folder(machine.master_data, &err));
    snprintf(path, MACHINE_PATH + 16, "%s/member.pb", machine.master_data);
    assert_ok(file_write(path, 0600, "x", 1, &err));
}

/* They are gone in the same boot, and the volume that is made then is as any other. */
static void
a_master_whose_records_lay_in_the_clear_gets_a_volume_with_a_second_key(void **state)
{
    char command[MACHINE_PATH + 16], control[MACHINE_PATH];
    struct st_err err = {0};
    (void)state;
    strcpy(control, machine.control);
    *machine.control = 0;
    be_master();
    strcpy(machine.control, control);
    machine_start(&machine, 0);
    assert_ok(join_cluster(&err)); /* whoever leads then asks again */
    assert_untouched();
    snprintf(command, sizeof(command), "rm -r '%s'", machine.master_data);
    assert_int_equal(system(command), 0);
    assert_ok(join_cluster(&err));
    assert_int_equal(machine_stop(&machine), 0);
    assert_true(machine_said(&machine, "lie in the clear"));
    assert_made();
    assert_int_equal(try_second_key(), ST_OK);
    assert_false(machine_said(&machine, "nothing but the TPM opens"));
}

static void
records_in_the_clear_stay_as_they_are(void **state)
{
    char path[MACHINE_PATH + 16];
    (void)state;
    put_record_in_the_clear(path);
    flow_enrol_and_adopt();
    joins_run_until_master();
    assert_true(machine_said(&machine, "lie in the clear"));
    assert_untouched();
}

static void
N48_records_in_the_clear_beside_a_control_volume_are_not_run(void **state)
{
    char path[MACHINE_PATH + 16];
    (void)state;
    be_master();
    put_record_in_the_clear(path);
    assert_serves_and_stays_shut("move them away");
}

static void
a_daemon_that_is_started_again_finds_it_open(void **state)
{
    (void)state;
    be_master();
    joins_run_until_master();
    const unsigned before = joins_count_said("run --data");
    machine_start(&machine, 0);
    joins_wait_for_runs(before + 1);
    machine_wait_for(&machine, "only once: reboot");
    assert_int_equal(machine_stop(&machine), 0);
}

/* `stctl node remove` and a fresh file, or neither. */
static void
recover(bool fresh, int status)
{
    SECRET recovery = recovery_key();
    char typed[SECRET_MAX + 2];
    if (fresh) {
        master.has_record = master.adopted = false;
        machine_config_put(&machine);
    }
    snprintf(typed, sizeof(typed), "%s\n", (const char *)recovery.bytes);
    assert_int_equal(machine_recover(&machine, typed, 0), status);
}

static void
after_the_TPM_was_replaced_the_recovery_key_opens_both(void **state)
{
    (void)state;
    be_master();
    struct swtpm *broken = machine.chip;
    machine.chip = swtpm_make(NULL);
    recover(true, 0);
    reboot_();
    machine_run_until_served(&machine);
    assert_true(machine_said(&machine, "control.img decision=ok"));
    assert_true(has_record("member.pb"));
    assert_int_equal(try_second_key(), ST_OK);
    swtpm_free(broken);
}

static void
the_recovery_key_opens_the_only_master_without_a_fresh_enrolment(void **state)
{
    (void)state;
    be_master();
    boot(7);
    recover(false, 0);
    recover(false, 1); /* nothing is lost any more */
    assert_true(machine_said(&machine, "this machine is enrolled"));
    boot(7);
    assert_runs_before_anybody_answers();
}

int
main(int argc, char **argv)
{
    machine_child_main(argc, argv);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, flow_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_first_master_makes_its_volume_before_it_has_records),
        TEST(a_first_master_that_is_stopped_on_the_way_did_not_fail),
        TEST(a_first_master_that_is_killed_goes_on_with_the_same_volume),
        TEST(N48_a_key_beside_a_control_volume_that_is_not_formatted_is_not_used),
        TEST(a_worker_has_none),
        TEST(a_node_makes_it_when_it_becomes_a_master),
        TEST(a_node_that_is_stopped_when_it_became_a_master_has_its_second_key),
        TEST(a_node_that_is_killed_while_it_becomes_a_master_becomes_one),
        TEST(all_masters_were_off_and_it_answers_before_its_own_disk_is_open),
        TEST(N48_the_control_volume_of_another_machine_is_not_opened),
        TEST(N48_a_control_volume_that_something_else_prepared_is_not_opened),
        TEST(N48_a_control_volume_that_was_sealed_to_what_never_changes_is_not_opened),
        TEST(N48_what_no_authority_is_over_is_not_opened_beside_an_approval),
        TEST(N48_a_prepared_volume_under_the_authority_gets_no_records),
        TEST(N48_no_cluster_is_made_on_a_prepared_volume),
        TEST(N48_the_records_of_another_cluster_get_no_key_of_this_node),
        TEST(N48_the_records_of_another_cluster_are_no_half_made_volume),
        TEST(
            N48_a_member_that_lost_its_power_before_its_second_key_gets_it_by_the_next_call),
        TEST(N48_a_half_made_control_volume_of_something_else_is_not_gone_on_with),
        TEST(a_volume_whose_maker_nobody_knows_opens_by_its_second_key),
        TEST(N48_a_control_volume_in_our_name_with_another_key_is_not_opened),
        TEST(N48_a_control_volume_in_another_name_is_not_opened),
        TEST(N48_a_blank_volume_in_its_place_is_left_blank),
        TEST(N48_data_of_somebody_else_is_not_formatted_and_no_key_is_written),
        TEST(after_an_update_it_opens_by_what_the_masters_approve_and_then_by_itself),
        TEST(an_image_that_nobody_approved_opens_neither_volume),
        TEST(N48_our_image_with_another_command_line_opens_neither_volume),
        TEST(N48_a_driver_before_our_image_opens_neither_volume),
        TEST(a_volume_that_was_sealed_to_its_image_alone_opens_and_is_sealed_anew),
        TEST(what_the_data_volume_knows_opens_it_where_its_file_is_gone),
        TEST(a_master_whose_records_lay_in_the_clear_gets_a_volume_with_a_second_key),
        TEST(records_in_the_clear_stay_as_they_are),
        TEST(N48_records_in_the_clear_beside_a_control_volume_are_not_run),
        TEST(a_daemon_that_is_started_again_finds_it_open),
        TEST(after_the_TPM_was_replaced_the_recovery_key_opens_both),
        TEST(the_recovery_key_opens_the_only_master_without_a_fresh_enrolment),
    };
    return FLOW_MAIN(tests);
}
