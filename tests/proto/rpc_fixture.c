#include "tests/proto/rpc_fixture.h"

#include "tests/patience.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const struct st_address loopback = {{127, 0, 0, 1}, 4};

struct talk {
    struct door *door;
    bool open, half_closed, done;
};

static void
wipe(void *state)
{
    struct talk *talk = state;
    assert_true(talk->done);
    atomic_fetch_add(&talk->door->wiped, 1);
}

static struct door *
note(struct rpc_call *call, enum rpc_event event)
{
    struct door *door = rpc_call_context(call);
    struct talk *talk = rpc_call_state(call);
    bool wrong = talk->done || talk->open != (event != RPC_OPEN) ||
                 (talk->half_closed && event != RPC_DONE);
    if (wrong)
        atomic_store(&door->out_of_order, true);
    talk->door = door;
    talk->open = true;
    talk->half_closed = talk->half_closed || event == RPC_HALF_CLOSED;
    talk->done = event == RPC_DONE;
    atomic_fetch_add(event == RPC_OPEN          ? &door->opened
                     : event == RPC_MESSAGE     ? &door->messages
                     : event == RPC_HALF_CLOSED ? &door->half_closed
                                                : &door->done,
                     1);
    return door;
}

static void
reply(struct rpc_call *call, const char *name)
{
    char text[80];
    snprintf(text, sizeof(text), "hello %s", name);
    Api__RemoveEnrolmentConfigRequest answer = API__REMOVE_ENROLMENT_CONFIG_REQUEST__INIT;
    answer.name = text;
    rpc_call_reply(call, &answer.base);
}

static void
handle_greet(struct rpc_call *call, enum rpc_event event, const ProtobufCMessage *message)
{
    static const struct st_err refusal = {.code = ST_PERMISSION_DENIED,
                                          .reason = ST_REASON_REFUSED,
                                          .retry_ms = 1234,
                                          .text = "50% of nothing\xc3\xa9"};
    struct door *door = note(call, event);
    if (event == RPC_OPEN) {
        pthread_mutex_lock(&door->lock);
        snprintf(door->peer, sizeof(door->peer), "%s", rpc_call_peer(call));
        pthread_mutex_unlock(&door->lock);
    }
    if (event != RPC_MESSAGE)
        return;
    const char *name = ((const Api__NewEnrolmentConfigRequest *)message)->name;
    if (!strcmp(name, "refuse"))
        rpc_call_finish(call, &refusal);
    else
        reply(call, name);
}

static void *
finish_later(void *argument)
{
    struct rpc_call *call = argument;
    sleep_ms(100);
    reply(call, "later");
    sleep_ms(100);
    rpc_call_finish(call, &(struct st_err){.code = ST_INTERNAL});
    reply(call, "too late");
    rpc_call_release(call);
    return NULL;
}

static void
handle_later(struct rpc_call *call, enum rpc_event event, const ProtobufCMessage *message)
{
    (void)message;
    note(call, event);
    if (event != RPC_MESSAGE)
        return;
    pthread_t thread;
    pthread_create(&thread, NULL, finish_later, rpc_call_hold(call));
    pthread_detach(thread);
}

static void
say(struct rpc_call *call, const void *bytes, size_t len)
{
    Api__TPM2AttestRequest request = API__TPM2_ATTEST_REQUEST__INIT;
    request.quote_nonce = (ProtobufCBinaryData){len, (uint8_t *)bytes};
    Api__TPM2FlowResponse answer = API__TPM2_FLOW_RESPONSE__INIT;
    answer.stage_case = API__TPM2_FLOW_RESPONSE__STAGE_ATTEST_REQUEST;
    answer.attest_request = &request;
    rpc_call_send(call, &answer.base);
}

static void
handle_talk(struct rpc_call *call, enum rpc_event event, const ProtobufCMessage *message)
{
    struct door *door = note(call, event);
    if (event == RPC_OPEN)
        say(call, "open", 4);
    if (event == RPC_HALF_CLOSED)
        rpc_call_finish(call, NULL);
    if (event != RPC_MESSAGE)
        return;
    uint8_t stage = (uint8_t)((const Api__TPM2FlowRequest *)message)->stage_case;
    atomic_store(&door->last_was_unset, stage == 0);
    say(call, &stage, 1);
}

static void
handle_guest(struct rpc_call *call, enum rpc_event event, const ProtobufCMessage *message)
{
    note(call, event);
    if (event != RPC_MESSAGE)
        return;
    uint8_t stage = (uint8_t)((const Api__TPM2FlowRequest *)message)->stage_case;
    if (stage == API__TPM2_FLOW_REQUEST__STAGE_ATTEST_RESPONSE)
        rpc_call_vouch(call);
    say(call, &stage, 1);
}

static void
handle_silent(struct rpc_call *call, enum rpc_event event,
              const ProtobufCMessage *message)
{
    (void)message;
    note(call, event);
}

static void
handle_flood(struct rpc_call *call, enum rpc_event event, const ProtobufCMessage *message)
{
    (void)message;
    struct door *door = note(call, event);
    if (event == RPC_DONE)
        atomic_fetch_add(&door->flooded, 1);
    if (event != RPC_OPEN)
        return;
    uint8_t *bytes = calloc(1, 65536);
    for (int i = 0; i < 1024; i++)
        say(call, bytes, 65536);
    free(bytes);
}

