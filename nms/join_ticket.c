/* join, the way of a host without a TPM: a ticket, a key of its own, the masters' answer.
 *
 * What is durable, in this order: joining.pb with the key and what it is for; (the
 * masters have the member;) masters.pem; member.pb; joining.pb is gone.  Wherever it is
 * cut off, the same command goes on: the masters answer the same key on the same ticket
 * the same.
 */
#include "nms/digest.h"
#include "nms/join.h"
#include "proto/clock.h"
#include "proto/event.h"
#include "proto/file.h"
#include "proto/mutant.h"
#include "proto/proof.h"
#include "proto/rpc_client.h"
#include "proto/scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define JOIN_MASTERS "/api.NodeManagementService/JoinMasters"

enum {
    TICKET_MAX_LEN = 8192,
    CALL_MS = 20000, /* one question */
    PAUSE_MS = 1000, /* before the next, where the masters name none */
    SAY_MS = 10000,
};

static void
response_free(Api__JoinMastersResponse *response)
{
    api__join_masters_response__free_unpacked(response, &secret_allocator);
}
AUTO_DEFINE(Api__JoinMastersResponse *, response_freep, response_free)

/* What is asked with: the ticket, and where its masters are. */
struct asking {
    Api__MasterTicket *ticket;
    struct st_address masters[ADDRESSES_MAX];
    uint8_t digest[SHA256_LEN]; /* of the secret */
};

static void
asking_endp(struct asking *asking)
{
    if (asking->ticket)
        api__master_ticket__free_unpacked(asking->ticket, &secret_allocator);
}

static enum st_code
ticket_check(const Api__MasterTicket *ticket, struct asking *out, struct st_err *err)
{
    uint8_t public_key[ED25519_PUBLIC_LEN];
    enum st_code code = ST_OK;
    if (ticket->secret.len != TICKET_SECRET_LEN || ticket->n_master_ips == 0 ||
        ticket->n_master_ips > ADDRESSES_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "fields are missing");
    for (size_t i = 0; !code && i < ticket->n_master_ips; i++)
        code = address_unpack(&ticket->master_ips[i], &out->masters[i], err);
    if (code || (code = name_check("a cluster", ticket->cluster, err)) ||
        (code = cert_public_key(ticket->masters_cert.data, ticket->masters_cert.len,
                                public_key, err)))
        return code;
    return digest_labelled("smalltown joining ticket v1", ticket->secret.data,
                           ticket->secret.len, out->digest, err);
}

static enum st_code
ticket_read(const char *path, struct asking *out, struct st_err *err)
{
    uint8_t *bytes;
    size_t len;
    enum st_code code = file_read(path, TICKET_MAX_LEN, &bytes, &len, err);
    if (code)
        return code;
    out->ticket = api__master_ticket__unpack(&secret_allocator, len, bytes);
    explicit_bzero(bytes, len);
    free(bytes);
    if (!out->ticket)
        code = st_fail(err, ST_INVALID_ARGUMENT, "it cannot be read");
    else
        code = ticket_check(out->ticket, out, err);
    return code ? st_wrap(err,
                          "%s is no ticket, or damaged: make another with `stctl master "
                          "invite`",
                          path)
                : ST_OK;
}

static bool
is_of_ticket(const struct self *self, const struct asking *asking)
{
    return memcmp(self->ticket, asking->digest, SHA256_LEN) == 0;
}

/* The masters have the ticket with the address that it was used with first. */
static enum st_code
address_check(const struct join_config *config, const struct self *self,
              struct st_err *err)
{
    char text[ADDRESS_TEXT_MAX];
    if (address_equal(&self->address, &config->address))
        return ST_OK;
    address_format(&self->address, text);
    return st_fail(err, ST_FAILED_PRECONDITION,
                   "this ticket was used here with --address %s: give that again, or "
                   "remove %s and make another ticket",
                   text, config->dir);
}

