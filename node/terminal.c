#include "node/terminal.h"

#include "node/stop.h"
#include "proto/recovery.h"
#include "proto/scope.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define CLEAR "\033[H\033[2J\033[3J"

enum {
    TRIES = 3,
    CTRL_C = 3,
    CTRL_D = 4
};

static void
fd_closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static enum st_code
open_terminal(const char *path, int *out, struct st_err *err)
{
    AUTO(fd_closep) int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return st_fail(err, ST_FAILED_PRECONDITION, "--recovery-key %.200s: %s", path,
                       strerror(errno));
    if (!isatty(fd))
        return st_fail(
            err, ST_FAILED_PRECONDITION,
            "--recovery-key %.200s is no terminal: the key would be kept there", path);
    *out = fd;
    fd = -1;
    return ST_OK;
}

enum st_code
terminal_check(const char *path, struct st_err *err)
{
    AUTO(fd_closep) int fd = -1;
    return open_terminal(path, &fd, err);
}

static enum st_code
put(int fd, const char *text, struct st_err *err)
{
    for (size_t left = strlen(text); left > 0;) {
        ssize_t n = write(fd, text, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return st_fail(err, ST_INTERNAL, "cannot write to the terminal: %s",
                           strerror(errno));
        text += n;
        left -= (size_t)n;
    }
    return ST_OK;
}

/* A line, of which nothing is wanted but that it was sent. */
static enum st_code
wait_for_enter(int fd, struct st_err *err)
{
    struct pollfd fds[2] = {{.fd = fd, .events = POLLIN},
                            {.fd = stop_fd(), .events = POLLIN}};
    char line[256];
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        ;
    if (fds[1].revents)
        return st_fail(err, ST_CANCELLED, "told to stop");
    if (read(fd, line, sizeof(line)) <= 0)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "the terminal that shows the recovery key is gone");
    return ST_OK;
}

enum st_code
terminal_show_key(const char *path, const char *volume, const struct secret *key,
                  struct st_err *err)
{
    AUTO(fd_closep) int fd = -1;
    char about[512];
    enum st_code code, cleared;
    if ((code = open_terminal(path, &fd, err)))
        return code;
    tcflush(fd, TCIFLUSH); /* an Enter of before is not for this */
    snprintf(about, sizeof(about),
             "\r\nRecovery key of the data volume %.200s\r\n\r\n    ", volume);
    if ((code = put(fd, about, err)) || (code = put(fd, (const char *)key->bytes, err)) ||
        (code = put(fd,
                    "\r\n\r\nIt opens this disk when its TPM no longer does.  Write it "
                    "down now: "
                    "it is kept\r\nnowhere, and not shown again.  One that was shown "
                    "before is void.\r\n\r\nPress Enter when you have it. ",
                    err)))
        return code;
    code = wait_for_enter(fd, err);
    cleared = put(fd, CLEAR, code ? NULL : err);
    return code ? code : cleared;
}

struct no_echo {
    bool on;
    struct termios before;
};

static void
echo_again(struct no_echo *no_echo)
{
    if (no_echo->on)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &no_echo->before);
}

/* ^C ends the line instead of the process, which would leave the terminal without an
 * echo. */
static void
stop_echo(struct no_echo *out)
{
    struct termios quiet;
    if (tcgetattr(STDIN_FILENO, &out->before))
        return;
    quiet = out->before;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL | ISIG);
    quiet.c_lflag |= ICANON;
    quiet.c_cc[VEOL] = CTRL_C;
    out->on = !tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
}

/* The line without its end; false at the end of input, or where it was given up. */
static bool
read_line(struct secret *out)
{
    for (out->len = 0; out->len < SECRET_MAX - 1;) {
        ssize_t n = read(STDIN_FILENO, out->bytes + out->len, 1);
        if (n < 0 && errno == EINTR)
            continue;
        uint8_t c = n > 0 ? out->bytes[out->len] : CTRL_D;
        if (c == CTRL_C || (n <= 0 && out->len == 0))
            return false;
        if (n <= 0 || c == '\n' || c == '\r')
            break;
        out->len++;
    }
    out->bytes[out->len] = 0;
    return true;
}

static enum st_code
ask_once(bool terminal, struct secret *out, struct st_err *err)
{
    SECRET line = {0};
    AUTO(echo_again) struct no_echo no_echo = {0};
    if (terminal) { /* in this order: what is typed at the prompt is not echoed, nor lost
                     */
        stop_echo(&no_echo);
        fputs("Recovery key (it is not shown): ", stderr);
    }
    const bool typed = read_line(&line);
    if (terminal)
        fputs("\n", stderr);
    if (!typed)
        return st_fail(err, ST_CANCELLED, "no recovery key was typed");
    return recovery_read((const char *)line.bytes, out, err);
}

enum st_code
terminal_ask_key(struct secret *out, struct st_err *err)
{
    const bool terminal = isatty(STDIN_FILENO);
    for (int left = terminal ? TRIES - 1 : 0;; left--) {
        enum st_code code = ask_once(terminal, out, err);
        if (code != ST_INVALID_ARGUMENT || left == 0)
            return code;
        fprintf(stderr, "%s; once more\n", err->text);
    }
}
