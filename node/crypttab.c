#include <wolfssl/options.h>

#include "node/crypttab.h"

#include "proto/event.h"
#include "proto/mutant.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <wolfssl/wolfcrypt/hmac.h>

#define LABEL "smalltown crypttab v1 "
#define BETWEEN "/cryptsetup/"

enum {
    FIRST_FD = 3, /* SD_LISTEN_FDS_START */
    STACK_LEN = 64 * 1024,
    KEY_BYTES = CRYPTTAB_KEY_LEN / 2
};

bool
crypttab_name_good(const char *name, size_t len)
{
    if (len == 0 || len > CRYPTTAB_NAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (name[i] <= ' ' || name[i] > '~' || name[i] == '/' || name[i] == '"')
            return false;
    return true;
}

static enum st_code
key_of(const struct secret *disk_key, const char *name, struct secret *out,
       struct st_err *err)
{
    SECRET raw = {.len = KEY_BYTES};
    char info[sizeof(LABEL) + CRYPTTAB_NAME_MAX];
    const int len = snprintf(info, sizeof(info), LABEL "%s", name);
    if (wc_HKDF(WC_SHA256, disk_key->bytes, (word32)disk_key->len, NULL, 0,
                (const byte *)info, (word32)len, raw.bytes, (word32)raw.len))
        return st_fail(err, ST_INTERNAL, "HKDF failed");
    for (size_t i = 0; i < raw.len; i++)
        snprintf((char *)out->bytes + 2 * i, 3, "%02x", raw.bytes[i]);
    out->len = CRYPTTAB_KEY_LEN;
    return ST_OK;
}

/* Ours alone, and one of them: what else systemd might pass is no socket of this unit. */
int
crypttab_take_socket(void)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    int listens = 0;
    socklen_t len = sizeof(listens);
    const bool passed = pid && count && atol(pid) == getpid() && !strcmp(count, "1") &&
                        !getsockopt(FIRST_FD, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (!passed || !listens || fcntl(FIRST_FD, F_SETFD, FD_CLOEXEC) < 0)
        return -1;
    return FIRST_FD;
}

static bool
is_one_of_us(int fd, pid_t *out_pid)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return false;
    *out_pid = peer.pid;
    return peer.uid == geteuid();
}

/* Of which volume the other end says that it is: "" where it does not. */
static void
volume_of(const struct sockaddr_un *peer, socklen_t peer_len,
          char out[CRYPTTAB_NAME_MAX + 1])
{
    const size_t begin = offsetof(struct sockaddr_un, sun_path);
    const size_t len = peer_len > begin ? peer_len - begin : 0;
    const char *slash = len && !*peer->sun_path
                            ? memmem(peer->sun_path, len, BETWEEN, strlen(BETWEEN))
                            : NULL;
    *out = '\0';
    if (!slash)
        return;
    const char *name = slash + strlen(BETWEEN);
    const size_t name_len = len - (size_t)(name - peer->sun_path);
    if (REFUSES(0x35b, !crypttab_name_good(name, name_len)))
        return;
    snprintf(out, CRYPTTAB_NAME_MAX + 1, "%.*s", (int)name_len, name);
}

static enum st_code
answer(const struct crypttab *crypttab, int fd, const char *volume, struct st_err *err)
{
    SECRET key = {0};
    pid_t pid = 0;
    enum st_code code;
    if (REFUSES(0x55a, !is_one_of_us(fd, &pid)))
        return st_fail(err, ST_PERMISSION_DENIED, "process %d is not root's", pid);
    if (!*volume)
        return st_fail(err, ST_INVALID_ARGUMENT, "process %d names no volume", pid);
    if (REFUSES(0x480b, !crypttab->disk_key.len))
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "this boot's disk key was given to a smalltown-node that has "
                       "ended: reboot");
    if ((code = key_of(&crypttab->disk_key, volume, &key, err)))
        return code;
    if (send(fd, key.bytes, key.len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)key.len)
        return st_fail(err, ST_UNAVAILABLE, "process %d went away", pid);
    return ST_OK;
}

static void
serve_one(const struct crypttab *crypttab)
{
    struct sockaddr_un peer;
    socklen_t len = sizeof(peer);
    char volume[CRYPTTAB_NAME_MAX + 1];
    struct st_err err = {0};
    const int fd = accept4(crypttab->fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
    if (fd < 0) {
        /* Without descriptors it would be tried again and again. */
        if (errno != EAGAIN && errno != EINTR)
            nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
        return;
    }
    volume_of(&peer, len, volume);
    if (answer(crypttab, fd, volume, &err))
        event("crypttab", "volume=%s decision=%s reason=\"%s\"", *volume ? volume : "-",
              st_code_name(err.code), err.text);
    else
        event("crypttab", "volume=%s decision=ok", volume);
    close(fd);
}

static void *
serve(void *argument)
{
    const struct crypttab *crypttab = argument;
    struct pollfd fd = {.fd = crypttab->fd, .events = POLLIN};
    for (;;)
        if (poll(&fd, 1, -1) > 0)
            serve_one(crypttab);
    return NULL;
}

enum st_code
crypttab_serve(struct crypttab *crypttab, struct st_err *err)
{
    pthread_t thread;
    pthread_attr_t attributes;
    if (crypttab->fd < 0)
        return ST_OK;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_LEN);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    const int failed = pthread_create(&thread, &attributes, serve, crypttab);
    pthread_attr_destroy(&attributes);
    return failed
               ? st_fail(err, ST_INTERNAL, "no thread for crypttab: %s", strerror(failed))
               : ST_OK;
}
