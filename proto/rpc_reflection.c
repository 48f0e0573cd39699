/* grpc.reflection.v1alpha, over the descriptors that protoc wrote at build time.  They
 * are walked as bytes at each question: three files, asked for by a person. */
#include "proto/rpc_internal.h"

#include "proto/reflection.pb-c.h"

#include <stdlib.h>
#include <string.h>

enum {
    REFLECTION_MS = 5 * 60 * 1000,
    FIRST_MS = 10 * 1000,
    CALLS_MAX = 64,
    SERVICES_MAX = 16,
    SERVICE_NAME_MAX = 100,
};

/* A google.protobuf.FileDescriptorSet. */
__asm__(".section .rodata\n"
        ".local rpc_descriptors\n"
        ".local rpc_descriptors_end\n"
        "rpc_descriptors: .incbin \"" RPC_DESCRIPTORS "\"\n"
        "rpc_descriptors_end:\n"
        ".text\n");
extern const uint8_t rpc_descriptors[], rpc_descriptors_end[];

/* What declares names in descriptor.proto: parent, field number, child.  Field 1 of every
 * child is its name. */
enum kind {
    A_FILE,
    A_MESSAGE,
    AN_ENUM,
    A_SERVICE,
    A_LEAF,
};
static const struct {
    enum kind parent;
    uint32_t number;
    enum kind child;
} declares[] = {
    {A_FILE, 4, A_MESSAGE},    {A_FILE, 5, AN_ENUM},    {A_FILE, 6, A_SERVICE},
    {A_MESSAGE, 3, A_MESSAGE}, {A_MESSAGE, 4, AN_ENUM}, {A_MESSAGE, 2, A_LEAF},
    {A_MESSAGE, 8, A_LEAF},    {A_SERVICE, 2, A_LEAF},
};

static struct wire
inside(const struct wire_field *field)
{
    return (struct wire){field->bytes, field->bytes + field->len};
}

/* The string in this field of a descriptor; empty where there is none. */
static struct wire_field
string_of(struct wire wire, uint32_t number)
{
    struct wire_field field;
    while (wire_next(&wire, &field))
        if (field.number == number)
            return field;
    return (struct wire_field){.bytes = (const uint8_t *)""};
}

static bool
has(struct wire parent, enum kind kind, const char *name)
{
    struct wire_field field;
    while (wire_next(&parent, &field))
        for (size_t i = 0; i < sizeof(declares) / sizeof(*declares); i++) {
            if (declares[i].parent != kind || declares[i].number != field.number)
                continue;
            struct wire_field own = string_of(inside(&field), 1);
            if (strncmp(name, (const char *)own.bytes, own.len) != 0)
                continue;
            if (!name[own.len] ||
                (name[own.len] == '.' &&
                 has(inside(&field), declares[i].child, name + own.len + 1)))
                return true;
        }
    return false;
}

static bool
file_named(struct wire file, const char *name)
{
    struct wire_field own = string_of(file, 1);
    return strlen(name) == own.len && !memcmp(name, own.bytes, own.len);
}

static bool
file_declaring(struct wire file, const char *symbol)
{
    struct wire_field package = string_of(file, 2);
    return !strncmp(symbol, (const char *)package.bytes, package.len) &&
           symbol[package.len] == '.' && has(file, A_FILE, symbol + package.len + 1);
}

static bool
find_file(bool (*wanted)(struct wire file, const char *word), const char *word,
          struct wire_field *out)
{
    struct wire set = {rpc_descriptors, rpc_descriptors_end};
    while (wire_next(&set, out))
        if (wanted(inside(out), word))
            return true;
    return false;
}

typedef Grpc__Reflection__V1alpha__ServerReflectionRequest request;
typedef Grpc__Reflection__V1alpha__ServerReflectionResponse response;

static void
answer_error(struct rpc_call *call, response *answer, enum st_code code, const char *text)
{
    Grpc__Reflection__V1alpha__ErrorResponse error =
        GRPC__REFLECTION__V1ALPHA__ERROR_RESPONSE__INIT;
    error.error_code = (int)code;
    error.error_message = (char *)text;
    answer->message_response_case =
        GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    answer->error_response = &error;
    rpc_call_send(call, &answer->base);
}

