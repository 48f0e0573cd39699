/* init: keys and certificates, this member's file, then the first command.
 *
 * What is on disk after a crash decides what the next run does:
 *
 *   member.pb   store           next init
 *   no          no              begins
 *   yes         no group        begins, with new keys
 *   yes         no cluster      goes on: new keys, member.pb anew, the first command
 *   yes         a cluster       refuses
 *   joining     either          refuses: it is a member of another cluster
 *   no          a group         refuses: this is not ours to guess
 */
#include "nms/init.h"
#include "nms/ca.h"
#include "nms/nms.h"
#include "nms/self.h"
#include "proto/file.h"
#include "proto/scope.h"
#include "tpm/approval.h"

#include <stdlib.h>
#include <string.h>

enum {
    INIT_COMMIT_MS = 30000,
    /* Of the first command, beside policy and administrators: keys and certificates. */
    CLUSTER_BYTES_MAX = 3 * 1024,
    ADMIN_BYTES = 64, /* of one, beside his name */
};

/* All that a cluster is made of. */
struct making {
    struct {
        uint8_t fingerprint[SHA256_LEN];
        char name[STATE_ADMIN_NAME_MAX];
    } admins[INIT_ADMINS_MAX];
    char *policy; /* as it is kept; NULL: the built-in one */
    struct secret masters_seed;
    struct secret authority_key;
    uint8_t authority[TPM_AUTHORITY_LEN];
    struct cert masters_cert;
    struct ca ca;
    struct self self;
};

static void
making_wipe(struct making *making)
{
    free(making->policy);
    explicit_bzero(making, sizeof(*making));
}

static enum st_code
admin_read(const char *file, uint8_t out[SHA256_LEN], char out_name[STATE_ADMIN_NAME_MAX],
           struct st_err *err)
{
    AUTO(st_freep) uint8_t *pem = NULL;
    size_t len;
    struct cert cert;
    enum st_code code;
    if ((code = file_read(file, FILE_MAX_LEN, &pem, &len, err)))
        return code;
    if ((code = cert_from_pem((const char *)pem, &cert, err)) ||
        (code = ca_client_check(cert.der, cert.len, nms_now(), err)))
        return st_wrap(err, "%s", file);
    cert_fingerprint(cert.der, cert.len, out);
    tpm_ek_ca_name(cert.der, cert.len, out_name);
    return ST_OK;
}

static enum st_code
policy_read(const char *file, char **out, struct st_err *err)
{
    AUTO(st_freep) uint8_t *text = NULL;
    AUTO(policy_freep) struct policy *parsed = NULL;
    size_t len;
    enum st_code code = file_read(file, POLICY_TEXT_MAX, &text, &len, err);
    if (code)
        return code;
    code = policy_parse(text, len, &parsed, out, err);
    return code ? st_wrap(err, "%s", file) : ST_OK;
}

static enum st_code
check_size(const struct init_config *config, const struct making *making,
           struct st_err *err)
{
    size_t len = making->policy ? strlen(making->policy) : 0;
    for (size_t i = 0; i < config->admin_count; i++)
        len += strlen(making->admins[i].name) + ADMIN_BYTES;
    if (len > REPLICA_COMMAND_MAX - CLUSTER_BYTES_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "so large a policy and so many administrators do not begin "
                       "together: add the administrators later, with `stctl admin add`");
    return ST_OK;
}

static enum st_code
config_check(const struct init_config *config, struct making *making, struct st_err *err)
{
    enum st_code code = name_check("a cluster", config->name, err);
    for (size_t i = 0; !code && i < config->admin_count; i++)
        code = admin_read(config->admins[i].file, making->admins[i].fingerprint,
                          making->admins[i].name, err);
    if (!code && config->policy)
        code = policy_read(config->policy, &making->policy, err);
    return code ? code : check_size(config, making, err);
}

