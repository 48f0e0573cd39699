/* fake_master.h - a master of the test's own, that judges as a master does, remembers one
 * node, and misbehaves by script.
 */
#ifndef TESTS_NODE_FAKE_MASTER_H
#define TESTS_NODE_FAKE_MASTER_H

#include "proto/api.pb-c.h"
#include "proto/cert.h"
#include "proto/recovery.h"
#include "proto/rpc_server.h"
#include "tests/cmocka.h"
#include "tpm/approval.h"
#include "tpm/judge.h"

#include <pthread.h>
#include <stdatomic.h>

/* What one call comes to. */
enum act {
    ACT_HONEST, /* judge, commit, release: as a master does */
    ACT_REFUSE, /* PERMISSION_DENIED after everything was sent */
    ACT_UNAVAILABLE,
    ACT_BUSY,          /* RESOURCE_EXHAUSTED with retry_ms 300 */
    ACT_BUSY_FOR_LONG, /* ... with ten minutes */
    ACT_END_AT_OPEN,   /* the stream ends OK before anything was said */
    ACT_END_AT_FIRST,  /* ... at the first message of the node */
    ACT_END_AT_SECOND,
    ACT_SHORT_NONCE,
    ACT_LONG_NONCE,
    ACT_WRONG_STAGE, /* an empty message */
    ACT_HUGE,        /* 10 MiB */
    ACT_SILENT,
    ACT_LOSE_OK,        /* commits, and the answer is lost */
    ACT_SHORT_KEY,      /* unlock: 31 bytes */
    ACT_KEY_THEN_ERROR, /* unlock: the key, then a status that is not OK */
    ACT_OTHER_KEY,      /* unlock: 32 bytes that are not this node's half */
    ACT_OTHER_CHALLENGE /* enrol: for another TPM */
};

enum {
    SCRIPT_MAX = 16
};

struct master {
    struct rpc_server *server;
    struct secret seed;
    struct cert cert;
    uint8_t secret[16]; /* of the enrolment */

    /* Written before the calls they are for; the last act goes on. */
    enum act script[SCRIPT_MAX];
    size_t script_len;
    bool adopted;
    struct st_address masters[4]; /* told with an unlock */
    size_t master_count;
    /* Who approves of boots, the newest first; count 0: nobody, as before 0.2. */
    struct authority {
        struct secret key;
        uint8_t point[TPM_AUTHORITY_LEN];
    } authorities[2];
    size_t authority_count;
    enum approve {
        APPROVE_NOTHING,
        APPROVE_ALL,
        APPROVE_FORGED, /* in the right name, signed by another */
        APPROVE_OTHER,  /* what is for another node */
        APPROVE_JUNK,   /* parts of a wrong length */
    } approve;

    atomic_uint calls, ended, registers, commits, releases;

    pthread_mutex_t lock;
    bool has_record;
    char node_id[NODE_ID_LEN + 1];
    uint8_t global_half[UNLOCK_KEY_LEN];
    struct tpm_ak ak;
    size_t id_cert_len;
    uint8_t id_cert[1024];
    /* What came with the last EK certificate, and the first of it. */
    size_t chain_count, chain_len;
    uint8_t chain[CERT_MAX_LEN];
    /* What the last new_node_info said of the recovery key. */
    size_t recovery_len;
    uint8_t recovery[RECOVERY_SEALED_LEN];
    bool without_volume;
};

/* With one authority the first time. */
void master_start(struct master *master);
/* A new one, before the others. */
void master_new_authority(struct master *master);
/* Keeps record and certificate; another port when it is started again. */
void master_stop(struct master *master);
uint16_t master_port(const struct master *master);
/* One act after the other. */
void master_script(struct master *master, const enum act *acts, size_t count);
#define MASTER_SCRIPT(master, ...)                                                       \
    master_script(master, (const enum act[]){__VA_ARGS__},                               \
                  sizeof((const enum act[]){__VA_ARGS__}) / sizeof(enum act))

#endif
