#include "node/stop.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    GRACE_MS = 2000,
    HOLD_MS = STOP_WITHIN_MS - GRACE_MS,
    TICK_MS = 20,
    STACK_LEN = 64 * 1024
};

/* Signals are the process's: so is this.  Written once, before the thread begins. */
static int asked_fd = -1;
static int other_fd = -1;
static atomic_bool leaving, held;

void
stop_signals(sigset_t *out)
{
    sigemptyset(out);
    sigaddset(out, SIGTERM);
    sigaddset(out, SIGINT);
}

static void
sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void *
watch(void *argument)
{
    (void)argument;
    sigset_t signals;
    int signal;
    stop_signals(&signals);
    while (sigwait(&signals, &signal))
        ;
    eventfd_write(asked_fd, 1);
    sleep_ms(GRACE_MS);
    for (long waited = 0; atomic_load(&held) && waited < HOLD_MS; waited += TICK_MS)
        sleep_ms(TICK_MS);
    if (!atomic_load(&leaving))
        _exit(0);
    return NULL;
}

enum st_code
stop_init(struct st_err *err)
{
    sigset_t signals;
    pthread_t thread;
    pthread_attr_t attributes;
    stop_signals(&signals);
    asked_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (asked_fd < 0)
        return st_fail(err, ST_INTERNAL, "eventfd: %s", strerror(errno));
    int failed = pthread_sigmask(SIG_BLOCK, &signals, NULL);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_LEN);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (!failed)
        failed = pthread_create(&thread, &attributes, watch, NULL);
    pthread_attr_destroy(&attributes);
    return failed
               ? st_fail(err, ST_INTERNAL, "no thread for signals: %s", strerror(failed))
               : ST_OK;
}

void
stop_also(int fd)
{
    other_fd = fd;
}

void
stop_leaving(void)
{
    atomic_store(&leaving, true);
}

void
stop_hold(bool hold)
{
    atomic_store(&held, hold);
}

bool
stop_wait(uint32_t ms)
{
    struct pollfd fds[2] = {{.fd = asked_fd, .events = POLLIN}, {.fd = other_fd}};
    int timeout = ms == UINT32_MAX ? -1 : ms > INT_MAX ? INT_MAX : (int)ms;
    while (poll(fds, 2, timeout) < 0 && errno == EINTR)
        ;
    return fds[0].revents || fds[1].revents;
}

bool
stop_asked(void)
{
    return stop_wait(0);
}

int
stop_fd(void)
{
    return asked_fd;
}
