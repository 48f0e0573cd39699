#include "nms/await.h"
#include "nms/later.h"
#include "nms/members.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

struct await {
    struct await *next;
    struct nms *nms;
    uint64_t id;
    enum await_what what;
    nms_done done;
    void *arg;
    /* Keeps it in memory after it was answered, too. */
    struct later_call limit;
};

struct awaits {
    pthread_mutex_t lock; /* guards the list */
    struct await *first;  /* who was not answered yet */
};

enum st_code
awaits_new(struct awaits **out, struct st_err *err)
{
    struct awaits *awaits = calloc(1, sizeof(*awaits));
    if (!awaits)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory");
    pthread_mutex_init(&awaits->lock, NULL);
    *out = awaits;
    return ST_OK;
}

void
awaits_free(struct awaits *awaits)
{
    if (!awaits)
        return;
    pthread_mutex_destroy(&awaits->lock);
    free(awaits);
}

/* False where there is nothing to say yet. */
static bool
judge(const struct await *await, const struct members *members, struct st_err *out)
{
    const struct member *member = members_find(members, await->id);
    const bool staying = member && member->phase != STATE__PHASE__LEAVING;
    *out = (struct st_err){0};
    switch (await->what) {
    case AWAIT_GONE:
        return !member;
    case AWAIT_VOTER:
        if (!staying)
            (void)st_fail(out, ST_ABORTED, "it was removed meanwhile");
        return !staying || member->phase == STATE__PHASE__VOTER;
    }
    return false;
}

/* Whether it was still waiting; from now on it is not. */
static bool
await_take(struct awaits *awaits, struct await *await)
{
    struct await **place = &awaits->first;
    pthread_mutex_lock(&awaits->lock);
    while (*place && *place != await)
        place = &(*place)->next;
    const bool waiting = *place != NULL;
    if (waiting)
        *place = await->next;
    pthread_mutex_unlock(&awaits->lock);
    return waiting;
}

static const char *
missing(const struct await *await, const struct members *members)
{
    const struct member *member = members_find(members, await->id);
    if (!member || await->what == AWAIT_GONE)
        return "a majority has to agree that it left";
    if (member->phase == STATE__PHASE__JOINING && *member->node_id)
        return "its node does not answer on port 7835, or cannot become a master (the "
               "leading master says why; `stctl master remove` takes this back), or a "
               "majority of masters is missing";
    if (member->phase == STATE__PHASE__JOINING)
        return "a majority of masters is missing";
    return "it is catching up: smalltown-nms has to run there, with port 7834 open";
}

static void
limit_passed(void *arg, bool stopping)
{
    struct await *await = arg;
    struct members members;
    struct st_err err = {0};
    if (await_take(await->nms->awaits, await)) {
        members_read(await->nms->state, &members);
        (void)st_fail_for(&err, ST_UNAVAILABLE, ST_REASON_RECORDED,
                          "this is recorded, and is carried on without you (master "
                          "%" PRIu64 "): %s",
                          await->id,
                          stopping ? "this master is shutting down"
                                   : missing(await, &members));
        await->done(await->arg, &err);
    }
    free(await);
}

/* The first that has something to be told, out of the list.  A copy: it may be freed as
 * soon as the list is let go. */
static bool
take_answered(struct awaits *awaits, const struct members *members, struct await *out,
              struct st_err *out_err)
{
    struct await **place = &awaits->first;
    pthread_mutex_lock(&awaits->lock);
    while (*place && !judge(*place, members, out_err))
        place = &(*place)->next;
    const bool found = *place != NULL;
    if (found) {
        *out = **place;
        *place = (*place)->next;
    }
    pthread_mutex_unlock(&awaits->lock);
    return found;
}

void
awaits_check(struct nms *nms)
{
    struct members members;
    struct await await;
    struct st_err err;
    members_read(nms->state, &members);
    while (take_answered(nms->awaits, &members, &await, &err))
        await.done(await.arg, &err);
}

void
await_member(struct nms *nms, uint64_t id, enum await_what what, nms_done done, void *arg)
{
    struct st_err err = {0};
    struct await *await = calloc(1, sizeof(*await));
    if (!await) {
        (void)st_fail(&err, ST_RESOURCE_EXHAUSTED, "no memory to wait");
        done(arg, &err);
        return;
    }
    *await = (struct await){.nms = nms, .id = id, .what = what, .done = done, .arg = arg};
    pthread_mutex_lock(&nms->awaits->lock);
    await->next = nms->awaits->first;
    nms->awaits->first = await;
    pthread_mutex_unlock(&nms->awaits->lock);
    if (!later_in(nms->later, AWAIT_MS, &await->limit, limit_passed, await))
        limit_passed(await, true);
    else
        awaits_check(nms);
}
