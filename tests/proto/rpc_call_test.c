/* Calls through the door: both kinds, in order, and however they end. */
#include "tests/proto/rpc_fixture.h"

#include <string.h>

static void
a_unary_call_is_answered(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    assert_ok(greet(channel, GREET, "world", text, &err));
    assert_string_equal(text, "hello world");
    assert_ok(greet(channel, GREET, "again", text, &err));
    door_stop(&door);
    assert_string_equal(door.admitted_path, GREET);
    assert_int_equal(door.client_cert_len, 0);
    assert_int_equal(door.messages, 2);
}

static void
a_refusal_carries_code_reason_hint_and_sentence(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    assert_code(greet(channel, GREET, "refuse", text, &err), ST_PERMISSION_DENIED);
    assert_int_equal(err.reason, ST_REASON_REFUSED);
    assert_int_equal(err.retry_ms, 1234);
    assert_string_equal(err.text, "50% of nothing\xc3\xa9");
    door_stop(&door);
}

static void
send_stage(struct rpc_stream *stream, Api__TPM2FlowRequest__StageCase stage)
{
    struct st_err err = {0};
    Api__TPM2RegisterRequest registration = API__TPM2_REGISTER_REQUEST__INIT;
    Api__TPM2AttestResponse response = API__TPM2_ATTEST_RESPONSE__INIT;
    Api__TPM2FlowRequest request = API__TPM2_FLOW_REQUEST__INIT;
    request.stage_case = stage;
    if (stage == API__TPM2_FLOW_REQUEST__STAGE_REGISTER)
        request.register_ = &registration;
    if (stage == API__TPM2_FLOW_REQUEST__STAGE_ATTEST_RESPONSE)
        request.attest_response = &response;
    assert_ok(rpc_stream_send(stream, &request.base, &err));
}

static void
expect_nonce(struct rpc_stream *stream, const void *bytes, size_t len)
{
    struct st_err err = {0};
    ProtobufCMessage *message = NULL;
    assert_ok(
        rpc_stream_receive(stream, &api__tpm2_flow_response__descriptor, &message, &err));
    const Api__TPM2FlowResponse *answer = (Api__TPM2FlowResponse *)message;
    assert_int_equal(answer->stage_case, API__TPM2_FLOW_RESPONSE__STAGE_ATTEST_REQUEST);
    assert_int_equal(answer->attest_request->quote_nonce.len, len);
    assert_memory_equal(answer->attest_request->quote_nonce.data, bytes, len);
    protobuf_c_message_free_unpacked(message, &secret_allocator);
}

static void
both_sides_of_a_stream_speak_in_turn(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
    assert_ok(rpc_stream_open(channel, TALK, 5000, &stream, &err));
    expect_nonce(stream, "open", 4);
    send_stage(stream, API__TPM2_FLOW_REQUEST__STAGE_REGISTER);
    expect_nonce(stream, "\1", 1);
    send_stage(stream, API__TPM2_FLOW_REQUEST__STAGE_ATTEST_RESPONSE);
    expect_nonce(stream, "\2", 1);
    assert_ok(rpc_stream_finish(stream, &err));
    rpc_stream_close(TAKE(stream));
    door_stop(&door);
    assert_int_equal(door.half_closed, 1);
}

static void
an_unset_oneof_is_delivered_as_such(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
    assert_ok(rpc_stream_open(channel, TALK, 5000, &stream, &err));
    expect_nonce(stream, "open", 4);
    send_stage(stream, API__TPM2_FLOW_REQUEST__STAGE__NOT_SET);
    expect_nonce(stream, "\0", 1);
    assert_true(door.last_was_unset);
    assert_ok(rpc_stream_finish(stream, &err));
    rpc_stream_close(TAKE(stream));
    door_stop(&door);
}

