/* progress.h - how far a wipe is that takes hours, for whoever waits for it.
 *
 * For who sits at a terminal one line in its place, otherwise an event a minute:
 *
 *     wipe volume=/dev/vda3 progress="37% 212 MiB/s, 1 h 12 min left"
 *
 * Whoever has been told nothing yet is told something after ten seconds.
 */
#ifndef NODE_PROGRESS_H
#define NODE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PROGRESS_TEXT_MAX = 64
};

struct progress {
    const char *volume; /* lent */
    bool terminal;      /* both ends; a console that nobody types at is a log */
    bool said;          /* anything, so far */
    double began, told; /* seconds of a clock that only grows */
};

void progress_begin(struct progress *progress, const char *volume);
/* Often: it says something when it is time to.  Of bytes. */
void progress_at(struct progress *progress, uint64_t done, uint64_t total);
/* Ends the line of a terminal. */
void progress_end(struct progress *progress);

/* Pure.  `done` of `total` bytes after so many seconds. */
void progress_text(uint64_t done, uint64_t total, double seconds,
                   char out[PROGRESS_TEXT_MAX]);
/* Whether it is time to tell; `since` seconds after the last time. */
bool progress_is_due(bool terminal, bool said, double since);

#endif
