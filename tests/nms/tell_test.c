/* Nodes are told where the masters are: who, by whom, how often, and what of it stays. */
#include "nms/tell_internal.h"
#include "tests/nms/town.h"
#include "tests/patience.h"

#include <pthread.h>
#include <string.h>

/* Port 7835 of a node, which answers what the test says. */
struct door {
    struct rpc_server *server;
    struct town *town;
    _Atomic enum st_code answer;
    atomic_uint calls;
    atomic_ullong number; /* of the list it was told last, where that was whole */
};

/* Calls under way of all doors, where the test wants to know how many there are. */
static atomic_uint under_way, most_under_way;
static _Atomic bool slow;

static void
handle(struct rpc_call *call, enum rpc_event what, const ProtobufCMessage *message)
{
    const Api__SetMastersRequest *request = (const Api__SetMastersRequest *)message;
    const Api__SetMastersResponse response = API__SET_MASTERS_RESPONSE__INIT;
    struct door *door = rpc_call_context(call);
    struct st_err err = {0};
    if (what != RPC_MESSAGE)
        return;
    const struct st_address *master = &door->town->address;
    if (request->n_master_ips == 1 && request->master_ips[0].len == master->len &&
        memcmp(request->master_ips[0].data, master->bytes, master->len) == 0)
        door->number = request->number;
    door->calls++;
    if (door->answer && st_fail(&err, door->answer, "no"))
        rpc_call_finish(call, &err);
    else
        rpc_call_reply(call, &response.base);
}

static void
door_open(struct door *door, struct town *town, const struct machine *machine)
{
    static const struct rpc_method method = {
        .path = "/api.NodeService/SetMasters",
        .in = &api__set_masters_request__descriptor,
        .out = &api__set_masters_response__descriptor,
        .deadline_ms = MACHINE_TIMEOUT_MS,
        .handle = handle,
    };
    struct st_address address;
    struct st_err err = {0};
    door->town = town;
    memcpy(address.bytes, machine->ip, 4);
    address.len = 4;
    const struct rpc_server_config config = {
        .addresses = &address,
        .address_count = 1,
        .port = PORT_NODE,
        .cert = &machine->id_cert,
        .seed = &machine->id_seed,
        .want_client_cert = true,
        .methods = &method,
        .method_count = 1,
        .context = door,
    };
    assert_ok(rpc_server_start(&config, &door->server, &err));
}

static void
door_close(struct door *door)
{
    if (door->server)
        rpc_server_stop(door->server, 0);
    rpc_server_free(door->server);
    door->server = NULL;
}

/* A node whose file was made when the masters were elsewhere. */
static void
settle_late(struct town *town, struct machine *machine, unsigned n)
{
    struct st_err err = {0};
    machine_make(machine, FORGE_ECC);
    const struct st_address address = town_address(n);
    memcpy(machine->ip, address.bytes, 4);
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, machine->id, 1);
    assert_int_not_equal(enrolment->enrolment_config->masters_number, 0);
    enrolment->enrolment_config->masters_number--;
    assert_ok(
        machine_enrol(machine, town->nodes, enrolment->enrolment_config, NULL, &err));
    town_answer_free(enrolment);
}

static void
adopt(struct town *town, const struct machine *machine)
{
    struct st_err err = {0};
    assert_ok(town_adopt(town, machine->id, API__NODE__STATE__WORKER, &err));
}

static bool
is_outdated(struct town *town, const struct machine *machine)
{
    Api__ListNodesResponse *list = town_nodes(town);
    bool outdated = false;
    for (size_t i = 0; i < list->n_nodes; i++)
        if (strcmp(list->nodes[i]->node_id, machine->id) == 0)
            outdated = list->nodes[i]->outdated;
    town_answer_free(list);
    return outdated;
}

