/* child.h - another program, started and ended by this one.
 *
 * It ends with the thread that started it, whatever happens to that.  Before rpc_init():
 * it forks.
 */
#ifndef NODE_CHILD_H
#define NODE_CHILD_H

#include "proto/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct child {
    pid_t pid;
    int fd; /* readable once it has ended; for poll() */
};

/* argv[0] is a path.  `in` and `complaints` become its standard input and error; -1: as
 * ours.  Owns: child_reap(). */
enum st_code child_start(const char *const argv[], int in, int complaints,
                         struct child *out, struct st_err *err);
/* Until it ended, or ms passed (-1: never): whether it has. */
bool child_wait(const struct child *child, int ms);
/* SIGTERM, and after ms SIGKILL. */
void child_end(const struct child *child, int ms);
/* Waits for its end: the exit status, or 128 and the number of the signal. */
int child_reap(struct child *child);

#endif
