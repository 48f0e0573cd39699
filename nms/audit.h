/* audit.h - what this master decided, for those who ask later: each decision is one line
 * (audit_line.h) on stderr and in DIR/audit/.
 *
 * Each kind has files of its own, so that no kind pushes out another's lines:
 *
 *     changes    by administrators, and masters that come and go
 *     nodes      of machines that have proven who they are
 *     logins     of administrators
 *     strangers  of everybody else
 *
 * Saying a line costs its caller a lock and no disk: a thread writes.  It never fails.
 * What cannot be written, because the disk is full or because more comes than it takes,
 * is counted, and the number is a line when lines can be written again.  Nobody but
 * whoever makes changes can have as many lines as he likes (audit_limit.h).
 *
 * Every function here may be called from any thread, but for audit_stop() from the
 * audit's own.
 */
#ifndef NMS_AUDIT_H
#define NMS_AUDIT_H

#include "nms/audit_line.h"

enum audit_kind {
    AUDIT_CHANGE,
    AUDIT_NODE,
    AUDIT_LOGIN,
    AUDIT_STRANGER,
};

enum {
    AUDIT_KINDS = 4,
    AUDIT_BYTES_MAX = 26 * 1024 * 1024, /* of all files together */
    AUDIT_WAITING_MAX = 4096,           /* lines for the thread */
    AUDIT_READ_MAX = 1000,              /* lines in one answer */
};

struct audit;

/* Makes DIR/audit/ when the first line is written.  Fails for want of memory alone. */
enum st_code audit_start(const char *dir, struct audit **out, struct st_err *err);
/* When everything that was said is written, and everybody who reads is answered. */
void audit_stop(struct audit *audit);
/* Owns: after audit_stop().  NULL is fine. */
void audit_free(struct audit *audit);

/* The line's time and number are filled in.  audit NULL: on stderr alone. */
void audit_say(struct audit *audit, enum audit_kind kind, const struct audit_line *line);

struct audit_query {
    uint64_t after; /* the first lines after this number; 0: the last ones there are */
    uint32_t lines; /* at most; 1 to AUDIT_READ_MAX */
    char node[NODE_ID_LEN + 1]; /* only lines of nodes whose ids begin so; "": all */
};
struct audit_answer {
    struct audit_line *lines; /* lent; the oldest first */
    size_t count;
    /* Where to go on: later lines have greater numbers. */
    uint64_t next;
    bool more; /* there are such lines already */
};
typedef void (*audit_done)(void *arg, const struct audit_answer *answer,
                           const struct st_err *err);
/* Of this master.  Calls back exactly once, on the audit's thread, or at once with
 * ST_RESOURCE_EXHAUSTED or, after audit_stop(), ST_UNAVAILABLE. */
void audit_read(struct audit *audit, const struct audit_query *query, audit_done done,
                void *arg);

#endif
