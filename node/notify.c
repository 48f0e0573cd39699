#include "node/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    MESSAGE_LEN = 600
};

/* Nobody is told where that fails: the line on stderr says the same. */
static void
tell(const char *message, size_t len)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const size_t path_len = path ? strlen(path) : 0;
    if (path_len < 2 || path_len >= sizeof(to.sun_path))
        return;
    memcpy(to.sun_path, path, path_len);
    if (*path == '@')
        to.sun_path[0] = '\0';
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, message, len, MSG_NOSIGNAL, (const struct sockaddr *)&to,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_len));
    close(fd);
}

static void
tell_status(const char *before, const char *format, va_list args)
{
    char message[MESSAGE_LEN];
    const size_t begin = (size_t)snprintf(message, sizeof(message), "%s", before);
    vsnprintf(message + begin, sizeof(message) - begin, format, args);
    const size_t len = strlen(message);
    for (size_t i = begin; i < len; i++)
        if ((unsigned char)message[i] < 0x20 || message[i] == 0x7f)
            message[i] = '?';
    tell(message, len);
}

void
notify_status(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tell_status("STATUS=", format, args);
    va_end(args);
}

void
notify_ready(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tell_status("READY=1\nSTATUS=", format, args);
    va_end(args);
}
