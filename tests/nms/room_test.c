/* A master that has room for one stranger: whoever has proven himself makes room for
 * nobody while he waits for his answer.
 *
 * The step after the proof can be held: the barrier of an unlock, the proposal of an
 * enrolment and of a ticket.
 */
#include "tests/nms/guest.h"

#include "proto/scope.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

AUTO_DEFINE(Api__NewEnrolmentConfigResponse *, enrolment_freep, town_answer_free)
#define MACHINE AUTO(machine_free) struct machine

enum {
    FEW_FIRST_MS = 8000 /* in half of which a stranger had his time */
};

/* The linker calls these by these names. */
enum st_code __real_rpc_server_start(const struct rpc_server_config *config,
                                     struct rpc_server **out, struct st_err *err);
enum st_code __wrap_rpc_server_start(const struct rpc_server_config *config,
                                     struct rpc_server **out, struct st_err *err);
void __real_replica_barrier(struct replica *replica, uint32_t timeout_ms,
                            replica_done done, void *arg);
void __wrap_replica_barrier(struct replica *replica, uint32_t timeout_ms,
                            replica_done done, void *arg);
void __real_replica_propose(struct replica *replica, const void *command, size_t len,
                            uint32_t timeout_ms, replica_done done, void *arg);
void __wrap_replica_propose(struct replica *replica, const void *command, size_t len,
                            uint32_t timeout_ms, replica_done done, void *arg);

static bool is_small;

enum st_code
__wrap_rpc_server_start(const struct rpc_server_config *config, struct rpc_server **out,
                        struct st_err *err)
{
    const bool administrators = config->want_client_cert;
    for (size_t i = 0; is_small && !administrators && i < config->method_count; i++) {
        struct rpc_method *method = (struct rpc_method *)&config->methods[i];
        method->max_calls = 1;
        method->first_ms = FEW_FIRST_MS;
    }
    return __real_rpc_server_start(config, out, err);
}

static struct {
    atomic_bool armed;
    sem_t taken; /* the rest is here */
    struct replica *replica;
    const void *command; /* NULL: a barrier */
    size_t len;
    uint32_t timeout_ms;
    replica_done done;
    void *arg;
} held;

static bool
hold(struct replica *replica, const void *command, size_t len, uint32_t timeout_ms,
     replica_done done, void *arg)
{
    if (!atomic_exchange(&held.armed, false))
        return false;
    held.replica = replica;
    held.command = command;
    held.len = len;
    held.timeout_ms = timeout_ms;
    held.done = done;
    held.arg = arg;
    sem_post(&held.taken);
    return true;
}

void
__wrap_replica_barrier(struct replica *replica, uint32_t timeout_ms, replica_done done,
                       void *arg)
{
    if (!hold(replica, NULL, 0, timeout_ms, done, arg))
        __real_replica_barrier(replica, timeout_ms, done, arg);
}

void
__wrap_replica_propose(struct replica *replica, const void *command, size_t len,
                       uint32_t timeout_ms, replica_done done, void *arg)
{
    if (!hold(replica, command, len, timeout_ms, done, arg))
        __real_replica_propose(replica, command, len, timeout_ms, done, arg);
}

static void
let_go(void)
{
    if (held.command)
        __real_replica_propose(held.replica, held.command, held.len, held.timeout_ms,
                               held.done, held.arg);
    else
        __real_replica_barrier(held.replica, held.timeout_ms, held.done, held.arg);
}

/* Somebody at 7833 and what he is told at last. */
struct visitor {
    struct town *town;
    struct machine *machine;            /* who enrols or unlocks */
    const Api__EnrolmentConfig *config; /* NULL: unlocks */
    struct guest *guest;                /* who becomes a master */
    const uint8_t *secret;              /* of its ticket */
    struct rpc_channel *channel;
    struct st_err err;
    pthread_t thread;
};

static void
ask(struct visitor *visitor)
{
    Api__TPM2UnlockFlowResponse *key = NULL;
    Api__JoinMastersResponse *certs = NULL;
    if (visitor->guest) {
        if (!guest_ask(visitor->guest, visitor->channel, visitor->secret, 32, &certs,
                       &visitor->err))
            town_answer_free(certs);
    } else if (visitor->config) {
        (void)!machine_enrol(visitor->machine, visitor->channel, visitor->config, NULL,
                             &visitor->err);
    } else if (!machine_unlock(visitor->machine, visitor->channel, NULL, &key,
                               &visitor->err)) {
        machine_answer_free(key);
    }
}

