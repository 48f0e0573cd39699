/* The door's own services: health and reflection, as the standards have them. */
#include "tests/proto/rpc_fixture.h"

#include "proto/health.pb-c.h"
#include "proto/reflection.pb-c.h"

#include <string.h>

#define CHECK "/grpc.health.v1.Health/Check"
#define WATCH "/grpc.health.v1.Health/Watch"
#define REFLECT "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

typedef Grpc__Health__V1__HealthCheckRequest health_request;
typedef Grpc__Health__V1__HealthCheckResponse health_response;
typedef Grpc__Reflection__V1alpha__ServerReflectionRequest request;
typedef Grpc__Reflection__V1alpha__ServerReflectionResponse response;

static enum st_code
check(struct rpc_channel *channel, const char *service, int *out, struct st_err *err)
{
    health_request asked = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    asked.service = (char *)service;
    ProtobufCMessage *answer = NULL;
    enum st_code code = rpc_unary(channel, CHECK, &asked.base,
                                  &grpc__health__v1__health_check_response__descriptor,
                                  5000, &answer, err);
    if (code)
        return code;
    *out = (int)((health_response *)answer)->status;
    protobuf_c_message_free_unpacked(answer, &secret_allocator);
    return ST_OK;
}

static void
every_service_of_the_port_is_healthy(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    const char *services[] = {"", "test.Door", "grpc.health.v1.Health"};
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    for (size_t i = 0; i < sizeof(services) / sizeof(*services); i++) {
        int status = 0;
        assert_ok(check(channel, services[i], &status, &err));
        assert_int_equal(status, 1);
    }
    int status;
    assert_code(check(channel, "test.Doo", &status, &err), ST_NOT_FOUND);
    assert_code(check(channel, "test.Door/", &status, &err), ST_NOT_FOUND);
    door_stop(&door);
}

static struct rpc_stream *
watch(struct rpc_channel *channel, const char *service)
{
    struct st_err err = {0};
    struct rpc_stream *stream = NULL;
    health_request asked = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    asked.service = (char *)service;
    assert_ok(rpc_stream_open(channel, WATCH, 5000, &stream, &err));
    assert_ok(rpc_stream_send(stream, &asked.base, &err));
    return stream;
}

static void
expect_status(struct rpc_stream *stream, int status)
{
    struct st_err err = {0};
    ProtobufCMessage *message = NULL;
    assert_ok(rpc_stream_receive(
        stream, &grpc__health__v1__health_check_response__descriptor, &message, &err));
    assert_int_equal((int)((health_response *)message)->status, status);
    protobuf_c_message_free_unpacked(message, &secret_allocator);
}

static void
a_watcher_hears_of_the_end_at_once(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    ProtobufCMessage *message = NULL;
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    struct rpc_stream *known = watch(channel, "test.Door");
    struct rpc_stream *unknown = watch(channel, "test.Window");
    expect_status(known, 1);
    expect_status(unknown, 3);
    rpc_server_stop(door.server, 10 * 60 * 1000); /* the grace that it must not take */
    expect_status(known, 2);
    assert_code(rpc_stream_receive(known,
                                   &grpc__health__v1__health_check_response__descriptor,
                                   &message, &err),
                ST_UNAVAILABLE);
    rpc_stream_close(known);
    rpc_stream_close(unknown);
    door_stop(&door);
}

/* Asks one question; the answer is the caller's to free. */
static response *
ask(struct rpc_stream *stream, int which, const char *word)
{
    struct st_err err = {0};
    request asked = GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__INIT;
    Grpc__Reflection__V1alpha__ExtensionRequest extension =
        GRPC__REFLECTION__V1ALPHA__EXTENSION_REQUEST__INIT;
    asked.host = (char *)"here";
    asked.message_request_case = which;
    if (which == 5)
        asked.file_containing_extension = &extension;
    else
        asked.list_services = (char *)word; /* all words share their place */
    assert_ok(rpc_stream_send(stream, &asked.base, &err));
    ProtobufCMessage *answer = NULL;
    assert_ok(rpc_stream_receive(
        stream, &grpc__reflection__v1alpha__server_reflection_response__descriptor,
        &answer, &err));
    assert_string_equal(((response *)answer)->valid_host, "here");
    assert_int_equal(((response *)answer)->original_request->message_request_case, which);
    return (response *)answer;
}

