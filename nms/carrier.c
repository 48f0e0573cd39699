#include "nms/admin_file.h"
#include "nms/bell.h"
#include "nms/carrier_internal.h"
#include "nms/later.h"
#include "nms/places.h"
#include "proto/clock.h"
#include "proto/event.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    PAUSE_FIRST_MS = 500, /* after a failed step, doubled each time */
    PAUSE_MAX_MS = 15000,
    MOVES_MS = 10000,     /* between two changes of where masters are */
    ADMIN_FILE_MS = 5000, /* between two looks for one */
    LEADERLESS_MS = 3000, /* longer than an election of those that can have one */
};

/* After a step that failed: when it is tried again.  Of one member, or of the list. */
struct pause {
    uint64_t id;
    uint32_t ms; /* 0: none */
    int64_t until_ms;
    enum members_step taken; /* the last one, where it was well */
};

struct carrier {
    struct nms *nms;
    struct bell bell;
    /* The thread's own. */
    bool said_leaving, said_leaderless;
    uint64_t leader;       /* the last that was said */
    int64_t leaderless_ms; /* when it is said that nobody leads; 0: somebody does */
    uint64_t crl_number;
    struct pause crl;
    struct pause members[REPLICA_MEMBERS_MAX];
    struct pause unrecorded; /* of one that has no record */
    struct pause moves, admin;
    struct admin_file admin_file;
    struct places places;
    bool said_clash;
};

enum st_code
carrier_new(struct nms *nms, const struct nms_config *config, const struct self *self,
            uint64_t crl_number, struct carrier **out, struct st_err *err)
{
    struct carrier *carrier = calloc(1, sizeof(*carrier));
    if (!carrier)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory");
    carrier->nms = nms;
    carrier->crl_number = crl_number;
    places_begin(&carrier->places, config, self);
    bell_init(&carrier->bell);
    *out = carrier;
    return ST_OK;
}

void
carrier_free(struct carrier *carrier)
{
    if (!carrier)
        return;
    bell_end(&carrier->bell);
    free(carrier);
}

void
carrier_wake(struct carrier *carrier)
{
    bell_ring(&carrier->bell);
}

static void
pause_set(struct pause *pause, bool wanted)
{
    if (!wanted) {
        pause->ms = 0;
        return;
    }
    pause->ms = later_longer(pause->ms, PAUSE_FIRST_MS, PAUSE_MAX_MS);
    pause->until_ms = clock_ms() + later_jitter(pause->ms);
}

/* True where it is not to be tried yet; *soonest becomes when it is, if that is sooner.
 */
static bool
is_paused(const struct pause *pause, int64_t *soonest)
{
    if (!pause->ms || pause->until_ms <= clock_ms())
        return false;
    if (!*soonest || pause->until_ms < *soonest)
        *soonest = pause->until_ms;
    return true;
}

/* Not after a failure, but because it is done every so often. */
static void
pause_for(struct pause *pause, uint32_t ms, int64_t *soonest)
{
    pause->ms = ms;
    pause->until_ms = clock_ms() + ms;
    (void)is_paused(pause, soonest);
}

/* The place of this member: there are as many as records, and ids come only once, so
 * that of one that is gone is taken over. */
static struct pause *
pause_of(struct carrier *carrier, const struct members *members, uint64_t id)
{
    struct pause *place = &carrier->unrecorded;
    const bool recorded = members_find(members, id);
    for (size_t i = 0; i < REPLICA_MEMBERS_MAX && recorded; i++) {
        struct pause *pause = &carrier->members[i];
        if (pause->id == id)
            return pause;
        if (!members_find(members, pause->id))
            place = pause;
    }
    if (place->id != id)
        *place = (struct pause){.id = id};
    return place;
}

