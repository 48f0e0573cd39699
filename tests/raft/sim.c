#include "tests/raft/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t
sim_pick(struct sim *sim, uint64_t below)
{
    uint64_t x = sim->random += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return (x ^ x >> 31) % below;
}

bool
sim_chance(struct sim *sim, unsigned percent)
{
    return sim_pick(sim, 100) < percent;
}

void
sim_trace(const struct sim *sim, const struct sim_member *member, const char *what, ...)
{
    va_list arguments;
    if (!sim->trace)
        return;
    fprintf(stderr, "%8llu ", sim->now);
    if (member)
        fprintf(stderr, "m%llu t%llu %c ", member->id, member->raft.current_term,
                "UFCL"[member->raft.state]);
    va_start(arguments, what);
    vfprintf(stderr, what, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

/* ---- the events: a binary heap ---- */

static bool
before(const struct sim_event *a, const struct sim_event *b)
{
    return a->when != b->when ? a->when < b->when : a->number < b->number;
}

void
sim_push(struct sim *sim, struct sim_event event)
{
    if (sim->events_count == sim->events_max) {
        sim->events_max = sim->events_max ? 2 * sim->events_max : 256;
        sim->events = realloc(sim->events, sim->events_max * sizeof(*sim->events));
        if (!sim->events)
            abort();
    }
    event.number = sim->events_ever++;
    size_t at = sim->events_count++;
    for (; at && before(&event, &sim->events[(at - 1) / 2]); at = (at - 1) / 2)
        sim->events[at] = sim->events[(at - 1) / 2];
    sim->events[at] = event;
}

static struct sim_event
pop(struct sim *sim)
{
    struct sim_event first = sim->events[0], last = sim->events[--sim->events_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= sim->events_count)
            break;
        if (child + 1 < sim->events_count &&
            before(&sim->events[child + 1], &sim->events[child]))
            child++;
        if (!before(&sim->events[child], &last))
            break;
        sim->events[at] = sim->events[child];
        at = child;
    }
    sim->events[at] = last;
    return first;
}

/* ---- what happens ---- */

static void
tick(struct sim_member *member)
{
    struct sim *sim = member->sim;
    member->tick(&member->io);
    sim_push(sim,
             (struct sim_event){.when = sim->now + SIM_TICK_MS - 3 + sim_pick(sim, 7),
                                .kind = SIM_TICK,
                                .member = (unsigned)member->id - 1,
                                .life = member->life});
}

static void
happen(struct sim_member *member, struct sim_event *event)
{
    switch (event->kind) {
    case SIM_TICK:
        tick(member);
        break;
    case SIM_DISK:
        sim_disk_done(member);
        break;
    case SIM_SENT:
        sim_net_sent(member);
        break;
    case SIM_ARRIVAL:
        sim_net_arrive(member, event->letter);
        break;
    case SIM_WAKE:
        break;
    }
}

/* Letters find whoever lives there now; what a dead one waited for is gone. */
static void
dispatch(struct sim *sim, struct sim_event *event)
{
    struct sim_member *member = &sim->members[event->member];
    bool gone = !member->up || (!event->letter && event->life != member->life);
    if (gone) {
        sim_letter_free(event->letter);
        return;
    }
    if (member->frozen_until > sim->now) {
        event->when = member->frozen_until;
        sim_push(sim, *event);
        return;
    }
    happen(member, event);
    sim_check(member);
}

bool
sim_run(struct sim *sim, raft_time until)
{
    while (sim->events_count && !sim->failure[0] && sim->events[0].when <= until) {
        struct sim_event event = pop(sim);
        sim->now = event.when;
        if (event.kind == SIM_WAKE)
            return true;
        dispatch(sim, &event);
    }
    return false;
}

/* ---- begin and end ---- */

static void
bootstrap(struct sim *sim, unsigned voters)
{
    struct raft_configuration group;
    struct raft_buffer bytes;
    raft_configuration_init(&group);
    for (unsigned i = 0; i < voters; i++)
        if (raft_configuration_add(&group, sim->members[i].id, sim->members[i].address,
                                   RAFT_VOTER))
            abort();
    if (raft_configuration_encode(&group, &bytes))
        abort();
    for (unsigned i = 0; i < voters; i++)
        sim_disk_bootstrap(&sim->members[i], &bytes);
    raft_free(bytes.base);
    raft_configuration_close(&group);
}

struct sim *
sim_begin(uint64_t seed, unsigned voters, bool cured)
{
    struct sim *sim = calloc(1, sizeof(*sim));
    if (!sim)
        abort();
    sim->random = seed;
    sim->cured = cured;
    sim->trace = getenv("CURE_FUZZ_TRACE") != NULL;
    sim->pre_vote = !sim_chance(sim, 15);
    sim->threshold = 2 + (unsigned)sim_pick(sim, 40);
    sim->trailing = 1 + (unsigned)sim_pick(sim, 20);
    sim->delay_ms = 1 + (unsigned)sim_pick(sim, 30);
    for (unsigned i = 0; i < SIM_MEMBERS_MAX; i++) {
        struct sim_member *member = &sim->members[i];
        member->sim = sim;
        member->id = i + 1;
        snprintf(member->address, sizeof(member->address), "m%u", i + 1);
        member->disk_ms = 1 + (unsigned)sim_pick(sim, 20);
        member->disk.first = 1;
    }
    sim->n = voters;
    bootstrap(sim, voters);
    for (unsigned i = 0; i < voters; i++)
        sim_start(&sim->members[i]);
    return sim;
}

void
sim_end(struct sim *sim)
{
    for (unsigned i = 0; i < sim->n; i++)
        if (sim->members[i].up)
            sim_crash(&sim->members[i]);
    for (size_t i = 0; i < sim->events_count; i++)
        sim_letter_free(sim->events[i].letter);
    while (sim->every_entry) {
        struct sim_entry *next = sim->every_entry->next;
        free(sim->every_entry);
        sim->every_entry = next;
    }
    free(sim->events);
    free(sim->acked);
    free(sim);
}
