/* The cure, against everything at once and at random, in virtual time.
 *
 *   CURE_FUZZ_SEEDS=5000 CURE_FUZZ_FIRST=1 raft_cure_fuzz_test
 *   CURE_FUZZ_SEEDS=1 CURE_FUZZ_FIRST=17 CURE_FUZZ_TRACE=1 raft_cure_fuzz_test   one,
 * told
 */
#include "tests/cmocka.h"
#include "tests/raft/sim.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SEEDS = 150,
    UNCURED_SEEDS = 40,
    CHAOS_MS = 20000,
    CALM_MS = 90000,
    VOTERS_MAX = 5,
};

/* ---- the network ---- */

static void
heal(struct sim *sim)
{
    memset(sim->cut, 0, sizeof(sim->cut));
}

static void
isolate(struct sim *sim, unsigned a)
{
    for (unsigned b = 0; b < SIM_MEMBERS_MAX; b++)
        sim->cut[a][b] = sim->cut[b][a] = a != b;
}

static void
halve(struct sim *sim)
{
    unsigned side = (unsigned)sim_pick(sim, 1 << SIM_MEMBERS_MAX);
    for (unsigned a = 0; a < SIM_MEMBERS_MAX; a++)
        for (unsigned b = 0; b < SIM_MEMBERS_MAX; b++)
            sim->cut[a][b] = (side >> a & 1) != (side >> b & 1);
}

static void
disturb_network(struct sim *sim)
{
    unsigned a = (unsigned)sim_pick(sim, sim->n), b = (unsigned)sim_pick(sim, sim->n);
    switch (sim_pick(sim, 8)) {
    case 0:
        heal(sim);
        isolate(sim, a);
        break;
    case 1:
        halve(sim);
        break;
    case 2:
        sim->cut[a][b] = a != b; /* one way */
        break;
    case 3: /* nothing gets out, or nothing in */
        for (unsigned i = 0; i < SIM_MEMBERS_MAX; i++)
            *(sim_chance(sim, 50) ? &sim->cut[a][i] : &sim->cut[i][a]) = i != a;
        break;
    case 4:
        sim->loss_percent = (unsigned)(sim_chance(sim, 50) ? 0 : sim_pick(sim, 30));
        sim->twice_percent = (unsigned)(sim_chance(sim, 50) ? 0 : sim_pick(sim, 20));
        sim->delay_ms = 1 + (unsigned)sim_pick(sim, sim_chance(sim, 20) ? 400 : 40);
        break;
    default:
        heal(sim);
        break;
    }
}

/* ---- the members ---- */

static void
disturb_member(struct sim *sim)
{
    struct sim_member *member = &sim->members[sim_pick(sim, sim->n)];
    switch (sim_pick(sim, 6)) {
    case 0: /* a disk that is slow, or stands for seconds */
        member->disk_ms = 1 + (unsigned)sim_pick(sim, sim_chance(sim, 30) ? 4000 : 100);
        break;
    case 1:
        member->disk_ms = 1 + (unsigned)sim_pick(sim, 20);
        break;
    case 2:
        if (member->up)
            member->frozen_until = sim->now + sim_pick(sim, 4000);
        break;
    case 3: /* and it is back at once */
        if (member->up) {
            sim_crash(member);
            sim_start(member);
        }
        break;
    default:
        if (!member->up)
            sim_start(member);
        else if (sim_chance(sim, 30))
            sim_crash(member);
        break;
    }
}

static void
start_all(struct sim *sim)
{
    for (unsigned i = 0; i < sim->n; i++)
        if (!sim->members[i].up)
            sim_start(&sim->members[i]);
}

/* The lights go out, and on. */
static void
cut_power(struct sim *sim)
{
    for (unsigned i = 0; i < sim->n; i++)
        if (sim->members[i].up)
            sim_crash(&sim->members[i]);
    start_all(sim);
}

/* ---- the group ---- */

static struct sim_member *
leader(struct sim *sim)
{
    struct sim_member *found = NULL;
    for (unsigned i = 0; i < sim->n; i++) {
        struct sim_member *member = &sim->members[i];
        if (!member->up || member->raft.state != RAFT_LEADER ||
            (sim->cured && !cure_serving(&member->cure)))
            continue;
        if (!found || member->raft.current_term > found->raft.current_term)
            found = member;
    }
    return found;
}

static void
changed(struct raft_change *req, int status)
{
    struct sim_member *member = req->data;
    member->changing = false;
    member->sim->seen.changes += status == 0;
}

static void
handed_over(struct raft_transfer *req)
{
    struct sim_member *member = req->data;
    member->handing_over = false;
    member->sim->seen.transfers++;
}

