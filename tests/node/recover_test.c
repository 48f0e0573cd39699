/* The recovery key of a machine: to whom it goes, and the day on which it is needed. */
#include "node/disk.h"
#include "proto/file.h"
#include "proto/scope.h"
#include "tests/node/flow.h"
#include "tests/patience.h"

#include <fcntl.h>
#include <libcryptsetup.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_esys.h>
#include <unistd.h>

/* A machine whose TPM was replaced has two until the end of the test. */
static struct swtpm *broken;

static int
set_up(void **state)
{
    struct st_err err = {0};
    uint8_t public_key[HPKE_KEY_LEN];
    flow_set_up(state);
    assert_ok(hpke_generate(&machine.recovery, public_key, &err));
    machine_config_put(&machine);
    machine.recovery_key = NULL;
    broken = NULL;
    return 0;
}

static int
tear_down(void **state)
{
    flow_tear_down(state);
    if (broken)
        swtpm_free(broken);
    return 0;
}

/* As `stctl node recovery-key` does with what the master has. */
static struct secret
administrators_key(void)
{
    struct secret key;
    struct st_err err = {0};
    assert_int_equal(master.recovery_len, RECOVERY_SEALED_LEN);
    assert_ok(recovery_open(master.recovery, master.recovery_len, &machine.recovery, &key,
                            &err));
    return key;
}

/* What the data on the volume is encrypted with. */
static void
get_volume_key(const struct secret *recovery, char out[64])
{
    struct crypt_device *cd = NULL;
    size_t len = 64;
    assert_int_equal(crypt_init(&cd, machine.volume), 0);
    assert_int_equal(crypt_load(cd, CRYPT_LUKS2, NULL), 0);
    assert_true(crypt_volume_key_get(cd, CRYPT_ANY_SLOT, out, &len,
                                     (const char *)recovery->bytes, recovery->len) >= 0);
    crypt_free(cd);
}

static void
assert_state(enum start_volume state)
{
    struct disk_found found;
    struct st_err err = {0};
    assert_ok(disk_observe(machine.volume, &found, &err));
    assert_int_equal(found.state, state);
}

static void
replace_the_chip(void)
{
    broken = machine.chip;
    machine.chip = swtpm_make(NULL);
}

/* `stctl node remove`, and a fresh file on the ESP. */
static void
begin_anew(void)
{
    master.has_record = false;
    master.adopted = false;
    machine_config_put(&machine);
}

static void
the_administrator_of_the_enrolment_is_sent_the_key(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct disk_recovery found;
    machine_run_until_served(&machine);
    assert_enrolled();
    const struct secret key = administrators_key();
    assert_ok(disk_recovery_check(machine.volume, &key, &err));
    assert_ok(disk_recovery_look(machine.volume, &found, &err));
    assert_memory_equal(found.bytes, master.recovery, RECOVERY_SEALED_LEN);
    assert_string_equal(found.place.node_id, master.node_id);
    assert_false(machine_said(&machine, (const char *)key.bytes));
    assert_false(master.without_volume);
    assert_unlocks_after_a_reboot();
}

static void
a_machine_without_a_volume_says_so(void **state)
{
    (void)state;
    strcpy(machine.volume, "none");
    machine_run_until_served(&machine);
    assert_true(master.without_volume);
    assert_int_equal(master.recovery_len, 0);
}

static void
nothing_is_formatted_before_somebody_will_have_the_key(void **state)
{
    (void)state;
    machine.recovery.len = 0;
    machine_config_put(&machine);
    assert_refuses("--recovery-key none");
    assert_false(machine_has(&machine, "sealed"));
    assert_state(START_VOLUME_BLANK);
    assert_int_equal(atomic_load(&master.calls), 0);
    machine.recovery_key = "none";
    machine_run_until_served(&machine);
    assert_true(machine_said(&machine, "has no recovery key"));
    assert_int_equal(master.recovery_len, 0);
    assert_enrolled();
}

static void
a_file_is_no_terminal(void **state)
{
    (void)state;
    const char *paths[] = {"/dev/null", "/nowhere", machine.log};
    machine.recovery.len = 0;
    machine_config_put(&machine);
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        machine.recovery_key = paths[i];
        assert_refuses("--recovery-key /");
        assert_state(START_VOLUME_BLANK);
    }
}

static int
terminal_make(char path[64])
{
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(grantpt(fd), 0);
    assert_int_equal(unlockpt(fd), 0);
    assert_int_equal(ptsname_r(fd, path, 64), 0);
    return fd;
}

