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
    assert_string_equal(door.admitted_path, GREET);
    assert_int_equal(door.client_cert_len, 0);
    door_stop(&door);
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unary_call_is_answered),
        cmocka_unit_test(a_refusal_carries_code_reason_hint_and_sentence),
        cmocka_unit_test(both_sides_of_a_stream_speak_in_turn),
    };
    return cmocka_run_group_tests(tests, rpc_group_setup, rpc_group_teardown);
}
