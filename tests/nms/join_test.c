/* How this machine becomes a member: the files, the ticket, and every way it ends early.
 */
#include "nms/init.h"
#include "nms/join.h"
#include "proto/file.h"
#include "proto/rpc_server.h"
#include "proto/scope.h"
#include "store/store.h"
#include "tests/cmocka.h"
#include "tests/folder.h"
#include "tests/nms/forge.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct st_address loopback = {{127, 0, 0, 1}, 4};
static char folder[FOLDER_MAX], data[48], ticket_file[48];

/* The masters, as far as a machine sees them. */
enum act {
    ACT_ISSUE,
    ACT_LOSE, /* they have the member, and the answer is lost */
    ACT_ELECT,
    ACT_REFUSE,
    ACT_OCCUPIED,
    ACT_FULL,
    ACT_NO_TICKETS,
    ACT_OTHER_KEY,
    ACT_REVOKED,
    ACT_NOTHING,
};
static struct {
    pthread_mutex_t lock; /* around every call, on both sides */
    enum act act[3];      /* of the first calls, and the last of all that follow */
    unsigned calls;
    uint8_t key[ED25519_PUBLIC_LEN]; /* of the last call */
    struct secret seed;
    struct cert cert;
    struct rpc_server *server;
    uint8_t secret[32];
} masters = {.lock = PTHREAD_MUTEX_INITIALIZER};
static struct ca authority;
static struct crl list;
static struct store *open_store;

static void
certs_set(Api__ConsensusCertificates *out, const struct ca *member, const struct crl *crl)
{
    api__consensus_certificates__init(out);
    out->ca = (ProtobufCBinaryData){authority.cert.len, authority.cert.der};
    out->crl = (ProtobufCBinaryData){crl->len, (uint8_t *)crl->der};
    out->cert = (ProtobufCBinaryData){member->cert.len, (uint8_t *)member->cert.der};
    out->key = (ProtobufCBinaryData){member->key.len, (uint8_t *)member->key.bytes};
}

static void
issue(struct rpc_call *call, enum act act)
{
    Api__ConsensusCertificates certs;
    Api__JoinMastersResponse response = API__JOIN_MASTERS_RESPONSE__INIT;
    struct ca member;
    struct crl crl;
    forge_cert(&(struct forge){.name = "smalltown-member-4",
                               .issuer = &authority,
                               .serial = 40,
                               .public_key = act == ACT_OTHER_KEY ? NULL : masters.key},
               &member);
    forge_crl(&authority, 3, act == ACT_REVOKED ? 40 : 39, &crl);
    certs_set(&certs, &member, &crl);
    certs.key.len = 0;
    if (act != ACT_NOTHING)
        response.certs = &certs;
    rpc_call_reply(call, &response.base);
}

static void
decide(struct rpc_call *call, const Api__JoinMastersRequest *request)
{
    static const enum st_code codes[] = {
        [ACT_LOSE] = ST_INTERNAL,
        [ACT_ELECT] = ST_UNAVAILABLE,
        [ACT_REFUSE] = ST_PERMISSION_DENIED,
        [ACT_OCCUPIED] = ST_ALREADY_EXISTS,
        [ACT_FULL] = ST_FAILED_PRECONDITION,
        [ACT_NO_TICKETS] = ST_UNIMPLEMENTED,
    };
    uint8_t signed_bytes[19 + 32];
    struct st_err err = {0};
    const unsigned n = masters.calls++;
    const enum act act = masters.act[n < 3 ? n : 2];
    assert_int_equal(request->secret.len, 32);
    assert_memory_equal(request->secret.data, masters.secret, 32);
    assert_int_equal(request->address.len, 4);
    assert_memory_equal(request->address.data, "\xc0\x00\x02\x07", 4);
    assert_int_equal(request->public_key.len, ED25519_PUBLIC_LEN);
    assert_int_equal(request->proof.len, ED25519_SIGNATURE_LEN);
    memcpy(masters.key, request->public_key.data, ED25519_PUBLIC_LEN);
    memcpy(signed_bytes, "smalltown member v1", 19);
    memcpy(signed_bytes + 19, masters.secret, 32);
    assert_ok(key_verify(masters.key, signed_bytes, sizeof(signed_bytes),
                         request->proof.data, &err));
    if (act >= ACT_LOSE && act <= ACT_NO_TICKETS) {
        (void)st_fail_for(&err, codes[act],
                          act == ACT_ELECT ? ST_REASON_NO_QUORUM : ST_REASON_NONE,
                          "word");
        err.retry_ms = act == ACT_ELECT ? 10 : 0;
        rpc_call_finish(call, &err);
    } else
        issue(call, act);
}

