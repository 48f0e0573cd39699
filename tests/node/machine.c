#include "tests/node/machine.h"
#include "tests/patience.h"

#include "node/measure.h"
#include "node/recover.h"
#include "node/run.h"
#include "node/stop.h"
#include "proto/file.h"
#include "proto/scope.h"
#include "proto/secret.h"
#include "tpm/device_internal.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PAST_GRACE_MS = 2500 /* stop.h */
};

static const struct st_address loopback = {{127, 0, 0, 1}, 4};

void
machine_path(const struct machine *machine, const char *name, char out[MACHINE_PATH])
{
    snprintf(out, MACHINE_PATH, "%.40s/EFI/smalltown/%.20s", machine->esp, name);
}

bool
machine_has(const struct machine *machine, const char *name)
{
    char path[MACHINE_PATH];
    machine_path(machine, name, path);
    return access(path, F_OK) == 0;
}

void
machine_config_put(const struct machine *machine)
{
    char path[MACHINE_PATH];
    struct st_err err = {0};
    struct node_config config = {
        .masters = machine->master->cert, .addresses = {loopback}, .address_count = 1};
    assert_ok(secret_set(&config.secret, machine->master->secret,
                         sizeof(machine->master->secret), &err));
    config.has_recovery = machine->recovery.len > 0;
    if (config.has_recovery)
        assert_ok(hpke_public(&machine->recovery, config.recovery, &err));
    machine_path(machine, "enrolment.pb", path);
    assert_ok(config_write(path, &config, &err));
}

void
machine_config_get(const struct machine *machine, struct node_config *out)
{
    char path[MACHINE_PATH];
    struct st_err err = {0};
    machine_path(machine, "enrolment.pb", path);
    assert_ok(config_read(path, out, &err));
}

void
machine_volume_blank(const struct machine *machine)
{
    AUTO(st_freep) char *path = strdup(machine->volume);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, MACHINE_VOLUME_SIZE), 0);
    close(fd);
}

void
machine_read_sealed(const struct machine *machine, enum esp_file file,
                    struct tpm_sealed *out)
{
    AUTO(esp_closep) struct esp *esp = NULL;
    uint8_t content[ESP_CONTENT_MAX];
    struct st_err err = {0};
    assert_ok(esp_open(machine->esp, &esp, &err));
    assert_ok(esp_read(esp, file, content, &out->len, &err));
    assert_true(out->len <= sizeof(out->bytes));
    memcpy(out->bytes, content, out->len);
}

void
machine_write_sealed(const struct machine *machine, enum esp_file file,
                     const struct tpm_sealed *sealed)
{
    AUTO(esp_closep) struct esp *esp = NULL;
    struct st_err err = {0};
    assert_ok(esp_open(machine->esp, &esp, &err));
    assert_ok(esp_write(esp, file, sealed->bytes, sealed->len, &err));
}

void
machine_forget_maker(const struct machine *machine, enum esp_file file)
{
    struct tpm_sealed sealed;
    struct tpm_sealed_parts parts;
    struct st_err err = {0};
    machine_read_sealed(machine, file, &sealed);
    assert_ok(tpm_sealed_unpack(&sealed, &parts, &err));
    assert_true(parts.has_creation);
    parts.has_creation = false;
    assert_ok(tpm_sealed_pack(&parts, &sealed, &err));
    machine_write_sealed(machine, file, &sealed);
}

void
machine_volume_fill(const struct machine *machine, off_t at, size_t len, int fill)
{
    AUTO(st_freep) uint8_t *bytes = malloc(len);
    memset(bytes, fill, len);
    int fd = open(machine->volume, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), len);
    close(fd);
}

void
machine_make(struct machine *machine, struct master *master)
{
    char folder[MACHINE_PATH];
    struct st_err err = {0};
    memset(machine, 0, sizeof(*machine));
    machine->master = master;
    machine->recovery_key = "none";
    machine->chip = swtpm_make(NULL);
    const char *root = swtpm_folder(machine->chip);
    snprintf(machine->esp, MACHINE_PATH, "%s/esp", root);
    snprintf(machine->volume, MACHINE_PATH, "%s/volume", root);
    snprintf(machine->log, MACHINE_PATH, "%s/node.log", root);
    snprintf(folder, MACHINE_PATH, "%.40s/EFI/smalltown", machine->esp);
    assert_ok(file_make_folder(folder, &err));
    machine_volume_blank(machine);
    machine_config_put(machine);
}

void
machine_free(struct machine *machine)
{
    if (machine->pid)
        machine_kill(machine);
    swtpm_free(machine->chip);
}

