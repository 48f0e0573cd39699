/* rpc_server.h - the gRPC door, inside: one port, its methods, its calls.
 *
 * Event driven: a few threads of the server hand events to the method's handler; a
 * handler never blocks.  The events of one call come one after the other, in order,
 * never at once; different calls run in parallel.  rpc_call_send(), rpc_call_finish() and
 * rpc_call_release() may be called from any thread (a commit finishes the call).
 *
 * Everything a stranger can stretch is bounded: message size, metadata, streams,
 * handshake time, the life of a call (deadline_ms) and of one that says nothing
 * (first_ms), idle connections, connections and calls of one network (an IPv4 address or
 * an IPv6 /64), calls of one method, calls in all.
 *
 * A call is a stranger's until its handler vouches for it or, with mutual TLS and once it
 * said something, `admit` does.  Where a method or a network has all the calls that it
 * may have, a newcomer may take the place of a stranger (rpc_room.c says whose); who was
 * vouched for is never sent away.  Whoever finds no room, or has to make room, gets
 * RESOURCE_EXHAUSTED at once, with a hint when to come back that is not the same for
 * everybody.
 */
#ifndef PROTO_RPC_SERVER_H
#define PROTO_RPC_SERVER_H

#include "proto/address.h"
#include "proto/cert.h"
#include "proto/err.h"
#include "proto/secret.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

struct rpc_server;
struct rpc_call;

enum rpc_event {
    RPC_OPEN,        /* the call exists; message is NULL */
    RPC_MESSAGE,     /* message lent until the handler returns, wiped after */
    RPC_HALF_CLOSED, /* the client will send no more; it may also have left, and DONE
                      * follows: nothing may be concluded from this alone */
    RPC_DONE,        /* last event, exactly one for each OPEN: status sent or client gone;
                      * state is freed when the last reference is released */
};

struct rpc_method {
    const char *path; /* "/api.NodeManagementService/TPM2Unlock" */
    const ProtobufCMessageDescriptor *in;
    const ProtobufCMessageDescriptor *out;
    bool streaming;       /* bidirectional; otherwise unary: exactly one MESSAGE, then
                             HALF_CLOSED */
    uint32_t deadline_ms; /* of the whole call; the client's own if that is sooner; then
                             DEADLINE_EXCEEDED */
    uint32_t first_ms;    /* until its first message is whole; 0: deadline_ms */
    uint32_t max_calls;   /* of this method open at once; 0: as many as in all */
    size_t state_size;    /* zeroed memory per call, see rpc_call_state() */
    void (*wipe)(void *state); /* before the state is freed; may be NULL */
    void (*handle)(struct rpc_call *call, enum rpc_event event,
                   const ProtobufCMessage *message);
};

struct rpc_server_config {
    const struct st_address *addresses; /* to listen on */
    size_t address_count;
    uint16_t port;             /* 0: any, for tests; see rpc_server_port() */
    const struct cert *cert;   /* what the server presents */
    const struct secret *seed; /* its key */
    bool want_client_cert;     /* mutual TLS: every client must present a certificate
                                * (self-signed is fine), judged by `admit` */
    /* Called before OPEN, and again before each MESSAGE, on a server thread; must not
     * block.  peer is rpc_call_peer(), client_cert is DER, empty without mutual TLS.  On
     * failure the call ends with err, and the handler never hears of it, or of this
     * message.  *out_vouch, true at first with mutual TLS, says whether the call is
     * vouched for from its message on.  NULL admits every call. */
    enum st_code (*admit)(void *context, const char *path, const char *peer,
                          const void *client_cert, size_t client_cert_len,
                          bool *out_vouch, struct st_err *err);
    const struct rpc_method *methods; /* borrowed for the life of the server */
    size_t method_count;
    void *context;                       /* rpc_call_context() */
    size_t max_message;                  /* bytes; 0: 256 KiB */
    uint32_t max_calls;                  /* open at once; 0: 8192 */
    uint32_t max_calls_per_network;      /* 0: 512 */
    uint32_t max_streams_per_connection; /* 0: 128 */
    bool reflection;                     /* grpc.reflection.v1alpha for these methods */
    /* grpc.health.v1 is always there: SERVING until rpc_server_stop(). */
};

/* Once per process, before the first server or channel and after the last fork():
 * TLS 1.3 only, gRPC's own log lines to `log` (NULL: dropped). */
void rpc_init(void (*log)(const char *line));
void rpc_shutdown(void);

/* Listening when it returns.  ST_UNAVAILABLE with the address in the sentence where the
 * port is in use. */
enum st_code rpc_server_start(const struct rpc_server_config *config,
                              struct rpc_server **out, struct st_err *err);
uint16_t rpc_server_port(const struct rpc_server *server);
/* Accepts nothing new and reports NOT_SERVING; open calls get grace_ms, then UNAVAILABLE.
 * Returns when every call is done.  Not from a server thread. */
void rpc_server_stop(struct rpc_server *server, uint32_t grace_ms);
/* Owns: after rpc_server_stop(), which it calls with grace 0 if nobody did. NULL is fine.
 */
void rpc_server_free(struct rpc_server *server);

void *rpc_call_context(const struct rpc_call *call);
void *rpc_call_state(struct rpc_call *call);
const char *rpc_call_path(const struct rpc_call *call);
/* "192.0.2.1:40000", for the log. */
const char *rpc_call_peer(const struct rpc_call *call);
/* DER of the client's certificate, lent as long as the call; len 0 without mutual TLS. */
const void *rpc_call_client_cert(const struct rpc_call *call, size_t *out_len);

/* A reference keeps call and state in memory beyond DONE. */
struct rpc_call *rpc_call_hold(struct rpc_call *call);
void rpc_call_release(struct rpc_call *call);

/* The other side has proven who it is: nobody takes the place of this call any more. Only
 * from the handler. */
void rpc_call_vouch(struct rpc_call *call);

/* Queues one message (packed before it returns; the packed bytes are wiped once sent).
 * At most 16 may wait; more ends the call. */
void rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message);
/* Ends the call after what was sent.  err NULL or with code 0: OK.  err->text, reason and
 * retry_ms go to the client: a handler that serves strangers passes a fixed word.  Only
 * the first finish counts. */
void rpc_call_finish(struct rpc_call *call, const struct st_err *err);
/* For unary methods: send and finish OK in one. */
void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *message);

#endif
