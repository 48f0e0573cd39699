/* Keys and values of the records: their names, and what a value must look like to be
 * believed when it comes back from the disk. */
#include "nms/digest.h"
#include "nms/state_internal.h"
#include "proto/cert.h"
#include "proto/recovery.h"
#include "proto/secret.h"
#include "proto/sha256.h"
#include "tpm/approval.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
key_of_hash(const char *kind, const uint8_t sha256[SHA256_LEN], char out[STATE_KEY_MAX])
{
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex(sha256, hex);
    snprintf(out, STATE_KEY_MAX, "%s/%s", kind, hex);
}

void
key_of_member(uint64_t id, char out[STATE_KEY_MAX])
{
    snprintf(out, STATE_KEY_MAX, "member/%" PRIu64, id);
}

void
key_of_admin(const uint8_t fingerprint[SHA256_LEN], char out[STATE_KEY_MAX])
{
    key_of_hash("admin", fingerprint, out);
}

void
key_of_enrolment(const char *name, char out[STATE_KEY_MAX])
{
    snprintf(out, STATE_KEY_MAX, "enrolment/%s", name);
}

void
key_of_ticket(const char *name, char out[STATE_KEY_MAX])
{
    snprintf(out, STATE_KEY_MAX, "ticket/%s", name);
}

void
key_of_node(const char *id, char out[STATE_KEY_MAX])
{
    snprintf(out, STATE_KEY_MAX, "node/%s", id);
}

void
key_of_policy(uint64_t version, char out[STATE_KEY_MAX])
{
    snprintf(out, STATE_KEY_MAX, "policy/%016" PRIx64, version);
}

void
key_of_ek_ca(const uint8_t sha256[SHA256_LEN], char out[STATE_KEY_MAX])
{
    key_of_hash("ek-ca", sha256, out);
}

void
key_of_captured(const uint8_t sha256[SHA256_LEN], char out[STATE_KEY_MAX])
{
    key_of_hash("captured", sha256, out);
}

void
key_of_refused(const char *node_id, char out[STATE_KEY_MAX])
{
    snprintf(out, STATE_KEY_MAX, "refused/%s", node_id);
}

void
key_of_request(uint64_t index, char out[STATE_KEY_MAX])
{
    snprintf(out, STATE_KEY_MAX, "request/%016" PRIx64, index);
}

void
state_die(const char *sentence)
{
    fprintf(stderr, "fatal the state of the cluster: %s\n", sentence);
    abort();
}

static void *
sure_alloc(void *data, size_t size)
{
    void *memory = secret_allocator.alloc(data, size);
    if (!memory)
        state_die("no memory");
    return memory;
}

static void
sure_free(void *data, void *pointer)
{
    secret_allocator.free(data, pointer);
}

ProtobufCAllocator state_allocator = {.alloc = sure_alloc, .free = sure_free};

void *
record_unpack(const struct record *record, const ProtobufCMessageDescriptor *type)
{
    void *message = protobuf_c_message_unpack(type, &state_allocator, record->len,
                                              record_value(record));
    if (!message)
        state_die("a record in memory is not readable");
    return message;
}

void
record_free_unpacked(void *message)
{
    protobuf_c_message_free_unpacked(message, &state_allocator);
}

State__Cluster *
cluster_of(const struct state *state)
{
    const struct record *record = records_find(&state->records, "cluster");
    return record ? record_unpack(record, &state__cluster__descriptor) : NULL;
}

State__Node *
node_of(const struct state *state, const char *node_id)
{
    char key[STATE_KEY_MAX];
    if (node_id_check(node_id, NULL))
        return NULL;
    key_of_node(node_id, key);
    const struct record *record = records_find(&state->records, key);
    return record ? record_unpack(record, &state__node__descriptor) : NULL;
}

enum st_code
node_find(const struct state *state, const char *node_id, State__Node **out,
          struct st_err *err)
{
    enum st_code code = node_id_check(node_id, err);
    if (code)
        return code;
    State__Node *node = node_of(state, node_id);
    if (!node)
        return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND, "no node %s", node_id);
    *out = node;
    return ST_OK;
}

