/* libgrpc 1.51 closes a port for ever when accept4() fails once, as it does when the
 * descriptors are used up: any stranger with a thousand idle connections could end a
 * master (grpc/grpc#20418).  There is no setting against it, so accept4() itself is ours:
 * libgrpc finds this definition before the C library's. */
#include "proto/rpc_accept.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 8192, /* each costs up to 86 kB */
    RESERVE = 64, /* descriptors for files, peers and whatever else is not a stranger */
};

static _Atomic uint8_t guarded[65536 / 8];

/* Given up for a moment where there is no other descriptor. */
static pthread_mutex_t spare_lock = PTHREAD_MUTEX_INITIALIZER;
static int spare = -1;

static void
open_spare(void)
{
    if (spare < 0)
        spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void
rpc_accept_prepare(void)
{
    struct rlimit files;
    const rlim_t wanted = CONNECTIONS_MAX + RESERVE;
    if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < wanted) {
        files.rlim_cur = files.rlim_max < wanted ? files.rlim_max : wanted;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    pthread_mutex_lock(&spare_lock);
    open_spare();
    pthread_mutex_unlock(&spare_lock);
}

void
rpc_accept_guard(uint16_t port)
{
    atomic_fetch_or(&guarded[port / 8], (uint8_t)(1u << port % 8));
}

static bool
is_guarded(int listener)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    if (getsockname(listener, (struct sockaddr *)&address, &len))
        return false;
    uint16_t port = 0;
    if (address.ss_family == AF_INET)
        port = ntohs(((struct sockaddr_in *)&address)->sin_port);
    else if (address.ss_family == AF_INET6)
        port = ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return atomic_load(&guarded[port / 8]) >> port % 8 & 1;
}

static bool
too_many(int fd)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files))
        return false;
    rlim_t all = files.rlim_cur < CONNECTIONS_MAX + RESERVE ? files.rlim_cur
                                                            : CONNECTIONS_MAX + RESERVE;
    return (rlim_t)fd + RESERVE >= all;
}

static int
raw_accept(int listener, struct sockaddr *address, socklen_t *len, int flags)
{
    return (int)syscall(SYS_accept4, listener, address, len, flags);
}

/* Takes one connection off the queue by means of the spare descriptor and closes it. */
static bool
turn_away(int listener)
{
    pthread_mutex_lock(&spare_lock);
    if (spare >= 0)
        close(spare);
    spare = -1;
    int fd = raw_accept(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        close(fd);
    open_spare();
    pthread_mutex_unlock(&spare_lock);
    return fd >= 0;
}

/* What accept(2) says is the connection's trouble, not the listener's. */
static bool
is_of_connection(int problem)
{
    return problem == ECONNABORTED || problem == EPERM || problem == EPROTO ||
           problem == ENETDOWN || problem == ENETUNREACH || problem == EHOSTDOWN ||
           problem == EHOSTUNREACH || problem == ENOPROTOOPT || problem == ENONET;
}

/* libgrpc asks again at once on EINTR, and when the next one comes on EAGAIN. */
int
accept4(int listener, struct sockaddr *address, socklen_t *restrict len, int flags)
{
    int fd = raw_accept(listener, address, len, flags);
    int problem = fd < 0 ? errno : 0;
    if (problem == EAGAIN || problem == EINTR || !is_guarded(listener)) {
        errno = problem;
        return fd;
    }
    if (fd >= 0) {
        if (!too_many(fd))
            return fd;
        close(fd);
        problem = EINTR;
    } else if (is_of_connection(problem)) {
        problem = EINTR;
    } else if (problem == EMFILE || problem == ENFILE) {
        problem = turn_away(listener) ? EINTR : EAGAIN;
    } else if (problem == ENOBUFS || problem == ENOMEM) {
        problem = EAGAIN;
    }
    errno = problem;
    return -1;
}
