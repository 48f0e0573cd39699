/* A ticket, what was begun with it before, and what the masters answer.  Pieces: ticket,
 * joining.pb, JoinMastersResponse.  The channel to the masters is here. */
#include "nms/join.h"
#include "proto/rpc_client.h"
#include "tests/fuzz/fuzz.h"

static struct fuzz_piece answer;
static char channel;

enum st_code
rpc_channel_open(const struct rpc_channel_config *config, struct rpc_channel **out,
                 struct st_err *err)
{
    (void)err;
    FUZZ_HOLDS(config->address_count > 0 && config->server_cert_len > 0);
    *out = (struct rpc_channel *)&channel;
    return ST_OK;
}

void
rpc_channel_close(struct rpc_channel *which)
{
    FUZZ_HOLDS((void *)which == &channel);
}

enum st_code
rpc_unary(struct rpc_channel *which, const char *path, const ProtobufCMessage *request,
          const ProtobufCMessageDescriptor *type, uint32_t timeout_ms,
          ProtobufCMessage **out, struct st_err *err)
{
    (void)which;
    (void)path;
    (void)timeout_ms;
    FUZZ_HOLDS(protobuf_c_message_get_packed_size(request) > 0);
    ProtobufCMessage *message =
        protobuf_c_message_unpack(type, &secret_allocator, answer.len, answer.bytes);
    if (!message)
        return st_fail(err, ST_INVALID_ARGUMENT, "no answer");
    *out = message;
    return ST_OK;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct fuzz_input input = {bytes, len};
    FUZZ_PIECE ticket = fuzz_take(&input);
    FUZZ_PIECE begun = fuzz_take(&input);
    FUZZ_PIECE answered = fuzz_take(&input);
    const struct join_config config = {
        .dir = fuzz_folder(),
        .address = {.len = 4, .bytes = {192, 0, 2, 7}},
    };
    struct st_err err = {0};
    uint64_t id = 0;
    answer = answered;
    fuzz_no_file("member.pb");
    fuzz_file("joining.pb", begun.bytes, begun.len);
    fuzz_file("ticket", ticket.bytes, ticket.len);
    if (join_with_ticket(&config, fuzz_path("ticket"), &id, &err))
        FUZZ_HOLDS(err.code && *err.text);
    else
        FUZZ_HOLDS(id > 0);
    return 0;
}
