#include "node/supervise.h"

#include "node/child.h"
#include "node/control.h"
#include "node/retry.h"
#include "node/stop.h"
#include "proto/clock.h"
#include "proto/event.h"
#include "proto/nms_exit.h"
#include "proto/scope.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    STOP_MS = 4000,                    /* that a master has to hand over and end */
    DAEMON_MS = STOP_WITHIN_MS + 1000, /* that the daemon has to follow */
    HEALTHY_MS = 60000 /* a master that ran so long fails for the first time again */
};

struct supervision {
    const struct keeper_config *config;
    int daemon, signals;
    bool looking;
    bool running;
    struct child master;
    bool succeeded; /* the folder is of another member than the one that runs */
    uint64_t began_ms, next_ms; /* of the last start, and not before which the next */
    struct retry retry;
};

bool
supervise_has_member(const struct keeper_config *config)
{
    char path[PATH_MAX];
    return snprintf(path, sizeof(path), "%s/member.pb", config->data) < PATH_MAX &&
           access(path, F_OK) == 0;
}

static void
start_later(struct supervision *supervision, const struct st_err *err)
{
    struct retry *retry = &supervision->retry;
    retry_say(retry, "master", err);
    supervision->next_ms = clock_ms() + retry_delay(retry, ++retry->attempts, 0);
}

static void
start(struct supervision *supervision)
{
    struct st_err err = {0};
    supervision->began_ms = clock_ms();
    supervision->succeeded = false;
    if (supervise_run(supervision->config, &supervision->master, &err))
        start_later(supervision, &err);
    else
        supervision->running = true;
}

/* Nothing changes until somebody puts the folder right. */
static void
rest(struct supervision *supervision)
{
    struct st_err err = {0};
    supervision->looking = false;
    (void)st_fail(
        &err, ST_FAILED_PRECONDITION,
        "smalltown-nms ended because of what is in %s and is not started again: "
        "see what it said, put that right, then start smalltown-node again",
        supervision->config->data);
    retry_say(&supervision->retry, "master", &err);
}

static void
look(struct supervision *supervision)
{
    supervision->looking = true;
    supervision->next_ms = 0;
    supervision->retry.attempts = 0;
}

static void
reap(struct supervision *supervision)
{
    struct st_err err = {0};
    const int status = child_reap(&supervision->master);
    supervision->running = false;
    if (clock_ms() - supervision->began_ms > HEALTHY_MS)
        supervision->retry.attempts = 0;
    if (status == NMS_EXIT_WRONG_STATE) {
        if (supervision->succeeded)
            look(supervision);
        else
            rest(supervision);
        return;
    }
    (void)st_fail(&err, ST_UNAVAILABLE,
                  "smalltown-nms ended with status %d and is started again", status);
    start_later(supervision, &err);
}

/* Where the records will lie.  May take as long as a disk takes to be written: the call
 * that waits for it ends meanwhile, and the masters ask again. */
static enum st_code
prepare(const struct keeper_config *config, struct st_err *err)
{
    AUTO(esp_closep) struct esp *esp = NULL;
    if (!config->node || !config->node->control)
        return ST_OK;
    enum st_code code = esp_open_beside(config->esp, &esp, err);
    if (code)
        return code;
    struct node node = *config->node;
    node.esp = esp;
    return control_make(&node, err);
}

static void
join(struct supervision *supervision, const uint8_t *request, size_t len,
     struct supervise_answer *out)
{
    struct st_err err = {0};
    if (prepare(supervision->config, &err)) {
        memset(out, 0, sizeof(*out));
        out->code = err.code;
        snprintf(out->text, sizeof(out->text), "%s", err.text);
        return;
    }
    supervise_join(supervision->config, request, len, supervision->daemon,
                   supervision->signals, out);
}

/* One packet of the daemon; false at its end. */
static bool
serve(struct supervision *supervision)
{
    static uint8_t packet[1 + KEEPER_REQUEST_MAX];
    struct supervise_answer answer;
    const ssize_t n = recv(supervision->daemon, packet, sizeof(packet), 0);
    if (n <= 0)
        return n < 0 && errno == EINTR;
    if (packet[0] == SUPERVISE_LOOK) {
        if (!supervision->looking)
            look(supervision);
    } else {
        join(supervision, packet + 1, (size_t)n - 1, &answer);
        explicit_bzero(packet, (size_t)n);
        if (send(supervision->daemon, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
            return false;
        supervision->succeeded |= !answer.code;
        if (!answer.code && !supervision->running)
            look(supervision);
    }
    return true;
}

/* Until something happens that there is something to do about. */
static int
patience(const struct supervision *supervision)
{
    const uint64_t now = clock_ms();
    if (supervision->running || !supervision->looking ||
        !supervise_has_member(supervision->config))
        return -1;
    return supervision->next_ms > now ? (int)(supervision->next_ms - now) : 0;
}

/* It was forked with them blocked. */
static int
signals_take(void)
{
    sigset_t ends;
    stop_signals(&ends);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* A signal goes to the daemon as well, mostly: it is to leave first, because a keeper
 * that is gone before is a fault to it. */
static void
daemon_wait(int daemon)
{
    struct pollfd fd = {.fd = daemon};
    while (poll(&fd, 1, DAEMON_MS) < 0 && errno == EINTR)
        ;
}

void
supervise(const struct keeper_config *config, int daemon)
{
    struct supervision supervision = {
        .config = config,
        .daemon = daemon,
        .signals = signals_take(),
        .retry = {.first_ms = config->retry_first_ms, .max_ms = config->retry_max_ms},
    };
    stop_also(daemon); /* a wipe ends with it */
    for (;;) {
        if (patience(&supervision) == 0)
            start(&supervision);
        struct pollfd fds[3] = {
            {.fd = daemon, .events = POLLIN},
            {.fd = supervision.signals, .events = POLLIN},
            {.fd = supervision.running ? supervision.master.fd : -1, .events = POLLIN}};
        if (poll(fds, 3, patience(&supervision)) < 0)
            continue;
        if (fds[1].revents || (fds[0].revents && !serve(&supervision)))
            break;
        if (fds[2].revents)
            reap(&supervision);
    }
    if (supervision.running) {
        child_end(&supervision.master, STOP_MS);
        (void)child_reap(&supervision.master);
    }
    daemon_wait(daemon);
}