static void
answer_file(struct rpc_call *call, response *answer,
            bool (*wanted)(struct wire file, const char *word), const char *word)
{
    struct wire_field file;
    if (!find_file(wanted, word, &file)) {
        answer_error(call, answer, ST_NOT_FOUND, "not here");
        return;
    }
    ProtobufCBinaryData bytes = {file.len, (uint8_t *)file.bytes};
    Grpc__Reflection__V1alpha__FileDescriptorResponse found =
        GRPC__REFLECTION__V1ALPHA__FILE_DESCRIPTOR_RESPONSE__INIT;
    found.n_file_descriptor_proto = 1;
    found.file_descriptor_proto = &bytes;
    answer->message_response_case =
        GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    answer->file_descriptor_response = &found;
    rpc_call_send(call, &answer->base);
}

static void
answer_extensions(struct rpc_call *call, response *answer, char *type)
{
    struct wire_field file;
    if (!find_file(file_declaring, type, &file)) {
        answer_error(call, answer, ST_NOT_FOUND, "not here");
        return;
    }
    Grpc__Reflection__V1alpha__ExtensionNumberResponse none =
        GRPC__REFLECTION__V1ALPHA__EXTENSION_NUMBER_RESPONSE__INIT;
    none.base_type_name = type;
    answer->message_response_case =
        GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
    answer->all_extension_numbers_response = &none;
    rpc_call_send(call, &answer->base);
}

/* Adds the service of each path once. */
static size_t
add_services(const struct rpc_method *methods, size_t count,
             char names[SERVICES_MAX][SERVICE_NAME_MAX], size_t have)
{
    for (size_t i = 0; i < count && have < SERVICES_MAX; i++) {
        size_t len = strcspn(methods[i].path + 1, "/");
        if (len >= SERVICE_NAME_MAX)
            continue;
        memcpy(names[have], methods[i].path + 1, len);
        names[have][len] = 0;
        size_t j = 0;
        while (strcmp(names[j], names[have]) != 0)
            j++;
        have += j == have;
    }
    return have;
}

static void
answer_services(struct rpc_call *call, response *answer)
{
    char names[SERVICES_MAX][SERVICE_NAME_MAX];
    Grpc__Reflection__V1alpha__ServiceResponse services[SERVICES_MAX];
    Grpc__Reflection__V1alpha__ServiceResponse *pointers[SERVICES_MAX];
    const struct rpc_server *server = call->server;
    size_t count = add_services(server->methods, server->method_count, names, 0);
    count = add_services(rpc_health_methods, 2, names, count);
    count = add_services(rpc_reflection_methods, 1, names, count);
    for (size_t i = 0; i < count; i++) {
        grpc__reflection__v1alpha__service_response__init(&services[i]);
        services[i].name = names[i];
        pointers[i] = &services[i];
    }
    Grpc__Reflection__V1alpha__ListServiceResponse list =
        GRPC__REFLECTION__V1ALPHA__LIST_SERVICE_RESPONSE__INIT;
    list.n_service = count;
    list.service = pointers;
    answer->message_response_case =
        GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    answer->list_services_response = &list;
    rpc_call_send(call, &answer->base);
}

static void
answer_request(struct rpc_call *call, request *asked)
{
    response answer = GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__INIT;
    answer.valid_host = asked->host;
    answer.original_request = asked;
    switch (asked->message_request_case) {
    case GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        answer_file(call, &answer, file_named, asked->file_by_filename);
        return;
    case GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        answer_file(call, &answer, file_declaring, asked->file_containing_symbol);
        return;
    case GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        answer_extensions(call, &answer, asked->all_extension_numbers_of_type);
        return;
    case GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        answer_services(call, &answer);
        return;
    case GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
        answer_error(call, &answer, ST_NOT_FOUND, "there are no extensions");
        return;
    default:
        answer_error(call, &answer, ST_INVALID_ARGUMENT, "nothing was asked");
    }
}

static void
handle(struct rpc_call *call, enum rpc_event event, const ProtobufCMessage *message)
{
    if (event == RPC_MESSAGE)
        answer_request(call, (request *)message);
    else if (event == RPC_HALF_CLOSED)
        rpc_call_finish(call, NULL);
}

const struct rpc_method rpc_reflection_methods[1] = {
    {.path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
     .in = &grpc__reflection__v1alpha__server_reflection_request__descriptor,
     .out = &grpc__reflection__v1alpha__server_reflection_response__descriptor,
     .streaming = true,
     .deadline_ms = REFLECTION_MS,
     .first_ms = FIRST_MS,
     .max_calls = CALLS_MAX,
     .handle = handle},
};
