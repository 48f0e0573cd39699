#include "nms/tell_internal.h"
#include "nms/bell.h"
#include "nms/later.h"
#include "proto/clock.h"
#include "proto/event.h"
#include "proto/grow.h"

#include <stdlib.h>
#include <string.h>

enum {
    LOOK_MS = 1000, /* not more often: it is a pass over all records */
    WAIT_MS = 3000, /* for a barrier, a commit */
    PAUSE_FIRST_MS = 2000,
    PAUSE_MAX_MS = 60000,
};

struct tell {
    struct nms *nms;
    struct bell bell;
    /* The thread's own. */
    uint64_t number;       /* of the list that `untold` lacks; 0: it was not looked yet */
    struct untold *untold; /* in the order of ids */
    size_t count;
    bool news;       /* it was rung for, and did not look since */
    int64_t look_ms; /* not looked again before */
};

enum st_code
tell_new(struct nms *nms, struct tell **out, struct st_err *err)
{
    struct tell *tell = calloc(1, sizeof(*tell));
    if (!tell)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory");
    tell->nms = nms;
    bell_init(&tell->bell);
    *out = tell;
    return ST_OK;
}

void
tell_free(struct tell *tell)
{
    if (!tell)
        return;
    bell_end(&tell->bell);
    free(tell->untold);
    free(tell);
}

void
tell_wake(struct tell *tell)
{
    bell_ring(&tell->bell);
}

static bool
leads(const struct tell *tell)
{
    struct replica_status status;
    replica_status(tell->nms->replica, &status);
    return status.serving;
}

static bool
is_over(void *arg)
{
    struct tell *tell = arg;
    return tell->bell.stopping || !leads(tell) ||
           state_masters_number(tell->nms->state) != tell->number;
}

/* ---- who is left ---- */

struct looking {
    uint64_t number;
    const struct untold *old; /* what is known of them, in the same order */
    size_t old_count;
    struct untold *found;
    size_t count, room;
};

static enum st_code
look_at(void *arg, const State__Node *node, int64_t seen, struct st_err *err)
{
    struct looking *looking = arg;
    (void)seen;
    if (!state_is_outdated(node, looking->number))
        return ST_OK;
    struct untold *found =
        st_grow(looking->found, looking->count, &looking->room, sizeof(*found));
    if (!found)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory");
    looking->found = found;
    struct untold *untold = &looking->found[looking->count++];
    *untold = (struct untold){.code = ST_CANCELLED};
    strncpy(untold->node_id, node->node_id, NODE_ID_LEN);
    /* A record's address was checked when it came in. */
    (void)!address_unpack(&node->address, &untold->address, NULL);
    int order = -1;
    while (looking->old_count > 0 &&
           (order = strcmp(looking->old->node_id, node->node_id)) < 0) {
        looking->old++;
        looking->old_count--;
    }
    if (looking->old_count > 0 && order == 0 &&
        address_equal(&looking->old->address, &untold->address))
        *untold = *looking->old;
    return ST_OK;
}

/* A new list is told at once, also to who did not answer when it was the old one. */
static void
look(struct tell *tell)
{
    const uint64_t number = state_masters_number(tell->nms->state);
    struct looking looking = {.number = number};
    if (number == tell->number) {
        if (!tell->news || tell->look_ms > clock_ms())
            return;
        looking.old = tell->untold;
        looking.old_count = tell->count;
    }
    tell->news = false;
    tell->look_ms = clock_ms() + LOOK_MS;
    /* Those for whom there is no memory are found the next time. */
    if (state_each_node(tell->nms->state, look_at, &looking, NULL))
        tell->news = true;
    free(tell->untold);
    tell->untold = looking.found;
    tell->count = looking.count;
    tell->number = number;
}

static void
forget(struct tell *tell)
{
    free(TAKE(tell->untold));
    tell->count = 0;
    tell->number = 0;
    tell->news = true;
}

/* ---- telling them ---- */

