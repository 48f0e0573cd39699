#include "node/supervise.h"

#include "node/retry.h"
#include "node/stop.h"
#include "proto/event.h"
#include "proto/scope.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM "smalltown-nms"

enum {
    ARGUMENTS_MAX = 128,
    STOP_MS = 1500,    /* that a master has to end by itself */
    HEALTHY_MS = 60000 /* a master that ran so long fails for the first time again */
};

static bool
is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static bool
beside_us(char out[PATH_MAX])
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (len <= 0)
        return false;
    self[len] = 0;
    char *slash = strrchr(self, '/');
    int n =
        slash ? snprintf(out, PATH_MAX, "%.*s/" PROGRAM, (int)(slash - self), self) : -1;
    return n > 0 && n < PATH_MAX && is_program(out);
}

static bool
in_path(char out[PATH_MAX])
{
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t len = strcspn(path, ":");
        int n = snprintf(out, PATH_MAX, "%.*s/" PROGRAM, (int)len, path);
        if (len > 0 && n < PATH_MAX && is_program(out))
            return true;
        path += len + (path[len] == ':');
    }
    return false;
}

enum st_code
supervise_find(char out[PATH_MAX], struct st_err *err)
{
    if (beside_us(out) || in_path(out))
        return ST_OK;
    return st_fail(err, ST_NOT_FOUND,
                   PROGRAM " is neither beside this program nor in PATH: install it");
}

/* The child ends with us, whatever happens to us. */
static _Noreturn void
become(const char *const argv[], pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(127);
    execv(argv[0], (char *const *)argv);
    _exit(127);
}

static enum st_code
spawn(const char *const argv[], pid_t *out_pid, int *out_fd, struct st_err *err)
{
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        return st_fail(err, ST_INTERNAL, "cannot start %s: %s", argv[0], strerror(errno));
    if (pid == 0)
        become(argv, parent);
    *out_fd = pidfd_open(pid, 0);
    *out_pid = pid;
    if (*out_fd >= 0)
        return ST_OK;
    int failed = errno;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return st_fail(err, ST_INTERNAL, "cannot watch %s: %s", argv[0], strerror(failed));
}

/* Until the child ended, or ms passed. */
static bool
ended(int pidfd, int ms)
{
    struct pollfd fd = {.fd = pidfd, .events = POLLIN};
    while (poll(&fd, 1, ms) < 0 && errno == EINTR)
        ;
    return (fd.revents & POLLIN) != 0;
}

static void
finish(pid_t pid, int pidfd)
{
    kill(pid, SIGTERM);
    if (!ended(pidfd, STOP_MS))
        kill(pid, SIGKILL);
}

/* Runs it to its end, or ends it when the daemon is to stop: *out_status is then -1. */
static enum st_code
run(const char *const argv[], int *out_status, struct st_err *err)
{
    pid_t pid;
    int pidfd, status;
    enum st_code code = spawn(argv, &pid, &pidfd, err);
    if (code)
        return code;
    struct pollfd fds[2] = {{.fd = pidfd, .events = POLLIN},
                            {.fd = stop_fd(), .events = POLLIN}};
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        ;
    bool stopped = fds[1].revents != 0;
    if (stopped)
        finish(pid, pidfd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    close(pidfd);
    *out_status = stopped             ? -1
                  : WIFEXITED(status) ? WEXITSTATUS(status)
                                      : 128 + WTERMSIG(status);
    return ST_OK;
}

/* init writes masters.pem last: without it there is no cluster yet. */
static bool
has_cluster(const char *data)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/masters.pem", data);
    return n < PATH_MAX && access(path, F_OK) == 0;
}

static enum st_code
init(const struct supervise *supervise, struct st_err *err)
{
    const char *argv[ARGUMENTS_MAX] = {
        supervise->program, "init",          "--data",    supervise->data,
        "--name",           supervise->name, "--address", supervise->address};
    size_t count = 8;
    int status;
    if (supervise->admin_cert_count > (ARGUMENTS_MAX - 9) / 2)
        return st_fail(err, ST_INVALID_ARGUMENT, "too many --admin-cert");
    for (size_t i = 0; i < supervise->admin_cert_count; i++) {
        argv[count++] = "--admin-cert";
        argv[count++] = supervise->admin_certs[i];
    }
    enum st_code code = run(argv, &status, err);
    if (code || status == -1)
        return code;
    if (status != 0)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "smalltown-nms init ended with status %d: no cluster was made",
                       status);
    event("bootstrap", "cluster=%s data=%s", supervise->name, supervise->data);
    return ST_OK;
}

static uint64_t
now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

enum st_code
supervise_run(const struct supervise *supervise, struct st_err *err)
{
    const char *const argv[] = {supervise->program, "run", "--data", supervise->data,
                                NULL};
    struct retry retry = {.first_ms = supervise->retry_first_ms,
                          .max_ms = supervise->retry_max_ms};
    enum st_code code;
    if (!has_cluster(supervise->data) && (code = init(supervise, err)))
        return code;
    while (!stop_asked()) {
        struct st_err ended_with = {0};
        uint64_t began = now_ms();
        int status;
        if ((code = run(argv, &status, err)))
            return code;
        if (status == -1)
            break;
        if (now_ms() - began > HEALTHY_MS)
            retry.attempts = 0;
        (void)st_fail(&ended_with, ST_UNAVAILABLE,
                      "smalltown-nms ended with status %d and is started again", status);
        if (!retry_wait(&retry, "master", &ended_with))
            break;
    }
    return ST_OK;
}
