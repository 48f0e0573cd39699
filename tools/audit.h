/* audit.h - what the files of `stctl audit` share: the lines of every master. */
#ifndef TOOLS_AUDIT_H
#define TOOLS_AUDIT_H

#include "tools/connect.h"

#include <pthread.h>

enum {
    AUDIT_LINES_MAX = 1000, /* that a master says at once */
};

/* One master that is asked, and what it says. */
struct audit_master {
    const struct connection *connection;
    size_t index; /* among the addresses of the context */
    struct rpc_channel *channel;
    Api__ListAuditRequest request;  /* `after` moves on */
    Api__ListAuditResponse *answer; /* NULL: it did not answer */
    struct st_err err;
    bool silent; /* so a person was told */
    bool started;
    pthread_t thread;
};

/* A line and who said it. */
struct audit_row {
    const Api__AuditLine *line;
    uint64_t master;
};

/* The answers' lines in the order of their times, those of one master in his own,
 * whatever his clock did: how many.  *out is free()d; it lends from the answers. */
size_t audit_merge(const struct audit_master *masters, size_t count,
                   struct audit_row **out);

/* For people, made for 80 columns; an entry may have more than one line. */
void audit_print(const struct audit_row *row);
/* One line of JSON. */
enum st_code audit_print_json(const struct audit_row *row, struct st_err *err);

#endif
