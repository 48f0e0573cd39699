#include "node/bootstrap.h"

#include "node/child.h"
#include "node/stop.h"
#include "proto/event.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

enum {
    ARGUMENTS_MAX = 128,
    STOP_MS = 1500
};

/* init writes masters.pem last: without it there is no cluster yet. */
bool
bootstrap_done(const struct bootstrap *bootstrap)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/masters.pem", bootstrap->data);
    return n < PATH_MAX && access(path, F_OK) == 0;
}

/* To its end, or to that of the daemon: *out_status is then -1. */
static enum st_code
run(const char *const argv[], int *out_status, struct st_err *err)
{
    struct child child;
    enum st_code code = child_start(argv, -1, -1, &child, err);
    if (code)
        return code;
    struct pollfd fds[2] = {{.fd = child.fd, .events = POLLIN},
                            {.fd = stop_fd(), .events = POLLIN}};
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        ;
    bool stopped = fds[1].revents != 0;
    if (stopped)
        child_end(&child, STOP_MS);
    int status = child_reap(&child);
    *out_status = stopped ? -1 : status;
    return ST_OK;
}

enum st_code
bootstrap_cluster(const struct bootstrap *bootstrap, struct st_err *err)
{
    const char *argv[ARGUMENTS_MAX] = {
        bootstrap->program, "init",          "--data",    bootstrap->data,
        "--name",           bootstrap->name, "--address", bootstrap->address};
    size_t count = 8;
    int status;
    if (bootstrap->admin_cert_count > (ARGUMENTS_MAX - 9) / 2)
        return st_fail(err, ST_INVALID_ARGUMENT, "too many --admin-cert");
    for (size_t i = 0; i < bootstrap->admin_cert_count; i++) {
        argv[count++] = "--admin-cert";
        argv[count++] = bootstrap->admin_certs[i];
    }
    enum st_code code = run(argv, &status, err);
    if (code)
        return code;
    if (status == -1)
        return st_fail(err, ST_CANCELLED, "told to stop");
    if (status != 0)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "smalltown-nms init ended with status %d: no cluster was made",
                       status);
    event("bootstrap", "cluster=%s data=%s", bootstrap->name, bootstrap->data);
    return ST_OK;
}
