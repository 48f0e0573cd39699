#include "tools/confirm.h"

#include <stdio.h>
#include <strings.h>
#include <unistd.h>

bool
confirm_can_ask(void)
{
    return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

bool
confirm_is_yes(void)
{
    char answer[8] = "";
    return fgets(answer, sizeof(answer), stdin) && strcasecmp(answer, "yes\n") == 0;
}
