/* rpc_fixture.h - one door with a few methods behind it, for the rpc tests. */
#ifndef TESTS_PROTO_RPC_FIXTURE_H
#define TESTS_PROTO_RPC_FIXTURE_H

#include "proto/api.pb-c.h"
#include "proto/rpc_client.h"
#include "proto/rpc_server.h"
#include "proto/scope.h"
#include "tests/cmocka.h"

#include <pthread.h>
#include <stdatomic.h>

/* NewEnrolmentConfigRequest -> RemoveEnrolmentConfigRequest, unary: "hello <name>"; the
 * name "refuse" is refused with a reason and a hint. */
#define GREET "/test.Door/Greet"
/* The same, finished twice by another thread 100 ms later. */
#define LATER "/test.Door/Later"
/* TPM2FlowRequest -> TPM2FlowResponse, stream: answers each message with its stage as
 * the only byte of quote_nonce; speaks first, with "open". */
#define TALK "/test.Door/Talk"
/* The same types: never says anything; 300 ms. */
#define SILENT "/test.Door/Silent"
/* The same types, at most GUESTS at once, each to speak within GUEST_FIRST_MS; answers
 * as TALK does, but does not speak first, and vouches for whoever sends
 * `attest_response`. */
#define GUEST "/test.Door/Guest"
#define GUESTS 4
#define GUEST_FIRST_MS 6000
/* What docs/design.md says of the hint to come back: 0.5 to 2.5 s. */
#define HINT_MIN_MS 500
#define HINT_MAX_MS 2549
/* The same types: sends 1,024 messages of 64 KiB at once. */
#define FLOOD "/test.Door/Flood"

struct door {
    struct rpc_server *server;
    struct secret seed;
    struct cert cert;
    atomic_int opened, messages, half_closed, done, wiped, admitted, flooded;
    atomic_bool out_of_order, last_was_unset;
    enum st_code admit; /* what admission answers */
    /* Of the last call: looked at when the door is shut. */
    pthread_mutex_t lock;
    char admitted_path[64];
    char peer[64];
    uint8_t client_cert[1024];
    size_t client_cert_len;
};

/* Changes nothing that config sets already. */
void door_start(struct door *door, struct rpc_server_config config);
void door_stop(struct door *door);
struct rpc_channel *door_channel(const struct door *door);
/* With a client certificate. */
struct rpc_channel *door_channel_as(const struct door *door, const struct cert *cert,
                                    const struct secret *seed);
void make_identity(const char *name, struct secret *seed, struct cert *cert);
extern const struct st_address loopback;

/* One GREET; the answer's name into out (64 bytes). */
enum st_code greet(struct rpc_channel *channel, const char *path, const char *name,
                   char *out, struct st_err *err);
void wait_until(atomic_int *counter, int value);
double seconds(void);

int rpc_group_setup(void **state);
int rpc_group_teardown(void **state);

#endif