/* What the person before it sees, up to `text`. */
static void
terminal_wait_for(int fd, const char *text, char out[4096])
{
    size_t len = 0;
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    while (len < 4095) {
        assert_true(poll(&poll_fd, 1, (int)machine_timeout_ms()) > 0);
        ssize_t n = read(fd, out + len, 4095 - len);
        if (n < 0) { /* nobody has it open yet */
            sleep_ms(10);
            continue;
        }
        len += (size_t)n;
        out[len] = 0;
        if (strstr(out, text))
            return;
    }
    fail_msg("the terminal shows: %s", out);
}

static struct secret
key_on_screen(const char *screen)
{
    struct secret key;
    struct st_err err = {0};
    char text[RECOVERY_TEXT_LEN + 1] = "";
    const char *line = strstr(screen, "\r\n    ");
    assert_non_null(line);
    memcpy(text, line + 6, RECOVERY_TEXT_LEN);
    assert_ok(recovery_read(text, &key, &err));
    return key;
}

static void
a_person_before_the_machine_is_shown_the_key_until_he_has_it(void **state)
{
    (void)state;
    char path[64], screen[4096];
    struct st_err err = {0};
    machine.recovery.len = 0;
    machine_config_put(&machine);
    int fd = terminal_make(path), held = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(held >= 0);
    machine.recovery_key = path;
    machine_start(&machine, 0);
    terminal_wait_for(fd, "Press Enter", screen);
    const struct secret void_key = key_on_screen(screen);
    sleep_ms(200);
    assert_int_equal(atomic_load(&master.calls), 0); /* it waits */
    machine_reboot(&machine);
    machine_start(&machine, 0);
    terminal_wait_for(fd, "Press Enter", screen);
    const struct secret key = key_on_screen(screen);
    assert_int_equal(write(fd, "\n", 1), 1);
    terminal_wait_for(fd, "\033[3J", screen); /* cleared */
    machine_wait_for(&machine, "serve ");
    assert_int_equal(machine_stop(&machine), 0);
    assert_enrolled();
    assert_ok(disk_recovery_check(machine.volume, &key, &err));
    assert_code(disk_recovery_check(machine.volume, &void_key, &err),
                ST_PERMISSION_DENIED);
    assert_false(machine_said(&machine, (const char *)key.bytes));
    assert_int_equal(master.recovery_len, 0);
    close(held);
    close(fd);
}

static void
a_daemon_that_is_stopped_waits_for_nobody(void **state)
{
    (void)state;
    char path[64], screen[4096];
    machine.recovery.len = 0;
    machine_config_put(&machine);
    int fd = terminal_make(path), held = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(held >= 0);
    machine.recovery_key = path;
    machine_start(&machine, 0);
    terminal_wait_for(fd, "Press Enter", screen);
    assert_int_equal(machine_stop(&machine), 0);
    close(held);
    close(fd);
}

static void
recover_and_enrol(const struct secret *key)
{
    char volume_key[64], after[64];
    get_volume_key(key, volume_key);
    assert_int_equal(machine_recover(&machine, (const char *)key->bytes, 0), 0);
    assert_state(START_VOLUME_PENDING);
    machine_run_until_served(&machine);
    assert_enrolled();
    get_volume_key(key, after);
    assert_memory_equal(volume_key, after, 64);
    const struct secret same = administrators_key();
    assert_true(secret_equal(&same, key));
    assert_unlocks_after_a_reboot();
}

static void
a_machine_with_a_new_TPM_keeps_its_data(void **state)
{
    (void)state;
    char old_id[NODE_ID_LEN + 1];
    flow_enrol_and_adopt();
    strcpy(old_id, master.node_id);
    const struct secret key = administrators_key();
    replace_the_chip();
    begin_anew();
    recover_and_enrol(&key);
    assert_string_not_equal(old_id, master.node_id);
}

