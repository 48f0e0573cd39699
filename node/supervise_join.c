#include "node/supervise.h"

#include "node/child.h"
#include "proto/clock.h"
#include "proto/nms_exit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    JOIN_MS = 15000,
    COMPLAINTS_MAX = 4096 /* of what it says, the end */
};

static void
answer(struct supervise_answer *out, enum st_code code, const char *text)
{
    memset(out, 0, sizeof(*out));
    out->code = code;
    snprintf(out->text, sizeof(out->text), "%.*s", (int)sizeof(out->text) - 1, text);
}

/* Writes the request and waits; true where the child ended by itself. */
static bool
feed(const struct child *child, int in, const uint8_t *request, size_t len, int64_t end,
     int daemon, int signals)
{
    for (;;) {
        const int64_t left = end - clock_ms();
        struct pollfd fds[4] = {{.fd = child->fd, .events = POLLIN},
                                {.fd = in, .events = POLLOUT},
                                {.fd = daemon}, /* hangs up */
                                {.fd = signals, .events = POLLIN}};
        if (left <= 0 || (poll(fds, 4, (int)left) < 0 && errno != EINTR) ||
            fds[2].revents || fds[3].revents)
            break;
        if (fds[0].revents) {
            close(in);
            return true;
        }
        if (!fds[1].revents)
            continue;
        const ssize_t n = write(in, request, len);
        request += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
        if (len == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            close(in); /* the end of its input */
            in = -1;
        }
    }
    close(in);
    return false;
}

/* The last line, without the name of the program before it. */
static void
complaint_read(int complaints, char out[COMPLAINTS_MAX])
{
    static const char prefix[] = "smalltown-nms: ";
    char text[COMPLAINTS_MAX];
    const off_t len = lseek(complaints, 0, SEEK_END);
    const off_t from = len > COMPLAINTS_MAX - 1 ? len - (COMPLAINTS_MAX - 1) : 0;
    ssize_t n = pread(complaints, text, sizeof(text) - 1, from);
    while (n > 0 && text[n - 1] == '\n')
        n--;
    text[n > 0 ? n : 0] = 0;
    const char *line = strrchr(text, '\n');
    line = line ? line + 1 : text;
    if (strncmp(line, prefix, strlen(prefix)) == 0)
        line += strlen(prefix);
    snprintf(out, COMPLAINTS_MAX, "%s", line);
}

static void
judge(int status, int complaints, struct supervise_answer *out)
{
    char text[COMPLAINTS_MAX];
    complaint_read(complaints, text);
    if (status == 0)
        answer(out, ST_OK, "");
    else if (status == NMS_EXIT_MALFORMED)
        answer(out, ST_INVALID_ARGUMENT, text);
    else if (status == NMS_EXIT_WRONG_STATE)
        answer(out, ST_FAILED_PRECONDITION, text);
    else
        answer(out, ST_INTERNAL, *text ? text : "smalltown-nms join failed");
}

void
supervise_join(const struct keeper_config *config, const void *request, size_t len,
               int daemon, int signals, struct supervise_answer *out)
{
    const char *const argv[] = {config->program,  "join",      "--data",
                                config->data,     "--address", config->address,
                                "--certificates", "-",         NULL};
    int in[2];
    struct child child;
    struct st_err err = {0};
    const int complaints = memfd_create("join", MFD_CLOEXEC);
    if (complaints < 0 || pipe2(in, O_CLOEXEC)) {
        answer(out, ST_UNAVAILABLE, "no descriptors");
        close(complaints);
        return;
    }
    fcntl(in[1], F_SETFL, O_NONBLOCK);
    const enum st_code code = child_start(argv, in[0], complaints, &child, &err);
    close(in[0]);
    if (code) {
        answer(out, code, err.text);
        close(in[1]);
    } else {
        const int64_t end = clock_ms() + (config->join_ms ? config->join_ms : JOIN_MS);
        const bool by_itself = feed(&child, in[1], request, len, end, daemon, signals);
        if (!by_itself)
            child_end(&child, 0);
        const int status = child_reap(&child);
        if (by_itself)
            judge(status, complaints, out);
        else
            answer(out, ST_UNAVAILABLE, "smalltown-nms join took too long");
    }
    close(complaints);
}