static enum st_code
keys_make(const struct init_config *config, struct making *making, struct st_err *err)
{
    uint8_t public_key[ED25519_PUBLIC_LEN];
    enum st_code code;
    making->self.id = FIRST_MEMBER;
    making->self.address = config->address;
    if ((code = key_generate(&making->masters_seed, public_key, err)) ||
        (code = cert_self_sign(&making->masters_seed, "smalltown-master",
                               &making->masters_cert, err)) ||
        (code = tpm_authority_make(&making->authority_key, making->authority, err)) ||
        (code = ca_new(config->name, &making->ca, err)) ||
        (code = ca_crl_empty(&making->ca, 1, &making->self.crl, err)) ||
        (code = ca_issue_member(&making->ca, FIRST_MEMBER, 2, &making->self.cert,
                                &making->self.key, err)))
        return code;
    making->self.ca = making->ca.cert;
    return self_write(config->dir, &making->self, err);
}

static enum st_code
replica_begin(const struct init_config *config, struct state *state, bool bootstrap,
              struct replica **out, struct st_err *err)
{
    char address[ADDRESS_TEXT_MAX];
    address_format_port(&config->address, PORT_CONSENSUS, address);
    const struct replica_config replica = {
        .dir = config->dir,
        .id = FIRST_MEMBER,
        .address = address,
        .begin = bootstrap ? REPLICA_BOOTSTRAP : REPLICA_OPEN,
        .machine = state_machine(state),
    };
    return replica_open(&replica, out, err);
}

/* A group that is here already: an init that did not get to its end, or a cluster. */
static enum st_code
resume(const struct init_config *config, struct state *state, struct replica **out,
       struct st_err *err)
{
    AUTO(replica_closep) struct replica *replica = NULL;
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    struct self self = {0};
    enum st_code code;
    if ((code = self_read(config->dir, &self, err)))
        return st_wrap(err, "%s holds a member's store", config->dir);
    secret_wipe(&self.key);
    if ((code = replica_begin(config, state, false, &replica, err)) ||
        (code = replica_barrier_wait(replica, INIT_COMMIT_MS, err)))
        return code;
    if (!state_cluster(state, &cluster, NULL))
        return st_fail_for(err, ST_ALREADY_EXISTS, ST_REASON_EXISTS,
                           "%s holds the cluster %s already: start it with run",
                           config->dir, cluster->name);
    if (!address_equal(&self.address, &config->address))
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "an init with another address was interrupted in %s: give that "
                       "address again, or remove the folder",
                       config->dir);
    *out = TAKE(replica);
    return ST_OK;
}

static enum st_code
propose_wait(struct replica *replica, const State__Command *command, struct st_err *err)
{
    struct replica_result result;
    const size_t len = state__command__get_packed_size(command);
    AUTO(st_freep) uint8_t *packed = malloc(len);
    if (!packed)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory");
    state__command__pack(command, packed);
    enum st_code code =
        replica_propose_wait(replica, packed, len, INIT_COMMIT_MS, &result, err);
    explicit_bzero(packed, len);
    return code ? code : state_result(&result, err);
}