/* What was done is for the audit; what has yet to be done is tried again. */
static void
say(struct nms *nms, const struct member *member, enum members_step step,
    const struct st_err *err)
{
    struct audit_line line;
    const unsigned long long id = member->id;
    const char *word = members_step_word(step);
    if (err->code) {
        event("master", "member=%llu step=%s decision=%s reason=\"%s\" hint=\"%s\"", id,
              word, st_code_name(err->code), err->text, members_step_hint(step));
        return;
    }
    audit_line_fill(&line, "master", *member->node_id ? member->node_id : member->name,
                    NULL, err);
    line.member = member->id;
    snprintf(line.step, sizeof(line.step), "%s", word);
    nms_decided(nms, AUDIT_CHANGE, &line);
}

/* True where a step was taken, so that there may be another. */
static bool
carry_on(struct carrier *carrier, const struct carrier_view *view,
         const struct member *member, int64_t *soonest)
{
    struct st_err err = {0};
    const struct members_facts facts = carrier_facts(carrier->nms, view, member);
    const enum members_step step = members_next(&facts);
    struct pause *pause = pause_of(carrier, &view->members, member->id);
    if (step == MEMBERS_NOTHING || is_paused(pause, soonest))
        return false;
    if (!carrier_take(carrier->nms, member, step, &err))
        err.code = ST_OK;
    say(carrier->nms, member, step, &err);
    /* What was well and is wanted again is not visible yet: no reason to be in a hurry.
     */
    pause_set(pause, err.code || pause->taken == step);
    pause->taken = err.code ? MEMBERS_NOTHING : step;
    return !is_paused(pause, soonest);
}

/* One step for each member that has one; each by what is so after the step before. */
static bool
carry_all_on(struct carrier *carrier, int64_t *soonest)
{
    struct carrier_view view;
    struct member member;
    bool any = false;
    carrier_view_read(carrier->nms, &view);
    for (size_t i = 0; carrier_view_member(carrier->nms, &view, i, &member); i++) {
        if (!view.status.serving || carrier->bell.stopping)
            return false;
        any |= carry_on(carrier, &view, &member, soonest);
        carrier_view_read(carrier->nms, &view);
    }
    return any;
}

static void
pass_list_on(struct carrier *carrier, int64_t *soonest)
{
    struct st_err err = {0};
    if (is_paused(&carrier->crl, soonest))
        return;
    if (carrier_crl(carrier->nms, &carrier->crl_number, &err))
        event("crl", "decision=%s reason=\"%s\"", st_code_name(err.code), err.text);
    else
        err.code = ST_OK;
    pause_set(&carrier->crl, err.code != ST_OK);
    (void)is_paused(&carrier->crl, soonest);
}

void
carrier_tell_places(struct carrier *carrier)
{
    places_tell(&carrier->places, carrier->nms);
}

/* One master has the address that another one had, who is not there to say where it is.
 */
static void
say_clash(struct carrier *carrier, uint64_t id)
{
    if (id && !carrier->said_clash)
        event("master",
              "member=%llu step=move decision=wait reason=\"another master is recorded "
              "where this one is\" hint=\"start that one, or remove it\"",
              (unsigned long long)id);
    carrier->said_clash = id != 0;
}

static void
say_moves(struct nms *nms, const struct self_place *moved, size_t count)
{
    struct audit_line line;
    const struct st_err ok = {0};
    char address[ADDRESS_TEXT_MAX];
    for (size_t i = 0; i < count; i++) {
        address_format_port(&moved[i].address, PORT_CONSENSUS, address);
        audit_line_fill(&line, "master", NULL, address, &ok);
        line.member = moved[i].id;
        snprintf(line.step, sizeof(line.step), "move");
        nms_decided(nms, AUDIT_CHANGE, &line);
    }
}

