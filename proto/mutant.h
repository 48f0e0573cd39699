/* mutant.h - every check that guards a disk can be taken out, to see its test go red.
 *
 * REFUSES(line, condition) is the condition, unless the build was made with
 * -DST_MUTANT=line: then this one check is gone.  The line is a row of
 * docs/refusals.md read as hex, with a letter for its part: N03, second check: 0x03b
 * (and two characters where a to f are taken).
 * A line names one check only; a shipped build has ST_MUTANT 0.
 */
#ifndef PROTO_MUTANT_H
#define PROTO_MUTANT_H

#ifndef ST_MUTANT
#define ST_MUTANT 0
#endif

#define REFUSES(line, condition) ((line) != ST_MUTANT && (condition))

#endif
