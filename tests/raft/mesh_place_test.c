/* The peer link finds members that are not where the group says: by what it was told, and
 * by their own word; and speaks to nobody else who answers there. */
#include "raft/mesh_internal.h"
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
    assert_string_equal(mesh_trouble_with(a->mesh, b->id), mesh_trouble(a->mesh)->text);
    assert_string_equal(mesh_trouble_with(a->mesh, a->id), "");
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

/* ---- places without a name ---- */

static struct replica_place
somebody_at(const char *address)
{
    struct replica_place place = {.id = 0};
    snprintf(place.address, sizeof(place.address), "%s", address);
    return place;
}

static void
follow_two(struct net_member *member, const char *second, const char *third)
{
    struct raft_configuration members;
    raft_configuration_init(&members);
    assert_int_equal(raft_configuration_add(&members, 2, second, RAFT_VOTER), 0);
    assert_int_equal(raft_configuration_add(&members, 3, third, RAFT_VOTER), 0);
    mesh_follow(member->mesh, &members);
    raft_configuration_close(&members);
}

/* All were renumbered, and one of them is told the new addresses, in no order, with his
 * own and a wrong one among them. */
static void
members_are_found_where_some_member_may_be(void **state)
{
    (void)state;
    struct net *net = net_new(3);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    struct net_member *c = &net->members[2];
    const struct replica_place places[] = {
        somebody_at("127.0.9.7:7834"), somebody_at(c->address), somebody_at(a->address),
        somebody_at(b->address)};
    follow_two(a, "127.0.9.8:7834", "127.0.9.9:7834");
    mesh_set_places(a->mesh, places, 4);
    NET_UNTIL(net, mesh_ways(a->mesh, 2).dialled && mesh_ways(a->mesh, 3).dialled);
    assert_string_equal(mesh_says(a->mesh, 2), b->address);
    assert_string_equal(mesh_says(a->mesh, 3), c->address);
    net_end(net);
}

/* Dialled there once in so many turns, and where else. */
static unsigned
turns_to(struct mesh_peer *peer, const char *address)
{
    struct sockaddr_storage place;
    unsigned count = 0;
    for (unsigned i = 0; i < 12; i++) {
        assert_true(mesh_peer_place(peer, &place));
        count += strcmp(peer->dialled, address) == 0;
    }
    return count;
}

static struct mesh_peer *
peer_of(const struct mesh *mesh, uint64_t id)
{
    struct mesh_peer *peer = mesh->peers;
    while (peer->id != id)
        peer = peer->next;
    return peer;
}

/* It would shake hands with who is there for as long as the other one is away. */
static void
where_one_was_found_nobody_else_is_looked_for(void **state)
{
    (void)state;
    struct net *net = net_new(3);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    const struct replica_place places[] = {somebody_at(b->address),
                                           somebody_at("127.0.9.7:7834")};
    net_close(&net->members[2]);
    follow_two(a, "127.0.9.8:7834", "127.0.9.9:7834");
    mesh_set_places(a->mesh, places, 2);
    NET_UNTIL(net, mesh_ways(a->mesh, 2).dialled);
    assert_int_equal(turns_to(peer_of(a->mesh, 3), b->address), 0);
    assert_int_equal(turns_to(peer_of(a->mesh, 3), "127.0.9.7:7834"), 6);
    net_close(b);
    NET_UNTIL(net, !mesh_connected(a->mesh, 2));
    assert_int_equal(turns_to(peer_of(a->mesh, 3), b->address), 4);
    net_end(net);
}

/* Who can write to an ESP can name himself as a place.  He is no member: he hears of
 * nothing, and what he says counts for nothing. */
static void
N50_who_answers_at_a_place_without_a_name_and_is_no_member_is_not_spoken_to(void **state)
{
    (void)state;
    struct net *net = net_new(3);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    struct net_member *stranger = &net->members[2];
    struct authority other; /* of the same name */
    struct cert list;
    authority_new(&other);
    authority_list(&other, 1, NULL, 0, &list);
    net_close(stranger);
    authority_issue(&other, 2, 102, "serverAuth,clientAuth", &stranger->issued);
    stranger->id = 2;
    net_open_as(stranger, &other, &list);
    const struct replica_place wrong[] = {somebody_at(stranger->address)};
    const struct replica_place both[] = {wrong[0], somebody_at(b->address)};
    follow_at(a, b->id, "127.0.9.9:7834");
    mesh_set_places(a->mesh, wrong, 1);
    NET_UNTIL(net, mesh_trouble(a->mesh)->code == ST_UNAUTHENTICATED);
    mesh_set_places(a->mesh, both, 2);
    NET_UNTIL(net, mesh_ways(a->mesh, 2).dialled);
    assert_int_equal(stranger->admitted, 0);
    assert_int_equal(a->admitted, 1);
    assert_int_equal(a->refusals, 0);
    assert_string_equal(mesh_says(a->mesh, 2), b->address);
    net_end(net);
}

/* Those that are known are enough: so an old list sends nobody astray. */
static void
a_place_without_a_name_comes_after_those_with_one(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    const struct replica_place places[] = {somebody_at("127.0.9.7:7834"),
                                           place_of(b, "127.0.9.8:7834")};
    const char *order[] = {"127.0.9.8:7834", "127.0.9.9:7834", "127.0.9.7:7834"};
    struct sockaddr_storage place;
    net_close(b);
    mesh_set_places(a->mesh, places, 2);
    follow_at(a, b->id, "127.0.9.9:7834");
    struct mesh_peer *peer = peer_of(a->mesh, b->id);
    peer->turn = 0;
    for (unsigned i = 0; i < 3; i++) {
        assert_true(mesh_peer_place(peer, &place));
        assert_string_equal(peer->dialled, order[i]);
    }
    net_end(net);
}

/* What stands in the group for a member whose address another one has there. */
static void
where_nobody_is_nobody_is_looked_for(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    char nobody[REPLICA_ADDRESS_MAX];
    struct sockaddr_storage place;
    struct st_err err = {0};
    const struct replica_place places[] = {nowhere(b, 0)};
    mesh_nowhere(UINT64_MAX, nobody);
    assert_ok(mesh_place(nobody, &place, &err)); /* others may read it */
    mesh_nowhere(b->id, nobody);
    net_close(b);
    follow_at(a, b->id, nobody);
    struct mesh_peer *peer = peer_of(a->mesh, b->id);
    assert_false(mesh_peer_place(peer, &place));
    mesh_set_places(a->mesh, places, 1);
    assert_int_equal(turns_to(peer, places[0].address), 12);
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
        cmocka_unit_test(members_are_found_where_some_member_may_be),
        cmocka_unit_test(where_one_was_found_nobody_else_is_looked_for),
        cmocka_unit_test(
            N50_who_answers_at_a_place_without_a_name_and_is_no_member_is_not_spoken_to),
        cmocka_unit_test(a_place_without_a_name_comes_after_those_with_one),
        cmocka_unit_test(where_nobody_is_nobody_is_looked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