static void
spawn(struct machine *machine, const char *what, const char *typed, enum node_step die_at)
{
    extern char **environ;
    char step[16], port[16], stream[16];
    posix_spawn_file_actions_t files;
    assert_int_equal(machine->pid, 0);
    snprintf(step, sizeof(step), "%d", machine->slow ? -(int)die_at : (int)die_at);
    snprintf(port, sizeof(port), "%d",
             machine->master->server ? master_port(machine->master) : 1);
    snprintf(stream, sizeof(stream), "%u",
             machine->stream_ms ? machine->stream_ms : 5000);
    const char *argv[] = {"node",
                          what,
                          machine->esp,
                          swtpm_tcti(machine->chip),
                          machine->volume,
                          port,
                          stream,
                          step,
                          machine->rsa ? "rsa" : "ecc",
                          machine->master_data,
                          machine->nms,
                          machine->recovery_key ? machine->recovery_key : "",
                          machine->control,
                          machine->bootstrap ? "town" : "",
                          NULL};
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, typed, O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 2, machine->log,
                                     O_CREAT | O_TRUNC | O_WRONLY | O_APPEND, 0600);
    assert_int_equal(posix_spawn(&machine->pid, "/proc/self/exe", &files, NULL,
                                 (char *const *)argv, environ),
                     0);
    posix_spawn_file_actions_destroy(&files);
}

void
machine_start(struct machine *machine, enum node_step die_at)
{
    spawn(machine, "--child", "/dev/null", die_at);
}

int
machine_recover(struct machine *machine, const char *typed, enum node_step die_at)
{
    char path[MACHINE_PATH];
    struct st_err err = {0};
    snprintf(path, sizeof(path), "%.60s/typed", swtpm_folder(machine->chip));
    assert_ok(file_write(path, 0600, typed, strlen(typed), &err));
    spawn(machine, "--recover", path, die_at);
    return machine_wait(machine);
}

bool
machine_said(const struct machine *machine, const char *text)
{
    AUTO(st_freep) uint8_t *log = NULL;
    size_t len;
    return !file_read(machine->log, FILE_MAX_LEN, &log, &len, NULL) &&
           strstr((const char *)log, text);
}

static void
show_log(const struct machine *machine)
{
    AUTO(st_freep) uint8_t *log = NULL;
    size_t len;
    if (!file_read(machine->log, FILE_MAX_LEN, &log, &len, NULL))
        fprintf(stderr, "the daemon said:\n%s", (char *)log);
}

long
machine_timeout_ms(void)
{
    return patience_ms(60000);
}

void
machine_wait_for(struct machine *machine, const char *text)
{
    for (int waited = 0; !machine_said(machine, text); waited += 20) {
        int status;
        bool dead = waitpid(machine->pid, &status, WNOHANG) == machine->pid;
        if (dead)
            machine->pid = 0;
        if ((dead && !machine_said(machine, text)) || waited > machine_timeout_ms()) {
            show_log(machine);
            fail_msg("the daemon %s before it said '%s'", dead ? "ended" : "waited",
                     text);
        }
        sleep_ms(20);
    }
}

int
machine_wait(struct machine *machine)
{
    int status = 0;
    for (int waited = 0; waitpid(machine->pid, &status, WNOHANG) == 0; waited += 10) {
        if (waited > machine_timeout_ms()) {
            show_log(machine);
            fail_msg("the daemon does not end");
        }
        sleep_ms(10);
    }
    machine->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int
machine_stop(struct machine *machine)
{
    kill(machine->pid, SIGTERM);
    const int status = machine_wait(machine);
    if (status)
        show_log(machine);
    return status;
}

void
machine_kill(struct machine *machine)
{
    kill(machine->pid, SIGKILL);
    (void)machine_wait(machine);
}

void
machine_reboot(struct machine *machine)
{
    if (machine->pid)
        machine_kill(machine);
    swtpm_power_cycle(machine->chip);
}

void
machine_boot(struct machine *machine, unsigned pcr, uint8_t image)
{
    machine_reboot(machine);
    machine_extend(machine, pcr, image);
}

void
machine_extend(struct machine *machine, unsigned pcr, uint8_t image)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    const uint8_t digest[SHA256_LEN] = {image};
    struct st_err err = {0};
    assert_ok(tpm_open(swtpm_tcti(machine->chip), &tpm, &err));
    assert_ok(tpm_pcr_extend(tpm, pcr, digest, &err));
}