static void
a_machine_whose_firmware_changed_keeps_its_data(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    const struct secret key = administrators_key();
    const char *extend = "tpm2_pcrextend 4:sha256=%064d";
    master.approve = APPROVE_NOTHING; /* nobody knows of the change */
    assert_int_equal(swtpm_shell(machine.chip, extend, 1), 0);
    assert_refuses("firmware, boot loader, kernel");
    begin_anew(); /* in a boot whose key is spent nobody is asked to type */
    assert_int_equal(machine_recover(&machine, "", 0), 1);
    assert_true(machine_said(&machine, "released in this boot: reboot"));
    machine_reboot(&machine);
    assert_int_equal(swtpm_shell(machine.chip, extend, 1), 0);
    char volume_key[64], after[64];
    get_volume_key(&key, volume_key);
    assert_int_equal(machine_recover(&machine, (const char *)key.bytes, 0), 0);
    machine_run_until_served(&machine);
    assert_enrolled();
    get_volume_key(&key, after);
    assert_memory_equal(volume_key, after, 64);
}

/* No approval opens what is half done. */
static void
a_recovery_that_another_image_finds_is_done_again(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    const struct secret key = administrators_key();
    replace_the_chip();
    begin_anew();
    assert_int_equal(machine_recover(&machine, (const char *)key.bytes, 0), 0);
    machine_boot(&machine, 4, 3);
    assert_refuses("run `smalltown-node recover` again");
    assert_int_equal(machine_recover(&machine, (const char *)key.bytes, 0), 0);
    machine_run_until_served(&machine);
    assert_enrolled();
}

static void
a_recovery_that_was_cut_is_done_again(void **state)
{
    const enum node_step steps[] = {ENROL_MEASURED, ENROL_KEYS_MADE, ENROL_PENDING_SEALED,
                                    ENROL_HALF_SEALED, ENROL_FORMATTED};
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        print_message("killed at step %d\n", (int)steps[i]);
        flow_enrol_and_adopt();
        const struct secret key = administrators_key();
        replace_the_chip();
        begin_anew();
        const char *typed = (const char *)key.bytes;
        assert_int_equal(machine_recover(&machine, typed, steps[i]), 128 + 9);
        machine_reboot(&machine);
        if (steps[i] != ENROL_FORMATTED) { /* as if nobody had tried */
            assert_refuses("`smalltown-node recover`");
            assert_state(START_VOLUME_ENROLLED);
        }
        recover_and_enrol(&key);
        tear_down(state);
        set_up(state);
    }
}

/* The volume is bound to keys that no master heard of, and that the cut took. */
static void
a_second_recovery_that_was_cut_is_done_again(void **state)
{
    const enum node_step steps[] = {ENROL_KEYS_MADE, ENROL_PENDING_SEALED,
                                    ENROL_HALF_SEALED};
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        print_message("killed at step %d\n", (int)steps[i]);
        struct secret other;
        uint8_t public_key[HPKE_KEY_LEN];
        struct st_err err = {0};
        flow_enrol_and_adopt();
        const struct secret key = administrators_key();
        const char *typed = (const char *)key.bytes;
        replace_the_chip();
        begin_anew();
        assert_int_equal(machine_recover(&machine, typed, 0), 0);
        assert_ok(hpke_generate(&other, public_key, &err));
        machine.recovery = other;
        machine_config_put(&machine);
        assert_int_equal(machine_recover(&machine, typed, steps[i]), 128 + 9);
        assert_true(machine_said(&machine, "stctl recovery open"));
        machine_reboot(&machine);
        assert_refuses("run `smalltown-node recover` again");
        assert_state(START_VOLUME_PENDING);
        recover_and_enrol(&key);
        tear_down(state);
        set_up(state);
    }
}

/* In the process of the daemon: its chip does not know its own word again. */
#define CONFIRMS_NOTHING "ST_CONFIRMS_NOTHING"

TSS2_RC __real_Esys_CertifyCreation(ESYS_CONTEXT *esys, ESYS_TR sign, ESYS_TR object,
                                    ESYS_TR first, ESYS_TR second, ESYS_TR third,
                                    const TPM2B_DATA *data, const TPM2B_DIGEST *hash,
                                    const TPMT_SIG_SCHEME *scheme,
                                    const TPMT_TK_CREATION *ticket, TPM2B_ATTEST **attest,
                                    TPMT_SIGNATURE **signature);
TSS2_RC __wrap_Esys_CertifyCreation(ESYS_CONTEXT *esys, ESYS_TR sign, ESYS_TR object,
                                    ESYS_TR first, ESYS_TR second, ESYS_TR third,
                                    const TPM2B_DATA *data, const TPM2B_DIGEST *hash,
                                    const TPMT_SIG_SCHEME *scheme,
                                    const TPMT_TK_CREATION *ticket, TPM2B_ATTEST **attest,
                                    TPMT_SIGNATURE **signature);

