/* rpc_internal.h - what the files of the server side of the door share.
 *
 * Locks: server->lock guards the list of calls and the server's phase, call->lock what
 * one call is about to do.  Whoever holds both took server->lock first.  gRPC never calls
 * back into us, so its functions may be called with either held.
 */
#ifndef PROTO_RPC_INTERNAL_H
#define PROTO_RPC_INTERNAL_H

#include "proto/rpc_server.h"
#include "proto/rpc_wire.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

/* gRPC's queue hands a tag from one thread to another with a lock that ThreadSanitizer
 * does not see. */
#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define HANDED_TO_GRPC(tag) __tsan_release(tag)
#define TAKEN_FROM_GRPC(tag) __tsan_acquire(tag)
#else
#define HANDED_TO_GRPC(tag) (void)(tag)
#define TAKEN_FROM_GRPC(tag) (void)(tag)
#endif

enum {
    SEND_QUEUE_MAX = 16,
    SERVER_THREADS_MAX = 4,
    SWEEP_MS = 200,
    STATUS_GRACE_MS = 2000, /* for a status to leave, then the call is cut */
};

/* What comes out of the completion queue: embedded in its owner. */
struct rpc_tag {
    void (*complete)(struct rpc_tag *tag, bool ok);
};
#define TAG_OWNER(tag, type, member) ((type *)((char *)(tag)-offsetof(type, member)))

struct rpc_accept {
    struct rpc_tag tag;
    struct rpc_server *server;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
};

/* What a call takes of the room that there is. */
enum rpc_standing {
    RPC_LEAVING,  /* none: has its status, or is about to */
    RPC_STRANGER, /* may have to make room */
    RPC_VOUCHED,
};

struct rpc_call {
    struct rpc_server *server;       /* not after DONE */
    const struct rpc_method *method; /* NULL: refused before it began */
    void *context;
    atomic_uint references;
    struct rpc_tag receive_tag, send_tag, close_tag;
    char peer[64];
    uint8_t *client_cert;
    size_t client_cert_len;

    /* Guarded by server->lock. */
    struct rpc_call *previous, *next;
    int64_t deadline; /* clock_ms() */
    int64_t patience; /* from then on a stranger may have to make room in any case */
    int64_t last;     /* the deadline once it has spoken; 0: is `deadline` */
    bool expired;     /* was asked to end; the next time it is cut */
    enum rpc_standing standing;
    struct rpc_room *room; /* both NULL while it is leaving */
    struct rpc_network *network;
    struct rpc_call *elder, *younger; /* strangers of the same method */

    pthread_mutex_t lock; /* guards the rest, except state */
    grpc_call *grpc;      /* NULL after DONE */
    unsigned batches;     /* with gRPC at this moment: DONE waits for them */
    bool in_handler;      /* one thread delivers this call's events */
    bool opened;          /* OPEN was delivered */
    bool closed;          /* the client is gone, or has its status */
    int cancelled;        /* written by gRPC, with `closed` */

    bool reading;
    grpc_byte_buffer *read;    /* gRPC writes the next message here */
    grpc_byte_buffer *arrived; /* waits for the handler */
    bool half_closed, half_close_told;

    grpc_byte_buffer *queue[SEND_QUEUE_MAX];
    size_t queue_first, queue_count;
    grpc_byte_buffer *sent; /* with gRPC */
    bool sending, metadata_sent;
    bool finished;         /* no more is read or queued */
    struct st_err *status; /* what it finished with; NULL: OK */
    bool status_sent;      /* is with gRPC */

    _Alignas(max_align_t) uint8_t state[];
};

/* The calls of one method. */
struct rpc_room {
    uint32_t calls;
    struct rpc_call *eldest, *youngest; /* strangers, in the order in which they came */
};

/* The calls from one IPv4 address or IPv6 /64. */
struct rpc_network {
    struct rpc_network *next;
    uint64_t address;
    uint32_t calls; /* never 0 */
};

enum {
    NETWORK_LISTS = 1024,
};

enum server_phase {
    SERVER_RUNNING,
    SERVER_DRAINING,
    SERVER_STOPPED,
};

struct rpc_server {
    grpc_server *grpc;
    grpc_completion_queue *queue;
    const struct rpc_method *methods;
    size_t method_count;
    bool reflection;
    void *context;
    enum st_code (*admit)(void *context, const char *path, const char *peer,
                          const void *client_cert, size_t client_cert_len,
                          bool *out_vouch, struct st_err *err);
    uint32_t max_calls, max_calls_per_network;
    uint64_t network_seed; /* odd: which list an address is in is not for strangers */
    bool want_client_cert;
    uint16_t port;
    pthread_t threads[SERVER_THREADS_MAX];
    size_t thread_count;
    struct rpc_accept accepts[2 * SERVER_THREADS_MAX];

    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum server_phase phase;
    struct rpc_call *calls;
    uint32_t call_count, leaving_count; /* the ones with room, and the ones without */
    struct rpc_room *rooms;             /* owned: see room_of() */
    struct rpc_network *networks[NETWORK_LISTS];
    int64_t next_sweep;
};

/* Takes accept->call into the server's list and begins it. */
void rpc_call_begin(struct rpc_accept *accept);
/* With server->lock held: the call ends with err; the second time it is cut. */
void rpc_call_expire(struct rpc_call *call, int64_t now, const struct st_err *err);

/* Who may have a call open, in rpc_room.c; all with server->lock held. */
/* Room for a call of this method (NULL: of none), which was leaving.
 * ST_RESOURCE_EXHAUSTED with a hint. */
enum st_code rpc_room_take(struct rpc_server *server, struct rpc_call *call,
                           const struct rpc_method *method, struct st_err *err);
/* Gives it back, where the call has one. */
void rpc_room_leave(struct rpc_server *server, struct rpc_call *call);
/* Whether so many wait for their status to leave that the next ones get none. */
bool rpc_room_crowded(const struct rpc_server *server);
void rpc_room_vouch(struct rpc_call *call);
struct rpc_room *rpc_rooms_new(const struct rpc_server *server);

/* The sending half, in rpc_send.c; all with call->lock held. */
bool rpc_call_start(struct rpc_call *call, const grpc_op *ops, size_t count,
                    struct rpc_tag *tag);
void rpc_call_finish_locked(struct rpc_call *call, const struct st_err *err);
void rpc_call_drop_queue(struct rpc_call *call);
/* Delivers what is due, unless another thread does already.  Unlocks: whoever takes a
 * batch off the count lets go of the call here, and the other thread may free it. */
void rpc_call_pump(struct rpc_call *call);
void rpc_send_complete(struct rpc_tag *tag, bool ok);

/* Whether one of the server's methods, its own ones included, is of this service. */
bool rpc_service_known(const struct rpc_server *server, const char *service);
/* The method of this path among the server's own, health and reflection. */
const struct rpc_method *rpc_method_find(const struct rpc_server *server,
                                         const char *path);

extern const struct rpc_method rpc_health_methods[2];
extern const struct rpc_method rpc_reflection_methods[1];
/* Tells the watchers of health that nothing is served any more, and ends them. */
void rpc_health_drain(struct rpc_server *server);

/* Server credentials for the certificate; NULL and err on failure. */
grpc_server_credentials *rpc_tls_server(const struct rpc_server_config *config,
                                        struct st_err *err);
/* DER of the certificate that the client presented, malloc'ed. ST_UNAUTHENTICATED. */
enum st_code rpc_tls_client_cert(grpc_call *call, uint8_t **out, size_t *out_len,
                                 struct st_err *err);

#endif