void
machine_measure(struct machine *machine)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    enum measure_state measured;
    struct st_err err = {0};
    assert_ok(tpm_open(swtpm_tcti(machine->chip), &tpm, &err));
    assert_ok(measure_config(tpm, &machine->master->cert, &measured, &err));
}

uint32_t
machine_mask_of(struct machine *machine, enum esp_file file)
{
    struct tpm_sealed sealed;
    struct st_err err = {0};
    uint32_t mask;
    machine_read_sealed(machine, file, &sealed);
    assert_ok(tpm_sealed_mask(&sealed, &mask, &err));
    return mask;
}

void
machine_seal_to(struct machine *machine, enum esp_file file, uint32_t mask)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    struct tpm_sealed sealed;
    struct tpm_authority under;
    SECRET secret = {0};
    struct st_err err = {0};
    machine_read_sealed(machine, file, &sealed);
    assert_ok(tpm_sealed_authority(&sealed, &under, &err));
    assert_ok(tpm_open(swtpm_tcti(machine->chip), &tpm, &err));
    assert_ok(tpm_unseal(tpm, &sealed, &secret, &err));
    assert_ok(tpm_seal_under(tpm, &secret, mask, &under, &sealed, &err));
    machine_write_sealed(machine, file, &sealed);
}

int
machine_run_with(struct machine *machine, const char *variable)
{
    assert_int_equal(setenv(variable, "1", 1), 0);
    machine_start(machine, 0);
    const int status = machine_wait(machine);
    assert_int_equal(unsetenv(variable), 0);
    return status;
}

void
machine_run_until_served(struct machine *machine)
{
    machine_start(machine, 0);
    machine_wait_for(machine, "serve ");
    assert_int_equal(machine_stop(machine), 0);
}

static int wanted_step; /* negative: it is told to stop there */

static void
die_at(enum node_step step)
{
    if ((int)step == wanted_step)
        raise(SIGKILL);
    if (-(int)step == wanted_step && !kill(getpid(), SIGTERM))
        sleep_ms(PAST_GRACE_MS);
}

/* As node/main.c does. */
static enum st_code
live(struct node *node, const char *esp, const char *nms, const char *town,
     struct st_err *err)
{
    const struct keeper_config config = {.program = nms,
                                         .data = node->control_folder,
                                         .address = "127.0.0.1",
                                         .node = node,
                                         .esp = esp,
                                         .retry_first_ms = 20,
                                         .retry_max_ms = 200};
    const struct bootstrap bootstrap = {.program = nms,
                                        .data = node->control_folder,
                                        .name = town,
                                        .address = "127.0.0.1"};
    enum st_code code;
    if (*node->control_folder) {
        if ((code = keeper_start(&config, &node->keeper, err)))
            return code;
        stop_also(keeper_fd(node->keeper));
    }
    if (!(code = stop_init(err)))
        code = run_node(node, esp, *town ? &bootstrap : NULL, err);
    stop_leaving();
    keeper_end(node->keeper);
    return code;
}

void
machine_child_main(int argc, char **argv)
{
    if (argc != 14)
        return;
    const bool recover = !strcmp(argv[1], "--recover");
    const char *passed = getenv(MACHINE_CRYPTTAB);
    static struct crypttab crypttab;
    crypttab.fd = passed ? atoi(passed) : -1;
    struct st_err err = {0};
    struct node node = {
        NODE_DEFAULTS,
        .tcti = argv[3],
        .address = loopback,
        .volume = strcmp(argv[4], "none") ? argv[4] : NULL,
        .encryption = DISK_XTS, /* an image file on whatever kernel there is */
        .ak = strcmp(argv[8], "rsa") ? TPM_AK_ECC_P256 : TPM_AK_RSA_2048,
        .no_recovery = !strcmp(argv[11], "none"),
        .recovery_terminal = *argv[11] == '/' ? argv[11] : NULL,
        .control = *argv[12] ? argv[12] : NULL,
        .control_folder = argv[9],
        .passed = die_at,
        .crypttab = passed ? &crypttab : NULL,
    };
    node.master_port = (uint16_t)atoi(argv[5]);
    node.node_port = 0;
    node.stream_ms = (uint32_t)atoi(argv[6]);
    node.retry_first_ms = 20;
    node.retry_max_ms = 200;
    node.efivars = "/nowhere";
    wanted_step = atoi(argv[7]);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    enum st_code code = recover ? recover_run(&node, argv[2], &err)
                                : live(&node, argv[2], argv[10], argv[13], &err);
    if (code)
        fprintf(stderr, "failed: %s\n", err.text);
    exit(code ? 1 : 0);
}