TSS2_RC
__wrap_Esys_CertifyCreation(ESYS_CONTEXT *esys, ESYS_TR sign, ESYS_TR object,
                            ESYS_TR first, ESYS_TR second, ESYS_TR third,
                            const TPM2B_DATA *data, const TPM2B_DIGEST *hash,
                            const TPMT_SIG_SCHEME *scheme, const TPMT_TK_CREATION *ticket,
                            TPM2B_ATTEST **attest, TPMT_SIGNATURE **signature)
{
    if (getenv(CONFIRMS_NOTHING))
        return TPM2_RC_TICKET | TPM2_RC_P | TPM2_RC_4;
    return __real_Esys_CertifyCreation(esys, sign, object, first, second, third, data,
                                       hash, scheme, ticket, attest, signature);
}

static void
N34_a_chip_that_does_not_confirm_what_it_sealed_is_given_nothing(void **state)
{
    (void)state;
    assert_int_equal(machine_run_with(&machine, CONFIRMS_NOTHING), 1);
    assert_true(machine_said(&machine, "does not confirm what it sealed"));
    assert_state(START_VOLUME_BLANK);
    assert_false(machine_has(&machine, "pending"));
    assert_int_equal(atomic_load(&master.calls), 0);
}

/* The files of before are still there, for a way back. */
static void
N34_a_recovery_on_a_chip_that_does_not_confirm_costs_nothing(void **state)
{
    (void)state;
    NODE_CONFIG before = {0};
    char path[MACHINE_PATH];
    struct st_err err = {0};
    flow_enrol_and_adopt();
    machine_config_get(&machine, &before);
    machine_config_put(&machine);
    assert_int_equal(setenv(CONFIRMS_NOTHING, "1", 1), 0);
    const int status = machine_recover(&machine, "", 0); /* nobody types for nothing */
    assert_int_equal(unsetenv(CONFIRMS_NOTHING), 0);
    assert_int_equal(status, 1);
    assert_true(machine_said(&machine, "does not confirm what it sealed"));
    assert_false(machine_has(&machine, "pending"));
    machine_path(&machine, "enrolment.pb", path);
    assert_ok(config_write(path, &before, &err));
    assert_enrolled();
    assert_unlocks_after_a_reboot();
}

