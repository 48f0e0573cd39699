#include "node/retry.h"

#include "node/notify.h"
#include "node/stop.h"
#include "proto/event.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum {
    HINT_MAX_MS = 10 * 60 * 1000
};

/* 0 to max.  Spreads load, guards nothing: without entropy zero is as good. */
static uint32_t
random_up_to(uint32_t max)
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
        random = 0;
    return random % (max + 1);
}

uint32_t
retry_delay(const struct retry *retry, uint32_t n, uint32_t hint_ms)
{
    uint32_t delay = retry->first_ms;
    for (uint32_t i = 1; i < n && delay < retry->max_ms; i++)
        delay *= 2;
    if (delay > retry->max_ms)
        delay = retry->max_ms;
    delay = delay / 2 + random_up_to(delay / 2);
    if (hint_ms > HINT_MAX_MS)
        hint_ms = HINT_MAX_MS;
    hint_ms += random_up_to(hint_ms / 4);
    return delay > hint_ms ? delay : hint_ms;
}

void
retry_say(struct retry *retry, const char *word, const struct st_err *err)
{
    if (strcmp(retry->said, err->text) == 0)
        return;
    snprintf(retry->said, sizeof(retry->said), "%s", err->text);
    event(word, "decision=retry code=%s reason=\"%s\"", st_code_name(err->code),
          err->text);
}

bool
retry_wait(struct retry *retry, const char *word, const struct st_err *err)
{
    uint32_t delay = retry_delay(retry, ++retry->attempts, err->retry_ms);
    retry_say(retry, word, err);
    notify_status("%s: %s", word, err->text);
    return !stop_wait(delay);
}
