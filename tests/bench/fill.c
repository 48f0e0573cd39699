/* Enrols nodes into a master that does not run: as many records as asked for, each as
 * large as that of a machine with an RSA EK and its vendor's certificate.  They go in as
 * commands of the log; only the door, with its TPM and its quotes, is left out.
 *
 *   bench-fill DIR NODES
 */
#include "nms/digest.h"
#include "nms/self.h"
#include "nms/state.h"
#include "proto/cert.h"
#include "proto/scope.h"
#include "raft/replica.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum {
    EK_SPKI_LEN = 294,   /* RSA-2048 */
    EK_CERT_LEN = 1200,  /* as swtpm's and the vendors' are */
    AK_PUBLIC_LEN = 90,  /* TPMT_PUBLIC of P-256 */
    UNDER_WAY_MAX = 256, /* commands */
    COMMIT_MS = 60000,
    USES = ENROLMENT_USES_MAX,
};

struct filling {
    struct replica *replica;
    uint8_t secret_hash[SHA256_LEN];
    uint64_t bytes; /* of all records */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    unsigned under_way;
    struct st_err err; /* the first failure */
};

static void
applied(void *arg, const struct st_err *err, const struct replica_result *result)
{
    struct filling *filling = arg;
    struct st_err outcome = *err;
    if (!err->code && !state_result(result, &outcome))
        outcome.code = ST_OK;
    pthread_mutex_lock(&filling->lock);
    if (outcome.code && !filling->err.code)
        filling->err = outcome;
    filling->under_way--;
    pthread_cond_signal(&filling->changed);
    pthread_mutex_unlock(&filling->lock);
}

/* Until at most `left` commands are under way; the first failure so far. */
static enum st_code
wait_until(struct filling *filling, unsigned left, struct st_err *err)
{
    pthread_mutex_lock(&filling->lock);
    while (filling->under_way > left)
        pthread_cond_wait(&filling->changed, &filling->lock);
    enum st_code code = filling->err.code;
    if (code)
        *err = filling->err;
    pthread_mutex_unlock(&filling->lock);
    return code;
}

static enum st_code
propose(struct filling *filling, State__Command *command, struct st_err *err)
{
    uint8_t packed[8 * 1024], id[REQUEST_ID_LEN];
    enum st_code code = wait_until(filling, UNDER_WAY_MAX - 1, err);
    if (code)
        return code;
    if (getrandom(id, sizeof(id), 0) != sizeof(id))
        return st_fail(err, ST_UNAVAILABLE, "no random bytes");
    command->request_id = (ProtobufCBinaryData){sizeof(id), id};
    command->time = (int64_t)time(NULL);
    const size_t len = state__command__get_packed_size(command);
    if (len > sizeof(packed))
        return st_fail(err, ST_INTERNAL, "a command of %zu bytes", len);
    state__command__pack(command, packed);
    pthread_mutex_lock(&filling->lock);
    filling->under_way++;
    pthread_mutex_unlock(&filling->lock);
    replica_propose(filling->replica, packed, len, COMMIT_MS, applied, filling);
    return ST_OK;
}

static enum st_code
make_enrolment(struct filling *filling, struct st_err *err)
{
    State__Enrolment enrolment = STATE__ENROLMENT__INIT;
    State__NewEnrolment new_enrolment = STATE__NEW_ENROLMENT__INIT;
    State__Command command = STATE__COMMAND__INIT;
    enrolment.name = (char *)"bench";
    enrolment.secret_hash = (ProtobufCBinaryData){SHA256_LEN, filling->secret_hash};
    enrolment.uses_left = USES;
    enrolment.expires_at = (int64_t)time(NULL) + 3600;
    new_enrolment.enrolment = &enrolment;
    command.change_case = STATE__COMMAND__CHANGE_NEW_ENROLMENT;
    command.new_enrolment = &new_enrolment;
    return propose(filling, &command, err);
}