/* Whoever wrote enrolment.pb gets the key sealed before any master has judged him. */
static void
a_person_is_shown_whom_the_key_goes_to_before_he_types_it(void **state)
{
    (void)state;
    uint8_t digest[SHA256_LEN], public_key[HPKE_KEY_LEN];
    char pem[RECOVERY_PEM_MAX], hex[2 * SHA256_LEN + 1];
    struct st_err err = {0};
    flow_enrol_and_adopt();
    replace_the_chip();
    begin_anew();
    cert_fingerprint(master.cert.der, master.cert.len, digest);
    for (size_t i = 0; i < SHA256_LEN; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    assert_ok(hpke_public(&machine.recovery, public_key, &err));
    assert_ok(recovery_public_to_pem(public_key, pem, &err));
    *strchr(strchr(pem, '\n') + 1, '\n') = 0;
    assert_int_equal(machine_recover(&machine, "", 0), 1);
    assert_true(machine_said(&machine, hex));
    assert_true(machine_said(&machine, strchr(pem, '\n') + 1));
    assert_true(machine_said(&machine, "no recovery key was typed"));
    machine.recovery.len = 0;
    machine_config_put(&machine);
    assert_int_equal(machine_recover(&machine, "", 0), 1);
    assert_true(machine_said(&machine, "sealed to nobody"));
}

static void
N48_another_key_recovers_nothing(void **state)
{
    (void)state;
    struct secret other;
    struct st_err err = {0};
    char typed[RECOVERY_TEXT_LEN + 1];
    flow_enrol_and_adopt();
    const struct secret key = administrators_key();
    replace_the_chip();
    begin_anew();
    assert_ok(recovery_make(&other, &err));
    assert_int_equal(machine_recover(&machine, (const char *)other.bytes, 0), 1);
    assert_true(machine_said(&machine, "the recovery key of another volume"));
    memcpy(typed, key.bytes, sizeof(typed));
    typed[9] = typed[9] == '7' ? '8' : '7';
    assert_int_equal(machine_recover(&machine, typed, 0), 1);
    assert_true(machine_said(&machine, "group 2 is mistyped"));
    assert_int_equal(machine_recover(&machine, "", 0), 1);
    assert_true(machine_said(&machine, "no recovery key was typed"));
    assert_false(machine_has(&machine, "pending"));
    assert_state(START_VOLUME_ENROLLED);
    assert_false(machine_said(&machine, (const char *)key.bytes));
}

static void
a_machine_that_works_is_not_recovered(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    const struct secret key = administrators_key();
    assert_int_equal(machine_recover(&machine, (const char *)key.bytes, 0), 1);
    assert_true(machine_said(&machine, "this machine is enrolled"));
    assert_unlocks_after_a_reboot();
}

static void
what_cannot_be_recovered_is_said(void **state)
{
    (void)state;
    char typed[] = "K";
    assert_int_equal(machine_recover(&machine, typed, 0), 1);
    assert_true(machine_said(&machine, "there is nothing to recover"));
    assert_state(START_VOLUME_BLANK);
    machine.recovery.len = 0;
    machine_config_put(&machine);
    machine.recovery_key = "none";
    flow_enrol_and_adopt();
    begin_anew();
    assert_int_equal(machine_recover(&machine, typed, 0), 1);
    assert_true(machine_said(&machine, "has no recovery key"));
}

/* LUKS2 writes another one with each header. */
static void
get_uuid(char out[64])
{
    struct crypt_device *cd = NULL;
    assert_int_equal(crypt_init(&cd, machine.volume), 0);
    assert_int_equal(crypt_load(cd, CRYPT_LUKS2, NULL), 0);
    snprintf(out, 64, "%s", crypt_get_uuid(cd));
    crypt_free(cd);
}

/* The masters refuse what this enrolment.pb wants, and its key is taken from the disk. */
static void
be_refused(const struct secret *administrator)
{
    machine.recovery = *administrator;
    machine_config_put(&machine);
    MASTER_SCRIPT(&master, ACT_REFUSE);
    machine_start(&machine, 0);
    flow_wait_for_calls(1);
    assert_int_equal(machine_stop(&machine), 0);
    assert_state(START_VOLUME_PENDING);
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_reboot(&machine);
}

/* The same of an attacker's: he has the recovery key, and the key of the data. */
static void
be_robbed(struct disk_recovery *found, struct secret *his, char volume_key[64])
{
    struct secret attacker;
    uint8_t public_key[HPKE_KEY_LEN];
    struct st_err err = {0};
    assert_ok(hpke_generate(&attacker, public_key, &err));
    be_refused(&attacker);
    assert_ok(disk_recovery_look(machine.volume, found, &err));
    assert_ok(recovery_open(found->bytes, sizeof(found->bytes), &attacker, his, &err));
    get_volume_key(his, volume_key);
}

/* With the administrator of the test. */
static void
enrol_after(const struct secret *administrator)
{
    machine.recovery = *administrator;
    machine_config_put(&machine);
    machine_run_until_served(&machine);
    assert_enrolled();
}

static void
N30_a_volume_whose_key_was_an_attackers_is_formatted_anew(void **state)
{
    (void)state;
    const struct secret administrator = machine.recovery;
    struct secret his;
    char before[64], after[64];
    struct disk_recovery found;
    struct st_err err = {0};
    be_robbed(&found, &his, before);
    enrol_after(&administrator);
    const struct secret key = administrators_key();
    get_volume_key(&key, after);
    assert_memory_not_equal(before, after, 64);
    assert_code(disk_recovery_check(machine.volume, &his, &err), ST_PERMISSION_DENIED);
    assert_unlocks_after_a_reboot();
}

/* The disk is written, too: he puts a slot of his own into the header, in the name of the
 * administrator, whose public key is no secret. */
static void
N30_a_header_that_says_the_right_name_does_not_save_its_key(void **state)
{
    (void)state;
    const struct secret administrator = machine.recovery;
    struct secret his;
    struct recovery_place place = {0};
    uint8_t sealed[RECOVERY_SEALED_LEN];
    char before[64], after[64], json[2048];
    struct disk_recovery found;
    struct crypt_device *cd = NULL;
    struct st_err err = {0};
    be_robbed(&found, &his, before);
    place = found.place;
    assert_ok(hpke_public(&administrator, place.recipient, &err));
    assert_ok(recovery_seal(&his, &place, sealed, &err));
    int at = snprintf(json, sizeof(json),
                      "{\"type\":\"smalltown-recovery\","
                      "\"keyslots\":[\"1\"],\"sealed\":\"");
    for (size_t i = 0; i < sizeof(sealed); i++)
        at += snprintf(json + at, sizeof(json) - (size_t)at, "%02x", sealed[i]);
    strcpy(json + at, "\"}");
    assert_int_equal(crypt_init(&cd, machine.volume), 0);
    assert_int_equal(crypt_load(cd, CRYPT_LUKS2, NULL), 0);
    assert_int_equal(crypt_token_json_set(cd, 1, json), 1);
    crypt_free(cd);
    enrol_after(&administrator);
    const struct secret key = administrators_key();
    get_volume_key(&key, after);
    assert_memory_not_equal(before, after, 64);
}

/* He says of what he was given that the masters had said OK. */
static void
N30_a_volume_that_says_it_is_enrolled_is_not_gone_on_with_for_another_file(void **state)
{
    (void)state;
    struct esp *esp;
    const struct secret administrator = machine.recovery;
    const uint8_t anything[] = "identity";
    struct secret his;
    char before[64];
    struct disk_recovery found;
    struct st_err err = {0};
    be_robbed(&found, &his, before);
    assert_ok(disk_set_enrolled(machine.volume, found.place.node_id, &err));
    assert_ok(esp_open(machine.esp, &esp, &err));
    assert_ok(esp_write(esp, ESP_IDENTITY, anything, sizeof(anything), &err));
    esp_close(esp);
    machine.recovery = administrator;
    machine_config_put(&machine);
    MASTER_SCRIPT(&master, ACT_HONEST);
    assert_refuses("has an identity, and it was formatted for");
    assert_int_equal(atomic_load(&master.calls), 0);
    assert_state(START_VOLUME_ENROLLED);
}

/* With that file, and another secret than the one of before where `other`. */
static void
put_file_for_nobody(bool other)
{
    machine.recovery.len = 0;
    master.secret[0] ^= other;
    machine_config_put(&machine);
}

/* Enter, and the power goes. */
static struct secret
be_shown_a_key(int fd)
{
    char screen[4096];
    machine_start(&machine, ENROL_RECOVERABLE);
    terminal_wait_for(fd, "Press Enter", screen);
    const struct secret key = key_on_screen(screen);
    assert_int_equal(write(fd, "\n", 1), 1);
    assert_int_equal(machine_wait(&machine), 128 + 9);
    machine_reboot(&machine);
    return key;
}

/* Who stood before the machine before, with a file of his own. */
static void
N30_a_key_that_was_shown_for_another_file_opens_nothing(void **state)
{
    (void)state;
    char path[64], before[64], after[64];
    struct st_err err = {0};
    int fd = terminal_make(path), held = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(held >= 0);
    machine.recovery_key = path;
    put_file_for_nobody(true);
    const struct secret his = be_shown_a_key(fd);
    get_volume_key(&his, before);
    put_file_for_nobody(true);
    const struct secret key = be_shown_a_key(fd);
    machine_run_until_served(&machine); /* the same file goes on */
    assert_enrolled();
    get_volume_key(&key, after);
    assert_memory_not_equal(before, after, 64);
    assert_code(disk_recovery_check(machine.volume, &his, &err), ST_PERMISSION_DENIED);
    assert_unlocks_after_a_reboot();
    close(held);
    close(fd);
}

/* Of keys that nobody was shown anything of, somebody could be by the next start. */
static void
N30_a_machine_that_begins_to_show_keys_formats_anew(void **state)
{
    (void)state;
    const struct secret nobody = {0};
    char path[64], before[64], after[64];
    int fd = terminal_make(path), held = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(held >= 0);
    machine.recovery_key = "none";
    be_refused(&nobody);
    get_uuid(before);
    machine.recovery_key = path;
    be_shown_a_key(fd);
    get_uuid(after);
    assert_string_not_equal(before, after);
    machine.recovery_key = "none"; /* and the other way round the file is the same */
    machine_run_until_served(&machine);
    assert_enrolled();
    get_uuid(before);
    assert_string_equal(before, after);
    close(held);
    close(fd);
}

/* `recover` is not told what the daemon is: nobody is shown anything, the key is there.
 */
static void
a_volume_that_was_recovered_for_nobody_goes_on_by_that_file_alone(void **state)
{
    const char *as[] = {"none", "/nowhere"};
    for (size_t i = 0; i < sizeof(as) / sizeof(*as); i++) {
        char before[64], after[64];
        flow_enrol_and_adopt();
        const struct secret key = administrators_key();
        const char *typed = (const char *)key.bytes;
        get_volume_key(&key, before);
        replace_the_chip();
        begin_anew();
        put_file_for_nobody(false);
        machine.recovery_key = NULL;
        assert_int_equal(machine_recover(&machine, typed, 0), 0);
        put_file_for_nobody(true);
        machine.recovery_key = as[i];
        assert_refuses("run `smalltown-node recover` again");
        put_file_for_nobody(true);
        machine_run_until_served(&machine);
        assert_enrolled();
        get_volume_key(&key, after);
        assert_memory_equal(before, after, 64);
        tear_down(state);
        set_up(state);
    }
}

/* The file of before expired, and the next one is sealed to somebody, or no longer. */
static void
an_enrolment_that_goes_on_with_another_file_is_formatted_for_it(void **state)
{
    (void)state;
    const struct secret administrator = machine.recovery, nobody = {0};
    char before[64], after[64];
    struct disk_recovery found;
    struct st_err err = {0};
    machine.recovery_key = "none";
    be_refused(&nobody);
    get_uuid(before);
    master.secret[0] ^= 1;
    be_refused(&nobody); /* where nobody is shown anything, this is the same enrolment */
    get_uuid(after);
    assert_string_equal(before, after);
    be_refused(&administrator);
    get_uuid(after);
    assert_string_not_equal(before, after);
    enrol_after(&nobody);
    assert_ok(disk_recovery_look(machine.volume, &found, &err));
    assert_false(found.there);
    assert_unlocks_after_a_reboot();
}

static void
a_format_anew_that_was_cut_is_done_again(void **state)
{
    const enum node_step steps[] = {ENROL_GIVEN_UP, ENROL_KEYS_MADE, ENROL_PENDING_SEALED,
                                    ENROL_HALF_SEALED, ENROL_FORMAT_BEGUN};
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        print_message("killed at step %d\n", (int)steps[i]);
        const struct secret administrator = machine.recovery, nobody = {0};
        machine.recovery_key = "none";
        be_refused(&nobody);
        machine.recovery = administrator;
        machine_config_put(&machine);
        machine_start(&machine, steps[i]);
        assert_int_equal(machine_wait(&machine), 128 + 9);
        machine_reboot(&machine);
        machine_run_until_served(&machine);
        assert_enrolled();
        const struct secret key = administrators_key();
        struct st_err err = {0};
        assert_ok(disk_recovery_check(machine.volume, &key, &err));
        assert_unlocks_after_a_reboot();
        tear_down(state);
        set_up(state);
    }
}