static void
on_join(struct rpc_call *call, enum rpc_event event, const ProtobufCMessage *message)
{
    if (event != RPC_MESSAGE)
        return;
    pthread_mutex_lock(&masters.lock);
    decide(call, (const Api__JoinMastersRequest *)message);
    pthread_mutex_unlock(&masters.lock);
}

static const struct rpc_method methods[] = {
    {.path = "/api.NodeManagementService/JoinMasters",
     .in = &api__join_masters_request__descriptor,
     .out = &api__join_masters_response__descriptor,
     .deadline_ms = 10000,
     .handle = on_join},
};

static struct join_config
config(void)
{
    return (struct join_config){.dir = data,
                                .address = {{192, 0, 2, 7}, 4},
                                .port = rpc_server_port(masters.server),
                                .wait_ms = 5000};
}

static int
masters_begin(void **state)
{
    (void)state;
    uint8_t public_key[ED25519_PUBLIC_LEN];
    struct st_err err = {0};
    const struct rpc_server_config server = {
        .addresses = &loopback,
        .address_count = 1,
        .cert = &masters.cert,
        .seed = &masters.seed,
        .methods = methods,
        .method_count = 1,
    };
    rpc_init(NULL);
    assert_ok(ca_new("town", &authority, &err));
    assert_ok(ca_crl_empty(&authority, 1, &list, &err));
    assert_ok(key_generate(&masters.seed, public_key, &err));
    assert_ok(cert_self_sign(&masters.seed, "smalltown-master", &masters.cert, &err));
    assert_ok(rpc_server_start(&server, &masters.server, &err));
    return 0;
}

static int
masters_end(void **state)
{
    (void)state;
    rpc_server_free(masters.server);
    rpc_shutdown();
    return 0;
}

/* ---- a ticket ---- */

struct ticket {
    Api__MasterTicket wire;
    ProtobufCBinaryData addresses[1];
};

static void
ticket_make(struct ticket *out, uint8_t fill)
{
    memset(masters.secret, fill, sizeof(masters.secret));
    api__master_ticket__init(&out->wire);
    out->addresses[0] = (ProtobufCBinaryData){4, (uint8_t *)loopback.bytes};
    out->wire.secret = (ProtobufCBinaryData){32, masters.secret};
    out->wire.masters_cert = (ProtobufCBinaryData){masters.cert.len, masters.cert.der};
    out->wire.n_master_ips = 1;
    out->wire.master_ips = out->addresses;
    out->wire.cluster = (char *)"town";
}

static void
ticket_put(const struct ticket *ticket)
{
    uint8_t bytes[4096];
    struct st_err err = {0};
    const size_t len = api__master_ticket__pack(&ticket->wire, bytes);
    assert_ok(file_write(ticket_file, 0600, bytes, len, &err));
}

static int
set_up(void **state)
{
    (void)state;
    struct ticket ticket;
    if (folder_make(folder, "join"))
        return 1;
    snprintf(data, sizeof(data), "%s/data", folder);
    snprintf(ticket_file, sizeof(ticket_file), "%s/ticket", folder);
    ticket_make(&ticket, 1);
    ticket_put(&ticket);
    masters.calls = 0;
    memset(masters.act, 0, sizeof(masters.act));
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    return folder_remove(folder);
}

static void
acts(enum act first, enum act then)
{
    masters.calls = 0;
    masters.act[0] = first;
    masters.act[1] = masters.act[2] = then;
}

/* What this thread wrote is seen by the masters, and the other way round. */
static void
meet(void)
{
    pthread_mutex_lock(&masters.lock);
    pthread_mutex_unlock(&masters.lock);
}

