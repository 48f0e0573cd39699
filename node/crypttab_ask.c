#include "node/crypttab.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    PATIENCE_MS = 1000
};

/* The name of our end, as systemd-cryptsetup would make it. */
static enum st_code
bind_as(int fd, const char *name, struct st_err *err)
{
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    uint64_t random = 0;
    (void)!getrandom(&random, sizeof(random), 0);
    const int len = snprintf(own.sun_path + 1, sizeof(own.sun_path) - 1,
                             "%016llx/cryptsetup/%s", (unsigned long long)random, name);
    const socklen_t own_len =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
    if (bind(fd, (const struct sockaddr *)&own, own_len) < 0)
        return st_fail(err, ST_INTERNAL, "bind: %s", strerror(errno));
    return ST_OK;
}

static enum st_code
connect_to(int fd, const char *path, struct st_err *err)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(to.sun_path))
        return st_fail(err, ST_INVALID_ARGUMENT, "%.40s...: too long", path);
    strcpy(to.sun_path, path);
    if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
        return st_fail(err, ST_UNAVAILABLE,
                       "%s: %s (root alone may ask, and smalltown-crypttab.socket has to "
                       "be there)",
                       path, strerror(errno));
    return ST_OK;
}

static enum st_code
receive(int fd, const char *name, struct secret *out, struct st_err *err)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    if (poll(&readable, 1, PATIENCE_MS) == 0)
        fputs("waiting for smalltown-node to open the disk\n", stderr);
    const ssize_t len = recv(fd, out->bytes, CRYPTTAB_KEY_LEN, MSG_WAITALL);
    if (len != CRYPTTAB_KEY_LEN)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "smalltown-node gives no key for %s: `journalctl -u "
                       "smalltown-node` says why",
                       name);
    out->len = CRYPTTAB_KEY_LEN;
    return ST_OK;
}

enum st_code
crypttab_ask(const char *path, const char *name, struct secret *out, struct st_err *err)
{
    enum st_code code;
    if (!crypttab_name_good(name, strlen(name)))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "a volume's name has 1 to %d printable characters, no space, no "
                       "slash, no quote",
                       CRYPTTAB_NAME_MAX);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return st_fail(err, ST_INTERNAL, "socket: %s", strerror(errno));
    if (!(code = bind_as(fd, name, err)) && !(code = connect_to(fd, path, err)))
        code = receive(fd, name, out, err);
    close(fd);
    return code;
}
