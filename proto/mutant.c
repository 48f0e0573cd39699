#include "proto/mutant.h"

#include <stdlib.h>

int mutant_line;

static void __attribute__((constructor)) mutant_choose(void)
{
    const char *line = getenv("SMALLTOWN_MUTANT");
    if (line)
        mutant_line = (int)strtol(line, NULL, 16);
}