/* `smalltown-node recover` was for the file of before. */
static void
N34_a_volume_with_data_is_not_formatted_for_another_file(void **state)
{
    (void)state;
    struct secret other;
    uint8_t public_key[HPKE_KEY_LEN];
    char before[64], after[64];
    struct st_err err = {0};
    flow_enrol_and_adopt();
    const struct secret key = administrators_key();
    get_volume_key(&key, before);
    replace_the_chip();
    begin_anew();
    assert_int_equal(machine_recover(&machine, (const char *)key.bytes, 0), 0);
    assert_ok(hpke_generate(&other, public_key, &err));
    machine.recovery = other;
    machine_config_put(&machine);
    MASTER_SCRIPT(&master, ACT_HONEST);
    assert_refuses("run `smalltown-node recover` again");
    assert_int_equal(atomic_load(&master.calls), 0);
    assert_state(START_VOLUME_PENDING);
    get_volume_key(&key, after);
    assert_memory_equal(before, after, 64);
    recover_and_enrol(&key);
}

/* Its key of before went with the token that says enrolled: it looks as one that was just
 * formatted. */
static void
N34_a_volume_with_data_that_is_enrolled_is_recovered_for_another_file(void **state)
{
    (void)state;
    struct secret other;
    uint8_t public_key[HPKE_KEY_LEN];
    struct st_err err = {0};
    flow_enrol_and_adopt();
    const struct secret key = administrators_key();
    replace_the_chip();
    begin_anew();
    assert_int_equal(machine_recover(&machine, (const char *)key.bytes, 0), 0);
    machine_start(&machine, ENROL_VOLUME_ENROLLED);
    assert_int_equal(machine_wait(&machine), 128 + 9);
    machine_reboot(&machine);
    assert_ok(hpke_generate(&other, public_key, &err));
    machine.recovery = other;
    begin_anew();
    assert_refuses("`smalltown-node recover` keeps what is on its");
    assert_state(START_VOLUME_ENROLLED);
    recover_and_enrol(&key);
}

