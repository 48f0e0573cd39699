#include "tools/text.h"

#include "proto/address.h"
#include "proto/cert.h"
#include "proto/ident.h"
#include "proto/sha256.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static const struct {
    const char *name;
    uint64_t ms;
} units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
};
static const uint64_t duration_max_ms = 3650ull * 86400000;

static bool
read_number(const char *text, uint64_t *out, const char **out_rest)
{
    if (!isdigit((unsigned char)*text))
        return false;
    char *rest;
    errno = 0;
    unsigned long long number = strtoull(text, &rest, 10);
    *out = number;
    *out_rest = rest;
    return errno == 0;
}

enum st_code
text_duration(const char *what, const char *text, uint64_t *out_ms, struct st_err *err)
{
    uint64_t number;
    const char *unit;
    if (read_number(text, &number, &unit))
        for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
            if (!strcmp(unit, units[i].name) && number > 0 &&
                number <= duration_max_ms / units[i].ms) {
                *out_ms = number * units[i].ms;
                return ST_OK;
            }
    return st_fail(err, ST_INVALID_ARGUMENT,
                   "%s takes a time like 90s, 15m, 24h or 30d, not '%s'", what, text);
}

enum st_code
text_count(const char *what, const char *text, uint32_t max, uint32_t *out,
           struct st_err *err)
{
    uint64_t number;
    const char *rest;
    if (!read_number(text, &number, &rest) || *rest || number == 0 || number > max)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "%s takes a number from 1 to %" PRIu32 ", not '%s'", what, max,
                       text);
    *out = (uint32_t)number;
    return ST_OK;
}

void
text_time(int64_t seconds, char out[TEXT_TIME_MAX])
{
    time_t time = (time_t)seconds;
    struct tm parts;
    if (!gmtime_r(&time, &parts) ||
        !strftime(out, TEXT_TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", &parts))
        snprintf(out, TEXT_TIME_MAX, "-");
}

void
text_age(int64_t from, int64_t to, char out[TEXT_AGE_MAX])
{
    if (from <= 0 || to <= 0) {
        snprintf(out, TEXT_AGE_MAX, "-");
        return;
    }
    int64_t age = to > from ? to - from : 0;
    if (age < 120)
        snprintf(out, TEXT_AGE_MAX, "%" PRId64 "s", age);
    else if (age < 2 * 3600)
        snprintf(out, TEXT_AGE_MAX, "%" PRId64 "m", age / 60);
    else if (age < 2 * 86400)
        snprintf(out, TEXT_AGE_MAX, "%" PRId64 "h", age / 3600);
    else
        snprintf(out, TEXT_AGE_MAX, "%" PRId64 "d", age / 86400);
}

void
text_expires(int64_t now, int64_t at, char out[TEXT_AGE_MAX])
{
    if (at > 0 && at <= now)
        snprintf(out, TEXT_AGE_MAX, "expired");
    else
        text_age(now, at, out);
}

char *
text_printable(const char *text)
{
    char *copy = strdup(text && *text ? text : "-");
    if (!copy)
        abort();
    for (char *at = copy; *at; at++)
        if ((unsigned char)*at < 0x20 || (unsigned char)*at > 0x7e)
            *at = '?';
    return copy;
}

bool
text_hex(const ProtobufCBinaryData *sha256, char out[TEXT_SHA256_MAX])
{
    strcpy(out, "-");
    if (sha256->len != SHA256_LEN)
        return false;
    sha256_hex(sha256->data, out);
    return true;
}

void
text_sha256(const void *bytes, size_t len, char out[TEXT_SHA256_MAX])
{
    cert_fingerprint_hex(bytes, len, out);
}

bool
text_is_sha256(const char *typed, const char sha256[TEXT_SHA256_MAX])
{
    if (!strncasecmp(typed, "sha256:", 7))
        typed += 7;
    size_t matched = 0;
    for (; *typed; typed++) {
        if (*typed == ':')
            continue;
        if (matched >= TEXT_SHA256_MAX - 1 ||
            tolower((unsigned char)*typed) != sha256[matched])
            return false;
        matched++;
    }
    return matched == TEXT_SHA256_MAX - 1;
}

void
text_address(const ProtobufCBinaryData *wire, char *out, size_t size)
{
    struct st_address address;
    char text[ADDRESS_TEXT_MAX] = "-";
    if (!address_unpack(wire, &address, NULL))
        address_format(&address, text);
    snprintf(out, size, "%s", text);
}

enum st_code
text_node_prefix(const char *typed, char *out, struct st_err *err)
{
    static const char prefix[] = "smalltown-";
    const char *digits = typed;
    if (!strncasecmp(digits, prefix, sizeof(prefix) - 1))
        digits += sizeof(prefix) - 1;
    size_t len = strlen(digits);
    if (len < NODE_PREFIX_MIN || len > 32 ||
        strspn(digits, "0123456789abcdefABCDEF") != len)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "'%.60s' is no node id: give smalltown- and hex digits, or at "
                       "least the first %d digits",
                       typed, NODE_PREFIX_MIN);
    strcpy(out, prefix);
    for (size_t i = 0; i <= len; i++)
        out[sizeof(prefix) - 1 + i] = (char)tolower((unsigned char)digits[i]);
    return ST_OK;
}
