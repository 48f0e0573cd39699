/* confirm.h - what cannot be undone is asked for on a terminal, and wants --yes
 * elsewhere.
 */
#ifndef TOOLS_CONFIRM_H
#define TOOLS_CONFIRM_H

#include <stdbool.h>

/* A person reads stderr and types. */
bool confirm_can_ask(void);
/* After the question, which ends with "[yes/no] ": whether "yes" was typed. */
bool confirm_is_yes(void);

#endif