static unsigned
count_outdated(struct town *town)
{
    const Api__GetStatusRequest request = API__GET_STATUS_REQUEST__INIT;
    Api__GetStatusResponse *status;
    struct st_err err = {0};
    assert_ok(town_call(town->admins, "GetStatus", &request.base,
                        &api__get_status_response__descriptor, &status, &err));
    const unsigned count = status->outdated;
    town_answer_free(status);
    return count;
}

static void
until_told(struct town *town, const struct machine *machine)
{
    for (long ms = patience_ms(60000); is_outdated(town, machine); ms -= 20) {
        assert_true(ms > 0);
        sleep_ms(20);
    }
}

static void
until_called(const struct door *door, unsigned calls)
{
    for (long ms = patience_ms(60000); door->calls < calls; ms -= 5) {
        assert_true(ms > 0);
        sleep_ms(5);
    }
}

static void
a_node_that_does_not_know_the_masters_is_told_once_and_that_is_recorded(void **state)
{
    struct town *town = *state;
    struct machine machine, other;
    struct door door = {0}, other_door = {0};
    settle_late(town, &machine, 1);
    settle_late(town, &other, 2);
    door_open(&door, town, &machine);
    door_open(&other_door, town, &other);
    assert_int_equal(count_outdated(town), 0); /* who is not adopted needs no masters */
    adopt(town, &machine);
    until_told(town, &machine);
    assert_int_equal(door.number, state_masters_number(town->nms->state));
    assert_int_equal(count_outdated(town), 0);
    /* The next leader knows who knows; it tells the other one alone. */
    town_restart(town);
    adopt(town, &other);
    until_told(town, &other);
    assert_int_equal(door.calls, 1);
    assert_int_equal(other_door.calls, 1);
    door_close(&door);
    door_close(&other_door);
    machine_free(&machine);
    machine_free(&other);
}

static void
who_enrols_with_the_present_list_is_not_told_it(void **state)
{
    struct town *town = *state;
    struct machine machine, late;
    struct door door = {0}, late_door = {0};
    machine_make(&machine, FORGE_ECC);
    memcpy(machine.ip, town_address(1).bytes, 4);
    town_settle(town, &machine, false);
    assert_false(is_outdated(town, &machine));
    settle_late(town, &late, 2);
    door_open(&door, town, &machine);
    door_open(&late_door, town, &late);
    adopt(town, &late);
    until_told(town, &late);
    assert_int_equal(door.calls, 0);
    door_close(&door);
    door_close(&late_door);
    machine_free(&machine);
    machine_free(&late);
}

static void
a_node_that_is_off_is_told_when_it_is_there_and_holds_up_nobody(void **state)
{
    struct town *town = *state;
    struct machine off, on;
    struct door off_door = {0}, on_door = {0};
    settle_late(town, &off, 1);
    settle_late(town, &on, 2);
    door_open(&on_door, town, &on);
    adopt(town, &off);
    adopt(town, &on);
    until_told(town, &on);
    assert_true(is_outdated(town, &off));
    assert_int_equal(count_outdated(town), 1);
    door_open(&off_door, town, &off);
    until_told(town, &off);
    assert_int_equal(on_door.calls, 1);
    door_close(&off_door);
    door_close(&on_door);
    machine_free(&off);
    machine_free(&on);
}

static void
a_node_that_refuses_is_asked_again_and_not_recorded(void **state)
{
    struct town *town = *state;
    struct machine machine;
    struct door door = {.answer = ST_FAILED_PRECONDITION};
    settle_late(town, &machine, 1);
    door_open(&door, town, &machine);
    adopt(town, &machine);
    until_called(&door, 2);
    assert_true(is_outdated(town, &machine));
    door.answer = ST_OK;
    until_told(town, &machine);
    door_close(&door);
    machine_free(&machine);
}

/* What listens at its address and is not the node hears nothing, and answers for
 * nobody. */
