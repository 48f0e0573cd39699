#include "nms/audit_line.h"
#include "proto/sha256.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    TIME_LEN = 24, /* 2026-01-31T12:00:00.123Z */
    NUMBER_DIGITS_MAX = 20,
};
static const int64_t time_max_ms = 253402300799999; /* the last of the year 9999 */

void
audit_line_fill(struct audit_line *out, const char *what, const char *subject,
                const char *peer, const struct st_err *err)
{
    *out = (struct audit_line){.decision = err->code};
    snprintf(out->what, sizeof(out->what), "%s", what);
    snprintf(out->subject, sizeof(out->subject), "%s", subject ? subject : "");
    snprintf(out->peer, sizeof(out->peer), "%s", peer ? peer : "");
    if (err->code)
        snprintf(out->reason, sizeof(out->reason), "%s", err->text);
}

void
audit_line_ek(struct audit_line *line, const void *ek_pubkey, size_t len)
{
    line->has_ek = len > 0;
    if (line->has_ek)
        sha256_of(ek_pubkey, len, line->ek);
}

void
audit_line_admin(struct audit_line *line, const uint8_t fingerprint[SHA256_LEN])
{
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex(fingerprint, hex);
    snprintf(line->admin, sizeof(line->admin), "%.*s", AUDIT_ADMIN_LEN, hex);
}

