#include "tools/audit.h"
#include "tools/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    TIME_MAX = TEXT_TIME_MAX + 8,
    COLUMNS = 80,
};

/* The master whose next line is the eldest; `next` is how many of each were taken. */
static size_t
eldest(const struct audit_master *masters, size_t count, const size_t *next)
{
    size_t best = count;
    int64_t best_ms = 0;
    for (size_t i = 0; i < count; i++) {
        const Api__ListAuditResponse *answer = masters[i].answer;
        if (!answer || next[i] == answer->n_lines)
            continue;
        const int64_t ms = answer->lines[next[i]]->time_ms;
        if (best == count || ms < best_ms) {
            best = i;
            best_ms = ms;
        }
    }
    return best;
}

size_t
audit_merge(const struct audit_master *masters, size_t count, struct audit_row **out)
{
    size_t total = 0, used = 0, next[ADDRESSES_MAX] = {0}, i;
    for (i = 0; i < count; i++)
        total += masters[i].answer ? masters[i].answer->n_lines : 0;
    struct audit_row *rows = calloc(total + 1, sizeof(*rows));
    if (!rows)
        abort();
    while ((i = eldest(masters, count, next)) < count)
        rows[used++] = (struct audit_row){masters[i].answer->lines[next[i]++],
                                          masters[i].answer->member_id};
    *out = rows;
    return used;
}

static bool
is_ok(const Api__AuditLine *line)
{
    return !strcmp(line->decision, "OK");
}

/* Somebody may not, or something cannot. */
static const char *
word_of(const Api__AuditLine *line)
{
    static const char *const refusals[] = {
        "INVALID_ARGUMENT", "PERMISSION_DENIED",   "UNAUTHENTICATED",
        "NOT_FOUND",        "FAILED_PRECONDITION", "ALREADY_EXISTS",
    };
    if (is_ok(line))
        return "ok";
    for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++)
        if (!strcmp(line->decision, refusals[i]))
            return "refused";
    return "failed";
}

/* `before` and the text, where there is one; returns how much that is. */
static size_t
print_text(const char *before, const char *text)
{
    if (!*text)
        return 0;
    char *printable = text_printable(text);
    const int len = printf("%s%s", before, printable);
    free(printable);
    return len < 0 ? 0 : (size_t)len;
}

/* There are so many of them that each has one line: who, and from where. */
static bool
is_plain_login(const Api__AuditLine *line)
{
    return is_ok(line) && !strcmp(line->what, "login") && !line->more;
}

static void
print_head(const struct audit_row *row)
{
    const Api__AuditLine *line = row->line;
    char when[TEXT_TIME_MAX + 24];
    text_time(line->time_ms / 1000, when);
    snprintf(when + strlen(when), sizeof(when) - strlen(when), " %" PRIu64, row->master);
    size_t used = print_text("", when) + print_text(" ", line->what);
    used += print_text(" ", line->step) + print_text(" ", word_of(line));
    if (is_plain_login(line)) {
        print_text(" ", line->admin);
        print_text(" from ", line->peer);
    } else if (strcmp(line->subject, "?")) {
        const bool fits = used + 1 + strlen(line->subject) <= COLUMNS;
        print_text(fits ? " " : "\n    ", line->subject);
    }
    if (line->member)
        printf(" (master %" PRIu64 ")", line->member);
    printf("\n");
}

/* Who asked, and under which policy. */
static void
print_who(const Api__AuditLine *line)
{
    if (!*line->admin && !*line->peer)
        return;
    printf("   ");
    print_text(" by admin ", line->admin);
    if (line->more)
        printf(" and %" PRIu64 " more like it", line->more);
    print_text(" from ", line->peer);
    printf(", policy %" PRIu64 "\n", line->policy);
}

/* Of OK, what spoke against it. */
static void
print_reason(const Api__AuditLine *line)
{
    if (!is_ok(line))
        print_text("    ", line->decision);
    print_text(is_ok(line) ? "    " : ": ", line->reason);
    if (!is_ok(line) || *line->reason)
        printf("\n");
}

void
audit_print(const struct audit_row *row)
{
    const Api__AuditLine *line = row->line;
    char hex[TEXT_SHA256_MAX];
    print_head(row);
    if (is_plain_login(line))
        return;
    print_reason(line);
    if (text_hex(&line->ek_sha256, hex) && (!is_ok(line) || strcmp(line->what, "unlock")))
        printf("    EK %s\n", hex);
    if (!is_ok(line) || line->more || strcmp(line->what, "unlock"))
        print_who(line);
}

static json_t *
json_text(const char *text)
{
    return *text ? json_string(text) : json_null();
}

static json_t *
json_number(uint64_t number)
{
    return number ? json_integer((json_int_t)number) : json_null();
}

/* "2025-01-31T12:00:00.123Z" */
static json_t *
json_time_ms(int64_t ms)
{
    char seconds[TEXT_TIME_MAX], text[TIME_MAX];
    text_time(ms / 1000, seconds);
    snprintf(text, sizeof(text), "%.*s.%03dZ", (int)strcspn(seconds, "Z"), seconds,
             (int)(ms % 1000));
    return json_string(text);
}

enum st_code
audit_print_json(const struct audit_row *row, struct st_err *err)
{
    const Api__AuditLine *line = row->line;
    AUTO(json_freep)
    json_t *value = json_pack(
        "{s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o}",
        "time", json_time_ms(line->time_ms), "master", (json_int_t)row->master, "number",
        (json_int_t)line->number, "what", json_text(line->what), "subject",
        json_text(line->subject), "member_id", json_number(line->member), "admin",
        json_text(line->admin), "peer", json_text(line->peer), "ek_sha256",
        json_hex(&line->ek_sha256), "policy", (json_int_t)line->policy, "more",
        (json_int_t)line->more, "step", json_text(line->step), "approved",
        json_text(line->approved), "decision", json_text(line->decision), "reason",
        json_text(line->reason));
    if (!value)
        return st_fail(err, ST_INTERNAL, "no memory for the answer");
    if (json_dumpf(value, stdout, JSON_COMPACT) || putchar('\n') == EOF)
        return st_fail(err, ST_INTERNAL, "the answer cannot be written to stdout");
    return ST_OK;
}
