#include "raft/wake.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void
on_readable(uv_poll_t *poll, int status, int events)
{
    const struct wake *wake = (const struct wake *)poll;
    uint64_t count;
    (void)status;
    (void)events;
    (void)!read(wake->fd, &count, sizeof(count));
    wake->woken(wake->arg);
}

int
wake_init(struct wake *wake, uv_loop_t *loop, void (*woken)(void *arg), void *arg)
{
    wake->woken = woken;
    wake->arg = arg;
    wake->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake->fd < 0)
        return uv_translate_sys_error(errno);
    int status = uv_poll_init(loop, &wake->poll, wake->fd);
    return status ? status : uv_poll_start(&wake->poll, UV_READABLE, on_readable);
}

/* It fails only where 2^64 - 2 wake-ups were not taken. */
void
wake_send(const struct wake *wake)
{
    const uint64_t one = 1;
    (void)!write(wake->fd, &one, sizeof(one));
}

void
wake_free(struct wake *wake)
{
    if (wake->fd >= 0)
        close(wake->fd);
    wake->fd = -1;
}
