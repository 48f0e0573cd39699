/* A crowd at the door: who is let in, who has to make room, and who comes back. */
#include "tests/proto/rpc_fixture.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Connections are made from 127.1.2.`from`: libgrpc finds this definition before the C
 * library's. */
static _Atomic uint8_t from = 1;

int
connect(int fd, const struct sockaddr *to, socklen_t len)
{
    const uint32_t host = htonl(0x7f010200u | from);
    const struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = host};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                              .sin6_addr.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(&v6.sin6_addr.s6_addr[12], &host, sizeof(host));
    if (to->sa_family == AF_INET)
        assert_int_equal(bind(fd, (const struct sockaddr *)&v4, sizeof(v4)), 0);
    else
        assert_int_equal(bind(fd, (const struct sockaddr *)&v6, sizeof(v6)), 0);
    return (int)syscall(SYS_connect, fd, to, len);
}

/* A connection from 127.1.2.`host`, and no call. */
static struct rpc_channel *
channel_from(struct door *door, uint8_t host)
{
    struct st_err err = {0};
    char text[64];
    const int before = atomic_load(&door->done);
    from = host;
    struct rpc_channel *channel = door_channel(door);
    assert_ok(greet(channel, GREET, "x", text, &err));
    from = 1;
    wait_until(&door->done, before + 1);
    return channel;
}

/* The next stream of GUEST or TALK; returns when the server has it. */
static struct rpc_stream *
enter(struct door *door, struct rpc_channel *channel, const char *path)
{
    struct st_err err = {0};
    struct rpc_stream *stream;
    const int before = atomic_load(&door->opened);
    assert_ok(rpc_stream_open(channel, path, 60000, &stream, &err));
    wait_until(&door->opened, before + 1);
    return stream;
}

/* What a stream is told at last. */
static enum st_code
end_of(struct rpc_stream *stream, struct st_err *err)
{
    ProtobufCMessage *message;
    enum st_code code;
    while (!(code = rpc_stream_receive(stream, &api__tpm2_flow_response__descriptor,
                                       &message, err)))
        protobuf_c_message_free_unpacked(message, &secret_allocator);
    return code;
}

static void
assert_busy(struct rpc_stream *stream)
{
    struct st_err err = {0};
    assert_code(end_of(stream, &err), ST_RESOURCE_EXHAUSTED);
    assert_int_equal(err.reason, ST_REASON_BUSY);
    assert_in_range(err.retry_ms, HINT_MIN_MS, HINT_MAX_MS);
    rpc_stream_close(stream);
}

/* Sends a message and waits for its answer: the stream lives. */
static void
speak(struct rpc_stream *stream, Api__TPM2FlowRequest__StageCase stage)
{
    struct st_err err = {0};
    ProtobufCMessage *message;
    Api__TPM2RegisterRequest registration = API__TPM2_REGISTER_REQUEST__INIT;
    Api__TPM2AttestResponse response = API__TPM2_ATTEST_RESPONSE__INIT;
    Api__TPM2FlowRequest request = API__TPM2_FLOW_REQUEST__INIT;
    request.stage_case = stage;
    if (stage == API__TPM2_FLOW_REQUEST__STAGE_REGISTER)
        request.register_ = &registration;
    else
        request.attest_response = &response;
    assert_ok(rpc_stream_send(stream, &request.base, &err));
    assert_ok(
        rpc_stream_receive(stream, &api__tpm2_flow_response__descriptor, &message, &err));
    protobuf_c_message_free_unpacked(message, &secret_allocator);
}

#define SAY_WHO(stream) speak(stream, API__TPM2_FLOW_REQUEST__STAGE_REGISTER)
#define PROVE(stream) speak(stream, API__TPM2_FLOW_REQUEST__STAGE_ATTEST_RESPONSE)

/* A stranger had his time after half of what he has for his first message. */
static void
outlast_patience(void)
{
    nanosleep(&(struct timespec){GUEST_FIRST_MS / 2000, 100 * 1000000L}, NULL);
}

static void
N44_a_silent_stream_ends_long_before_a_whole_call_would(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = channel_from(&door, 1);
    struct rpc_stream *spoke = enter(&door, channel, GUEST);
    SAY_WHO(spoke);
    const double began = seconds();
    struct rpc_stream *silent = enter(&door, channel, GUEST);
    assert_code(end_of(silent, &err), ST_DEADLINE_EXCEEDED);
    assert_true(seconds() - began < 25); /* the whole call: 30 */
    SAY_WHO(spoke);
    rpc_stream_close(silent);
    rpc_stream_close(spoke);
    door_stop(&door);
}