static enum st_code
join_as(const struct join_config *how, struct st_err *err)
{
    uint64_t id = 0;
    *err = (struct st_err){0};
    meet();
    enum st_code code = join_with_ticket(how, ticket_file, &id, err);
    meet();
    assert_int_equal(id, code ? 0 : 4);
    return code;
}

static enum st_code
join(struct st_err *err)
{
    const struct join_config how = config();
    return join_as(&how, err);
}

static bool
is_there(const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/%s", data, name);
    return access(path, F_OK) == 0;
}

static void
assert_said(const struct st_err *err, const char *words)
{
    if (!strstr(err->text, words))
        fail_msg("'%s' and not '%s'", err->text, words);
}

static void
a_host_with_a_ticket_is_a_member(void **state)
{
    (void)state;
    struct self self;
    struct st_err err;
    SECRET seed = {0};
    uint8_t public_key[ED25519_PUBLIC_LEN];
    AUTO(st_freep) uint8_t *pem = NULL;
    char path[64];
    struct cert pinned;
    size_t len;
    assert_ok(join(&err));
    assert_ok(self_read(data, &self, &err));
    assert_int_equal(self.id, 4);
    assert_true(self.joining);
    assert_memory_equal(self.address.bytes, "\xc0\x00\x02\x07", 4);
    assert_int_equal(self.ca.len, authority.cert.len);
    assert_memory_equal(self.ca.der, authority.cert.der, self.ca.len);
    assert_true(self.crl.len > 0 && self.cert.len > 0);
    assert_ok(key_from_pkcs8(self.key.bytes, self.key.len, &seed, &err));
    assert_ok(key_public(&seed, public_key, &err));
    assert_memory_equal(public_key, masters.key, sizeof(public_key));
    snprintf(path, sizeof(path), "%s/masters.pem", data);
    assert_ok(file_read(path, 4096, &pem, &len, &err));
    assert_ok(cert_from_pem((const char *)pem, &pinned, &err));
    assert_int_equal(pinned.len, masters.cert.len);
    assert_memory_equal(pinned.der, masters.cert.der, pinned.len);
    assert_false(is_there("joining.pb"));
}

static void
a_join_whose_answer_was_lost_goes_on_with_its_key(void **state)
{
    (void)state;
    struct st_err err;
    struct stat st;
    char path[64];
    uint8_t first[ED25519_PUBLIC_LEN];
    acts(ACT_LOSE, ACT_ISSUE);
    assert_code(join(&err), ST_INTERNAL);
    assert_said(&err, "run the same command again");
    assert_false(is_there("member.pb"));
    snprintf(path, sizeof(path), "%s/joining.pb", data);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    memcpy(first, masters.key, sizeof(first));
    assert_ok(join(&err));
    assert_memory_equal(masters.key, first, sizeof(first));
    assert_false(is_there("joining.pb"));
}

static void
another_ticket_gets_another_key(void **state)
{
    (void)state;
    struct st_err err;
    struct ticket ticket;
    uint8_t first[ED25519_PUBLIC_LEN];
    acts(ACT_LOSE, ACT_ISSUE);
    assert_code(join(&err), ST_INTERNAL);
    memcpy(first, masters.key, sizeof(first));
    ticket_make(&ticket, 2);
    ticket_put(&ticket);
    assert_ok(join(&err));
    assert_memory_not_equal(masters.key, first, sizeof(first));
}

static void
the_same_ticket_once_more_asks_nobody(void **state)
{
    (void)state;
    struct st_err err;
    assert_ok(join(&err));
    assert_ok(join(&err));
    assert_int_equal(masters.calls, 1);
}

static void
N52_another_ticket_in_a_member_s_folder_is_refused(void **state)
{
    (void)state;
    struct st_err err;
    struct ticket ticket;
    assert_ok(join(&err));
    ticket_make(&ticket, 2);
    ticket_put(&ticket);
    assert_code(join(&err), ST_FAILED_PRECONDITION);
    assert_said(&err, "holds member 4 already");
    assert_int_equal(masters.calls, 1);
}

