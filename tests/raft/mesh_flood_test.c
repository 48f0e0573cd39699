/* Strangers who dial a member again and again: they are closed before TLS begins, and no
 * member waits for that. */
#include "raft/mesh_internal.h"
#include "tests/cmocka.h"
#include "tests/raft/net.h"
#include "tests/raft/stranger.h"

#include <stdio.h>
#include <string.h>

enum {
    /* More than may come, also where each takes a third of a second. */
    FLOOD = 4 * MESH_STRANGER_BURST,
    OFTEN = 2 * MESH_STRANGER_BURST,
};

static const char stranger[] = "127.9.9.1", elsewhere[] = "127.9.9.2";

/* One connection after the other from the same source. */
struct flood {
    struct stranger_config config;
    unsigned count;
    unsigned came, answered, greeted;
};

static void
one_of_many(struct flood *flood)
{
    struct stranger *one = stranger_connect(&flood->config);
    flood->came += one != NULL;
    if (!one)
        return;
    if (flood->config.issued)
        flood->greeted += stranger_shake(one) && stranger_greet(one, 2, 1);
    else
        flood->answered += stranger_shake_half(one) && !stranger_has_closed(one);
    stranger_end(one);
}

static void
many(void *arg)
{
    struct flood *flood = arg;
    for (unsigned i = 0; i < flood->count; i++)
        one_of_many(flood);
}

static struct flood
strangers(const struct net *net, unsigned count)
{
    return (struct flood){
        .config = {.address = net->members[0].address, .source = stranger},
        .count = count};
}

/* With the certificate of member 2. */
static struct flood
second_member(const struct net *net, const char *source, unsigned count)
{
    return (struct flood){.config = {.address = net->members[0].address,
                                     .source = source,
                                     .issued = &net->members[1].issued},
                          .count = count};
}

/* Member 1 listens and follows member 2, which is not there. */
static struct net *
one_of_two(char out_second[REPLICA_ADDRESS_MAX])
{
    static const uint64_t ids[] = {1, 2};
    struct net *net = net_new(2);
    net_close(&net->members[1]);
    net_follow(net, &net->members[0], ids, 2);
    snprintf(out_second, REPLICA_ADDRESS_MAX, "%s", net->members[1].address);
    *strrchr(out_second, ':') = 0;
    return net;
}

static void
N45_a_flood_of_strangers_is_closed_unheard_and_a_member_connects(void **state)
{
    (void)state;
    char second[REPLICA_ADDRESS_MAX];
    struct net *net = one_of_two(second);
    struct flood flood = strangers(net, FLOOD);
    net_meanwhile(net, many, &flood);
    assert_int_equal(flood.came, FLOOD);
    assert_in_range(flood.answered, MESH_STRANGER_BURST, FLOOD - 1);

    struct flood member = second_member(net, second, 1);
    net_meanwhile(net, many, &member);
    assert_int_equal(member.greeted, 1);
    struct flood moved = second_member(net, elsewhere, 1);
    net_meanwhile(net, many, &moved);
    assert_int_equal(moved.greeted, 1);

    /* It is said, and not for each of them. */
    NET_UNTIL(net, net->members[0].turned_away > 0);
    assert_in_range(net->members[0].turned_away, 1, FLOOD - flood.answered);
    assert_string_equal(net->members[0].turned_away_last, stranger);
    net_end(net);
}

static bool
is_known(const struct net *net, const char *host)
{
    struct st_address address;
    struct st_err err = {0};
    assert_ok(address_parse(host, &address, &err));
    return mesh_peer_is_at(net->members[0].mesh, &address);
}

static void
a_member_may_come_as_often_as_it_likes(void **state)
{
    (void)state;
    char second[REPLICA_ADDRESS_MAX];
    struct net *net = one_of_two(second);
    struct flood member = second_member(net, second, OFTEN);
    net_meanwhile(net, many, &member);
    assert_int_equal(member.greeted, OFTEN);

    /* Also from another address, once it has shown its certificate there ... */
    struct flood moved = second_member(net, elsewhere, OFTEN);
    net_meanwhile(net, many, &moved);
    assert_int_equal(moved.greeted, OFTEN);
    assert_int_equal(net->members[0].turned_away, 0);
    assert_true(is_known(net, second) && is_known(net, elsewhere));
    assert_false(is_known(net, stranger));

    /* ... for as long as it is a member. */
    static const uint64_t alone[] = {1};
    net_follow(net, &net->members[0], alone, 1);
    assert_false(is_known(net, second) || is_known(net, elsewhere));
    net_end(net);
}

/* ---- while a member shakes hands ---- */

struct race {
    struct stranger_config member;
    struct stranger_config silent;
    unsigned came;
    bool greeted;
};

/* More silent ones than may be there, from as many networks as that takes, come while a
 * member is half way through. */
static void
crowd_meanwhile(void *arg)
{
    enum {
        COUNT = 2 * MESH_UNKNOWN_MAX
    };
    struct race *race = arg;
    struct stranger *silent[COUNT] = {0};
    struct stranger *member = stranger_connect(&race->member);
    bool begun = member && stranger_shake_half(member);
    for (unsigned i = 0; i < COUNT; i++) {
        char source[32];
        snprintf(source, sizeof(source), "127.9.9.%u", 1 + i / 8);
        race->silent.source = source;
        silent[i] = stranger_connect(&race->silent);
        race->came += silent[i] != NULL;
    }
    race->greeted = begun && stranger_shake(member) && stranger_greet(member, 2, 1);
    for (unsigned i = 0; i < COUNT; i++)
        stranger_end(silent[i]);
    stranger_end(member);
}

static void
N45_a_member_at_its_address_makes_no_room_for_strangers(void **state)
{
    (void)state;
    char second[REPLICA_ADDRESS_MAX];
    struct net *net = one_of_two(second);
    struct race race = {.silent.address = net->members[0].address,
                        .member = {.address = net->members[0].address,
                                   .source = second,
                                   .issued = &net->members[1].issued}};
    net_meanwhile(net, crowd_meanwhile, &race);
    assert_int_equal(race.came, 2 * MESH_UNKNOWN_MAX);
    assert_true(race.greeted);
    net_end(net);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            N45_a_flood_of_strangers_is_closed_unheard_and_a_member_connects),
        cmocka_unit_test(a_member_may_come_as_often_as_it_likes),
        cmocka_unit_test(N45_a_member_at_its_address_makes_no_room_for_strangers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
