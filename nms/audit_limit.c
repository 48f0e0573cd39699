#include "nms/audit_limit.h"

#include "proto/mutant.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* GCRA: full_ms moves on by refill_ms with each that passes, and may be a burst ahead. */
static bool
has_room(const struct audit_rate *rate, int64_t full_ms, int64_t now_ms)
{
    return rate->burst == 0 ||
           full_ms - now_ms <= (int64_t)(rate->burst - 1) * rate->refill_ms;
}

static int64_t
one_less(const struct audit_rate *rate, int64_t full_ms, int64_t now_ms)
{
    return (full_ms > now_ms ? full_ms : now_ms) + rate->refill_ms;
}

/* The name's own place, else that of a name that is not owed anything: an unused one, or
 * the one that has come closest to a whole burst. */
static struct audit_name *
place_of(struct audit_limit *limit, const char *name)
{
    struct audit_name *best = NULL;
    for (size_t i = 0; i < AUDIT_NAMES; i++) {
        struct audit_name *place = &limit->names[i];
        if (place->full_ms && !strcmp(place->name, name))
            return place;
        if (place->more == 0 && (!best || place->full_ms < best->full_ms))
            best = place;
    }
    if (!best)
        return &limit->elsewhere;
    *best = (struct audit_name){0};
    snprintf(best->name, sizeof(best->name), "%s", name);
    return best;
}

bool
audit_limit_pass(struct audit_limit *limit, const char *name,
                 const struct audit_line *line, int64_t now_ms)
{
    if (limit->each.burst == 0)
        return true;
    struct audit_name *place = place_of(limit, name);
    if (!REFUSES(0x4601, !has_room(&limit->each, place->full_ms, now_ms)) &&
        !REFUSES(0x4602, !has_room(&limit->all, limit->all_full_ms, now_ms))) {
        place->full_ms = one_less(&limit->each, place->full_ms, now_ms);
        limit->all_full_ms = one_less(&limit->all, limit->all_full_ms, now_ms);
        return true;
    }
    if (place->full_ms == 0)
        place->full_ms = now_ms;
    if (place->more++ == 0)
        place->since_ms = now_ms;
    place->last = *line;
    return false;
}

static void
take(struct audit_limit *limit, struct audit_name *place, struct audit_line *out)
{
    *out = place->last;
    out->more = place->more;
    if (place == &limit->elsewhere)
        snprintf(out->peer, sizeof(out->peer), AUDIT_ELSEWHERE);
    else
        audit_limit_network(place->last.peer, out->peer);
    place->more = 0;
}

bool
audit_limit_more(struct audit_limit *limit, int64_t now_ms, bool end,
                 struct audit_line *out)
{
    for (size_t i = 0; i <= AUDIT_NAMES; i++) {
        struct audit_name *place = i < AUDIT_NAMES ? &limit->names[i] : &limit->elsewhere;
        if (place->more > 0 && (end || place->since_ms + AUDIT_MORE_MS <= now_ms)) {
            take(limit, place, out);
            return true;
        }
    }
    return false;
}

int64_t
audit_limit_due(const struct audit_limit *limit)
{
    int64_t due = INT64_MAX;
    for (size_t i = 0; i <= AUDIT_NAMES; i++) {
        const struct audit_name *place =
            i < AUDIT_NAMES ? &limit->names[i] : &limit->elsewhere;
        if (place->more > 0 && place->since_ms + AUDIT_MORE_MS < due)
            due = place->since_ms + AUDIT_MORE_MS;
    }
    return due;
}

void
audit_limit_network(const char *peer, char out[NAME_MAX_LEN + 1])
{
    char text[ADDRESS_TEXT_MAX];
    struct st_address address;
    snprintf(text, sizeof(text), "%s", *peer == '[' ? peer + 1 : peer);
    char *end = *peer == '[' ? strchr(text, ']') : strrchr(text, ':');
    if (end)
        *end = 0;
    if (address_parse(text, &address, NULL)) {
        snprintf(out, NAME_MAX_LEN + 1, "%.*s", NAME_MAX_LEN, peer);
        return;
    }
    const bool six = address.len == 16 && !IN6_IS_ADDR_V4MAPPED(address.bytes);
    if (six)
        memset(address.bytes + 8, 0, 8);
    address_format(&address, text);
    snprintf(out, NAME_MAX_LEN + 1, "%.50s%s", text, six ? "/64" : "");
}
