/* connect.h - one conversation with the masters of a context. */
#ifndef TOOLS_CONNECT_H
#define TOOLS_CONNECT_H

#include "proto/rpc_client.h"
#include "tools/config.h"
#include "tools/stctl.h"

enum {
    CONNECT_ONE_MS = 2000,
};

struct connection {
    struct context context;
    struct cert cert;
    struct secret seed;
    struct rpc_channel *channel;
    uint32_t timeout_ms;
    const char *why; /* it may take long; NULL: nobody expects that */
};

/* Reads the context in use, or --context, and its credentials; connects nothing yet. */
enum st_code connect_prepare(const struct invocation *in, struct connection *out,
                             struct st_err *err);
/* The same, and a channel to all its masters. */
enum st_code connect_open(const struct invocation *in, struct connection *out,
                          struct st_err *err);
/* A channel of its own to one master of the context; rpc_channel_close(). */
enum st_code connect_to(const struct connection *connection, size_t master,
                        struct rpc_channel **out, struct st_err *err);
void connect_close(struct connection *connection);
#define CONNECTION __attribute__((cleanup(connect_close))) struct connection

/* One call of ClusterManagement.  *out is freed with protobuf_c_message_free_unpacked().
 * Where the master that was asked finds no leader, and so did nothing, the others are
 * asked, too, each for what is left of the time, or CONNECT_ONE_MS.  The failure's
 * sentence names the cluster and the master that was asked; where it took too long, and
 * the method changes something, the reason is ST_REASON_LOST. */
enum st_code connect_call(struct connection *connection, const char *method,
                          const ProtobufCMessage *request,
                          const ProtobufCMessageDescriptor *answer,
                          ProtobufCMessage **out, struct st_err *err);
/* The same for a verb that makes one call and no more. */
enum st_code connect_once(const struct invocation *in, const char *method,
                          const ProtobufCMessage *request,
                          const ProtobufCMessageDescriptor *answer,
                          ProtobufCMessage **out, struct st_err *err);
/* connect_call(), to one master of the context alone, for what it alone knows; it has
 * CONNECT_ONE_MS, or --timeout where that is less. */
enum st_code connect_call_one(const struct connection *connection, size_t master,
                              const char *method, const ProtobufCMessage *request,
                              const ProtobufCMessageDescriptor *answer,
                              ProtobufCMessage **out, struct st_err *err);
/* For what makes or ends a master, which takes longer: unless --timeout was given.  A
 * person who waits is told `why`. */
void connect_patiently(const struct invocation *in, struct connection *connection,
                       const char *why);
/* For what a master answers from what it knows, so that one that does not hangs. */
void connect_briefly(const struct invocation *in, struct connection *connection);
/* connect_call() for what removes; where the master that was asked cannot say how it
 * ended (it is the one that is removed, or stops: it says so, or its connection ends),
 * each is asked again, and to be not found is to be removed.  *out may stay NULL. */
enum st_code connect_insist(struct connection *connection, const char *method,
                            const ProtobufCMessage *request,
                            const ProtobufCMessageDescriptor *answer,
                            ProtobufCMessage **out, struct st_err *err);
void connect_answer_free(ProtobufCMessage *answer);
AUTO_DEFINE(ProtobufCMessage *, connect_answer_freep, connect_answer_free)

#endif
