#include "store/failpoint.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef ST_FAILPOINTS

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static bool parsed;
static char wanted[64];
static long left;
static bool kills;

static void
parse(void)
{
    parsed = true;
    const char *text = getenv("ST_FAILPOINT");
    char action[8] = "";
    if (!text)
        return;
    if (sscanf(text, "%63[^:]:%ld:%7s", wanted, &left, action) != 3 || left < 1 ||
        (strcmp(action, "kill") && strcmp(action, "fail"))) {
        fprintf(stderr, "ST_FAILPOINT: name:n:kill or name:n:fail, not %s\n", text);
        abort();
    }
    kills = !strcmp(action, "kill");
}

bool
failpoint_pass(const char *name)
{
    pthread_mutex_lock(&lock);
    if (!parsed)
        parse();
    bool hit = !strcmp(name, wanted) && --left < 1;
    pthread_mutex_unlock(&lock);
    if (hit && kills)
        raise(SIGKILL);
    return hit;
}

#endif
