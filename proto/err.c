#include "proto/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const code_names[] = {
    [ST_OK] = "OK",
    [ST_CANCELLED] = "CANCELLED",
    [ST_UNKNOWN] = "UNKNOWN",
    [ST_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
    [ST_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
    [ST_NOT_FOUND] = "NOT_FOUND",
    [ST_ALREADY_EXISTS] = "ALREADY_EXISTS",
    [ST_PERMISSION_DENIED] = "PERMISSION_DENIED",
    [ST_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
    [ST_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
    [ST_ABORTED] = "ABORTED",
    [ST_OUT_OF_RANGE] = "OUT_OF_RANGE",
    [ST_UNIMPLEMENTED] = "UNIMPLEMENTED",
    [ST_INTERNAL] = "INTERNAL",
    [ST_UNAVAILABLE] = "UNAVAILABLE",
    [ST_DATA_LOSS] = "DATA_LOSS",
    [ST_UNAUTHENTICATED] = "UNAUTHENTICATED",
};

static const char *const reason_words[ST_REASON_COUNT] = {
    [ST_REASON_NONE] = "",
    [ST_REASON_MALFORMED] = "malformed",
    [ST_REASON_REFUSED] = "refused",
    [ST_REASON_NOT_ADOPTED] = "not-adopted",
    [ST_REASON_EXISTS] = "exists",
    [ST_REASON_NOT_FOUND] = "not-found",
    [ST_REASON_ROLE] = "role",
    [ST_REASON_NO_QUORUM] = "no-quorum",
    [ST_REASON_NO_LEADER] = "no-leader",
    [ST_REASON_BUSY] = "busy",
    [ST_REASON_UNREACHABLE] = "unreachable",
    [ST_REASON_LOST] = "lost",
    [ST_REASON_OTHER_SERVER] = "other-server",
    [ST_REASON_RECORDED] = "recorded",
    [ST_REASON_CHANGED] = "changed",
    [ST_REASON_CLOCK] = "clock",
};

static enum st_code
fill(struct st_err *err, enum st_code code, enum st_reason reason, const char *format,
     va_list args)
{
    if (code == ST_OK) /* a failure that was never filled */
        code = ST_INTERNAL;
    if (!err)
        return code;
    err->code = code;
    err->reason = reason;
    err->retry_ms = 0;
    vsnprintf(err->text, sizeof(err->text), format, args);
    for (char *c = err->text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    return code;
}

enum st_code(st_fail)(struct st_err *err, enum st_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    code = fill(err, code, ST_REASON_NONE, format, args);
    va_end(args);
    return code;
}

enum st_code(st_fail_for)(struct st_err *err, enum st_code code, enum st_reason reason,
                          const char *format, ...)
{
    va_list args;
    va_start(args, format);
    code = fill(err, code, reason, format, args);
    va_end(args);
    return code;
}

enum st_code(st_wrap)(struct st_err *err, const char *format, ...)
{
    if (!err)
        return ST_INTERNAL;
    struct st_err inner = *err;
    va_list args;
    va_start(args, format);
    enum st_code code = fill(err, inner.code, inner.reason, format, args);
    va_end(args);
    err->retry_ms = inner.retry_ms;
    size_t used = strlen(err->text);
    if (inner.text[0])
        snprintf(err->text + used, sizeof(err->text) - used, ": %s", inner.text);
    return code;
}

const char *
st_code_name(enum st_code code)
{
    return (unsigned)code < sizeof(code_names) / sizeof(*code_names) ? code_names[code]
                                                                     : "UNKNOWN";
}

const char *
st_reason_word(enum st_reason reason)
{
    return (unsigned)reason < ST_REASON_COUNT ? reason_words[reason] : "";
}

enum st_reason
st_reason_of_word(const char *word)
{
    for (int i = 1; i < ST_REASON_COUNT; i++)
        if (!strcmp(word, reason_words[i]))
            return (enum st_reason)i;
    return ST_REASON_NONE;
}