/* Sends the name as these bytes, in whatever field and wire type. */
static enum st_code
greet_raw(struct rpc_channel *channel, uint32_t field, ProtobufCWireType type,
          const void *bytes, size_t len, struct st_err *err)
{
    ProtobufCMessageUnknownField raw = {field, type, len, (uint8_t *)bytes};
    Api__NewEnrolmentConfigRequest request = API__NEW_ENROLMENT_CONFIG_REQUEST__INIT;
    request.base.n_unknown_fields = 1;
    request.base.unknown_fields = &raw;
    ProtobufCMessage *answer = NULL;
    enum st_code code =
        rpc_unary(channel, GREET, &request.base,
                  &api__remove_enrolment_config_request__descriptor, 5000, &answer, err);
    if (!code)
        protobuf_c_message_free_unpacked(answer, &secret_allocator);
    return code;
}

static void
an_unknown_field_is_tolerated(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    assert_ok(greet_raw(channel, 999, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, "\2\xff\0", 3,
                        &err));
    assert_ok(greet_raw(channel, 1000, PROTOBUF_C_WIRE_TYPE_VARINT, "\7", 1, &err));
    door_stop(&door);
    assert_int_equal(door.messages, 2);
}

static void
N33_what_is_no_such_message_is_refused(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    /* A string that is a number, one longer than the message, a varint without end. */
    assert_code(greet_raw(channel, 1, PROTOBUF_C_WIRE_TYPE_VARINT, "\7", 1, &err),
                ST_INVALID_ARGUMENT);
    assert_int_equal(err.reason, ST_REASON_MALFORMED);
    assert_code(greet_raw(channel, 1, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
                          "\x7f"
                          "a",
                          2, &err),
                ST_INVALID_ARGUMENT);
    assert_code(greet_raw(channel, 50, PROTOBUF_C_WIRE_TYPE_VARINT, "\xff\xff", 2, &err),
                ST_INVALID_ARGUMENT);
    door_stop(&door);
    assert_int_equal(door.messages, 0);
}

static void
N35_text_that_is_not_UTF8_or_holds_NUL_is_refused(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    const struct {
        const char *bytes; /* with the length in front */
        size_t len;
    } bad[] = {
        {"\3a\0b", 4},
        {"\1\0", 2},
        {"\2\xc3\x28", 3},
        {"\1\x80", 2},
        {"\2\xc0\xaf", 3},
        {"\3\xed\xa0\x80", 4},
        {"\3\xe0\x80\xaf", 4},
        {"\4\xf0\x80\x80\x80", 5},
        {"\4\xf4\x90\x80\x80", 5},
        {"\1\xc3", 2},
        {"\2\xe2\x82", 3},
    };
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_code(greet_raw(channel, 1, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
                              bad[i].bytes, bad[i].len, &err),
                    ST_INVALID_ARGUMENT);
        assert_int_equal(err.reason, ST_REASON_MALFORMED);
    }
    assert_int_equal(door.messages, 0);
    assert_ok(greet_raw(channel, 1, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
                        "\x0a\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x91z", 11, &err));
    door_stop(&door);
}

static void
N35_so_is_text_deep_inside_a_message(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
    assert_ok(rpc_stream_open(channel, TALK, 5000, &stream, &err));
    expect_nonce(stream, "open", 4);
    ProtobufCMessageUnknownField name = {50, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, 4,
                                         (uint8_t *)"\3a\0b"};
    Api__EnrolmentConfig config = API__ENROLMENT_CONFIG__INIT;
    Api__NewNodeInfo info = API__NEW_NODE_INFO__INIT;
    Api__TPM2FlowRequest request = API__TPM2_FLOW_REQUEST__INIT;
    request.stage_case = API__TPM2_FLOW_REQUEST__STAGE_NEW_NODE_INFO;
    request.new_node_info = &info;
    info.enrolment_config = &config;
    config.base.n_unknown_fields = 1;
    config.base.unknown_fields = &name;
    assert_ok(rpc_stream_send(stream, &request.base, &err));
    ProtobufCMessage *message = NULL;
    assert_code(
        rpc_stream_receive(stream, &api__tpm2_flow_response__descriptor, &message, &err),
        ST_INVALID_ARGUMENT);
    assert_string_equal(err.text, "EnrolmentConfig.name is not UTF-8 text");
    rpc_stream_close(TAKE(stream));
    door_stop(&door);
    assert_int_equal(door.messages, 0);
}

