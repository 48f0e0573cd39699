#include "node/talk.h"

#include <stdio.h>
#include <string.h>

void
talk_close(struct talk *talk)
{
    rpc_stream_close(talk->stream);
    rpc_channel_close(talk->channel);
}

/* A machine that is a master asks itself, too: its file names the masters of its last
 * unlock, and all of those may be gone when it comes back. */
static size_t
masters_of(const struct node *node, struct st_address out[ADDRESSES_MAX])
{
    size_t count = node->config.address_count;
    memcpy(out, node->config.addresses, count * sizeof(*out));
    if (!keeper_has_master(node->keeper))
        return count;
    if (count == ADDRESSES_MAX)
        count--;
    out[count] = node->address;
    return count + 1;
}

enum st_code
talk_open(const struct node *node, const char *path, struct talk *out, struct st_err *err)
{
    struct st_address masters[ADDRESSES_MAX];
    const struct rpc_channel_config config = {
        .addresses = masters,
        .address_count = masters_of(node, masters),
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

struct meaning {
    const char *enrol, *unlock;
};

static const struct meaning meanings[ST_REASON_COUNT] = {
    [ST_REASON_REFUSED] = {"refused: the enrolment may have expired, be used up or "
                           "revoked, or the policy shuts this TPM out, or the recovery "
                           "key is not that of the enrolment: `stctl audit tail` says",
                           NULL},
    [ST_REASON_EXISTS] = {"this TPM is a node of the cluster already: `stctl node "
                          "remove` the old one",
                          NULL},
    [ST_REASON_NO_QUORUM] = {"the masters have no majority", "the masters have no "
                                                             "majority"},
    [ST_REASON_CLOCK] =
        {"this master's clock is behind, or that of the one that made the "
         "enrolment was ahead; its log says by how much",
         NULL},
    [ST_REASON_BUSY] = {"the masters are busy", "the masters are busy"},
    [ST_REASON_MALFORMED] = {"the master does not understand this machine; its log says "
                             "why",
                             "the master does not understand this machine; its log says "
                             "why"},
};

void
talk_explain(const struct node *node, bool enrolling, struct st_err *err)
{
    const struct meaning *meaning = &meanings[err->reason];
    const char *words = enrolling ? meaning->enrol : meaning->unlock;
    if (!enrolling && err->reason == ST_REASON_NOT_ADOPTED)
        snprintf(err->text, sizeof(err->text), "registered; waiting: stctl node adopt %s",
                 node->config.node_id);
    else if (!enrolling && err->reason == ST_REASON_REFUSED)
        snprintf(err->text, sizeof(err->text),
                 "refused: the policy does not know this boot, or the TPM is another or "
                 "an older copy of it, or the node was removed: `stctl audit tail "
                 "--node %s` says which",
                 node->config.node_id);
    else if (words)
        snprintf(err->text, sizeof(err->text), "%s", words);
}