/* The data of it may be the machine's own, bound to keys that somebody knows. */
static void
N48_a_volume_that_something_else_recovered_is_recovered_again(void **state)
{
    (void)state;
    const enum esp_file files[] = {ESP_SEALED, ESP_PENDING};
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        char before[64], after[64];
        flow_enrol_and_adopt();
        const struct secret key = administrators_key();
        get_volume_key(&key, before);
        replace_the_chip();
        begin_anew();
        assert_int_equal(machine_recover(&machine, (const char *)key.bytes, 0), 0);
        machine_forget_maker(&machine, files[i]);
        MASTER_SCRIPT(&master, ACT_HONEST);
        assert_refuses("run `smalltown-node recover` again");
        assert_int_equal(atomic_load(&master.calls), 0);
        assert_state(START_VOLUME_PENDING);
        get_volume_key(&key, after);
        assert_memory_equal(before, after, 64);
        recover_and_enrol(&key);
        tear_down(state);
        set_up(state);
    }
}

/* Between the OK and its last word on the disk: the masters know it by these keys. */
static void
N34_a_volume_that_the_masters_said_OK_to_is_not_formatted_for_another_file(void **state)
{
    (void)state;
    const struct secret administrator = machine.recovery, nobody = {0};
    char before[64], after[64];
    machine_start(&machine, ENROL_IDENTITY_WRITTEN);
    assert_int_equal(machine_wait(&machine), 128 + 9);
    get_uuid(before);
    machine.recovery = nobody;
    machine_config_put(&machine);
    machine.recovery_key = "none";
    assert_refuses("restore the enrolment.pb");
    get_uuid(after);
    assert_string_equal(before, after);
    enrol_after(&administrator);
    get_uuid(after);
    assert_string_equal(before, after);
}