bool
is_seal_authority(const State__SealAuthority *authority)
{
    return !authority || (authority->point.len == TPM_AUTHORITY_LEN &&
                          authority->key.len == TPM_AUTHORITY_KEY_LEN);
}

static bool
is_cluster(const char *key, const void *message, uint8_t *alias)
{
    (void)alias;
    const State__Cluster *cluster = message;
    return strcmp(key, "cluster") == 0 && cluster->masters_seed.len == ED25519_SEED_LEN &&
           cluster->masters_cert.len > 0 && cluster->crl.len <= CRL_MAX_LEN &&
           is_seal_authority(cluster->seal_authority) &&
           is_seal_authority(cluster->seal_authority_before) &&
           !name_check("", cluster->name, NULL);
}

static bool
is_member(const char *key, const void *message, uint8_t *alias)
{
    (void)alias;
    const State__Member *member = message;
    char own[STATE_KEY_MAX];
    key_of_member(member->id, own);
    return strcmp(key, own) == 0 &&
           (member->address.len == 4 || member->address.len == 16) &&
           (!*member->node_id || !node_id_check(member->node_id, NULL));
}

static bool
is_admin(const char *key, const void *message, uint8_t *alias)
{
    (void)alias;
    const State__Admin *admin = message;
    char own[STATE_KEY_MAX];
    if (admin->fingerprint.len != SHA256_LEN)
        return false;
    key_of_admin(admin->fingerprint.data, own);
    return strcmp(key, own) == 0;
}

static bool
is_enrolment(const char *key, const void *message, uint8_t *alias)
{
    const State__Enrolment *enrolment = message;
    char own[STATE_KEY_MAX];
    if (name_check("", enrolment->name, NULL) ||
        enrolment->secret_hash.len != RECORD_ALIAS_LEN ||
        (enrolment->recovery_key.len != 0 && enrolment->recovery_key.len != HPKE_KEY_LEN))
        return false;
    key_of_enrolment(enrolment->name, own);
    memcpy(alias, enrolment->secret_hash.data, RECORD_ALIAS_LEN);
    return strcmp(key, own) == 0;
}

static bool
is_ticket(const char *key, const void *message, uint8_t *alias)
{
    const State__Ticket *ticket = message;
    char own[STATE_KEY_MAX];
    if (name_check("", ticket->name, NULL) || ticket->secret_hash.len != RECORD_ALIAS_LEN)
        return false;
    key_of_ticket(ticket->name, own);
    memcpy(alias, ticket->secret_hash.data, RECORD_ALIAS_LEN);
    return strcmp(key, own) == 0;
}

bool
is_ek_chain(const State__Node *node)
{
    size_t bytes = 0;
    if (node->n_ek_chain > TPM_EK_CHAIN_CERTS)
        return false;
    for (size_t i = 0; i < node->n_ek_chain; i++)
        bytes += node->ek_chain[i].len;
    return bytes <= TPM_EK_CHAIN_MAX;
}

static bool
is_node(const char *key, const void *message, uint8_t *alias)
{
    const State__Node *node = message;
    char own[STATE_KEY_MAX];
    if (node_id_check(node->node_id, NULL) ||
        node->global_unlock_key.len != UNLOCK_KEY_LEN || node->ak_public.len == 0 ||
        node->ek_pubkey.len == 0 || node->secret_hash.len != SHA256_LEN ||
        (node->pcrs.len != 0 && node->pcrs.len != sizeof(struct tpm_pcrs)) ||
        (node->recovery.len != 0 && node->recovery.len != RECOVERY_SEALED_LEN) ||
        !is_ek_chain(node) ||
        digest_labelled("EK", node->ek_pubkey.data, node->ek_pubkey.len, alias, NULL))
        return false;
    key_of_node(node->node_id, own);
    return strcmp(key, own) == 0;
}

/* What the text says is read where it comes into force. */
static bool
is_policy(const char *key, const void *message, uint8_t *alias)
{
    (void)alias;
    const State__Policy *policy = message;
    char own[STATE_KEY_MAX];
    key_of_policy(policy->version, own);
    return strcmp(key, own) == 0 && policy->version > 0 &&
           strlen(policy->text) <= POLICY_TEXT_MAX;
}

