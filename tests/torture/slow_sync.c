/* slow_sync.c - preloaded, it makes a disk slow: every flush takes the milliseconds that
 * stand in the file named by ST_SLOW_SYNC at that moment (none where there is no such
 * file).
 *
 * LMDB flushes by fdatasync and by writes to a descriptor with O_DSYNC; those writes
 * follow a fdatasync, so that slowing the first slows the commit.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    SYNC_MS_MAX = 60000
};

/* By system calls alone: this runs inside of another program's flush. */
static void
wait_as_told(void)
{
    const char *path = getenv("ST_SLOW_SYNC");
    char digits[8] = "";
    if (!path)
        return;
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    long len = syscall(SYS_read, fd, digits, sizeof(digits) - 1);
    syscall(SYS_close, fd);
    long ms = len > 0 ? strtol(digits, NULL, 10) : 0;
    if (ms < 1 || ms > SYNC_MS_MAX)
        return;
    const struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

int
fdatasync(int fd)
{
    wait_as_told();
    return (int)syscall(SYS_fdatasync, fd);
}

int
fsync(int fd)
{
    wait_as_told();
    return (int)syscall(SYS_fsync, fd);
}
