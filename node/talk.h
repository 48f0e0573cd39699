/* talk.h - the connection to the masters of the config, for one flow.
 */
#ifndef NODE_TALK_H
#define NODE_TALK_H

#include "node/node.h"
#include "proto/rpc_client.h"
#include "proto/scope.h"

/* A channel of its own and its one stream: what hung once is not used again. */
struct talk {
    struct rpc_channel *channel;
    struct rpc_stream *stream;
};
void talk_close(struct talk *talk);
#define TALK AUTO(talk_close) struct talk

enum st_code talk_open(const struct node *node, const char *path, struct talk *out,
                       struct st_err *err);
/* The next message, which must come: an end of the stream is a failure even with OK. */
enum st_code talk_receive(struct talk *talk, const ProtobufCMessageDescriptor *type,
                          ProtobufCMessage **out, struct st_err *err);
enum st_code talk_send(struct talk *talk, const ProtobufCMessage *message,
                       struct st_err *err);

static inline void
talk_message_freep(ProtobufCMessage **message)
{
    if (*message)
        protobuf_c_message_free_unpacked(*message, &secret_allocator);
}
#define TALK_MESSAGE AUTO(talk_message_freep) ProtobufCMessage

/* A master tells a stranger one word only: puts what it means for the operator of this
 * machine in its place.  enrolling: which of the two flows it was. */
void talk_explain(const struct node *node, bool enrolling, struct st_err *err);

/* The PCR list as it travels, pointing into `pcrs`. */
void talk_pcrs(const struct tpm_pcrs *pcrs, ProtobufCBinaryData out[TPM_PCR_COUNT]);

#endif
