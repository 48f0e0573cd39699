#include "node/child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    CANNOT_BEGIN = 127
};

static _Noreturn void
become(const char *const argv[], int in, int complaints, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent || (in >= 0 && dup2(in, STDIN_FILENO) < 0) ||
        (complaints >= 0 && dup2(complaints, STDERR_FILENO) < 0))
        _exit(CANNOT_BEGIN);
    execv(argv[0], (char *const *)argv);
    _exit(CANNOT_BEGIN);
}

enum st_code
child_start(const char *const argv[], int in, int complaints, struct child *out,
            struct st_err *err)
{
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        return st_fail(err, ST_INTERNAL, "cannot start %s: %s", argv[0], strerror(errno));
    if (pid == 0)
        become(argv, in, complaints, parent);
    int fd = pidfd_open(pid, 0);
    if (fd >= 0) {
        *out = (struct child){pid, fd};
        return ST_OK;
    }
    int failed = errno;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return st_fail(err, ST_INTERNAL, "cannot watch %s: %s", argv[0], strerror(failed));
}

bool
child_wait(const struct child *child, int ms)
{
    struct pollfd fd = {.fd = child->fd, .events = POLLIN};
    while (poll(&fd, 1, ms) < 0 && errno == EINTR)
        ;
    return (fd.revents & POLLIN) != 0;
}

void
child_end(const struct child *child, int ms)
{
    kill(child->pid, SIGTERM);
    if (!child_wait(child, ms))
        kill(child->pid, SIGKILL);
}

int
child_reap(struct child *child)
{
    int status;
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        ;
    close(child->fd);
    *child = (struct child){0, -1};
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