/* Those that never failed come first; *soonest is when the next one is due. */
static void
choose(const struct tell *tell, struct tell_round *out, int64_t *soonest)
{
    const int64_t now = clock_ms();
    out->count = 0;
    for (int failed = 0; failed < 2; failed++)
        for (size_t i = 0; i < tell->count; i++) {
            struct untold *untold = &tell->untold[i];
            if ((untold->pause_ms > 0) != failed)
                continue;
            if (untold->due_ms <= now && out->count < TELL_ROUND)
                out->at[out->count++] = untold;
            else if (!*soonest || untold->due_ms < *soonest)
                *soonest = untold->due_ms;
        }
}

static void
note_failure(struct untold *untold)
{
    untold->pause_ms = later_longer(untold->pause_ms, PAUSE_FIRST_MS, PAUSE_MAX_MS);
    untold->due_ms = clock_ms() + later_jitter(untold->pause_ms);
}

/* One that is off or was removed is no event; one that refuses is. */
static void
say_refusal(const struct untold *untold)
{
    if (untold->pause_ms == 0 && untold->code != ST_UNAVAILABLE &&
        untold->code != ST_DEADLINE_EXCEEDED && untold->code != ST_NOT_FOUND)
        event("masters",
              "node=%s decision=%s hint=\"it hears of them at its next unlock\"",
              untold->node_id, st_code_name(untold->code));
}

static void
strike_out(struct tell *tell)
{
    size_t left = 0;
    for (size_t i = 0; i < tell->count; i++)
        if (tell->untold[i].code != ST_OK)
            tell->untold[left++] = tell->untold[i];
    tell->count = left;
}

/* Where that fails they are told once more, and say OK again. */
static enum st_code
record(struct tell *tell, const struct tell_round *round, struct st_err *err)
{
    char *ids[TELL_ROUND];
    State__MastersTold masters_told = STATE__MASTERS_TOLD__INIT;
    masters_told.number = round->number;
    masters_told.node_ids = ids;
    for (size_t i = 0; i < round->count; i++)
        if (round->at[i]->code == ST_OK)
            ids[masters_told.n_node_ids++] = round->at[i]->node_id;
    if (masters_told.n_node_ids == 0)
        return ST_OK;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_MASTERS_TOLD;
    command.masters_told = &masters_told;
    enum st_code code = nms_propose_wait(tell->nms, &command, WAIT_MS, err);
    if (!code)
        strike_out(tell);
    for (size_t i = 0; code && i < round->count; i++)
        round->at[i]->code = ST_CANCELLED;
    if (!code)
        event("masters", "number=%llu told=%zu left=%zu",
              (unsigned long long)round->number, masters_told.n_node_ids, tell->count);
    return code;
}

/* A leader that was deposed without knowing it tells nobody an old list. */
static enum st_code
call_round(struct tell *tell, struct tell_round *round, struct st_err *err)
{
    enum st_code code = replica_barrier_wait(tell->nms->replica, WAIT_MS, err);
    if (code || (code = tell_round(round, err)))
        return code;
    for (size_t i = 0; i < round->count; i++)
        if (round->at[i]->code != ST_OK && round->at[i]->code != ST_CANCELLED) {
            say_refusal(round->at[i]);
            note_failure(round->at[i]);
        }
    return record(tell, round, err);
}

/* When there is something to do again; 0: when it is woken. */
static int64_t
step(struct tell *tell)
{
    struct tell_round round = {.nms = tell->nms, .ended = is_over, .arg = tell};
    struct st_err err = {0};
    if (!leads(tell)) {
        forget(tell);
        return 0;
    }
    look(tell);
    int64_t soonest = tell->news ? tell->look_ms : 0;
    choose(tell, &round, &soonest);
    if (round.count == 0)
        return soonest;
    round.number = tell->number;
    if (call_round(tell, &round, &err))
        return clock_ms() + later_jitter(PAUSE_FIRST_MS);
    return clock_ms();
}

static void *
run(void *arg)
{
    struct tell *tell = arg;
    int64_t until_ms = 0;
    while (bell_wait(&tell->bell, until_ms, &tell->news))
        until_ms = step(tell);
    return NULL;
}

enum st_code
tell_start(struct tell *tell, struct st_err *err)
{
    return bell_start(&tell->bell, run, tell, "the nodes", err);
}

void
tell_stop(struct tell *tell)
{
    bell_stop(&tell->bell);
}