struct text {
    char *at;
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void
add(struct text *text, const char *format, ...)
{
    const size_t room = AUDIT_LINE_MAX - text->used;
    va_list args;
    va_start(args, format);
    const int len = vsnprintf(text->at + text->used, room, format, args);
    va_end(args);
    assert(len >= 0 && (size_t)len < room); /* the fields are bounded */
    text->used += (size_t)len;
}

/* A word ends at a space, so it has none. */
static void
add_word(struct text *text, const char *key, const char *value)
{
    if (!*value)
        return;
    add(text, " %s=%s", key, value);
    for (char *at = text->at + text->used - strlen(value); *at; at++)
        if (*at <= 0x20 || *at > 0x7e || *at == '"')
            *at = '?';
}

static void
add_number(struct text *text, const char *key, uint64_t value)
{
    if (value)
        add(text, " %s=%" PRIu64, key, value);
}

static void
add_reason(struct text *text, const char *reason)
{
    add(text, " reason=\"%s\"", reason);
    char *at = text->at + text->used - 1 - strlen(reason);
    for (; at < text->at + text->used - 1; at++)
        if (*at < 0x20 || *at > 0x7e)
            *at = '?';
        else if (*at == '"')
            *at = '\'';
}

static const char *
subject_key(const struct audit_line *line)
{
    struct st_address address;
    if (!strcmp(line->subject, "?") || !node_id_check(line->subject, NULL))
        return "node";
    return address_parse(line->subject, &address, NULL) ? "name" : "address";
}

static void
add_words(struct text *text, const struct audit_line *line)
{
    char hex[SHA256_HEX_LEN + 1];
    add_word(text, subject_key(line), line->subject);
    add_number(text, "member", line->member);
    add_word(text, "admin", line->admin);
    add_word(text, "peer", line->peer);
    if (line->has_ek) {
        sha256_hex(line->ek, hex);
        add_word(text, "ek", hex);
    }
    add(text, " policy=%" PRIu64, line->policy);
    add_number(text, "more", line->more);
    add_word(text, "step", line->step);
    add_word(text, "approved", line->approved);
    if (!line->decision && *line->reason)
        add_reason(text, line->reason);
    add(text, " decision=%s", st_code_name(line->decision));
    if (line->decision)
        add_reason(text, line->reason);
}

void
audit_line_words(const struct audit_line *line, char out[AUDIT_LINE_MAX])
{
    char padded[AUDIT_LINE_MAX];
    struct text text = {padded, 0};
    add_words(&text, line);
    strcpy(out, padded + 1);
}

size_t
audit_line_format(const struct audit_line *line, char out[AUDIT_LINE_MAX])
{
    struct text text = {out, 0};
    int64_t ms = line->time_ms < 0 ? 0 : line->time_ms;
    if (ms > time_max_ms)
        ms = time_max_ms;
    const time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    text.used = strftime(out, AUDIT_LINE_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
    add(&text, ".%03dZ %" PRIu64 " ", (int)(ms % 1000), line->number);
    const size_t what = text.used;
    add(&text, "%s", line->what);
    for (size_t i = what; i < text.used; i++)
        if (out[i] <= 0x20 || out[i] > 0x7e || out[i] == '"')
            out[i] = '?';
    add_words(&text, line);
    add(&text, "\n");
    return text.used;
}

/* ---- and back ---- */

static bool
read_number(const char *text, size_t len, uint64_t *out)
{
    uint64_t value = 0;
    if (len == 0 || len > NUMBER_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        const unsigned digit = (unsigned)(text[i] - '0');
        if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *out = value;
    return true;
}

static bool
read_time(const char text[TIME_LEN], int64_t *out_ms)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    int part[7] = {0};
    size_t parts = 0;
    for (size_t i = 0; i < TIME_LEN; i++)
        if (shape[i] != 'd') {
            if (text[i] != shape[i])
                return false;
            parts++;
        } else if (text[i] < '0' || text[i] > '9') {
            return false;
        } else {
            part[parts] = part[parts] * 10 + text[i] - '0';
        }
    struct tm tm = {.tm_year = part[0] - 1900,
                    .tm_mon = part[1] - 1,
                    .tm_mday = part[2],
                    .tm_hour = part[3],
                    .tm_min = part[4],
                    .tm_sec = part[5]};
    *out_ms = (int64_t)timegm(&tm) * 1000 + part[6];
    return true;
}

static bool
take_text(const char *value, size_t len, char *out, size_t size)
{
    if (len >= size)
        return false;
    memcpy(out, value, len);
    out[len] = 0;
    return true;
}

static bool
take_hex(const char *value, size_t len, struct audit_line *out)
{
    static const char digits[] = "0123456789abcdef";
    if (len != SHA256_HEX_LEN)
        return false;
    for (size_t i = 0; i < len; i++) {
        const char *digit = value[i] ? strchr(digits, value[i]) : NULL;
        if (!digit)
            return false;
        out->ek[i / 2] = (uint8_t)(out->ek[i / 2] << 4 | (digit - digits));
    }
    return out->has_ek = true;
}

static bool
take_decision(const char *value, size_t len, struct audit_line *out)
{
    for (int code = ST_OK; code <= ST_UNAUTHENTICATED; code++) {
        const char *name = st_code_name((enum st_code)code);
        if (strlen(name) == len && memcmp(name, value, len) == 0) {
            out->decision = (enum st_code)code;
            return true;
        }
    }
    return false;
}

static bool
is_key(const char *key, size_t len, const char *wanted)
{
    return strlen(wanted) == len && memcmp(key, wanted, len) == 0;
}

#define TAKE_TEXT(field) take_text(value, len, out->field, sizeof(out->field))

static bool
take(const char *key, size_t key_len, const char *value, size_t len,
     struct audit_line *out)
{
    if (is_key(key, key_len, "node") || is_key(key, key_len, "address") ||
        is_key(key, key_len, "name"))
        return TAKE_TEXT(subject);
    if (is_key(key, key_len, "member"))
        return read_number(value, len, &out->member);
    if (is_key(key, key_len, "admin"))
        return TAKE_TEXT(admin);
    if (is_key(key, key_len, "peer"))
        return TAKE_TEXT(peer);
    if (is_key(key, key_len, "ek"))
        return take_hex(value, len, out);
    if (is_key(key, key_len, "policy"))
        return read_number(value, len, &out->policy);
    if (is_key(key, key_len, "more"))
        return read_number(value, len, &out->more);
    if (is_key(key, key_len, "step"))
        return TAKE_TEXT(step);
    if (is_key(key, key_len, "approved"))
        return TAKE_TEXT(approved);
    if (is_key(key, key_len, "decision"))
        return take_decision(value, len, out);
    return is_key(key, key_len, "reason") && len >= 2 && value[0] == '"' &&
           value[len - 1] == '"' &&
           take_text(value + 1, len - 2, out->reason, sizeof(out->reason));
}

/* Where the value ends: a space or the end, and of one in quotes what follows the second;
 * NULL where there is none. */
static const char *
value_end(const char *value, const char *end)
{
    if (value == end || *value != '"') {
        const char *space = memchr(value, ' ', (size_t)(end - value));
        return space ? space : end;
    }
    const char *quote = memchr(value + 1, '"', (size_t)(end - value - 1));
    return quote && (quote + 1 == end || quote[1] == ' ') ? quote + 1 : NULL;
}

/* The pairs from `at` on. */
static bool
take_pairs(const char *at, const char *end, struct audit_line *out)
{
    while (at < end) {
        const char *equals = memchr(at, '=', (size_t)(end - at));
        if (!equals)
            return false;
        const char *value = equals + 1;
        const char *stop = value_end(value, end);
        if (!stop || !take(at, (size_t)(equals - at), value, (size_t)(stop - value), out))
            return false;
        at = stop < end ? stop + 1 : end;
    }
    return true;
}

uint64_t
audit_line_number(const char *text, size_t len)
{
    uint64_t number = 0;
    if (len <= TIME_LEN + 1 || text[TIME_LEN] != ' ')
        return 0;
    const char *digits = text + TIME_LEN + 1;
    const char *space = memchr(digits, ' ', len - TIME_LEN - 1);
    return space && read_number(digits, (size_t)(space - digits), &number) ? number : 0;
}

/* Whatever is not in order, twice, or not as it is written does not come out the same. */
static bool
is_written_so(const struct audit_line *line, const char *text, size_t len)
{
    char again[AUDIT_LINE_MAX];
    return audit_line_format(line, again) == len + 1 && memcmp(again, text, len) == 0;
}

bool
audit_line_parse(const char *text, size_t len, struct audit_line *out)
{
    struct audit_line line = {0};
    const char *end = text + len;
    if (len >= AUDIT_LINE_MAX || memchr(text, 0, len) ||
        !(line.number = audit_line_number(text, len)) || !read_time(text, &line.time_ms))
        return false;
    const char *what = memchr(text + TIME_LEN + 1, ' ', len - TIME_LEN - 1);
    const char *pairs = memchr(what + 1, ' ', (size_t)(end - what - 1));
    if (!pairs ||
        !take_text(what + 1, (size_t)(pairs - what - 1), line.what, sizeof(line.what)) ||
        !take_pairs(pairs + 1, end, &line) || !is_written_so(&line, text, len))
        return false;
    *out = line;
    return true;
}