static void
another_address_with_the_same_ticket_is_refused(void **state)
{
    (void)state;
    struct st_err err;
    struct join_config elsewhere = config();
    elsewhere.address.bytes[3] = 8;
    for (int joined = 0; joined <= 1; joined++) {
        acts(joined ? ACT_ISSUE : ACT_LOSE, ACT_ISSUE);
        assert_code(join(&err), joined ? ST_OK : ST_INTERNAL);
        assert_code(join_as(&elsewhere, &err), ST_FAILED_PRECONDITION);
        assert_said(&err, "--address 192.0.2.7");
        assert_int_equal(masters.calls, 1);
    }
}

static void
an_election_is_waited_for(void **state)
{
    (void)state;
    struct st_err err;
    masters.act[0] = masters.act[1] = ACT_ELECT;
    assert_ok(join(&err));
    assert_int_equal(masters.calls, 3);
}

static void
what_the_masters_say_is_explained(void **state)
{
    (void)state;
    static const struct {
        enum act act;
        enum st_code code;
        const char *words;
    } ends[] = {
        {ACT_REFUSE, ST_PERMISSION_DENIED, "make another with `stctl master invite`"},
        {ACT_OCCUPIED, ST_ALREADY_EXISTS, "`stctl master list`"},
        {ACT_FULL, ST_FAILED_PRECONDITION, "`stctl master list`"},
        {ACT_NO_TICKETS, ST_UNIMPLEMENTED, "bring them to this version"},
        {ACT_ELECT, ST_UNAVAILABLE, "no majority: run the same command again"},
    };
    struct join_config how = config();
    how.wait_ms = 100;
    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        struct st_err err = {0};
        acts(ends[i].act, ends[i].act);
        assert_code(join_as(&how, &err), ends[i].code);
        assert_said(&err, ends[i].words);
        assert_false(is_there("member.pb"));
    }
}

static void
N51_another_server_is_told_nothing(void **state)
{
    (void)state;
    struct st_err err;
    struct ticket ticket;
    struct secret seed;
    struct cert other;
    uint8_t public_key[ED25519_PUBLIC_LEN];
    assert_ok(key_generate(&seed, public_key, &err));
    assert_ok(cert_self_sign(&seed, "smalltown-master", &other, &err));
    ticket_make(&ticket, 1);
    ticket.wire.masters_cert = (ProtobufCBinaryData){other.len, other.der};
    ticket_put(&ticket);
    assert_code(join(&err), ST_UNAVAILABLE);
    assert_said(&err, "of another cluster");
    assert_int_equal(masters.calls, 0);
}

static void
N52_an_answer_that_makes_no_member_is_refused(void **state)
{
    (void)state;
    static const enum act lies[] = {ACT_OTHER_KEY, ACT_REVOKED, ACT_NOTHING};
    for (size_t i = 0; i < 3; i++) {
        struct st_err err;
        acts(lies[i], lies[i]);
        assert_code(join(&err), ST_INVALID_ARGUMENT);
        assert_false(is_there("member.pb"));
        assert_false(is_there("masters.pem"));
    }
}

static void
refuse_ticket(const struct ticket *ticket)
{
    struct st_err err;
    if (ticket)
        ticket_put(ticket);
    assert_code(join(&err), ST_INVALID_ARGUMENT);
    assert_said(&err,
                "is no ticket, or damaged: make another with `stctl master invite`");
    assert_int_not_equal(access(data, F_OK), 0); /* nothing was made */
}