/* The key that was begun with, or a new one, which is on disk when this returns. */
static enum st_code
key_begin(const struct join_config *config, const struct asking *asking, struct self *out,
          struct st_err *err)
{
    SECRET seed = {0};
    uint8_t public_key[ED25519_PUBLIC_LEN];
    enum st_code code = self_begun_read(config->dir, out, err);
    if (!code && is_of_ticket(out, asking))
        return address_check(config, out, err);
    if (code && code != ST_NOT_FOUND)
        return st_wrap(err, "remove it, and make another ticket");
    *out = (struct self){.address = config->address};
    memcpy(out->ticket, asking->digest, SHA256_LEN);
    if ((code = key_generate(&seed, public_key, err)) ||
        (code = key_to_pkcs8(&seed, &out->key, err)))
        return code;
    return self_begun_write(config->dir, out, err);
}

static enum st_code
request_fill(const struct asking *asking, const struct self *self,
             uint8_t public_key[ED25519_PUBLIC_LEN], uint8_t proof[ED25519_SIGNATURE_LEN],
             Api__JoinMastersRequest *out, struct st_err *err)
{
    SECRET seed = {0}, message = {.len = PROOF_MASTER_LABEL_LEN + TICKET_SECRET_LEN};
    enum st_code code;
    proof_of_master(asking->ticket->secret.data, TICKET_SECRET_LEN, message.bytes);
    if ((code = key_from_pkcs8(self->key.bytes, self->key.len, &seed, err)) ||
        (code = key_public(&seed, public_key, err)) ||
        (code = key_sign(&seed, message.bytes, message.len, proof, err)))
        return code;
    out->secret = asking->ticket->secret;
    out->address =
        (ProtobufCBinaryData){self->address.len, (uint8_t *)self->address.bytes};
    out->public_key = (ProtobufCBinaryData){ED25519_PUBLIC_LEN, public_key};
    out->proof = (ProtobufCBinaryData){ED25519_SIGNATURE_LEN, proof};
    return ST_OK;
}

static void
pause_ms(uint32_t ms)
{
    nanosleep(
        &(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000},
        NULL);
}

static const char clocks_differ[] =
    "the clock of the master that was asked is behind, or that of the one that made the "
    "ticket was ahead; its log says by how much";

/* What the operator does about an answer on 7833, which is a code and a word, or about
 * none. */
static enum st_code
explain(const struct st_err *said, struct st_err *err)
{
    static const struct {
        enum st_code code;
        const char *sentence;
    } meanings[] = {
        {ST_PERMISSION_DENIED,
         "the masters refuse the ticket: it expired, or another host used it; make "
         "another with `stctl master invite`"},
        {ST_ALREADY_EXISTS,
         "a master with this address is there already: `stctl master list` names it, "
         "`stctl master remove` makes room"},
        {ST_FAILED_PRECONDITION,
         "the masters take no other master now; `stctl master list` shows them, and "
         "their log says why"},
        {ST_INVALID_ARGUMENT,
         "the masters do not understand this machine; their log says why"},
        {ST_RESOURCE_EXHAUSTED,
         "the masters are busy, or as many as there can be: `stctl master list`, "
         "`stctl master remove`; then run the same command again"},
        {ST_UNIMPLEMENTED, "the masters know no tickets: bring them to this version"},
    };
    for (size_t i = 0; i < sizeof(meanings) / sizeof(*meanings); i++)
        if (meanings[i].code == said->code)
            return st_fail(err, said->code, "%s", meanings[i].sentence);
    if (said->reason == ST_REASON_OTHER_SERVER)
        return st_fail_for(err, said->code, said->reason,
                           "%s: the ticket is of another cluster", said->text);
    if (said->reason == ST_REASON_CLOCK)
        return st_fail_for(err, said->code, said->reason, "%s", clocks_differ);
    if (said->reason == ST_REASON_NO_QUORUM)
        return st_fail_for(err, said->code, said->reason,
                           "the masters have no majority: run the same command again");
    return st_fail_for(err, said->code, said->reason, "%s: run the same command again",
                       said->text);
}

/* Somebody sits before this: one line at once, and one now and then. */
static void
say_waiting(const struct st_err *said, int64_t until, int64_t *say_at)
{
    const int64_t now = clock_ms();
    if (now < *say_at)
        return;
    *say_at = now + SAY_MS;
    event("join", "decision=retry seconds_left=%lld reason=\"%s\"",
          (long long)(until - now) / 1000,
          said->reason == ST_REASON_CLOCK       ? clocks_differ
          : said->reason == ST_REASON_NO_QUORUM ? "the masters have no majority"
                                                : said->text);
}

