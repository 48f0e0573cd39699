#include "nms/node_call.h"
#include "proto/rpc_client.h"

enum {
    /* An adopted node is not trusted with a master's memory. */
    ANSWER_MAX = 64 * 1024
};

enum st_code
node_call(struct nms *nms, const State__Node *node, const char *path,
          const ProtobufCMessage *request, const ProtobufCMessageDescriptor *answer,
          uint32_t timeout_ms, struct st_err *err)
{
    AUTO(rpc_channel_closep) struct rpc_channel *channel = NULL;
    struct st_address address;
    ProtobufCMessage *answered;
    enum st_code code;
    if ((code = address_unpack(&node->address, &address, err)))
        return code;
    const struct rpc_channel_config config = {
        .addresses = &address,
        .address_count = 1,
        .port = PORT_NODE,
        .server_cert = node->id_cert.data,
        .server_cert_len = node->id_cert.len,
        .cert = &nms->masters_cert,
        .seed = &nms->masters_seed,
        .answer_max = ANSWER_MAX,
    };
    if ((code = rpc_channel_open(&config, &channel, err)) ||
        (code = rpc_unary(channel, path, request, answer, timeout_ms, &answered, err)))
        return code;
    protobuf_c_message_free_unpacked(answered, &secret_allocator);
    return ST_OK;
}
