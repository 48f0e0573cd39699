#include "proto/event.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    LINE_MAX_LEN = 1000
};

void
event(const char *word, const char *format, ...)
{
    char line[LINE_MAX_LEN + 1];
    size_t used = (size_t)snprintf(line, LINE_MAX_LEN, "%s ", word);
    if (used >= LINE_MAX_LEN)
        used = LINE_MAX_LEN - 1;
    va_list args;
    va_start(args, format);
    vsnprintf(line + used, LINE_MAX_LEN - used, format, args);
    va_end(args);
    size_t len = strlen(line);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[len++] = '\n';
    /* Nothing can be told to anybody where stderr is gone. */
    ssize_t written = write(STDERR_FILENO, line, len);
    (void)written;
}