/* Whichever master answers first; the next time maybe another. */
static enum st_code
ask_once(const struct rpc_channel_config *where, const Api__JoinMastersRequest *request,
         ProtobufCMessage **out, struct st_err *err)
{
    AUTO(rpc_channel_closep) struct rpc_channel *channel = NULL;
    enum st_code code = rpc_channel_open(where, &channel, err);
    return code ? code
                : rpc_unary(channel, JOIN_MASTERS, &request->base,
                            &api__join_masters_response__descriptor, CALL_MS, out, err);
}

static enum st_code
ask(const struct join_config *config, const struct asking *asking,
    const Api__JoinMastersRequest *request, Api__JoinMastersResponse **out,
    struct st_err *err)
{
    const struct rpc_channel_config where = {
        .addresses = asking->masters,
        .address_count = asking->ticket->n_master_ips,
        .port = config->port,
        .server_cert = asking->ticket->masters_cert.data,
        .server_cert_len = asking->ticket->masters_cert.len,
    };
    const int64_t until = clock_ms() + config->wait_ms;
    ProtobufCMessage *answer = NULL;
    struct st_err said = {0};
    int64_t say_at = 0;
    event("join", "cluster=%s decision=ask seconds_left=%u", asking->ticket->cluster,
          config->wait_ms / 1000);
    /* An election may be under way. */
    while (ask_once(&where, request, &answer, &said)) {
        const uint32_t pause = said.retry_ms ? said.retry_ms : PAUSE_MS;
        if ((said.code != ST_UNAVAILABLE && said.code != ST_RESOURCE_EXHAUSTED) ||
            said.reason == ST_REASON_OTHER_SERVER || clock_ms() + pause >= until)
            return explain(&said, err);
        say_waiting(&said, until, &say_at);
        pause_ms(pause);
        said = (struct st_err){0};
    }
    *out = (Api__JoinMastersResponse *)answer;
    return ST_OK;
}

static enum st_code
become(const struct join_config *config, const struct asking *asking, struct self *self,
       struct st_err *err)
{
    AUTO(response_freep) Api__JoinMastersResponse *response = NULL;
    Api__JoinMastersRequest request = API__JOIN_MASTERS_REQUEST__INIT;
    uint8_t public_key[ED25519_PUBLIC_LEN], proof[ED25519_SIGNATURE_LEN];
    enum st_code code;
    if ((code = request_fill(asking, self, public_key, proof, &request, err)) ||
        (code = ask(config, asking, &request, &response, err)))
        return code;
    if (!response->certs)
        return st_fail(err, ST_INVALID_ARGUMENT, "the masters answered nothing");
    if ((code = join_check(response->certs, self, err)))
        return st_wrap(err, "what the masters answered makes no member of this machine");
    self->joining = true;
    if ((code = masters_pem_write(config->dir, asking->ticket->masters_cert.data,
                                  asking->ticket->masters_cert.len, err)))
        return code;
    return self_write(config->dir, self, err);
}

enum st_code
join_with_ticket(const struct join_config *config, const char *ticket, uint64_t *out_id,
                 struct st_err *err)
{
    AUTO(asking_endp) struct asking asking = {0};
    AUTO(self_wipep) struct self self = {0};
    AUTO(join_leavep) int folder = -1;
    enum st_code code;
    if ((code = ticket_read(ticket, &asking, err)) ||
        (code = join_enter(config->dir, &folder, err)))
        return code;
    code = join_there(config->dir, &self, err);
    if (!code && REFUSES(0x52e2, !is_of_ticket(&self, &asking)))
        return join_refuse(config->dir, &self, err);
    if (!code)
        code = address_check(config, &self, err);
    else if (code == ST_NOT_FOUND && !(code = key_begin(config, &asking, &self, err)))
        code = become(config, &asking, &self, err);
    if (code)
        return code;
    *out_id = self.id;
    return self_begun_erase(config->dir, err);
}