static void
hand_over(struct sim_member *member)
{
    if (member->handing_over)
        return;
    member->transfer.data = member;
    member->handing_over =
        raft_transfer(
            &member->raft, &member->transfer,
            sim_chance(member->sim, 50)
                ? 0
                : member->sim->members[sim_pick(member->sim, member->sim->n)].id,
            handed_over) == 0;
}

static unsigned
voters(const struct raft_configuration *group)
{
    unsigned n = 0;
    for (unsigned i = 0; i < group->n; i++)
        n += group->servers[i].role == RAFT_VOTER;
    return n;
}

static int
change(struct sim_member *member)
{
    struct sim *sim = member->sim;
    struct raft *raft = &member->raft;
    const struct raft_configuration *group = &raft->configuration;
    if (group->n < 6 && sim->n < SIM_MEMBERS_MAX && sim_chance(sim, 35)) {
        struct sim_member *joining = sim_grow(sim);
        return raft_add(raft, &member->change, joining->id, joining->address, changed);
    }
    const struct raft_server *server = &group->servers[sim_pick(sim, group->n)];
    if (server->role != RAFT_VOTER && sim_chance(sim, 75))
        return raft_assign(raft, &member->change, server->id,
                           sim_chance(sim, 80) ? RAFT_VOTER : RAFT_STANDBY, changed);
    if (server->role == RAFT_VOTER && voters(group) == 1)
        return RAFT_BADROLE;
    if (sim_chance(sim, 30))
        return raft_assign(raft, &member->change, server->id,
                           sim_chance(sim, 50) ? RAFT_STANDBY : RAFT_SPARE, changed);
    return raft_remove(raft, &member->change, server->id, changed);
}

static void
disturb_group(struct sim *sim)
{
    struct sim_member *member = leader(sim);
    if (!member)
        return;
    if (sim_chance(sim, 30)) {
        hand_over(member);
        return;
    }
    if (member->changing || member->raft.configuration_uncommitted_index)
        return;
    member->change.data = member;
    member->changing = true;
    if (change(member))
        member->changing = false;
}

/* ---- one run ---- */

/* How often what goes wrong in this run; with little of one thing others come far. */
struct weather {
    unsigned pace_ms;
    unsigned calm; /* of so many moments one is disturbed */
    unsigned network, member, group;
};

static struct weather
forecast(struct sim *sim)
{
    return (struct weather){
        .pace_ms = 5 + (unsigned)sim_pick(sim, 200),
        .calm = 1 + (unsigned)sim_pick(sim, 12),
        .network = (unsigned)sim_pick(sim, 5),
        .member = (unsigned)sim_pick(sim, 5),
        .group = (unsigned)sim_pick(sim, 5),
    };
}

static void
disturb(struct sim *sim, const struct weather *weather)
{
    unsigned all = weather->network + weather->member + weather->group;
    unsigned what = (unsigned)sim_pick(sim, all + 1);
    if (sim_chance(sim, 1))
        cut_power(sim);
    else if (what < weather->network)
        disturb_network(sim);
    else if (what < weather->network + weather->member)
        disturb_member(sim);
    else
        disturb_group(sim);
}

static void
use(struct sim *sim, uint64_t *value)
{
    for (unsigned i = 0; i < sim->n; i++) {
        if (sim_chance(sim, 15))
            sim_read(&sim->members[i]);
        else if (sim_propose(&sim->members[i], *value))
            ++*value;
    }
}

static void
wake_after(struct sim *sim, raft_time ms)
{
    sim_push(sim, (struct sim_event){.when = sim->now + ms, .kind = SIM_WAKE});
}

static void
chaos(struct sim *sim, uint64_t *value)
{
    struct weather weather = forecast(sim);
    wake_after(sim, 1000);
    while (sim_run(sim, CHAOS_MS)) {
        use(sim, value);
        if (sim_pick(sim, weather.calm) == 0)
            disturb(sim, &weather);
        wake_after(sim, 1 + sim_pick(sim, weather.pace_ms));
    }
}

static void
stop_removed(struct sim *sim, const struct raft_configuration *group)
{
    for (unsigned i = 0; i < sim->n; i++) {
        bool in = false;
        for (unsigned j = 0; j < group->n; j++)
            in |= group->servers[j].id == sim->members[i].id;
        if (!in && sim->members[i].up)
            sim_crash(&sim->members[i]);
    }
}

/* A leader, no change that hangs, and all that keep the log have applied it to its end.
 */
static bool
is_calm(struct sim *sim)
{
    struct sim_member *first = leader(sim);
    if (!first || first->raft.configuration_uncommitted_index || first->flying)
        return false;
    const struct raft_configuration *group = &first->raft.configuration;
    stop_removed(sim, group);
    for (unsigned i = 0; i < group->n; i++) {
        struct raft *raft = &sim->members[group->servers[i].id - 1].raft;
        if (group->servers[i].role != RAFT_SPARE &&
            (raft->last_applied != raft_last_index(&first->raft) ||
             raft->current_term != first->raft.current_term))
            return false;
    }
    return true;
}

