/* folder.h - a folder of a test's own, for as long as one case. */
#ifndef TESTS_FOLDER_H
#define TESTS_FOLDER_H

#include <stdio.h>
#include <stdlib.h>

enum {
    FOLDER_MAX = 32
};

/* Both: 0, or what cmocka takes for a failure. */
static inline int
folder_make(char out[FOLDER_MAX], const char *name)
{
    snprintf(out, FOLDER_MAX, "/tmp/st-%.14s-XXXXXX", name);
    return mkdtemp(out) ? 0 : 1;
}

static inline int
folder_remove(const char *path)
{
    char command[FOLDER_MAX + 32];
    snprintf(command, sizeof(command), "rm -rf %s", path);
    return system(command);
}

#endif
