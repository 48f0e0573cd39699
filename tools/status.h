/* status.h - what `stctl status` found out (status.c), and how it is shown
 * (status_print.c). */
#ifndef TOOLS_STATUS_H
#define TOOLS_STATUS_H

#include "tools/connect.h"

#include <pthread.h>

/* One that was asked. */
struct status_master {
    const struct connection *connection;
    size_t index; /* of its address in the context */
    pthread_t thread;
    bool started;
    /* Written by the thread, read after it was joined. */
    ProtobufCMessage *answer; /* Api__GetStatusResponse; NULL: err says why not */
    struct st_err err;
};

struct status {
    struct connection connection; /* its context has the others behind its own */
    size_t known;                 /* addresses that the context had before */
    struct status_master masters[ADDRESSES_MAX];
    const struct status_master *best; /* of all answers the one that knows most */
    ProtobufCMessage *list;           /* Api__ListMastersResponse of best, or NULL */
};

static inline const Api__GetStatusResponse *
status_answer(const struct status_master *master)
{
    return (const void *)master->answer;
}

/* One of the list: is it there; did it answer, wherever it was asked. */
bool status_is_at(const Api__Master *master, const struct st_address *address);
bool status_has_answered(const struct status *status, const Api__Master *master);

/* For people, and for programs; best->answer is there. */
void status_print(const struct status *status);
enum st_code status_print_json(const struct status *status, struct st_err *err);

#endif