static void
N46_one_network_has_its_share_of_the_calls(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    door_start(&door, (struct rpc_server_config){.max_calls_per_network = 2});
    AUTO(rpc_channel_closep) struct rpc_channel *crowd = channel_from(&door, 2);
    AUTO(rpc_channel_closep) struct rpc_channel *good = channel_from(&door, 3);
    struct rpc_stream *held[] = {enter(&door, crowd, TALK), enter(&door, crowd, TALK)};
    assert_code(greet(crowd, GREET, "x", text, &err), ST_RESOURCE_EXHAUSTED);
    assert_int_equal(err.reason, ST_REASON_BUSY);
    assert_in_range(err.retry_ms, HINT_MIN_MS, HINT_MAX_MS);
    assert_ok(greet(good, GREET, "x", text, &err));
    wait_until(&door.done, 3);
    rpc_stream_close(held[0]);
    wait_until(&door.done, 4);
    assert_ok(greet(crowd, GREET, "x", text, &err));
    rpc_stream_close(held[1]);
    door_stop(&door);
}

static void
N46_a_method_has_its_share_and_who_was_vouched_for_stays(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    struct rpc_stream *inside[GUESTS], *late;
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = channel_from(&door, 1);
    for (int i = 0; i < GUESTS; i++) {
        inside[i] = enter(&door, channel, GUEST);
        PROVE(inside[i]);
    }
    assert_ok(rpc_stream_open(channel, GUEST, 60000, &late, &err));
    assert_busy(late);
    assert_ok(greet(channel, GREET, "x", text, &err));
    for (int i = 0; i < GUESTS; i++) {
        SAY_WHO(inside[i]);
        rpc_stream_close(inside[i]);
    }
    door_stop(&door);
}

static void
N44_a_crowd_makes_room_for_one_who_is_alone(void **state)
{
    (void)state;
    struct door door = {0};
    struct rpc_stream *crowd[GUESTS];
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *two = channel_from(&door, 2);
    AUTO(rpc_channel_closep) struct rpc_channel *three = channel_from(&door, 3);
    AUTO(rpc_channel_closep) struct rpc_channel *four = channel_from(&door, 4);
    /* Whoever came first is not sent away for that, where others have more. */
    struct rpc_stream *first = enter(&door, three, GUEST);
    SAY_WHO(first);
    for (int i = 0; i < GUESTS - 1; i++) {
        crowd[i] = enter(&door, two, GUEST);
        SAY_WHO(crowd[i]);
    }
    struct rpc_stream *good = enter(&door, four, GUEST);
    PROVE(good);
    assert_busy(crowd[0]);
    SAY_WHO(first);
    for (int i = 1; i < GUESTS - 1; i++) {
        SAY_WHO(crowd[i]);
        rpc_stream_close(crowd[i]);
    }
    rpc_stream_close(first);
    rpc_stream_close(good);
    door_stop(&door);
}

static void
N44_a_stranger_who_had_his_time_makes_room(void **state)
{
    (void)state;
    struct door door = {0};
    struct rpc_channel *channels[GUESTS + 1];
    struct rpc_stream *inside[GUESTS];
    door_start(&door, (struct rpc_server_config){0});
    for (int i = 0; i < GUESTS + 1; i++)
        channels[i] = channel_from(&door, (uint8_t)(2 + i));
    for (int i = 0; i < GUESTS; i++) {
        inside[i] = enter(&door, channels[i], GUEST);
        SAY_WHO(inside[i]);
    }
    PROVE(inside[0]);
    outlast_patience();
    struct rpc_stream *good = enter(&door, channels[GUESTS], GUEST);
    PROVE(good);
    SAY_WHO(inside[0]);
    assert_busy(inside[1]);
    rpc_stream_close(inside[0]);
    for (int i = 2; i < GUESTS; i++)
        rpc_stream_close(inside[i]);
    rpc_stream_close(good);
    for (int i = 0; i < GUESTS + 1; i++)
        rpc_channel_close(channels[i]);
    door_stop(&door);
}

