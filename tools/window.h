/* window.h - an update window as several verbs tell of it. */
#ifndef TOOLS_WINDOW_H
#define TOOLS_WINDOW_H

#include "tools/stctl.h"

enum {
    WINDOW_TEXT_MAX = 120,
};

/* "open until 2025-01-31T12:00:00Z (90m), every node, 3 let in"; `window` may be NULL:
 * "". */
void window_text(const Api__Window *window, char out[WINDOW_TEXT_MAX]);
/* null without a window. */
json_t *window_json(const Api__Window *window);

#endif
