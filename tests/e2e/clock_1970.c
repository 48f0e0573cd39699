/* clock_1970.c - preloaded, it makes every program believe that it is 2 January 1970, or
 * the second since 1970 that ST_CLOCK_SAYS has (which may be before).
 *
 * Clocks that only measure distances go on as they are.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
    BACK_THEN = 86400
};

static time_t offset;

__attribute__((constructor)) static void
go_back(void)
{
    const char *says = getenv("ST_CLOCK_SAYS");
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    offset = (says ? atol(says) : BACK_THEN) - now.tv_sec;
}

int
clock_gettime(clockid_t clock, struct timespec *out)
{
    long status = syscall(SYS_clock_gettime, clock, out);
    if (!status && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        out->tv_sec += offset;
    return (int)status;
}

int
gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t
time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