static enum st_code
found(const struct init_config *config, const struct making *making,
      struct replica *replica, struct st_err *err)
{
    State__Admin admins[INIT_ADMINS_MAX], *admin_list[INIT_ADMINS_MAX];
    struct secret id;
    enum st_code code = secret_random(&id, REQUEST_ID_LEN, err);
    if (code)
        return code;
    State__Cluster cluster = STATE__CLUSTER__INIT;
    cluster.name = (char *)config->name;
    cluster.founded_at = nms_now();
    cluster.crl_number = 1;
    cluster.next_member = FIRST_MEMBER + 1;
    self_lend(&cluster.masters_seed, making->masters_seed.bytes,
              making->masters_seed.len);
    self_lend(&cluster.masters_cert, making->masters_cert.der, making->masters_cert.len);
    self_lend(&cluster.ca_cert, making->ca.cert.der, making->ca.cert.len);
    self_lend(&cluster.ca_key, making->ca.key.bytes, making->ca.key.len);
    self_lend(&cluster.crl, making->self.crl.der, making->self.crl.len);
    State__SealAuthority authority = STATE__SEAL_AUTHORITY__INIT;
    self_lend(&authority.point, making->authority, sizeof(making->authority));
    self_lend(&authority.key, making->authority_key.bytes, making->authority_key.len);
    authority.made_at = cluster.founded_at;
    cluster.seal_authority = &authority;
    State__Member member = STATE__MEMBER__INIT;
    member.id = FIRST_MEMBER;
    self_lend(&member.address, config->address.bytes, config->address.len);
    self_lend(&member.cert, making->self.cert.der, making->self.cert.len);
    for (size_t i = 0; i < config->admin_count; i++) {
        state__admin__init(&admins[i]);
        self_lend(&admins[i].fingerprint, making->admins[i].fingerprint, SHA256_LEN);
        admins[i].name = (char *)making->admins[i].name;
        admins[i].role = config->admins[i].role;
        admins[i].added_at = cluster.founded_at;
        admin_list[i] = &admins[i];
    }
    State__Found first = STATE__FOUND__INIT;
    first.cluster = &cluster;
    first.member = &member;
    first.admins = admin_list;
    first.n_admins = config->admin_count;
    if (making->policy)
        first.policy = making->policy;
    State__Command command = STATE__COMMAND__INIT;
    self_lend(&command.request_id, id.bytes, id.len);
    command.time = cluster.founded_at;
    command.change_case = STATE__COMMAND__CHANGE_FOUND;
    command.found = &first;
    return propose_wait(replica, &command, err);
}

/* A store without the file that says whose it is; the one just written is not its. */
static enum st_code
refuse_stray_store(const struct init_config *config, struct st_err *err)
{
    enum st_code code = self_erase(config->dir, err);
    if (code)
        return code;
    return st_fail_for(err, ST_ALREADY_EXISTS, ST_REASON_EXISTS,
                       "%s holds a member's store, but no member.pb", config->dir);
}

/* What a join left or began is a member's identity that the masters count on. */
static enum st_code
refuse_joined(const char *dir, const struct self *there, struct st_err *err)
{
    AUTO(self_wipep) struct self begun = {0};
    if (there->joining)
        return st_fail_for(err, ST_ALREADY_EXISTS, ST_REASON_EXISTS,
                           "%s holds member %llu of another cluster: start it with run",
                           dir, (unsigned long long)there->id);
    if (self_begun_read(dir, &begun, NULL) != ST_NOT_FOUND)
        return st_fail_for(err, ST_ALREADY_EXISTS, ST_REASON_EXISTS,
                           "a join was begun in %s: run it again, or remove the folder",
                           dir);
    return ST_OK;
}

enum st_code
init_cluster(const struct init_config *config, struct cert *out_masters,
             struct st_err *err)
{
    AUTO(making_wipe) struct making making = {0};
    AUTO(state_freep) struct state *state = NULL;
    AUTO(replica_closep) struct replica *replica = NULL;
    struct self begun = {0};
    enum st_code code;
    if ((code = config_check(config, &making, err)) ||
        (code = file_make_folder(config->dir, err)) || (code = state_new(&state, err)))
        return code;
    const bool first = self_read(config->dir, &begun, NULL) == ST_NOT_FOUND;
    secret_wipe(&begun.key);
    if ((code = refuse_joined(config->dir, &begun, err)) ||
        (first && (code = keys_make(config, &making, err))))
        return code;
    code = replica_begin(config, state, true, &replica, err);
    if (code == ST_ALREADY_EXISTS && first)
        return refuse_stray_store(config, err);
    if (code == ST_ALREADY_EXISTS)
        code = resume(config, state, &replica, err);
    if (code || (!first && (code = keys_make(config, &making, err))) ||
        (code = found(config, &making, replica, err)) ||
        (code = masters_pem_write(config->dir, making.masters_cert.der,
                                  making.masters_cert.len, err)))
        return code;
    *out_masters = making.masters_cert;
    return ST_OK;
}
