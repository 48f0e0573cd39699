#include "nms/keeper_internal.h"
#include "nms/later.h"
#include "proto/event.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    PAUSE_FIRST_MS = 500, /* after a failed step, doubled each time */
    PAUSE_MAX_MS = 15000,
};

/* After a step that failed: when it is tried again.  Of one member, or of the list. */
struct pause {
    uint64_t id;
    uint32_t ms; /* 0: none */
    int64_t until_ms;
    enum members_step taken; /* the last one, where it was well */
};

struct keeper {
    struct nms *nms;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* guards the two below */
    pthread_cond_t changed;
    bool woken, stopping;
    /* The thread's own. */
    uint64_t crl_number;
    struct pause crl;
    struct pause members[REPLICA_MEMBERS_MAX];
};

enum st_code
keeper_new(struct nms *nms, uint64_t crl_number, struct keeper **out, struct st_err *err)
{
    pthread_condattr_t clock;
    struct keeper *keeper = calloc(1, sizeof(*keeper));
    if (!keeper)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory");
    keeper->nms = nms;
    keeper->crl_number = crl_number;
    keeper->woken = true;
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&keeper->changed, &clock);
    pthread_condattr_destroy(&clock);
    *out = keeper;
    return ST_OK;
}

void
keeper_free(struct keeper *keeper)
{
    if (!keeper)
        return;
    pthread_cond_destroy(&keeper->changed);
    pthread_mutex_destroy(&keeper->lock);
    free(keeper);
}

void
keeper_wake(struct keeper *keeper)
{
    pthread_mutex_lock(&keeper->lock);
    keeper->woken = true;
    pthread_cond_signal(&keeper->changed);
    pthread_mutex_unlock(&keeper->lock);
}

static bool
is_stopping(struct keeper *keeper)
{
    pthread_mutex_lock(&keeper->lock);
    const bool stopping = keeper->stopping;
    pthread_mutex_unlock(&keeper->lock);
    return stopping;
}

/* Until somebody wakes it or `until_ms` has come (0: never); false where it is to stop.
 */
static bool
wait_until(struct keeper *keeper, int64_t until_ms)
{
    const struct timespec until = {until_ms / 1000, until_ms % 1000 * 1000000};
    int late = 0;
    pthread_mutex_lock(&keeper->lock);
    while (!keeper->woken && !keeper->stopping && !late)
        late = until_ms ? pthread_cond_timedwait(&keeper->changed, &keeper->lock, &until)
                        : pthread_cond_wait(&keeper->changed, &keeper->lock);
    keeper->woken = false;
    const bool going = !keeper->stopping;
    pthread_mutex_unlock(&keeper->lock);
    return going;
}

static void
pause_set(struct pause *pause, bool wanted)
{
    if (!wanted) {
        pause->ms = 0;
        return;
    }
    pause->ms = pause->ms ? 2 * pause->ms : PAUSE_FIRST_MS;
    if (pause->ms > PAUSE_MAX_MS)
        pause->ms = PAUSE_MAX_MS;
    pause->until_ms = later_now_ms() + later_jitter(pause->ms);
}

/* True where it is not to be tried yet; *soonest becomes when it is, if that is sooner.
 */
static bool
is_paused(const struct pause *pause, int64_t *soonest)
{
    if (!pause->ms || pause->until_ms <= later_now_ms())
        return false;
    if (!*soonest || pause->until_ms < *soonest)
        *soonest = pause->until_ms;
    return true;
}

/* The place of this member: there are as many as members, and ids come only once, so
 * that of one that is gone is taken over. */
static struct pause *
pause_of(struct keeper *keeper, const struct members *members, uint64_t id)
{
    struct pause *free_place = NULL;
    for (size_t i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        struct pause *pause = &keeper->members[i];
        if (pause->id == id)
            return pause;
        if (!members_find(members, pause->id))
            free_place = pause;
    }
    *free_place = (struct pause){.id = id};
    return free_place;
}

static struct members_facts
facts_of(const struct nms *nms, const struct member *member)
{
    struct replica_member group[REPLICA_MEMBERS_MAX];
    const unsigned count = replica_members(nms->replica, group);
    struct members_facts facts = {
        .phase = member->phase,
        .is_node = *member->node_id != 0,
        .is_me = member->id == nms->member_id,
    };
    for (unsigned i = 0; i < count; i++)
        if (group[i].id == member->id) {
            facts.in_group = true;
            facts.role = group[i].role;
            facts.connected = group[i].connected;
        }
    return facts;
}

static void
say(const struct member *member, enum members_step step, const struct st_err *err)
{
    const unsigned long long id = member->id;
    const char *word = members_step_word(step);
    if (err->code)
        event("master", "member=%llu step=%s decision=%s reason=\"%s\" hint=\"%s?\"", id,
              word, st_code_name(err->code), err->text, members_step_hint(step));
    else
        event("master", "member=%llu step=%s decision=OK", id, word);
}

/* True where a step was taken, so that there may be another. */
static bool
carry_on(struct keeper *keeper, const struct members *members,
         const struct member *member, int64_t *soonest)
{
    struct st_err err = {0};
    const struct members_facts facts = facts_of(keeper->nms, member);
    const enum members_step step = members_next(&facts);
    struct pause *pause = pause_of(keeper, members, member->id);
    if (step == MEMBERS_NOTHING || is_paused(pause, soonest))
        return false;
    if (!keeper_take(keeper->nms, member, step, &err))
        err.code = ST_OK;
    say(member, step, &err);
    /* What was well and is wanted again is not visible yet: no reason to be in a hurry.
     */
    pause_set(pause, err.code || pause->taken == step);
    pause->taken = err.code ? MEMBERS_NOTHING : step;
    return !is_paused(pause, soonest);
}

/* One step for each member that has one. */
static bool
carry_all_on(struct keeper *keeper, int64_t *soonest)
{
    struct members members;
    bool any = false;
    members_read(keeper->nms->state, &members);
    for (size_t i = 0; i < members.count; i++) {
        struct replica_status status;
        replica_status(keeper->nms->replica, &status);
        if (!status.serving || is_stopping(keeper))
            return false;
        any |= carry_on(keeper, &members, &members.at[i], soonest);
    }
    return any;
}

static void
pass_list_on(struct keeper *keeper, int64_t *soonest)
{
    struct st_err err = {0};
    if (is_paused(&keeper->crl, soonest))
        return;
    if (keeper_crl(keeper->nms, &keeper->crl_number, &err))
        event("crl", "decision=%s reason=\"%s\"", st_code_name(err.code), err.text);
    else
        err.code = ST_OK;
    pause_set(&keeper->crl, err.code != ST_OK);
    (void)is_paused(&keeper->crl, soonest);
}

static void *
run(void *arg)
{
    struct keeper *keeper = arg;
    int64_t soonest = 0;
    while (wait_until(keeper, soonest)) {
        do {
            soonest = 0;
            pass_list_on(keeper, &soonest);
        } while (carry_all_on(keeper, &soonest));
    }
    return NULL;
}

enum st_code
keeper_start(struct keeper *keeper, struct st_err *err)
{
    if (pthread_create(&keeper->thread, NULL, run, keeper))
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no thread for the members");
    keeper->started = true;
    return ST_OK;
}

void
keeper_stop(struct keeper *keeper)
{
    if (!keeper->started)
        return;
    pthread_mutex_lock(&keeper->lock);
    keeper->stopping = true;
    pthread_cond_signal(&keeper->changed);
    pthread_mutex_unlock(&keeper->lock);
    pthread_join(keeper->thread, NULL);
    keeper->started = false;
}