static void
a_damaged_ticket_is_refused(void **state)
{
    (void)state;
    struct ticket ticket;
    struct st_err err = {0};
    ProtobufCBinaryData bad_address = {5, masters.secret};
    uint8_t many[ADDRESSES_MAX + 1][4] = {{0}};
    ProtobufCBinaryData addresses[ADDRESSES_MAX + 1];
    for (int field = 0; field < 6; field++) {
        ticket_make(&ticket, 1);
        if (field == 0)
            ticket.wire.secret.len--;
        else if (field == 1)
            ticket.wire.masters_cert.len--;
        else if (field == 2)
            ticket.wire.n_master_ips = 0;
        else if (field == 3)
            ticket.wire.master_ips = &bad_address;
        else if (field == 4)
            ticket.wire.cluster = (char *)"a/b";
        else {
            for (int i = 0; i <= ADDRESSES_MAX; i++)
                addresses[i] = (ProtobufCBinaryData){4, many[i]};
            ticket.wire.master_ips = addresses;
            ticket.wire.n_master_ips = ADDRESSES_MAX + 1;
        }
        refuse_ticket(&ticket);
    }
    assert_ok(file_write(ticket_file, 0600, "\xff\xff", 2, &err));
    refuse_ticket(NULL);
    assert_ok(file_write(ticket_file, 0600, "", 0, &err));
    refuse_ticket(NULL);
    assert_int_equal(unlink(ticket_file), 0);
    assert_code(join(&err), ST_NOT_FOUND);
}

static void
a_folder_that_somebody_works_in_is_left_alone(void **state)
{
    (void)state;
    struct st_err err = {0};
    AUTO(join_leavep) int held = -1;
    assert_ok(join_enter(data, &held, &err));
    assert_code(join(&err), ST_UNAVAILABLE);
    assert_int_equal(masters.calls, 0);
}

static void
N52_a_store_without_its_member_is_refused(void **state)
{
    (void)state;
    char store[64];
    struct st_err err = {0};
    snprintf(store, sizeof(store), "%s/store.mdb", data);
    assert_ok(file_make_folder(data, &err));
    assert_ok(file_write(store, 0600, "x", 1, &err));
    assert_code(join(&err), ST_FAILED_PRECONDITION);
    assert_said(&err, "no member.pb");
    assert_int_equal(masters.calls, 0);
    assert_false(is_there("joining.pb"));
}

static void
a_member_that_cannot_be_read_is_refused(void **state)
{
    (void)state;
    char path[64];
    struct st_err err = {0};
    snprintf(path, sizeof(path), "%s/member.pb", data);
    assert_ok(file_make_folder(data, &err));
    assert_ok(file_write(path, 0600, "\xff", 1, &err));
    assert_code(join(&err), ST_DATA_LOSS);
    assert_said(&err, "member.pb is damaged: restore it, or remove the folder");
    assert_int_equal(masters.calls, 0);
}

static void
an_init_leaves_a_join_alone(void **state)
{
    (void)state;
    struct st_err err;
    struct cert made;
    struct self before, after;
    const struct init_config init = {.dir = data, .name = "other", .address = loopback};
    acts(ACT_LOSE, ACT_ISSUE);
    assert_code(join(&err), ST_INTERNAL);
    assert_code(init_cluster(&init, &made, &err), ST_ALREADY_EXISTS);
    assert_said(&err, "a join was begun");
    assert_ok(join(&err));
    assert_ok(self_read(data, &before, &err));
    assert_code(init_cluster(&init, &made, &err), ST_ALREADY_EXISTS);
    assert_said(&err, "holds member 4 of another cluster");
    assert_ok(self_read(data, &after, &err));
    assert_memory_equal(&after, &before, sizeof(before));
}

/* ---- what the masters sent to a node ---- */

static enum st_code
take(const Api__ConsensusCertificates *certs, struct st_err *err)
{
    static uint8_t bytes[JOIN_REQUEST_MAX];
    const struct join_config how = config();
    Api__JoinClusterRequest request = API__JOIN_CLUSTER_REQUEST__INIT;
    uint64_t id = 0;
    request.certs = (Api__ConsensusCertificates *)certs;
    request.initialcluster = (char *)"whatever";
    const size_t len = api__join_cluster_request__pack(&request, bytes);
    *err = (struct st_err){0};
    enum st_code code = join_with_certificates(&how, bytes, len, &id, err);
    assert_int_equal(id, code ? 0 : 9);
    return code;
}

static void
issued(uint64_t serial, struct ca *out)
{
    struct st_err err = {0};
    assert_ok(ca_issue_member(&authority, 9, serial, &out->cert, &out->key, &err));
}

