/* failpoint.h - places where a test lets this process die or a write fail.
 *
 * ST_FAILPOINT=name:n:kill in the environment ends the process by SIGKILL at the n-th
 * passage of `name`; name:n:fail makes FAILPOINT_FAILS() true there, from then on.
 * Compiled in with -DST_FAILPOINTS=ON only; otherwise nothing is left of it.
 */
#ifndef STORE_FAILPOINT_H
#define STORE_FAILPOINT_H

#include <stdbool.h>

#ifdef ST_FAILPOINTS
bool failpoint_pass(const char *name);
#define FAILPOINT(name) ((void)failpoint_pass(name))
#define FAILPOINT_FAILS(name) failpoint_pass(name)
#else
#define FAILPOINT(name) ((void)0)
#define FAILPOINT_FAILS(name) false
#endif

#endif
