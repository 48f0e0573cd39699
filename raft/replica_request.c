#include "raft/replica_internal.h"

#include <stdlib.h>
#include <string.h>

uint64_t
replica_now(void)
{
    return uv_hrtime() / 1000000;
}

void
replica_list_init(struct request_list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

void
replica_list_push(struct request_list *list, struct request *request)
{
    request->next = NULL;
    *list->last = request;
    list->last = &request->next;
}

struct request *
replica_list_pop(struct request_list *list)
{
    struct request *request = list->first;
    if (!request)
        return NULL;
    list->first = request->next;
    if (!list->first)
        list->last = &list->first;
    return request;
}

void
replica_list_append(struct request_list *list, struct request_list *more)
{
    if (!more->first)
        return;
    *list->last = more->first;
    list->last = more->last;
    replica_list_init(more);
}

struct request *
replica_request_new(enum request_kind kind, const void *command, size_t len,
                    uint32_t timeout_ms, replica_done done, void *arg)
{
    struct request *request = calloc(1, sizeof(*request) + len);
    if (!request)
        return NULL;
    request->kind = kind;
    request->done = done;
    request->arg = arg;
    request->deadline = replica_now() + timeout_ms;
    request->len = len;
    if (len)
        memcpy(request->command, command, len);
    return request;
}

void
replica_request_answer(struct request *request, const struct st_err *err,
                       const struct replica_result *result)
{
    replica_done done = TAKE(request->done);
    if (done)
        done(request->arg, err, result);
}

/* A command may hold half of a disk's key. */
void
replica_request_end(struct request *request, const struct st_err *err,
                    const struct replica_result *result)
{
    replica_request_answer(request, err, result);
    explicit_bzero(request->command, request->len);
    free(request);
}

void
replica_list_fail(struct request_list *list, const struct st_err *err)
{
    struct request *request;
    while ((request = replica_list_pop(list)))
        replica_request_end(request, err, NULL);
}

bool
replica_list_give_up(struct request_list *list, uint64_t now, const struct st_err *err)
{
    bool waits = false;
    for (struct request *r = list->first; r; r = r->next) {
        if (r->deadline > now)
            waits |= r->done != NULL;
        else
            replica_request_answer(r, err, NULL);
    }
    return waits;
}

void
replica_unavailable(struct st_err *err, const char *why)
{
    if (st_fail_for(err, ST_UNAVAILABLE, ST_REASON_NO_QUORUM, "%s", why))
        err->retry_ms = 0;
}