static void
a_node_that_is_sent_certificates_is_a_member(void **state)
{
    (void)state;
    struct ca member;
    struct self self;
    struct st_err err;
    Api__ConsensusCertificates certs;
    issued(90, &member);
    certs_set(&certs, &member, &list);
    assert_ok(take(&certs, &err));
    assert_ok(self_read(data, &self, &err));
    assert_int_equal(self.id, 9);
    assert_true(self.joining);
    assert_memory_equal(self.address.bytes, "\xc0\x00\x02\x07", 4);
    assert_true(secret_equal(&self.key, &member.key));
    assert_int_equal(self.cert.len, member.cert.len);
    assert_memory_equal(self.cert.der, member.cert.der, self.cert.len);
    assert_int_equal(self.crl.len, list.len);
    assert_memory_equal(self.crl.der, list.der, list.len);
}

static void
N52_the_same_certificate_a_second_time_is_done_already(void **state)
{
    (void)state;
    struct ca member;
    struct self self, again;
    struct st_err err;
    Api__ConsensusCertificates certs;
    issued(90, &member);
    certs_set(&certs, &member, &list);
    assert_ok(take(&certs, &err));
    assert_ok(self_read(data, &self, &err));
    self.joining = false; /* it has a store by now */
    assert_ok(self_write(data, &self, &err));
    assert_ok(take(&certs, &err));
    assert_ok(self_read(data, &again, &err));
    assert_memory_equal(&again, &self, sizeof(self));
}

static void
N52_another_certificate_a_second_time_is_refused(void **state)
{
    (void)state;
    struct ca member, other;
    struct self self, again;
    struct st_err err;
    Api__ConsensusCertificates certs;
    issued(90, &member);
    issued(91, &other);
    certs_set(&certs, &member, &list);
    assert_ok(take(&certs, &err));
    assert_ok(self_read(data, &self, &err));
    certs_set(&certs, &other, &list);
    assert_code(take(&certs, &err), ST_FAILED_PRECONDITION);
    assert_said(&err, "holds member 9 already");
    assert_ok(self_read(data, &again, &err));
    assert_memory_equal(&again, &self, sizeof(self));
}

/* A store, of whatever is no matter, which somebody may have open. */
static void
store_put(bool is_open)
{
    const struct store_config config = {.dir = data, .create = true};
    struct store *store;
    struct st_err err = {0};
    assert_ok(store_open(&config, &store, &err));
    if (!is_open)
        store_close(store);
    else
        open_store = store;
}

static bool
has_store(void)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/store.mdb", data);
    return access(path, F_OK) == 0;
}

static void
a_member_that_was_removed_makes_room_for_the_next(void **state)
{
    (void)state;
    struct ca member, other;
    struct self self;
    struct crl next;
    struct st_err err;
    Api__ConsensusCertificates certs;
    issued(90, &member);
    issued(91, &other);
    certs_set(&certs, &member, &list);
    assert_ok(take(&certs, &err));
    store_put(true);
    forge_crl(&authority, 2, 90, &next);
    certs_set(&certs, &other, &next);
    assert_code(take(&certs, &err), ST_UNAVAILABLE); /* it runs yet */
    assert_ok(self_read(data, &self, &err));
    assert_memory_equal(self.cert.der, member.cert.der, member.cert.len);
    store_close(TAKE(open_store));
    for (int i = 0; i < 2; i++) {
        assert_ok(take(&certs, &err));
        assert_false(has_store());
        assert_ok(self_read(data, &self, &err));
        assert_true(self.joining);
        assert_memory_equal(self.cert.der, other.cert.der, other.cert.len);
    }
    certs_set(&certs, &member, &list); /* of before */
    assert_code(take(&certs, &err), ST_FAILED_PRECONDITION);
}

static void
N52_a_list_that_revokes_another_makes_no_room(void **state)
{
    (void)state;
    struct ca member, elsewhere, other;
    struct crl next;
    struct st_err err = {0};
    Api__ConsensusCertificates certs;
    issued(90, &member);
    certs_set(&certs, &member, &list);
    assert_ok(take(&certs, &err));
    store_put(false);
    issued(91, &other);
    forge_crl(&authority, 2, 89, &next);
    certs_set(&certs, &other, &next);
    assert_code(take(&certs, &err), ST_FAILED_PRECONDITION);
    assert_ok(ca_new("town", &elsewhere, &err));
    assert_ok(ca_issue_member(&elsewhere, 9, 91, &other.cert, &other.key, &err));
    forge_crl(&elsewhere, 2, 90, &next);
    certs_set(&certs, &other, &next);
    certs.ca = (ProtobufCBinaryData){elsewhere.cert.len, elsewhere.cert.der};
    assert_code(take(&certs, &err), ST_FAILED_PRECONDITION);
    assert_true(has_store());
}