/* Everybody is back, and it goes on. */
static void
calm_down(struct sim *sim, uint64_t *value)
{
    heal(sim);
    sim->loss_percent = sim->twice_percent = 0;
    sim->delay_ms = 10;
    start_all(sim);
    for (unsigned i = 0; i < sim->n; i++)
        sim->members[i].disk_ms = 5;
    raft_time end = sim->now + CALM_MS;
    unsigned acks = sim->seen.acks;
    wake_after(sim, 1);
    while (sim_run(sim, end)) {
        if (sim->seen.acks >= acks + 3 && is_calm(sim))
            return;
        if (sim->seen.acks < acks + 3)
            use(sim, value);
        wake_after(sim, 50);
    }
    sim->stuck = !sim->failure[0];
    sim_fail(sim, "it does not go on: %u acknowledged in %d ms of calm",
             sim->seen.acks - acks, CALM_MS);
}

/* The member's machines say the same. */
static void
compare(struct sim *sim)
{
    struct sim_member *first = leader(sim);
    const struct raft_configuration *group = &first->raft.configuration;
    for (unsigned i = 0; i < group->n; i++) {
        struct sim_member *member = &sim->members[group->servers[i].id - 1];
        if (group->servers[i].role != RAFT_SPARE &&
            member->state.chain != first->state.chain)
            sim_fail(sim, "m%llu and m%llu differ in the end", member->id, first->id);
    }
}

static struct sim *
run(uint64_t seed, bool cured)
{
    struct sim *sim = sim_begin(seed, 1 + (unsigned)(seed % VOTERS_MAX), cured);
    uint64_t value = 1;
    chaos(sim, &value);
    if (!sim->failure[0])
        calm_down(sim, &value);
    if (!sim->failure[0])
        compare(sim);
    if (!sim->failure[0])
        sim_check_end(sim);
    return sim;
}

/* ---- tests ---- */

static uint64_t
number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void
add_seen(struct sim_seen *sum, const struct sim_seen *seen)
{
    sum->elections += seen->elections;
    sum->acks += seen->acks;
    sum->reads += seen->reads;
    sum->crashes += seen->crashes;
    sum->installs += seen->installs;
    sum->changes += seen->changes;
    sum->transfers += seen->transfers;
}

static void
with_the_cure_everything_holds(void **state)
{
    (void)state;
    unsigned long long first = number("CURE_FUZZ_FIRST", 1);
    unsigned long long seeds = number("CURE_FUZZ_SEEDS", SEEDS);
    struct sim_seen seen = {0};
    unsigned failures = 0;
    raft_time ms = 0;
    for (unsigned long long seed = first; seed < first + seeds; seed++) {
        struct sim *sim = run(seed, true);
        failures += sim->failure[0] != 0;
        if (sim->failure[0])
            print_error("seed %llu: %s\n  again: CURE_FUZZ_FIRST=%llu CURE_FUZZ_SEEDS=1 "
                        "CURE_FUZZ_TRACE=1 raft_cure_fuzz_test\n",
                        seed, sim->failure, seed);
        ms += sim->now;
        add_seen(&seen, &sim->seen);
        sim_end(sim);
    }
    print_message("%llu seeds, %llu s: %u elections, %u crashes, %u snapshots installed, "
                  "%u changes, %u transfers, %u writes and %u reads answered\n",
                  seeds, ms / 1000, seen.elections, seen.crashes, seen.installs,
                  seen.changes, seen.transfers, seen.acks, seen.reads);
    assert_int_equal(failures, 0);
}

/* In a process of its own: what is broken may crash. */
static int
fate_without_cure(uint64_t seed)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        alarm(20);
        const struct sim *sim = run(seed, false);
        _exit(!sim->failure[0] ? 0 : sim->stuck ? 2 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void
without_it_the_same_runs_break(void **state)
{
    (void)state;
    unsigned broken = 0, stuck = 0, crashed = 0;
    for (uint64_t seed = 1; seed <= UNCURED_SEEDS; seed++) {
        int status = fate_without_cure(seed);
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : 3;
        broken += code == 1;
        stuck += code == 2;
        crashed += code > 2;
    }
    print_message("without the cure %u of %d seeds break, %u are stuck, %u crash\n",
                  broken, UNCURED_SEEDS, stuck, crashed);
    assert_true(broken > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_the_cure_everything_holds),
        cmocka_unit_test(without_it_the_same_runs_break),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