static void
expect_file(struct rpc_stream *stream, int which, const char *word, const char *name)
{
    response *answer = ask(stream, which, word);
    assert_int_equal(answer->message_response_case, 4);
    assert_int_equal(answer->file_descriptor_response->n_file_descriptor_proto, 1);
    const ProtobufCBinaryData *file =
        &answer->file_descriptor_response->file_descriptor_proto[0];
    /* Field 1, its length, and the name. */
    assert_int_equal(file->data[0], 0x0a);
    assert_int_equal(file->data[1], strlen(name));
    assert_memory_equal(file->data + 2, name, strlen(name));
    protobuf_c_message_free_unpacked(&answer->base, &secret_allocator);
}

static void
expect_error(struct rpc_stream *stream, int which, const char *word, enum st_code code)
{
    response *answer = ask(stream, which, word);
    assert_int_equal(answer->message_response_case, 7);
    assert_int_equal(answer->error_response->error_code, (int)code);
    protobuf_c_message_free_unpacked(&answer->base, &secret_allocator);
}

static void
reflection_knows_every_name(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    door_start(&door, (struct rpc_server_config){.reflection = true});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
    assert_ok(rpc_stream_open(channel, REFLECT, 5000, &stream, &err));
    const char *in_api[] = {"api.NodeManagementService",
                            "api.NodeManagementService.TPM2Unlock",
                            "api.Node",
                            "api.Node.State",
                            "api.Node.integrity",
                            "api.TPM2FlowRequest.register"};
    for (size_t i = 0; i < sizeof(in_api) / sizeof(*in_api); i++)
        expect_file(stream, 4, in_api[i], "proto/api.proto");
    expect_file(stream, 3, "proto/health.proto", "proto/health.proto");
    expect_file(stream, 4, "grpc.health.v1.Health", "proto/health.proto");
    expect_file(stream, 4, "grpc.reflection.v1alpha.ServerReflection",
                "proto/reflection.proto");
    const char *nowhere[] = {"",          "api",           "api.",       "api.Nod",
                             "api.Nodes", "api.Node.Stat", "Node",       "apix.Node",
                             "api.Node.", "grpc.health",   "grpc.Health"};
    for (size_t i = 0; i < sizeof(nowhere) / sizeof(*nowhere); i++)
        expect_error(stream, 4, nowhere[i], ST_NOT_FOUND);
    expect_error(stream, 3, "api.proto", ST_NOT_FOUND);
    expect_error(stream, 5, NULL, ST_NOT_FOUND);
    expect_error(stream, 6, "api.Nobody", ST_NOT_FOUND);
    expect_error(stream, 0, NULL, ST_INVALID_ARGUMENT);
    response *none = ask(stream, 6, "api.Node");
    assert_int_equal(none->message_response_case, 5);
    assert_int_equal(none->all_extension_numbers_response->n_extension_number, 0);
    protobuf_c_message_free_unpacked(&none->base, &secret_allocator);
    assert_ok(rpc_stream_finish(stream, &err));
    rpc_stream_close(TAKE(stream));
    door_stop(&door);
}

static void
reflection_lists_the_services_of_its_port(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    door_start(&door, (struct rpc_server_config){.reflection = true});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
    assert_ok(rpc_stream_open(channel, REFLECT, 5000, &stream, &err));
    response *answer = ask(stream, 7, "");
    assert_int_equal(answer->message_response_case, 6);
    const char *expected[] = {"test.Door", "grpc.health.v1.Health",
                              "grpc.reflection.v1alpha.ServerReflection"};
    assert_int_equal(answer->list_services_response->n_service, 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(answer->list_services_response->service[i]->name,
                            expected[i]);
    protobuf_c_message_free_unpacked(&answer->base, &secret_allocator);
    rpc_stream_close(TAKE(stream));
    door_stop(&door);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_service_of_the_port_is_healthy),
        cmocka_unit_test(a_watcher_hears_of_the_end_at_once),
        cmocka_unit_test(reflection_knows_every_name),
        cmocka_unit_test(reflection_lists_the_services_of_its_port),
    };
    return cmocka_run_group_tests(tests, rpc_group_setup, rpc_group_teardown);
}