static bool
is_ek_ca(const char *key, const void *message, uint8_t *alias)
{
    (void)alias;
    const State__EkCa *ca = message;
    uint8_t sha256[SHA256_LEN];
    char own[STATE_KEY_MAX];
    if (ca->cert.len == 0 || ca->cert.len > CERT_MAX_LEN)
        return false;
    cert_fingerprint(ca->cert.data, ca->cert.len, sha256);
    key_of_ek_ca(sha256, own);
    return strcmp(key, own) == 0;
}

static bool
is_window(const char *key, const void *message, uint8_t *alias)
{
    (void)alias;
    const State__Window *window = message;
    return strcmp(key, "window") == 0 && window->opened_by.len == SHA256_LEN &&
           window->n_node_ids <= STATE_WINDOW_NODES_MAX;
}

static bool
is_captured(const char *key, const void *message, uint8_t *alias)
{
    (void)alias;
    const State__Captured *record = message;
    struct policy_captured captured;
    uint8_t sha256[SHA256_LEN];
    char own[STATE_KEY_MAX];
    if (record->pcrs == 0 || record->pcrs >= 1u << TPM_PCR_COUNT || record->nodes == 0 ||
        record->values.len !=
            SHA256_LEN * (size_t)__builtin_popcount((unsigned)record->pcrs))
        return false;
    captured_unpack(record, &captured);
    captured_name(&captured, sha256);
    key_of_captured(sha256, own);
    return strcmp(key, own) == 0;
}

static bool
is_refused(const char *key, const void *message, uint8_t *alias)
{
    (void)alias;
    const State__Refused *refused = message;
    char own[STATE_KEY_MAX];
    if (node_id_check(refused->node_id, NULL) ||
        refused->pcrs.len != sizeof(struct tpm_pcrs))
        return false;
    key_of_refused(refused->node_id, own);
    return strcmp(key, own) == 0;
}

static bool
is_request(const char *key, const void *message, uint8_t *alias)
{
    const State__Request *request = message;
    if (strlen(key) != sizeof("request/") - 1 + 16 || !request->result ||
        request->request_id.len != REQUEST_ID_LEN)
        return false;
    memcpy(alias, request->request_id.data, REQUEST_ID_LEN);
    return true;
}

static const struct record_kind {
    const char *prefix;
    const ProtobufCMessageDescriptor *type;
    bool (*is)(const char *key, const void *message, uint8_t *alias);
} kinds[] = {
    {"cluster", &state__cluster__descriptor, is_cluster},
    {"member/", &state__member__descriptor, is_member},
    {"admin/", &state__admin__descriptor, is_admin},
    {"enrolment/", &state__enrolment__descriptor, is_enrolment},
    {"ticket/", &state__ticket__descriptor, is_ticket},
    {"node/", &state__node__descriptor, is_node},
    {"policy/", &state__policy__descriptor, is_policy},
    {"ek-ca/", &state__ek_ca__descriptor, is_ek_ca},
    {"window", &state__window__descriptor, is_window},
    {"captured/", &state__captured__descriptor, is_captured},
    {"refused/", &state__refused__descriptor, is_refused},
    {"request/", &state__request__descriptor, is_request},
};

static const struct record_kind *
kind_of(const char *key)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        if (strncmp(key, kinds[i].prefix, strlen(kinds[i].prefix)) == 0)
            return &kinds[i];
    return NULL;
}

enum st_code
record_check(const char *key, const void *value, size_t len,
             uint8_t out_alias[RECORD_ALIAS_LEN], struct st_err *err)
{
    const struct record_kind *kind = kind_of(key);
    if (!kind)
        return st_fail(err, ST_DATA_LOSS, "record %s is none of ours", key);
    ProtobufCMessage *message =
        protobuf_c_message_unpack(kind->type, &state_allocator, len, value);
    bool good = message && kind->is(key, message, out_alias);
    if (message)
        record_free_unpacked(message);
    if (!good)
        return st_fail(err, ST_DATA_LOSS, "record %s does not hold what its name says",
                       key);
    return ST_OK;
}