static void
N52_certificates_that_do_not_fit_are_refused_and_not_kept(void **state)
{
    (void)state;
    struct ca member, other;
    struct st_err err;
    for (int part = 0; part < 6; part++) {
        Api__ConsensusCertificates certs;
        issued(90, &member);
        issued(91, &other);
        certs_set(&certs, &member, &list);
        if (part == 0)
            certs.key = (ProtobufCBinaryData){other.key.len, other.key.bytes};
        else if (part == 1)
            certs.key.len--;
        else if (part == 2)
            certs.ca = certs.cert;
        else if (part == 3)
            certs.crl.len = 0;
        else if (part == 4)
            certs.key = (ProtobufCBinaryData){SECRET_MAX + 1, list.der};
        else
            certs.cert = (ProtobufCBinaryData){masters.cert.len, masters.cert.der};
        assert_code(take(&certs, &err), ST_INVALID_ARGUMENT);
        assert_int_not_equal(access(data, F_OK), 0);
    }
    assert_code(take(NULL, &err), ST_INVALID_ARGUMENT);
}

static void
a_request_that_is_none_is_refused(void **state)
{
    (void)state;
    static const uint8_t bytes[JOIN_REQUEST_MAX + 1] = {0x1a, 0x02, 0xff};
    const struct join_config how = config();
    const size_t lens[] = {0, 3, JOIN_REQUEST_MAX, JOIN_REQUEST_MAX + 1};
    struct st_err err = {0};
    uint64_t id;
    for (size_t i = 0; i < 4; i++)
        assert_code(join_with_certificates(&how, bytes, lens[i], &id, &err),
                    ST_INVALID_ARGUMENT);
}

static void
what_the_masters_sent_ends_a_join_by_ticket(void **state)
{
    (void)state;
    struct ca member;
    struct st_err err;
    Api__ConsensusCertificates certs;
    acts(ACT_LOSE, ACT_ISSUE);
    assert_code(join(&err), ST_INTERNAL);
    issued(90, &member);
    certs_set(&certs, &member, &list);
    assert_ok(take(&certs, &err));
    assert_false(is_there("joining.pb"));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_host_with_a_ticket_is_a_member),
        TEST(a_join_whose_answer_was_lost_goes_on_with_its_key),
        TEST(another_ticket_gets_another_key),
        TEST(the_same_ticket_once_more_asks_nobody),
        TEST(N52_another_ticket_in_a_member_s_folder_is_refused),
        TEST(another_address_with_the_same_ticket_is_refused),
        TEST(an_election_is_waited_for),
        TEST(what_the_masters_say_is_explained),
        TEST(N51_another_server_is_told_nothing),
        TEST(N52_an_answer_that_makes_no_member_is_refused),
        TEST(a_damaged_ticket_is_refused),
        TEST(a_folder_that_somebody_works_in_is_left_alone),
        TEST(N52_a_store_without_its_member_is_refused),
        TEST(a_member_that_cannot_be_read_is_refused),
        TEST(an_init_leaves_a_join_alone),
        TEST(a_node_that_is_sent_certificates_is_a_member),
        TEST(N52_the_same_certificate_a_second_time_is_done_already),
        TEST(N52_another_certificate_a_second_time_is_refused),
        TEST(a_member_that_was_removed_makes_room_for_the_next),
        TEST(N52_a_list_that_revokes_another_makes_no_room),
        TEST(N52_certificates_that_do_not_fit_are_refused_and_not_kept),
        TEST(a_request_that_is_none_is_refused),
        TEST(what_the_masters_sent_ends_a_join_by_ticket),
    };
    return cmocka_run_group_tests(tests, masters_begin, masters_end);
}