static void
an_unknown_method_is_unimplemented(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    const char *paths[] = {"/test.Door/Greets", "/test.Door/", "/", "/x",
                           "/grpc.reflection.v1alpha.ServerReflection/"
                           "ServerReflectionInfo"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
        assert_code(greet(channel, paths[i], "x", text, &err), ST_UNIMPLEMENTED);
    assert_int_equal(err.reason, ST_REASON_NONE);
    door_stop(&door);
    assert_int_equal(door.opened, 0);
}

/* A unary call that sends `count` requests. */
static enum st_code
greet_times(struct rpc_channel *channel, int count, struct st_err *err)
{
    AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
    Api__NewEnrolmentConfigRequest request = API__NEW_ENROLMENT_CONFIG_REQUEST__INIT;
    enum st_code code = rpc_stream_open(channel, GREET, 5000, &stream, err);
    for (int i = 0; !code && i < count; i++)
        code = rpc_stream_send(stream, &request.base, err);
    return code ? code : rpc_stream_finish(stream, err);
}

static void
N33_a_unary_call_takes_exactly_one_request(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    assert_code(greet_times(channel, 0, &err), ST_INVALID_ARGUMENT);
    assert_code(greet_times(channel, 2, &err), ST_INVALID_ARGUMENT);
    door_stop(&door);
    assert_int_equal(door.messages, 0);
    assert_int_equal(door.opened, 2);
}

static void
a_call_is_finished_once_by_whichever_thread(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    assert_ok(greet(channel, LATER, "x", text, &err));
    assert_string_equal(text, "hello later");
    wait_until(&door.done, 1);
    /* The other thread still holds the call, and finishes it twice more after this. */
    door_stop(&door);
    wait_until(&door.wiped, 1);
}

static void
N44_a_stream_that_sends_nothing_meets_its_deadline(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    ProtobufCMessage *message = NULL;
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
    assert_ok(rpc_stream_open(channel, SILENT, 10 * 60 * 1000, &stream, &err));
    assert_code(
        rpc_stream_receive(stream, &api__tpm2_flow_response__descriptor, &message, &err),
        ST_DEADLINE_EXCEEDED);
    assert_int_equal(err.reason, ST_REASON_NONE);
    wait_until(&door.done, 1);
    door_stop(&door);
}

static void
N46_more_calls_than_allowed_are_told_when_to_come_back(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    door_start(&door, (struct rpc_server_config){.max_calls = 2});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    struct rpc_stream *held[2];
    for (int i = 0; i < 2; i++) {
        assert_ok(rpc_stream_open(channel, TALK, 5000, &held[i], &err));
        expect_nonce(held[i], "open", 4);
    }
    assert_code(greet(channel, GREET, "x", text, &err), ST_RESOURCE_EXHAUSTED);
    assert_int_equal(err.reason, ST_REASON_BUSY);
    assert_in_range(err.retry_ms, HINT_MIN_MS, HINT_MAX_MS);
    rpc_stream_close(held[0]);
    wait_until(&door.done, 1);
    assert_ok(greet(channel, GREET, "x", text, &err));
    rpc_stream_close(held[1]);
    door_stop(&door);
}

static void
an_answer_that_is_too_long_is_not_taken(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    door_start(&door, (struct rpc_server_config){0});
    const struct rpc_channel_config config = {
        .addresses = &loopback,
        .address_count = 1,
        .port = rpc_server_port(door.server),
        .server_cert = door.cert.der,
        .server_cert_len = door.cert.len,
        .answer_max = 32,
    };
    AUTO(rpc_channel_closep) struct rpc_channel *channel = NULL;
    assert_ok(rpc_channel_open(&config, &channel, &err));
    assert_ok(greet(channel, GREET, "somebody", text, &err));
    assert_code(
        greet(channel, GREET, "somebody with more than thirty-two bytes", text, &err),
        ST_RESOURCE_EXHAUSTED);
    assert_ok(greet(channel, GREET, "somebody", text, &err));
    door_stop(&door);
}

static void
a_client_that_reads_nothing_is_cut_off(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
    assert_ok(rpc_stream_open(channel, FLOOD, 5000, &stream, &err));
    /* Bytes move only while somebody waits for an answer. */
    double began = seconds();
    while (!atomic_load(&door.flooded) && seconds() - began < 4)
        assert_ok(greet(channel, GREET, "x", text, &err));
    assert_int_equal(door.flooded, 1);
    enum st_code code;
    for (int received = 0; received < 1024; received++) {
        ProtobufCMessage *message = NULL;
        code = rpc_stream_receive(stream, &api__tpm2_flow_response__descriptor, &message,
                                  &err);
        if (code)
            break;
        protobuf_c_message_free_unpacked(message, &secret_allocator);
    }
    assert_code(code, ST_RESOURCE_EXHAUSTED);
    rpc_stream_close(TAKE(stream));
    assert_ok(greet(channel, GREET, "x", text, &err));
    door_stop(&door);
}

static void
N33_a_client_that_leaves_ends_its_call(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    door_start(&door, (struct rpc_server_config){0});
    for (int stage = 0; stage < 3; stage++) {
        AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
        AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
        assert_ok(rpc_stream_open(channel, TALK, 5000, &stream, &err));
        expect_nonce(stream, "open", 4);
        for (int i = 0; i < stage; i++)
            send_stage(stream, API__TPM2_FLOW_REQUEST__STAGE_REGISTER);
        rpc_stream_close(TAKE(stream));
        wait_until(&door.done, stage + 1);
    }
    door_stop(&door);
}

static void
a_stop_gives_open_calls_their_grace_and_then_ends_them(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    ProtobufCMessage *message = NULL;
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
    assert_ok(rpc_stream_open(channel, TALK, 5000, &stream, &err));
    expect_nonce(stream, "open", 4);
    double began = seconds();
    rpc_server_stop(door.server, 300);
    assert_true(seconds() - began >= 0.3);
    assert_int_equal(door.done, 1);
    assert_code(
        rpc_stream_receive(stream, &api__tpm2_flow_response__descriptor, &message, &err),
        ST_UNAVAILABLE);
    assert_string_equal(err.text, "shutting down");
    rpc_stream_close(TAKE(stream));
    assert_code(greet(channel, GREET, "x", text, &err), ST_UNAVAILABLE);
    assert_int_equal(err.reason, ST_REASON_UNREACHABLE);
    door_stop(&door);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unary_call_is_answered),
        cmocka_unit_test(a_refusal_carries_code_reason_hint_and_sentence),
        cmocka_unit_test(both_sides_of_a_stream_speak_in_turn),
        cmocka_unit_test(an_unset_oneof_is_delivered_as_such),
        cmocka_unit_test(an_unknown_field_is_tolerated),
        cmocka_unit_test(N33_what_is_no_such_message_is_refused),
        cmocka_unit_test(N35_text_that_is_not_UTF8_or_holds_NUL_is_refused),
        cmocka_unit_test(N35_so_is_text_deep_inside_a_message),
        cmocka_unit_test(an_unknown_method_is_unimplemented),
        cmocka_unit_test(N33_a_unary_call_takes_exactly_one_request),
        cmocka_unit_test(a_call_is_finished_once_by_whichever_thread),
        cmocka_unit_test(N44_a_stream_that_sends_nothing_meets_its_deadline),
        cmocka_unit_test(N46_more_calls_than_allowed_are_told_when_to_come_back),
        cmocka_unit_test(an_answer_that_is_too_long_is_not_taken),
        cmocka_unit_test(a_client_that_reads_nothing_is_cut_off),
        cmocka_unit_test(N33_a_client_that_leaves_ends_its_call),
        cmocka_unit_test(a_stop_gives_open_calls_their_grace_and_then_ends_them),
    };
    return cmocka_run_group_tests(tests, rpc_group_setup, rpc_group_teardown);
}
