/* The cure in libraft's own simulator, with partitions and latencies at random.
 *
 *   CURE_FUZZ_SEEDS=5000 CURE_FUZZ_FIRST=1 raft_cure_fixture_test
 */
#include "tests/cmocka.h"
#include "tests/raft/cluster.h"

#include <stdlib.h>

enum {
    SEEDS = 30,
    STEPS = 2500,
};

static unsigned
pick(uint64_t *seed, unsigned below)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(*seed >> 33) % below;
}

static void
heal(struct cluster *c)
{
    for (unsigned a = 0; a < 3; a++)
        for (unsigned b = 0; b < 3; b++)
            if (a != b)
                raft_fixture_desaturate(&c->fixture, a, b);
}

static void
disturb(struct cluster *c, uint64_t *seed)
{
    unsigned a = pick(seed, 3), b = (a + 1 + pick(seed, 2)) % 3;
    switch (pick(seed, 8)) {
    case 0:
    case 1:
        heal(c);
        cluster_isolate(c, a);
        break;
    case 2:
        raft_fixture_saturate(&c->fixture, a, b);
        break;
    case 3:
    case 4:
        heal(c);
        break;
    case 5:
        raft_fixture_set_disk_latency(&c->fixture, a, 1 + pick(seed, 100));
        break;
    case 6:
        raft_fixture_set_network_latency(&c->fixture, a, 1 + pick(seed, 60));
        break;
    default:
        raft_fixture_set_randomized_election_timeout(&c->fixture, a,
                                                     200 + pick(seed, 400));
        break;
    }
}

/* How often something was applied differently, or committed without a majority. */
static unsigned
faults_of(uint64_t seed, bool cured, raft_index *progress)
{
    struct cluster *c = cluster_begin(3, 3, cured);
    uint64_t value = 1;
    unsigned faults = 0;
    for (unsigned i = 0; i < 3; i++) {
        raft_set_election_timeout(cluster_member(c, i), 200);
        raft_fixture_set_randomized_election_timeout(&c->fixture, i, 200 + 150 * i);
    }
    assert_int_equal(raft_fixture_start(&c->fixture), 0);
    for (int step = 0; step < STEPS; step++) {
        raft_fixture_step(&c->fixture);
        if (pick(&seed, 40) == 0)
            disturb(c, &seed);
        if (pick(&seed, 12) == 0)
            for (unsigned i = 0; i < 3; i++)
                cluster_propose(c, i, value++);
        faults += cluster_commits_alone(c);
    }
    faults += c->contradictions;
    for (unsigned i = 0; i < 3; i++)
        if (cluster_member(c, i)->commit_index > *progress)
            *progress = cluster_member(c, i)->commit_index;
    cluster_end(c);
    return faults;
}

static uint64_t
number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void
behind_the_cure_random_partitions_break_nothing(void **state)
{
    (void)state;
    uint64_t first = number("CURE_FUZZ_FIRST", 1);
    uint64_t seeds = number("CURE_FUZZ_SEEDS", SEEDS);
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        raft_index progress = 0;
        unsigned faults = faults_of(seed, true, &progress);
        if (faults || progress <= 5)
            fail_msg("%u faults, %llu committed; again: CURE_FUZZ_FIRST=%llu "
                     "CURE_FUZZ_SEEDS=1 raft_cure_fixture_test",
                     faults, progress, (unsigned long long)seed);
    }
}

static void
without_it_the_same_runs_break(void **state)
{
    (void)state;
    unsigned uncured = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        raft_index progress = 0;
        uncured += faults_of(seed, false, &progress) > 0;
    }
    print_message("without the cure %u of %d seeds break\n", uncured, SEEDS);
    assert_true(uncured > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behind_the_cure_random_partitions_break_nothing),
        cmocka_unit_test(without_it_the_same_runs_break),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
