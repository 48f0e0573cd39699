#include "node/progress.h"

#include "node/notify.h"
#include "proto/event.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define MIB (1024.0 * 1024.0)
#define TERMINAL_S 0.5
#define FIRST_S 10
#define LINE_S 60

enum {
    LEFT_MAX = 32,
    COLUMNS = 80 /* with the zero: a line that wraps does not go away */
};

static double
now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Rounded up: nobody waits for "0 s left". */
static void
left_text(double seconds, char out[LEFT_MAX])
{
    const unsigned s = seconds < 1e9 ? (unsigned)seconds + 1 : 0;
    if (s == 0)
        snprintf(out, LEFT_MAX, "years left");
    else if (s >= 48 * 3600)
        snprintf(out, LEFT_MAX, "%u d %u h left", s / 86400, s / 3600 % 24);
    else if (s >= 3600)
        snprintf(out, LEFT_MAX, "%u h %u min left", s / 3600, s / 60 % 60);
    else if (s >= 90)
        snprintf(out, LEFT_MAX, "%u min left", (s + 59) / 60);
    else
        snprintf(out, LEFT_MAX, "%u s left", s);
}

void
progress_text(uint64_t done, uint64_t total, double seconds, char out[PROGRESS_TEXT_MAX])
{
    char left[LEFT_MAX];
    const unsigned percent = total ? (unsigned)((double)done * 100 / (double)total) : 100;
    const double rate = seconds > 0 ? (double)done / seconds : 0;
    if (rate <= 0) {
        snprintf(out, PROGRESS_TEXT_MAX, "%u%%", percent);
        return;
    }
    left_text(done < total ? (double)(total - done) / rate : 0, left);
    snprintf(out, PROGRESS_TEXT_MAX, "%u%% %.*f MiB/s, %s", percent,
             rate < 10 * MIB ? 1 : 0, rate / MIB, left);
}

bool
progress_is_due(bool terminal, bool said, double since)
{
    return since >= (terminal ? TERMINAL_S : said ? LINE_S : FIRST_S);
}

void
progress_begin(struct progress *progress, const char *volume)
{
    *progress =
        (struct progress){.volume = volume,
                          .terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO),
                          .began = now()};
    progress->told = progress->began;
}

void
progress_at(struct progress *progress, uint64_t done, uint64_t total)
{
    const double at = now();
    char text[PROGRESS_TEXT_MAX], line[COLUMNS];
    if (!progress_is_due(progress->terminal, progress->said, at - progress->told))
        return;
    progress_text(done, total, at - progress->began, text);
    if (progress->terminal) {
        (void)!snprintf(line, COLUMNS, "wipe volume=%s %s", progress->volume, text);
        fprintf(stderr, "\r\033[K%s", line);
    } else
        event("wipe", "volume=%s progress=\"%s\"", progress->volume, text);
    notify_status("wipe: %s of %s", text, progress->volume);
    progress->said = true;
    progress->told = at;
}

void
progress_end(struct progress *progress)
{
    if (progress->terminal && progress->said)
        fputs("\r\033[K", stderr);
}
