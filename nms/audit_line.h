/* audit_line.h - one decision, as one line of text and back.
 *
 *     2026-01-31T12:00:00.123Z 1769860800123456 unlock node=smalltown-... peer=...
 *     ek=... policy=3 decision=PERMISSION_DENIED reason="..."
 *
 * (in one piece): when, the line's number, what, and key=value in the order of struct
 * audit_line; what is empty, or 0, is left out, but for policy and decision, and of `OK`
 * the reason stands before it.  A line ends with `decision=OK` or with a reason in
 * quotes, so that one that was cut anywhere is no line.
 *
 * Pure functions; any thread.
 */
#ifndef NMS_AUDIT_LINE_H
#define NMS_AUDIT_LINE_H

#include "proto/address.h"
#include "proto/err.h"
#include "proto/ident.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    AUDIT_LINE_MAX = 960, /* bytes with the newline, and a NUL */
    AUDIT_ADMIN_LEN = 16, /* hex digits of a fingerprint */
};

struct audit_line {
    int64_t time_ms; /* since 1970 */
    uint64_t number; /* grows from line to line of one master */
    char what[24];   /* "unlock", "adopt", ... */
    char subject[NAME_MAX_LEN +
                 1]; /* node=, address= where the peer is no node yet, name= */
    uint64_t member;
    char admin[AUDIT_ADMIN_LEN + 1];
    char peer[ADDRESS_TEXT_MAX]; /* with its port; without where many ports are meant */
    bool has_ek;
    uint8_t ek[SHA256_LEN]; /* of the SubjectPublicKeyInfo, as policies list it */
    uint64_t policy;        /* the version in force */
    uint64_t more;          /* so many like it, that have no line of their own */
    char step[16];          /* of a master; "auto"; for how long a window is open */
    char approved[16];      /* of an unlock: "yes", or why that boot is not (approve.h) */
    enum st_code decision;
    char reason[400]; /* of ST_OK: what was decided though it speaks against it */
};

/* From a flow: subject and peer may be NULL.  The reason is err's, unless that is OK. */
void audit_line_fill(struct audit_line *out, const char *what, const char *subject,
                     const char *peer, const struct st_err *err);

/* Which administrator, by all of his fingerprint. */
void audit_line_admin(struct audit_line *line, const uint8_t fingerprint[SHA256_LEN]);

/* Whose chip it is: SHA-256 of its EK as SubjectPublicKeyInfo; len 0: not known. */
void audit_line_ek(struct audit_line *line, const void *ek_pubkey, size_t len);

/* What follows `what`, for event(): no newline.  What a stranger could break a line with
 * is '?', a quotation mark is '\''. */
void audit_line_words(const struct audit_line *line, char out[AUDIT_LINE_MAX]);
/* All of it, with a newline; returns the length. */
size_t audit_line_format(const struct audit_line *line, char out[AUDIT_LINE_MAX]);

/* The number alone, of a line that need not be whole otherwise; 0: none. */
uint64_t audit_line_number(const char *text, size_t len);
/* One line without its newline.  False for anything that audit_line_format() would not
 * have written, byte for byte. */
bool audit_line_parse(const char *text, size_t len, struct audit_line *out);

#endif
