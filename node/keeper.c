#include "node/keeper.h"

#include "node/child.h"
#include "node/stop.h"
#include "node/supervise.h"
#include "proto/secret.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PROGRAM "smalltown-nms"

enum {
    END_MS = 6000 /* longer than the keeper gives its master */
};

struct keeper {
    const struct keeper_config *config;
    struct child process;
    int fd;
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
keeper_find(char out[PATH_MAX], struct st_err *err)
{
    if (beside_us(out) || in_path(out))
        return ST_OK;
    return st_fail(err, ST_NOT_FOUND,
                   PROGRAM " is neither beside this program nor in PATH: install it");
}

bool
keeper_may_have_master(const char *data)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/member.pb", data) >= PATH_MAX)
        return true;
    return access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

/* In the child. */
static _Noreturn void
keep(const struct keeper_config *config, int fd, pid_t parent)
{
    prctl(PR_SET_NAME, "master-keeper");
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    unsetenv("NOTIFY_SOCKET"); /* the daemon's alone: notify.h */
    secret_harden_process();   /* memory is not locked any more after a fork */
    if (getppid() == parent)
        supervise(config, fd);
    _exit(0);
}

/* In the child what ends it waits until it can take it: see supervise(). */
static pid_t
fork_deaf(void)
{
    sigset_t ends, before;
    stop_signals(&ends);
    sigprocmask(SIG_BLOCK, &ends, &before);
    pid_t pid = fork();
    if (pid != 0)
        sigprocmask(SIG_SETMASK, &before, NULL);
    return pid;
}

enum st_code
keeper_start(const struct keeper_config *config, struct keeper **out, struct st_err *err)
{
    int ends[2];
    struct keeper *keeper = calloc(1, sizeof(*keeper));
    if (!keeper)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) {
        free(keeper);
        return st_fail(err, ST_INTERNAL, "socketpair: %s", strerror(errno));
    }
    pid_t parent = getpid(), pid = fork_deaf();
    if (pid == 0) {
        close(ends[0]);
        keep(config, ends[1], parent);
    }
    close(ends[1]);
    *keeper = (struct keeper){config, {pid, pid < 0 ? -1 : pidfd_open(pid, 0)}, ends[0]};
    if (keeper->process.fd < 0) {
        enum st_code code =
            st_fail(err, ST_INTERNAL, "cannot start a process: %s", strerror(errno));
        close(ends[0]); /* which ends it */
        free(keeper);
        return code;
    }
    *out = keeper;
    return ST_OK;
}

void
keeper_end(struct keeper *keeper)
{
    if (!keeper)
        return;
    close(keeper->fd);
    if (!child_wait(&keeper->process, END_MS))
        child_end(&keeper->process, 0);
    (void)child_reap(&keeper->process);
    free(keeper);
}

bool
keeper_gone(const struct keeper *keeper)
{
    struct pollfd fd = {.fd = keeper->fd};
    return poll(&fd, 1, 0) > 0;
}

bool
keeper_has_master(const struct keeper *keeper)
{
    return keeper && supervise_has_member(keeper->config);
}

static enum st_code
say(struct keeper *keeper, char word, const void *bytes, size_t len, struct st_err *err)
{
    struct iovec parts[2] = {{&word, 1}, {(void *)bytes, len}};
    const struct msghdr packet = {.msg_iov = parts, .msg_iovlen = 2};
    if (sendmsg(keeper->fd, &packet, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return st_fail(err, ST_UNAVAILABLE, "the keeper of the master: %s",
                       strerror(errno));
    return ST_OK;
}

void
keeper_look(struct keeper *keeper)
{
    /* A keeper that cannot be told is gone, and is seen to be. */
    if (keeper && say(keeper, SUPERVISE_LOOK, NULL, 0, NULL))
        return;
}

enum st_code
keeper_ask(struct keeper *keeper, const void *request, size_t len, struct st_err *err)
{
    if (len > KEEPER_REQUEST_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "a request of %zu bytes", len);
    return say(keeper, SUPERVISE_JOIN, request, len, err);
}

int
keeper_fd(const struct keeper *keeper)
{
    return keeper->fd;
}

bool
keeper_answer(struct keeper *keeper, struct st_err *out)
{
    struct supervise_answer answer;
    ssize_t n;
    do
        n = recv(keeper->fd, &answer, sizeof(answer), 0);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof(answer))
        return false;
    *out = (struct st_err){0};
    answer.text[sizeof(answer.text) - 1] = 0;
    if (answer.code)
        (void)st_fail(out, answer.code, "%s", answer.text);
    return true;
}