/* By the leader: what the masters say of themselves becomes what the records say. */
static void
record_moves(struct carrier *carrier, int64_t *soonest)
{
    struct self_place moved[REPLICA_MEMBERS_MAX];
    struct replica_status status;
    struct st_err err = {0};
    uint64_t clash;
    replica_status(carrier->nms->replica, &status);
    if (!status.serving || is_paused(&carrier->moves, soonest))
        return;
    const size_t count = places_moved(carrier->nms, moved, &clash);
    say_clash(carrier, clash);
    carrier->moves.ms = 0;
    if (count == 0)
        return;
    if (!places_propose(carrier->nms, moved, count, &err))
        say_moves(carrier->nms, moved, count);
    else
        event("master", "step=move decision=%s reason=\"%s\"", st_code_name(err.code),
              err.text);
    pause_for(&carrier->moves, MOVES_MS, soonest);
}

static void
look_for_admin(struct carrier *carrier, int64_t *soonest)
{
    if (is_paused(&carrier->admin, soonest))
        return;
    admin_file_look(&carrier->admin_file, carrier->nms, CARRIER_STEP_MS);
    pause_for(&carrier->admin, ADMIN_FILE_MS, soonest);
}

/* It may be the last that this master hears of the others. */
static void
say_leaving(struct carrier *carrier)
{
    AUTO(state_member_freep) State__Member *member = NULL;
    const unsigned long long id = carrier->nms->member_id;
    if (carrier->said_leaving || state_member(carrier->nms->state, id, &member, NULL) ||
        member->phase != STATE__PHASE__LEAVING)
        return;
    carrier->said_leaving = true;
    event("leaving",
          "member=%llu reason=\"an administrator removed this master\" "
          "hint=\"it ends when the others have let it go; then its folder may go, too\"",
          id);
}

static void
say_leaderless(struct carrier *carrier)
{
    struct replica_member group[REPLICA_MEMBERS_MAX];
    const unsigned count = replica_members(carrier->nms->replica, group);
    unsigned connected = 0;
    char why[MEMBERS_APART_MAX];
    for (unsigned i = 0; i < count; i++)
        connected += group[i].connected;
    members_apart(group, count, 0, why);
    event("leader",
          "member=none connected=%u of=%u reason=\"no majority of the masters is in "
          "touch with this one: it decides nothing%s\" hint=\"do the others run, and is "
          "port 7834 open between them?\"",
          connected, count, why);
}

/* Whom the others of this log speak of; nobody only where that lasts. */
static void
say_leader(struct carrier *carrier, int64_t *soonest)
{
    struct replica_status status;
    replica_status(carrier->nms->replica, &status);
    if (status.leader_id) {
        if (status.leader_id != carrier->leader || carrier->said_leaderless)
            event("leader", "member=%llu term=%llu", (unsigned long long)status.leader_id,
                  (unsigned long long)status.term);
        carrier->leader = status.leader_id;
        carrier->said_leaderless = false;
        carrier->leaderless_ms = 0;
        return;
    }
    if (carrier->said_leaderless)
        return;
    if (!carrier->leaderless_ms)
        carrier->leaderless_ms = clock_ms() + LEADERLESS_MS;
    carrier->said_leaderless = carrier->leaderless_ms <= clock_ms();
    if (carrier->said_leaderless)
        say_leaderless(carrier);
    else if (!*soonest || carrier->leaderless_ms < *soonest)
        *soonest = carrier->leaderless_ms;
}

static void *
run(void *arg)
{
    struct carrier *carrier = arg;
    int64_t soonest = 0;
    while (bell_wait(&carrier->bell, soonest, NULL)) {
        say_leaving(carrier);
        places_settle(&carrier->places, carrier->nms);
        carrier_tell_places(carrier);
        do {
            soonest = 0;
            say_leader(carrier, &soonest);
            pass_list_on(carrier, &soonest);
            record_moves(carrier, &soonest);
            look_for_admin(carrier, &soonest);
        } while (carry_all_on(carrier, &soonest));
    }
    return NULL;
}

enum st_code
carrier_start(struct carrier *carrier, struct st_err *err)
{
    return bell_start(&carrier->bell, run, carrier, "the members", err);
}

void
carrier_stop(struct carrier *carrier)
{
    bell_stop(&carrier->bell);
}