static void
N51_another_in_the_place_of_a_node_is_not_told(void **state)
{
    struct town *town = *state;
    struct machine machine, impostor, on;
    struct door door = {0}, on_door = {0};
    settle_late(town, &machine, 1);
    machine_make(&impostor, FORGE_ECC);
    memcpy(impostor.ip, machine.ip, 4);
    door_open(&door, town, &impostor);
    settle_late(town, &on, 2);
    door_open(&on_door, town, &on);
    adopt(town, &machine);
    adopt(town, &on);
    until_told(town, &on);
    assert_int_equal(door.calls, 0);
    assert_true(is_outdated(town, &machine));
    door_close(&door);
    door_close(&on_door);
    machine_free(&machine);
    machine_free(&impostor);
    machine_free(&on);
}

/* ---- one round ---- */

enum st_code __real_node_call(struct nms *nms, const State__Node *node, const char *path,
                              const ProtobufCMessage *request,
                              const ProtobufCMessageDescriptor *answer,
                              uint32_t timeout_ms, struct st_err *err);
enum st_code __wrap_node_call(struct nms *nms, const State__Node *node, const char *path,
                              const ProtobufCMessage *request,
                              const ProtobufCMessageDescriptor *answer,
                              uint32_t timeout_ms, struct st_err *err);

enum st_code
__wrap_node_call(struct nms *nms, const State__Node *node, const char *path,
                 const ProtobufCMessage *request,
                 const ProtobufCMessageDescriptor *answer, uint32_t timeout_ms,
                 struct st_err *err)
{
    if (!slow)
        return __real_node_call(nms, node, path, request, answer, timeout_ms, err);
    const unsigned now = ++under_way;
    unsigned most = most_under_way;
    while (now > most && !atomic_compare_exchange_weak(&most_under_way, &most, now))
        ;
    sleep_ms(5);
    under_way--;
    return ST_OK;
}

static bool
never(void *arg)
{
    (void)arg;
    return false;
}

static bool
after_ten(void *arg)
{
    return ++*(atomic_uint *)arg > 10;
}

static void
a_round_has_a_few_calls_at_a_time_and_ends_early_where_it_is_told_to(void **state)
{
    struct town *town = *state;
    struct machine machine;
    static struct untold untold[TELL_ROUND];
    atomic_uint asked = 0;
    struct st_err err = {0};
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    struct tell_round round = {.nms = town->nms,
                               .number = state_masters_number(town->nms->state),
                               .count = TELL_ROUND,
                               .ended = never};
    for (size_t i = 0; i < TELL_ROUND; i++) {
        untold[i].code = ST_CANCELLED;
        strcpy(untold[i].node_id, machine.id);
        round.at[i] = &untold[i];
    }
    strcpy(untold[7].node_id, "smalltown-00000000000000000000000000000000"); /* gone */
    slow = true;
    assert_ok(tell_round(&round, &err));
    assert_in_range(most_under_way, 2, TELL_CALLS);
    for (size_t i = 0; i < TELL_ROUND; i++)
        assert_code(untold[i].code, i == 7 ? ST_NOT_FOUND : ST_OK);
    round.ended = after_ten;
    round.arg = &asked;
    assert_ok(tell_round(&round, &err));
    size_t told = 0;
    for (size_t i = 0; i < TELL_ROUND; i++)
        told += untold[i].code != ST_CANCELLED;
    assert_int_equal(told, 10);
    round.number++;
    assert_code(tell_round(&round, &err), ST_ABORTED);
    slow = false;
    machine_free(&machine);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TOWN_TEST(
            a_node_that_does_not_know_the_masters_is_told_once_and_that_is_recorded),
        TOWN_TEST(who_enrols_with_the_present_list_is_not_told_it),
        TOWN_TEST(a_node_that_is_off_is_told_when_it_is_there_and_holds_up_nobody),
        TOWN_TEST(a_node_that_refuses_is_asked_again_and_not_recorded),
        TOWN_TEST(N51_another_in_the_place_of_a_node_is_not_told),
        TOWN_TEST(a_round_has_a_few_calls_at_a_time_and_ends_early_where_it_is_told_to),
    };
    return cmocka_run_group_tests(tests, town_group_setup, town_group_teardown);
}