static enum st_code
enrol(struct filling *filling, unsigned number, struct st_err *err)
{
    SECRET seed = {0};
    uint8_t public_key[ED25519_PUBLIC_LEN],
        noise[EK_SPKI_LEN + EK_CERT_LEN + AK_PUBLIC_LEN + UNLOCK_KEY_LEN];
    char id[NODE_ID_LEN + 1];
    struct cert cert;
    enum st_code code;
    if ((code = key_generate(&seed, public_key, err)))
        return code;
    node_id_of_key(public_key, id);
    if ((code = cert_self_sign(&seed, id, &cert, err)))
        return code;
    for (size_t at = 0; at < sizeof(noise); at += 256)
        if (getrandom(noise + at, sizeof(noise) - at < 256 ? sizeof(noise) - at : 256,
                      0) < 0)
            return st_fail(err, ST_UNAVAILABLE, "no random bytes");
    uint8_t address[] = {10, (uint8_t)(number >> 16), (uint8_t)(number >> 8),
                         (uint8_t)number};
    uint8_t *at = noise;
    State__Node node = STATE__NODE__INIT;
    node.node_id = id;
    node.id_cert = (ProtobufCBinaryData){cert.len, cert.der};
    node.address = (ProtobufCBinaryData){sizeof(address), address};
    node.ek_pubkey = (ProtobufCBinaryData){EK_SPKI_LEN, at};
    node.ek_cert = (ProtobufCBinaryData){EK_CERT_LEN, at += EK_SPKI_LEN};
    node.ak_public = (ProtobufCBinaryData){AK_PUBLIC_LEN, at += EK_CERT_LEN};
    node.global_unlock_key = (ProtobufCBinaryData){UNLOCK_KEY_LEN, at += AK_PUBLIC_LEN};
    node.secret_hash = (ProtobufCBinaryData){SHA256_LEN, filling->secret_hash};
    State__Enrol change = STATE__ENROL__INIT;
    State__Command command = STATE__COMMAND__INIT;
    change.node = &node;
    command.change_case = STATE__COMMAND__CHANGE_ENROL;
    command.enrol = &change;
    filling->bytes += state__node__get_packed_size(&node);
    return propose(filling, &command, err);
}

static enum st_code
fill(const char *dir, unsigned nodes, struct st_err *err)
{
    AUTO(state_freep) struct state *state = NULL;
    AUTO(replica_closep) struct replica *replica = NULL;
    struct filling filling = {.lock = PTHREAD_MUTEX_INITIALIZER,
                              .changed = PTHREAD_COND_INITIALIZER};
    struct self self = {0};
    char address[ADDRESS_TEXT_MAX];
    enum st_code code;
    if ((code = self_read(dir, &self, err)) || (code = state_new(&state, err)))
        return code;
    secret_wipe(&self.key);
    address_format_port(&self.address, PORT_CONSENSUS, address);
    const struct replica_config config = {
        .dir = dir, .id = self.id, .address = address, .machine = state_machine(state)};
    if ((code = replica_open(&config, &replica, err)))
        return code;
    filling.replica = replica;
    code = digest_enrolment_secret("bench", 5, filling.secret_hash, err);
    if (!code)
        code = make_enrolment(&filling, err);
    for (unsigned i = 0; !code && i < nodes; i++)
        code = enrol(&filling, i, err);
    enum st_code last = wait_until(&filling, 0, code ? &(struct st_err){0} : err);
    if (code || last)
        return code ? code : last;
    printf("%u nodes enrolled, %llu bytes a record\n", nodes,
           (unsigned long long)(filling.bytes / nodes));
    return ST_OK;
}

int
main(int argc, char **argv)
{
    struct st_err err = {0};
    const unsigned long nodes = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    if (nodes < 1 || nodes > USES) {
        fprintf(stderr, "usage: bench-fill DIR NODES (1 to %d)\n", USES);
        return 2;
    }
    if (fill(argv[1], (unsigned)nodes, &err)) {
        fprintf(stderr, "bench-fill: %s\n", err.text);
        return 1;
    }
    return 0;
}