#define STREAM                                                                           \
    .in = &api__tpm2_flow_request__descriptor,                                           \
    .out = &api__tpm2_flow_response__descriptor, .streaming = true,                      \
    .state_size = sizeof(struct talk), .wipe = wipe
#define UNARY                                                                            \
    .in = &api__new_enrolment_config_request__descriptor,                                \
    .out = &api__remove_enrolment_config_request__descriptor,                            \
    .state_size = sizeof(struct talk), .wipe = wipe

static const struct rpc_method methods[] = {
    {GREET, UNARY, .deadline_ms = 5000, .handle = handle_greet},
    {LATER, UNARY, .deadline_ms = 5000, .handle = handle_later},
    {TALK, STREAM, .deadline_ms = 5000, .handle = handle_talk},
    {SILENT, STREAM, .deadline_ms = 300, .handle = handle_silent},
    {GUEST, STREAM, .deadline_ms = 30000, .first_ms = GUEST_FIRST_MS, .max_calls = GUESTS,
     .handle = handle_guest},
    {FLOOD, STREAM, .deadline_ms = 5000, .handle = handle_flood},
};

static enum st_code
admit(void *context, const char *path, const char *peer, const void *client_cert,
      size_t client_cert_len, bool *out_vouch, struct st_err *err)
{
    struct door *door = context;
    (void)out_vouch;
    assert_non_null(strchr(peer, ':'));
    pthread_mutex_lock(&door->lock);
    snprintf(door->admitted_path, sizeof(door->admitted_path), "%s", path);
    assert_true(client_cert_len <= sizeof(door->client_cert));
    if (client_cert_len)
        memcpy(door->client_cert, client_cert, client_cert_len);
    door->client_cert_len = client_cert_len;
    pthread_mutex_unlock(&door->lock);
    atomic_fetch_add(&door->admitted, 1);
    if (door->admit)
        return st_fail_for(err, door->admit, ST_REASON_ROLE, "not you");
    return ST_OK;
}

void
make_identity(const char *name, struct secret *seed, struct cert *cert)
{
    struct st_err err = {0};
    uint8_t public_key[ED25519_PUBLIC_LEN];
    assert_ok(key_generate(seed, public_key, &err));
    assert_ok(cert_self_sign(seed, name, cert, &err));
}

void
door_start(struct door *door, struct rpc_server_config config)
{
    struct st_err err = {0};
    if (!door->cert.len)
        make_identity("smalltown-master", &door->seed, &door->cert);
    if (!config.addresses) {
        config.addresses = &loopback;
        config.address_count = 1;
    }
    config.cert = &door->cert;
    config.seed = &door->seed;
    config.methods = methods;
    config.method_count = sizeof(methods) / sizeof(*methods);
    config.context = door;
    config.admit = admit;
    assert_ok(rpc_server_start(&config, &door->server, &err));
}

void
door_stop(struct door *door)
{
    rpc_server_free(door->server);
    door->server = NULL;
    assert_int_equal(atomic_load(&door->opened), atomic_load(&door->done));
    assert_false(atomic_load(&door->out_of_order));
}

struct rpc_channel *
door_channel_as(const struct door *door, const struct cert *cert,
                const struct secret *seed)
{
    struct st_err err = {0};
    struct rpc_channel *channel = NULL;
    const struct rpc_channel_config config = {
        .addresses = &loopback,
        .address_count = 1,
        .port = rpc_server_port(door->server),
        .server_cert = door->cert.der,
        .server_cert_len = door->cert.len,
        .cert = cert,
        .seed = seed,
    };
    assert_ok(rpc_channel_open(&config, &channel, &err));
    return channel;
}

struct rpc_channel *
door_channel(const struct door *door)
{
    return door_channel_as(door, NULL, NULL);
}

enum st_code
greet(struct rpc_channel *channel, const char *path, const char *name, char *out,
      struct st_err *err)
{
    Api__NewEnrolmentConfigRequest request = API__NEW_ENROLMENT_CONFIG_REQUEST__INIT;
    request.name = (char *)name;
    ProtobufCMessage *answer = NULL;
    enum st_code code =
        rpc_unary(channel, path, &request.base,
                  &api__remove_enrolment_config_request__descriptor, 5000, &answer, err);
    if (code)
        return code;
    snprintf(out, 64, "%s", ((Api__RemoveEnrolmentConfigRequest *)answer)->name);
    protobuf_c_message_free_unpacked(answer, &secret_allocator);
    return ST_OK;
}

double
seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void
wait_until(atomic_int *counter, int value)
{
    for (int i = 0; i < 1000 && atomic_load(counter) < value; i++)
        sleep_ms(10);
    assert_int_equal(atomic_load(counter), value);
}

static void
complain(const char *line)
{
    fprintf(stderr, "gRPC: %s\n", line);
}

int
rpc_group_setup(void **state)
{
    (void)state;
    rpc_init(complain);
    return 0;
}

int
rpc_group_teardown(void **state)
{
    (void)state;
    rpc_shutdown();
    return 0;
}
