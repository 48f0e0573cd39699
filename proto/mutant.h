/* mutant.h - every check that guards a disk can be taken out, to see its test go red.
 *
 * REFUSES(line, condition) is the condition, unless the build was made with
 * -DST_MUTANT=line: then this one check is made and not heeded.  The line is a row of
 * docs/refusals.md read as hex, with a letter for its part: N03, second check: 0x03b
 * (and two characters where a to f are taken).
 * A line names one check only; a shipped build has ST_MUTANT 0, a constant.
 *
 * A build with -DST_MUTANT_ANY is every mutant: SMALLTOWN_MUTANT in the environment says
 * at the start of a program which.  It is for tests/mutants, and nobody installs it.
 */
#ifndef PROTO_MUTANT_H
#define PROTO_MUTANT_H

#ifdef ST_MUTANT_ANY
extern int mutant_line; /* set before main() */
#define ST_MUTANT mutant_line
#endif
#ifndef ST_MUTANT
#define ST_MUTANT 0
#endif

#define REFUSES(line, condition) ((condition) && (line) != ST_MUTANT)

#endif
