/* Protobuf as the gRPC door takes it, before any handler sees it: first byte, which
 * message; then its bytes. */
#include "proto/api.pb-c.h"
#include "proto/rpc_wire.h"
#include "proto/secret.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static const ProtobufCMessageDescriptor *const types[] = {
    &api__tpm2_flow_request__descriptor,
    &api__tpm2_unlock_flow_requeset__descriptor,
    &api__join_masters_request__descriptor,
    &api__join_cluster_request__descriptor,
    &api__new_enrolment_config_request__descriptor,
    &api__add_node_request__descriptor,
    &api__list_nodes_response__descriptor,
    &api__tpm2_flow_response__descriptor,
    &api__tpm2_unlock_flow_response__descriptor,
    &api__join_masters_response__descriptor,
    &api__set_masters_request__descriptor,
};

enum {
    TYPES = sizeof(types) / sizeof(*types)
};

/* What was taken can be sent on, and is taken again. */
static void
pack_again(const ProtobufCMessage *message)
{
    const size_t len = protobuf_c_message_get_packed_size(message);
    FUZZ_PIECE packed = {malloc(len ? len : 1), len};
    FUZZ_HOLDS(packed.bytes);
    FUZZ_HOLDS(protobuf_c_message_pack(message, packed.bytes) == len);
    FUZZ_HOLDS(rpc_text_check(message->descriptor, packed.bytes, len, NULL) == ST_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct fuzz_input input = {bytes, len};
    const ProtobufCMessageDescriptor *type = types[fuzz_take_byte(&input) % TYPES];
    struct st_err err = {0};
    if (rpc_text_check(type, input.at, input.left, &err)) {
        FUZZ_HOLDS(err.code == ST_INVALID_ARGUMENT);
        return 0;
    }
    ProtobufCMessage *message =
        protobuf_c_message_unpack(type, &secret_allocator, input.left, input.at);
    if (!message)
        return 0;
    pack_again(message);
    protobuf_c_message_free_unpacked(message, &secret_allocator);
    return 0;
}