static void
N44_a_network_makes_room_of_its_own_for_the_next_of_it(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    struct rpc_stream *early;
    door_start(&door, (struct rpc_server_config){.max_calls_per_network = 3});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = channel_from(&door, 2);
    AUTO(rpc_channel_closep) struct rpc_channel *elsewhere = channel_from(&door, 3);
    struct rpc_stream *other = enter(&door, elsewhere, GUEST);
    struct rpc_stream *proven = enter(&door, channel, GUEST);
    struct rpc_stream *silent = enter(&door, channel, GUEST);
    struct rpc_stream *talking = enter(&door, channel, TALK);
    PROVE(proven);
    assert_ok(rpc_stream_open(channel, GUEST, 60000, &early, &err));
    assert_busy(early);
    outlast_patience();
    struct rpc_stream *good = enter(&door, channel, GUEST);
    PROVE(good);
    assert_busy(silent);
    SAY_WHO(other);
    SAY_WHO(proven);
    SAY_WHO(talking);
    rpc_stream_close(other);
    rpc_stream_close(proven);
    rpc_stream_close(talking);
    rpc_stream_close(good);
    door_stop(&door);
}

static void
N46_hints_are_spread(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    uint32_t least = UINT32_MAX, most = 0;
    door_start(&door, (struct rpc_server_config){.max_calls = 1});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = channel_from(&door, 1);
    struct rpc_stream *held = enter(&door, channel, TALK);
    for (int i = 0; i < 30; i++) {
        assert_code(greet(channel, GREET, "x", text, &err), ST_RESOURCE_EXHAUSTED);
        assert_in_range(err.retry_ms, HINT_MIN_MS, HINT_MAX_MS);
        least = err.retry_ms < least ? err.retry_ms : least;
        most = err.retry_ms > most ? err.retry_ms : most;
    }
    assert_true(most - least > 500);
    rpc_stream_close(held);
    door_stop(&door);
}

struct visitor {
    pthread_t thread;
    struct door *door;
    int attempts;
};

/* Asks until it is answered, and no sooner than it was told to. */
static void *
visit(void *arg)
{
    struct visitor *visitor = arg;
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(visitor->door);
    struct st_err err = {0};
    char text[64];
    while (++visitor->attempts < 100 && greet(channel, LATER, "x", text, &err)) {
        assert_code(err.code, ST_RESOURCE_EXHAUSTED);
        assert_true(err.retry_ms > 0);
        nanosleep(&(struct timespec){err.retry_ms / 1000, err.retry_ms % 1000 * 1000000L},
                  NULL);
    }
    return NULL;
}

static void
N46_a_storm_is_answered_to_the_last(void **state)
{
    (void)state;
    enum {
        VISITORS = 48
    };
    struct door door = {0};
    struct visitor visitors[VISITORS] = {0};
    int attempts = 0;
    door_start(&door, (struct rpc_server_config){.max_calls = 8});
    for (int i = 0; i < VISITORS; i++) {
        visitors[i].door = &door;
        assert_int_equal(pthread_create(&visitors[i].thread, NULL, visit, &visitors[i]),
                         0);
    }
    for (int i = 0; i < VISITORS; i++) {
        pthread_join(visitors[i].thread, NULL);
        attempts += visitors[i].attempts;
        assert_true(visitors[i].attempts < 100);
    }
    assert_true(attempts > VISITORS);
    /* Nobody who was let in was sent away again for another of them. */
    wait_until(&door.done, VISITORS);
    door_stop(&door);
    wait_until(&door.wiped, VISITORS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(N44_a_silent_stream_ends_long_before_a_whole_call_would),
        cmocka_unit_test(N44_a_crowd_makes_room_for_one_who_is_alone),
        cmocka_unit_test(N44_a_stranger_who_had_his_time_makes_room),
        cmocka_unit_test(N44_a_network_makes_room_of_its_own_for_the_next_of_it),
        cmocka_unit_test(N46_one_network_has_its_share_of_the_calls),
        cmocka_unit_test(N46_a_method_has_its_share_and_who_was_vouched_for_stays),
        cmocka_unit_test(N46_hints_are_spread),
        cmocka_unit_test(N46_a_storm_is_answered_to_the_last),
    };
    return cmocka_run_group_tests(tests, rpc_group_setup, rpc_group_teardown);
}