int
main(int argc, char **argv)
{
    machine_child_main(argc, argv);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_administrator_of_the_enrolment_is_sent_the_key),
        TEST(a_machine_without_a_volume_says_so),
        TEST(nothing_is_formatted_before_somebody_will_have_the_key),
        TEST(a_file_is_no_terminal),
        TEST(a_person_before_the_machine_is_shown_the_key_until_he_has_it),
        TEST(a_daemon_that_is_stopped_waits_for_nobody),
        TEST(a_machine_with_a_new_TPM_keeps_its_data),
        TEST(a_machine_whose_firmware_changed_keeps_its_data),
        TEST(a_recovery_that_another_image_finds_is_done_again),
        TEST(a_recovery_that_was_cut_is_done_again),
        TEST(a_second_recovery_that_was_cut_is_done_again),
        TEST(N34_a_chip_that_does_not_confirm_what_it_sealed_is_given_nothing),
        TEST(N34_a_recovery_on_a_chip_that_does_not_confirm_costs_nothing),
        TEST(a_person_is_shown_whom_the_key_goes_to_before_he_types_it),
        TEST(N48_another_key_recovers_nothing),
        TEST(a_machine_that_works_is_not_recovered),
        TEST(what_cannot_be_recovered_is_said),
        TEST(N30_a_volume_whose_key_was_an_attackers_is_formatted_anew),
        TEST(N30_a_header_that_says_the_right_name_does_not_save_its_key),
        TEST(N30_a_volume_that_says_it_is_enrolled_is_not_gone_on_with_for_another_file),
        TEST(N30_a_key_that_was_shown_for_another_file_opens_nothing),
        TEST(N30_a_machine_that_begins_to_show_keys_formats_anew),
        TEST(a_volume_that_was_recovered_for_nobody_goes_on_by_that_file_alone),
        TEST(an_enrolment_that_goes_on_with_another_file_is_formatted_for_it),
        TEST(a_format_anew_that_was_cut_is_done_again),
        TEST(N34_a_volume_with_data_is_not_formatted_for_another_file),
        TEST(N34_a_volume_with_data_that_is_enrolled_is_recovered_for_another_file),
        TEST(N48_a_volume_that_something_else_recovered_is_recovered_again),
        TEST(N34_a_volume_that_the_masters_said_OK_to_is_not_formatted_for_another_file),
    };
    return FLOW_MAIN(tests);
}
