/* The peer link finds members that are not where the group says: by what it was told, and
 * by their own word; and speaks to nobody else who answers there. */
#include "tests/cmocka.h"
#include "tests/raft/net.h"

#include <stdio.h>
#include <string.h>

/* Nobody listens there: of the test's own network, and beyond the addresses of net.c. */
static struct replica_place
nowhere(const struct net_member *member, unsigned n)
{
    struct replica_place place = {.id = member->id};
    snprintf(place.address, sizeof(place.address), "127.0.%u.%u:7834", 3 + n, 7 + n);
    return place;
}

static struct replica_place
place_of(const struct net_member *member, const char *address)
{
    struct replica_place place = {.id = member->id};
    snprintf(place.address, sizeof(place.address), "%s", address);
    return place;
}

static void
follow_at(struct net_member *member, uint64_t id, const char *address)
{
    struct raft_configuration members;
    raft_configuration_init(&members);
    assert_int_equal(raft_configuration_add(&members, id, address, RAFT_VOTER), 0);
    mesh_follow(member->mesh, &members);
    raft_configuration_close(&members);
}

/* Comes back with another start, at the address that another one of the net had. */
static void
come_back_at(struct net_member *member, const char *address)
{
    net_close(member);
    member->boot++;
    snprintf(member->address, sizeof(member->address), "%s", address);
    net_open(member);
}

static void
a_member_is_found_at_any_of_the_places_that_were_told(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    const struct replica_place places[] = {nowhere(b, 0), nowhere(b, 1),
                                           place_of(b, b->address), nowhere(b, 2)};
    follow_at(a, b->id, "127.0.9.9:7834");
    NET_UNTIL(net, mesh_trouble(a->mesh)->code != ST_OK);
    assert_non_null(strstr(mesh_trouble(a->mesh)->text, "127.0.9.9:7834"));
    assert_string_equal(mesh_says(a->mesh, b->id), "");
    mesh_set_places(a->mesh, places, 4);
    NET_UNTIL(net, mesh_connected(a->mesh, b->id));
    assert_string_equal(mesh_says(a->mesh, b->id), b->address);
    net_end(net);
}

static void
N54_who_answers_at_a_place_and_is_another_is_passed_over(void **state)
{
    (void)state;
    struct net *net = net_new(3);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    struct net_member *c = &net->members[2];
    const struct replica_place places[] = {
        place_of(b, c->address), place_of(b, a->address), place_of(b, b->address)};
    follow_at(a, b->id, c->address);
    mesh_set_places(a->mesh, places, 3);
    NET_UNTIL(net, mesh_connected(a->mesh, b->id));
    assert_int_equal(c->admitted, 0);
    assert_false(mesh_connected(a->mesh, c->id));
    net_end(net);
}

static void
places_that_nobody_can_dial_do_no_harm(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    const struct replica_place places[] = {place_of(b, ""), place_of(b, "x"),
                                           place_of(b, "127.0.0.1:0"),
                                           place_of(b, b->address)};
    follow_at(a, b->id, "127.0.9.9:7834");
    mesh_set_places(a->mesh, places, 4);
    NET_UNTIL(net, mesh_connected(a->mesh, b->id));
    net_end(net);
}

static void
a_member_that_comes_back_elsewhere_is_dialled_there_by_its_own_word(void **state)
{
    (void)state;
    struct net *net = net_new(3);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    char elsewhere[REPLICA_ADDRESS_MAX], before[REPLICA_ADDRESS_MAX];
    const uint64_t one = 1;
    snprintf(elsewhere, sizeof(elsewhere), "%s", net->members[2].address);
    snprintf(before, sizeof(before), "%s", b->address);
    net_close(&net->members[2]);
    follow_at(a, b->id, before);
    NET_UNTIL(net, mesh_connected(a->mesh, b->id));
    assert_string_equal(mesh_says(a->mesh, b->id), before);
    come_back_at(b, elsewhere);
    net_follow(net, b, &one, 1);
    NET_UNTIL(net,
              mesh_ways(a->mesh, b->id).dialled && mesh_ways(a->mesh, b->id).accepted);
    assert_string_equal(mesh_says(a->mesh, b->id), elsewhere);
    /* And back: its word of today, not that of yesterday. */
    come_back_at(b, before);
    net_follow(net, b, &one, 1);
    NET_UNTIL(net,
              mesh_ways(a->mesh, b->id).dialled && mesh_ways(a->mesh, b->id).accepted);
    assert_string_equal(mesh_says(a->mesh, b->id), before);
    net_end(net);
}

/* Two that changed places. */
static void
members_that_changed_places_find_each_other(void **state)
{
    (void)state;
    struct net *net = net_new(3);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    struct net_member *c = &net->members[2];
    char of_b[REPLICA_ADDRESS_MAX], of_c[REPLICA_ADDRESS_MAX];
    const uint64_t all[] = {1, 2, 3}, one = 1;
    snprintf(of_b, sizeof(of_b), "%s", b->address);
    snprintf(of_c, sizeof(of_c), "%s", c->address);
    net_follow(net, a, all, 3);
    NET_UNTIL(net, mesh_connected(a->mesh, 2) && mesh_connected(a->mesh, 3));
    net_close(c);
    come_back_at(b, of_c);
    come_back_at(c, of_b);
    net_follow(net, b, &one, 1);
    net_follow(net, c, &one, 1);
    NET_UNTIL(net, mesh_ways(a->mesh, 2).dialled && mesh_ways(a->mesh, 3).dialled);
    assert_string_equal(mesh_says(a->mesh, 2), of_c);
    assert_string_equal(mesh_says(a->mesh, 3), of_b);
    net_end(net);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_is_found_at_any_of_the_places_that_were_told),
        cmocka_unit_test(N54_who_answers_at_a_place_and_is_another_is_passed_over),
        cmocka_unit_test(places_that_nobody_can_dial_do_no_harm),
        cmocka_unit_test(
            a_member_that_comes_back_elsewhere_is_dialled_there_by_its_own_word),
        cmocka_unit_test(members_that_changed_places_find_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
