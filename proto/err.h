/* err.h - the one way in which anything here fails.
 *
 * A function that can fail returns `enum st_code` (0 is success, the others are
 * gRPC's status numbers) and takes a `struct st_err *err` last, which may be NULL.
 * Begin a failure with st_fail(), add the view of the caller with st_wrap():
 *
 *     if (store_open(dir, &store, err))
 *         return st_wrap(err, "open the store of %s", name);
 *
 * Outputs are written only on success.  Bugs assert(); input never does.
 * Every function here may be called from any thread.
 */
#ifndef PROTO_ERR_H
#define PROTO_ERR_H

#include <stdbool.h>
#include <stdint.h>

enum [[nodiscard]] st_code{
    ST_OK = 0,
    ST_CANCELLED = 1,
    ST_UNKNOWN = 2,
    ST_INVALID_ARGUMENT = 3, /* malformed */
    ST_DEADLINE_EXCEEDED = 4,
    ST_NOT_FOUND = 5,
    ST_ALREADY_EXISTS = 6,
    ST_PERMISSION_DENIED = 7,   /* the proof failed */
    ST_RESOURCE_EXHAUSTED = 8,  /* a limit */
    ST_FAILED_PRECONDITION = 9, /* the wrong state for this */
    ST_ABORTED = 10,
    ST_OUT_OF_RANGE = 11,
    ST_UNIMPLEMENTED = 12,
    ST_INTERNAL = 13,        /* a library or the disk failed */
    ST_UNAVAILABLE = 14,     /* no quorum, or shutting down: try again */
    ST_DATA_LOSS = 15,       /* what is stored is corrupt */
    ST_UNAUTHENTICATED = 16, /* no identity */
};

/* Travels beside the code (trailing metadata `smalltown-reason`), as the word that
 * st_reason_word() gives.  A program decides on this, never on the sentence. */
/* Masters tell each other the number: what is new comes last. */
enum st_reason {
    ST_REASON_NONE = 0,
    ST_REASON_MALFORMED,
    ST_REASON_REFUSED,     /* all that a stranger is told of a failed proof */
    ST_REASON_NOT_ADOPTED, /* enrolled and proven, but no administrator said yes yet */
    ST_REASON_EXISTS,
    ST_REASON_NOT_FOUND,
    ST_REASON_ROLE, /* the administrator's role does not allow this */
    ST_REASON_NO_QUORUM,
    ST_REASON_BUSY,         /* a limit was met; see retry_ms */
    ST_REASON_UNREACHABLE,  /* local: no answer from the other side */
    ST_REASON_OTHER_SERVER, /* local: who answered is not whom we pinned */
    ST_REASON_RECORDED,     /* committed, and carried on without the caller */
    ST_REASON_CHANGED,      /* what it was judged by is another by now: judge again */
    ST_REASON_LOST,         /* local: it was asked, and the connection ended */
    ST_REASON_NO_LEADER,    /* none was found, so nothing was done: ask another master */
    ST_REASON_CLOCK,        /* it is behind here, or was ahead elsewhere: ask another */
    ST_REASON_COUNT,
};

struct st_err {
    enum st_code code;
    enum st_reason reason;
    uint32_t retry_ms; /* 0: no hint */
    char text[400];    /* one sentence without a full stop, no control characters */
};

/* Fills err and returns code, so that a failure is one statement.  Control characters
 * that an argument smuggles in are written as '?': a log line stays one line. */
enum st_code st_fail(struct st_err *err, enum st_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same, with a reason for programs. */
enum st_code st_fail_for(struct st_err *err, enum st_code code, enum st_reason reason,
                         const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Puts "<context>: " before the sentence and returns err->code (ST_INTERNAL where err is
 * NULL or was never filled). */
enum st_code st_wrap(struct st_err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Never ST_OK; said so that a compiler sees which outputs were written. */
static inline enum st_code
st_failed(enum st_code code)
{
    if (code == ST_OK)
        __builtin_unreachable();
    return code;
}
#define st_fail(...) st_failed((st_fail)(__VA_ARGS__))
#define st_fail_for(...) st_failed((st_fail_for)(__VA_ARGS__))
#define st_wrap(...) st_failed((st_wrap)(__VA_ARGS__))

/* "PERMISSION_DENIED" and so on; for an unknown number "UNKNOWN". */
const char *st_code_name(enum st_code code);

/* "refused", "not-adopted", ...; "" for ST_REASON_NONE.  And back; an unknown word is
 * ST_REASON_NONE. */
const char *st_reason_word(enum st_reason reason);
enum st_reason st_reason_of_word(const char *word);

#endif
