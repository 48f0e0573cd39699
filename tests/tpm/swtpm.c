#include "tests/tpm/swtpm.h"

#include "proto/scope.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    FOLDER_LEN = 24, /* "/tmp/st-tpm-XXXXXX" */
    PATH_LEN = 64,
    START_ROUNDS = 1000, /* of 10 ms: a busy machine may be slow to start a process */
};

struct swtpm_ca {
    char folder[FOLDER_LEN];
    char config[PATH_LEN], root[PATH_LEN], issuer[PATH_LEN];
};

struct swtpm {
    char folder[FOLDER_LEN];
    char socket[FOLDER_LEN + 4], tcti[PATH_LEN];
    pid_t pid; /* 0: off */
};

static _Noreturn void __attribute__((format(printf, 1, 2)))
give_up(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, ": %s\n", strerror(errno));
    abort();
}

static void
folder_make(char out[FOLDER_LEN])
{
    strcpy(out, "/tmp/st-tpm-XXXXXX");
    if (!mkdtemp(out))
        give_up("mkdtemp %s", out);
}

/* Ends with its parent, talks to the file "log" of the folder. */
static pid_t
spawn(const char *folder, const char *const argv[])
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        give_up("fork");
    if (pid)
        return pid;
    char log[PATH_LEN];
    snprintf(log, sizeof(log), "%s/log", folder);
    int fd = open(log, O_CREAT | O_WRONLY | O_APPEND, 0600);
    if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
        _exit(126);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126);
    execvp(argv[0], (char *const *)argv);
    _exit(127);
}

