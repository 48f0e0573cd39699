/* say.h - how a program that a person started tells him that it failed.
 *
 * One sentence on stderr, "program: sentence", which is one line where a program or a
 * log reads it; on a terminal it is broken between words.
 */
#ifndef PROTO_SAY_H
#define PROTO_SAY_H

#include <stddef.h>
#include <stdio.h>

/* Whatever stdout still holds comes out before it. */
void say_failed(const char *program, const char *sentence);

/* The lines after the first begin with two spaces; none is wider than `width` columns,
 * unless a word is.  0: one line. */
void say_wrapped(FILE *file, const char *text, size_t width);

#endif
