/* terminal.h - the recovery key between this machine and the person before it.
 *
 * It goes to a terminal and nowhere else: what is written to a file, a pipe or a log
 * would be kept there.  (A serial console that somebody records is a terminal, too.)
 */
#ifndef NODE_TERMINAL_H
#define NODE_TERMINAL_H

#include "proto/secret.h"

/* ST_FAILED_PRECONDITION where that is no terminal. */
enum st_code terminal_check(const char *path, struct st_err *err);

/* Shows the key on this terminal until Enter is pressed there, then clears the screen and
 * what can be scrolled back to.  ST_CANCELLED where the daemon is to stop before. */
enum st_code terminal_show_key(const char *path, const char *volume,
                               const struct secret *key, struct st_err *err);

/* Asks for the key on standard input: on a terminal without an echo, and again where it
 * is mistyped, three times in all; else one line.  ST_INVALID_ARGUMENT; ST_CANCELLED for
 * ^C, ^D or no input. */
enum st_code terminal_ask_key(struct secret *out, struct st_err *err);

#endif