static void *
ask_beside(void *arg)
{
    ask(arg);
    return NULL;
}

/* The first one is held after his proof for longer than a stranger may stay; the second
 * comes meanwhile. */
static void
meet(struct visitor *first, struct visitor *second)
{
    struct timespec until;
    first->channel = town_node_channel(first->town);
    second->channel = town_node_channel(first->town);
    assert_int_equal(sem_init(&held.taken, 0, 0), 0);
    held.armed = true;
    assert_int_equal(pthread_create(&first->thread, NULL, ask_beside, first), 0);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += MACHINE_TIMEOUT_MS / 1000;
    assert_int_equal(sem_timedwait(&held.taken, &until), 0);
    nanosleep(&(struct timespec){FEW_FIRST_MS / 2000, 100 * 1000000L}, NULL);
    ask(second);
    let_go();
    pthread_join(first->thread, NULL);
    rpc_channel_close(first->channel);
    rpc_channel_close(second->channel);
}

static void
the_first_stays(struct visitor *first, struct visitor *second)
{
    meet(first, second);
    assert_code(second->err.code, ST_RESOURCE_EXHAUSTED);
    assert_int_equal(second->err.reason, ST_REASON_BUSY);
    assert_true(second->err.retry_ms > 0);
    if (first->err.code)
        fail_msg("%s: %s", st_code_name(first->err.code), first->err.text);
}

static void
open_small(struct town *town)
{
    is_small = true;
    town_restart(town);
    is_small = false;
}

static void
N46_a_node_that_has_quoted_makes_room_for_nobody(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    open_small(town);
    struct visitor first = {.town = town, .machine = &machine}, second = first;
    the_first_stays(&first, &second);
}

static void
N46_a_node_that_has_quoted_and_gets_no_key_makes_room(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, true);
    open_small(town);
    struct visitor first = {.town = town, .machine = &machine}, second = first;
    meet(&first, &second);
    assert_code(first.err.code, ST_RESOURCE_EXHAUSTED);
    assert_int_equal(second.err.reason, ST_REASON_NOT_ADOPTED);
}

static void
N46_a_machine_with_a_good_secret_makes_room_for_nobody(void **state)
{
    struct town *town = *state;
    MACHINE machine, other;
    machine_make(&machine, FORGE_ECC);
    machine_make(&other, FORGE_ECC);
    AUTO(enrolment_freep)
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, "rack", 2);
    open_small(town);
    struct visitor first = {
        .town = town, .machine = &machine, .config = enrolment->enrolment_config};
    struct visitor second = first;
    second.machine = &other;
    the_first_stays(&first, &second);
}

static void
N46_a_host_with_a_good_ticket_makes_room_for_nobody(void **state)
{
    struct town *town = *state;
    struct guest host, other;
    struct st_err err = {0};
    Api__InviteMasterRequest request = API__INVITE_MASTER_REQUEST__INIT;
    Api__InviteMasterResponse *invitation = NULL;
    request.name = (char *)"host";
    assert_ok(town_call(town->admins, "InviteMaster", &request.base,
                        &api__invite_master_response__descriptor, &invitation, &err));
    guest_make(&host, 1);
    guest_make(&other, 2);
    open_small(town);
    struct visitor first = {
        .town = town, .guest = &host, .secret = invitation->ticket->secret.data};
    struct visitor second = first;
    second.guest = &other;
    the_first_stays(&first, &second);
    town_answer_free(invitation);
    guest_free(&host);
    guest_free(&other);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TOWN_TEST(N46_a_node_that_has_quoted_makes_room_for_nobody),
        TOWN_TEST(N46_a_node_that_has_quoted_and_gets_no_key_makes_room),
        TOWN_TEST(N46_a_machine_with_a_good_secret_makes_room_for_nobody),
        TOWN_TEST(N46_a_host_with_a_good_ticket_makes_room_for_nobody),
    };
    return cmocka_run_group_tests(tests, town_group_setup, town_group_teardown);
}