static int
finish(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            give_up("waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void
folder_remove(const char *folder)
{
    pid_t pid = spawn(folder, (const char *[]){"rm", "-rf", folder, NULL});
    if (finish(pid))
        give_up("rm -rf %s", folder);
}

static void
write_text(const char *folder, const char *name, const char *format, ...)
{
    char path[PATH_LEN];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    if (!file)
        give_up("%s", path);
    va_list args;
    va_start(args, format);
    vfprintf(file, format, args);
    va_end(args);
    if (fclose(file))
        give_up("%s", path);
}

struct swtpm_ca *
swtpm_ca_make(void)
{
    struct swtpm_ca *ca = calloc(1, sizeof(*ca));
    if (!ca)
        give_up("calloc");
    folder_make(ca->folder);
    const char *f = ca->folder;
    write_text(f, "localca.conf",
               "statedir = %s\nsigningkey = %s/signkey.pem\n"
               "issuercert = %s/issuercert.pem\ncertserial = %s/certserial\n",
               f, f, f, f);
    write_text(f, "localca.options",
               "--platform-manufacturer Smalltown\n--platform-version 1\n"
               "--platform-model test\n");
    write_text(f, "setup.conf",
               "create_certs_tool = swtpm_localca\n"
               "create_certs_tool_config = %s/localca.conf\n"
               "create_certs_tool_options = %s/localca.options\n"
               "active_pcr_banks = sha256\n",
               f, f);
    snprintf(ca->config, sizeof(ca->config), "%s/setup.conf", f);
    snprintf(ca->root, sizeof(ca->root), "%s/swtpm-localca-rootca-cert.pem", f);
    snprintf(ca->issuer, sizeof(ca->issuer), "%s/issuercert.pem", f);
    return ca;
}

void
swtpm_ca_free(struct swtpm_ca *ca)
{
    if (ca)
        folder_remove(ca->folder);
    free(ca);
}

const char *
swtpm_ca_root(const struct swtpm_ca *ca)
{
    return ca->root;
}

const char *
swtpm_ca_issuer(const struct swtpm_ca *ca)
{
    return ca->issuer;
}

static void
manufacture(const struct swtpm *swtpm, const struct swtpm_ca *ca)
{
    const char *folder = swtpm->folder;
    const char *bare[] = {"swtpm_setup", "--tpm2", "--tpmstate", folder,
                          "--pcr-banks", "sha256", NULL};
    const char *certified[] = {"swtpm_setup",      "--tpm2",
                               "--tpmstate",       folder,
                               "--config",         ca ? ca->config : NULL,
                               "--create-ek-cert", "--create-platform-cert",
                               "--lock-nvram",     NULL};
    int status = finish(spawn(folder, ca ? certified : bare));
    if (status)
        give_up("swtpm_setup ended with %d, see %s/log", status, folder);
}

struct swtpm *
swtpm_make(const struct swtpm_ca *ca)
{
    struct swtpm *swtpm = calloc(1, sizeof(*swtpm));
    if (!swtpm)
        give_up("calloc");
    folder_make(swtpm->folder);
    snprintf(swtpm->socket, sizeof(swtpm->socket), "%s/tpm", swtpm->folder);
    snprintf(swtpm->tcti, sizeof(swtpm->tcti), "swtpm:path=%s", swtpm->socket);
    manufacture(swtpm, ca);
    swtpm_power_on(swtpm);
    return swtpm;
}

void
swtpm_free(struct swtpm *swtpm)
{
    if (!swtpm)
        return;
    if (swtpm->pid)
        swtpm_power_off(swtpm);
    folder_remove(swtpm->folder);
    free(swtpm);
}

const char *
swtpm_tcti(const struct swtpm *swtpm)
{
    return swtpm->tcti;
}

const char *
swtpm_folder(const struct swtpm *swtpm)
{
    return swtpm->folder;
}

static bool
answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        give_up("socket");
    bool connected = !connect(fd, (struct sockaddr *)&address, sizeof(address));
    close(fd);
    return connected;
}

static void
power_on(struct swtpm *swtpm, const char *flags)
{
    if (swtpm->pid)
        give_up("%s is on already", swtpm->folder);
    char state[PATH_LEN], server[2 * PATH_LEN], control[2 * PATH_LEN];
    snprintf(state, sizeof(state), "dir=%s", swtpm->folder);
    snprintf(server, sizeof(server), "type=unixio,path=%s", swtpm->socket);
    snprintf(control, sizeof(control), "type=unixio,path=%s.ctrl", swtpm->socket);
    unlink(swtpm->socket);
    swtpm->pid =
        spawn(swtpm->folder, (const char *[]){"swtpm", "socket", "--tpm2", "--tpmstate",
                                              state, "--server", server, "--ctrl",
                                              control, "--flags", flags, NULL});
    for (int i = 0; i < START_ROUNDS; i++) {
        if (answers(swtpm->socket))
            return;
        if (waitpid(swtpm->pid, NULL, WNOHANG))
            give_up("swtpm ended, see %s/log", swtpm->folder);
        nanosleep(&(struct timespec){0, 10 * 1000 * 1000}, NULL);
    }
    give_up("swtpm does not answer, see %s/log", swtpm->folder);
}

void
swtpm_power_on(struct swtpm *swtpm)
{
    power_on(swtpm, "not-need-init,startup-clear");
}

void
swtpm_power_on_bare(struct swtpm *swtpm)
{
    power_on(swtpm, "not-need-init");
}

void
swtpm_power_off(struct swtpm *swtpm)
{
    if (!swtpm->pid)
        give_up("%s is off already", swtpm->folder);
    kill(swtpm->pid, SIGKILL);
    finish(swtpm->pid);
    swtpm->pid = 0;
}

void
swtpm_power_cycle(struct swtpm *swtpm)
{
    swtpm_power_off(swtpm);
    swtpm_power_on(swtpm);
}

int
swtpm_shell(const struct swtpm *swtpm, const char *format, ...)
{
    AUTO(st_freep) char *command = NULL;
    AUTO(st_freep) char *line = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&command, format, args);
    va_end(args);
    if (len < 0 || asprintf(&line, "cd %s && export TPM2TOOLS_TCTI=%s && { %s; }",
                            swtpm->folder, swtpm->tcti, command) < 0)
        give_up("asprintf");
    return finish(spawn(swtpm->folder, (const char *[]){"sh", "-c", line, NULL}));
}

void
swtpm_put(const struct swtpm *swtpm, const char *name, const void *bytes, size_t len)
{
    char path[PATH_LEN];
    snprintf(path, sizeof(path), "%s/%s", swtpm->folder, name);
    FILE *file = fopen(path, "w");
    if (!file || fwrite(bytes, 1, len, file) != len || fclose(file))
        give_up("%s", path);
}

size_t
swtpm_get(const struct swtpm *swtpm, const char *name, void *out, size_t max)
{
    char path[PATH_LEN];
    snprintf(path, sizeof(path), "%s/%s", swtpm->folder, name);
    FILE *file = fopen(path, "r");
    if (!file)
        give_up("%s", path);
    size_t len = fread(out, 1, max, file);
    if (ferror(file) || fgetc(file) != EOF)
        give_up("%s: more than %zu bytes", path, max);
    fclose(file);
    return len;
}
