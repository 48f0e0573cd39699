#include "node/talk.h"

void
talk_close(struct talk *talk)
{
    rpc_stream_close(talk->stream);
    rpc_channel_close(talk->channel);
}

enum st_code
talk_open(const struct node *node, const char *path, struct talk *out, struct st_err *err)
{
    const struct rpc_channel_config config = {
        .addresses = node->config.addresses,
        .address_count = node->config.address_count,
        .port = node->master_port,
        .server_cert = node->config.masters.der,
        .server_cert_len = node->config.masters.len,
    };
    enum st_code code = rpc_channel_open(&config, &out->channel, err);
    if (!code)
        code = rpc_stream_open(out->channel, path, node->stream_ms, &out->stream, err);
    return code;
}

/* An end with OK, before the flow is through, is no success. */
static enum st_code
ended(enum st_code code, struct st_err *err)
{
    if (code == ST_OUT_OF_RANGE)
        return st_fail(err, ST_INTERNAL, "the master ended the stream too early");
    return code;
}

enum st_code
talk_receive(struct talk *talk, const ProtobufCMessageDescriptor *type,
             ProtobufCMessage **out, struct st_err *err)
{
    return ended(rpc_stream_receive(talk->stream, type, out, err), err);
}

enum st_code
talk_send(struct talk *talk, const ProtobufCMessage *message, struct st_err *err)
{
    return ended(rpc_stream_send(talk->stream, message, err), err);
}

void
talk_pcrs(const struct tpm_pcrs *pcrs, ProtobufCBinaryData out[TPM_PCR_COUNT])
{
    for (int i = 0; i < TPM_PCR_COUNT; i++)
        out[i] = (ProtobufCBinaryData){SHA256_LEN, (uint8_t *)pcrs->digest[i]};
}
