/* How often a network may begin, and what a crowd of networks takes from others. */
#include "proto/gate.h"
#include "tests/cmocka.h"

enum {
    NOW = 1000000,
    BURST = 10,
    REFILL_MS = 100,
    STRANGER = 1 << 20,
};

static struct gate *
new_gate(void)
{
    static struct gate gate;
    gate = (struct gate){.burst = BURST, .refill_ms = REFILL_MS};
    return &gate;
}

static unsigned
passes(struct gate *gate, uint64_t network, unsigned tries, uint64_t now)
{
    unsigned passed = 0;
    for (unsigned i = 0; i < tries; i++)
        passed += gate_pass(gate, network, now);
    return passed;
}

/* So many networks, each so often; how many of all these began. */
static unsigned
crowd(struct gate *gate, unsigned networks, unsigned tries, uint64_t now)
{
    unsigned passed = 0;
    for (unsigned i = 0; i < networks; i++)
        passed += passes(gate, i + 1, tries, now);
    return passed;
}

static void
N45_a_network_has_a_burst_and_then_one_at_a_time(void **state)
{
    (void)state;
    struct gate *gate = new_gate();
    assert_int_equal(passes(gate, 7, 1000, NOW), BURST);
    assert_int_equal(passes(gate, 7, 1000, NOW + REFILL_MS - 1), 0);
    assert_int_equal(passes(gate, 7, 1000, NOW + REFILL_MS), 1);
    assert_int_equal(passes(gate, 7, 1000, NOW + 4 * REFILL_MS), 3);
    assert_int_equal(passes(gate, 7, 1000, NOW + 1000 * REFILL_MS), BURST);
}

/* Who is turned away comes no later for having asked. */
static void
asking_in_vain_costs_nothing(void **state)
{
    (void)state;
    struct gate *gate = new_gate();
    passes(gate, 7, 100000, NOW);
    assert_int_equal(passes(gate, 7, 1000, NOW + BURST * REFILL_MS), BURST);
}

static void
N45_a_crowd_is_not_in_the_way_of_another_network(void **state)
{
    (void)state;
    struct gate *gate = new_gate();
    const unsigned all = GATE_NETWORKS - 1;
    assert_int_equal(crowd(gate, all, 2 * BURST, NOW), all * BURST);
    assert_int_equal(passes(gate, STRANGER, 1000, NOW), BURST);
}

static void
N45_more_networks_than_places_begin_no_more_than_these_would(void **state)
{
    (void)state;
    struct gate *gate = new_gate();
    const unsigned all = GATE_NETWORKS * BURST;
    assert_int_equal(crowd(gate, 3 * GATE_NETWORKS, 2 * BURST, NOW), all);
    assert_int_equal(passes(gate, STRANGER, 1, NOW), 0);
    /* Nor one after the other, each of them once. */
    unsigned passed = 0;
    for (unsigned ms = 10; ms <= 10 * REFILL_MS; ms += 10)
        passed += crowd(gate, 3 * GATE_NETWORKS, 1, NOW + ms);
    assert_int_equal(passed, 10 * GATE_NETWORKS);
}

static void
a_place_is_had_again_once_nothing_is_owed(void **state)
{
    (void)state;
    struct gate *gate = new_gate();
    crowd(gate, 3 * GATE_NETWORKS, 2 * BURST, NOW);
    const uint64_t later = NOW + BURST * REFILL_MS;
    assert_int_equal(passes(gate, STRANGER, 1000, later), BURST);
    assert_int_equal(passes(gate, 1, 1000, later), BURST);
    assert_int_equal(passes(gate, STRANGER, 1000, later), 0);
}

static void
who_comes_besides_has_what_is_left_to_who_used_least(void **state)
{
    (void)state;
    struct gate *gate = new_gate();
    crowd(gate, GATE_NETWORKS, 4, NOW);
    assert_int_equal(passes(gate, STRANGER, 1000, NOW), BURST - 4);
}

static void
N45_what_is_said_of_it_is_one_number_a_minute(void **state)
{
    (void)state;
    struct gate *gate = new_gate();
    assert_int_equal(gate_say(gate, NOW), 0);
    passes(gate, 7, BURST, NOW);
    assert_int_equal(gate_say(gate, NOW), 0);
    passes(gate, 7, 5, NOW);
    assert_int_equal(gate_say(gate, NOW), 5); /* the first at once */
    assert_int_equal(gate_say(gate, NOW + GATE_SAY_MS), 0);
    passes(gate, 7, 2, NOW + 1);
    assert_int_equal(gate_say(gate, NOW + GATE_SAY_MS - 1), 0);
    assert_int_equal(gate_say(gate, NOW + GATE_SAY_MS), 2);
    assert_int_equal(gate_say(gate, NOW + 2 * GATE_SAY_MS), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(N45_a_network_has_a_burst_and_then_one_at_a_time),
        cmocka_unit_test(asking_in_vain_costs_nothing),
        cmocka_unit_test(N45_a_crowd_is_not_in_the_way_of_another_network),
        cmocka_unit_test(N45_more_networks_than_places_begin_no_more_than_these_would),
        cmocka_unit_test(a_place_is_had_again_once_nothing_is_owed),
        cmocka_unit_test(who_comes_besides_has_what_is_left_to_who_used_least),
        cmocka_unit_test(N45_what_is_said_of_it_is_one_number_a_minute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
