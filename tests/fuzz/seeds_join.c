/* What makes a machine a member: certificates, requests, tickets and the files of them.
 */
#include "tests/fuzz/seeds.h"

#include "nms/ca.h"
#include "nms/digest.h"
#include "nms/state.pb-c.h"
#include "proto/api.pb-c.h"
#include "tests/fuzz/door.h"
#include "tests/nms/forge.h"

#include <stdlib.h>
#include <string.h>

struct membership {
    struct ca authority, member;
    struct secret seed;
    uint8_t public_key[ED25519_PUBLIC_LEN];
    struct crl crl;
    struct cert masters;
    Api__ConsensusCertificates certs;
};

static void
membership_make(struct membership *out)
{
    static struct crl empty;
    uint64_t number;
    struct st_err err = {0};
    memset(out, 0, sizeof(*out));
    out->seed.len = ED25519_SEED_LEN;
    memset(out->seed.bytes, FUZZ_SEED, out->seed.len);
    assert_ok(key_public(&out->seed, out->public_key, &err));
    assert_ok(key_to_pkcs8(&out->seed, &out->member.key, &err));
    assert_ok(cert_self_sign(&out->seed, "smalltown-master", &out->masters, &err));
    assert_ok(ca_new("fuzz", &out->authority, &err));
    assert_ok(ca_certify_member(&out->authority, 4, 5, out->public_key, &out->member.cert,
                                &err));
    assert_ok(ca_crl_empty(&out->authority, 1, &empty, &err));
    assert_ok(
        ca_revoke(&out->authority, empty.der, empty.len, 9, 0, &out->crl, &number, &err));
    api__consensus_certificates__init(&out->certs);
    out->certs.ca = seed_lend(out->authority.cert.der, out->authority.cert.len);
    out->certs.crl = seed_lend(out->crl.der, out->crl.len);
    out->certs.cert = seed_lend(out->member.cert.der, out->member.cert.len);
    out->certs.key = seed_lend(out->member.key.bytes, out->member.key.len);
}

static void
certificates(const struct membership *membership)
{
    const Api__ConsensusCertificates *certs = &membership->certs;
    seed_piece(certs->ca.data, certs->ca.len);
    seed_piece(certs->crl.data, certs->crl.len);
    seed_piece(certs->cert.data, certs->cert.len);
    seed_bytes(membership->public_key, sizeof(membership->public_key));
    seed_write("ca_check", "member");
    seed_piece(certs->ca.data, certs->ca.len);
    seed_piece(certs->cert.data, certs->cert.len);
    seed_piece(certs->crl.data, certs->crl.len);
    seed_write("x509", "member");
    seed_bytes(certs->cert.data, certs->cert.len);
    seed_write("der", "member");
    seed_bytes(membership->masters.der, membership->masters.len);
    seed_write("der", "masters");
    seed_bytes(certs->crl.data, certs->crl.len);
    seed_write("der", "list");
    seed_bytes(certs->key.data, certs->key.len);
    seed_write("der", "key");
}

/* Signed by the authority, and not a member's all the same. */
static void
no_members(const struct membership *membership)
{
    const Api__ConsensusCertificates *certs = &membership->certs;
    const struct {
        const char *name;
        struct forge cert;
        uint64_t number, revoked;
    } rows[] = {
        {"revoked", {.name = "smalltown-member-4"}, 3, 7},
        {"no-number", {.name = "smalltown-member-4"}, 0, 0},
        {"no-server", {.name = "smalltown-member-4", .purposes = "clientAuth"}, 3, 0},
        {"authority", {.name = "smalltown-member-4", FORGE_AUTHORITY}, 3, 0},
        {"two-names", {.name = "smalltown-member-4", .second_name = "b"}, 3, 0},
        {"no-id", {.name = "smalltown-member-04"}, 3, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        static struct crl crl;
        struct forge what = rows[i].cert;
        struct ca made;
        what.issuer = &membership->authority;
        what.public_key = membership->public_key;
        forge_cert(&what, &made);
        forge_crl(&membership->authority, rows[i].number, rows[i].revoked, &crl);
        seed_piece(certs->ca.data, certs->ca.len);
        seed_piece(crl.der, crl.len);
        seed_piece(made.cert.der, made.cert.len);
        seed_bytes(membership->public_key, sizeof(membership->public_key));
        seed_write("ca_check", rows[i].name);
    }
}

static void
pem(const struct membership *membership)
{
    char *text;
    struct secret key;
    struct st_err err = {0};
    assert_ok(cert_to_pem(membership->masters.der, membership->masters.len, &text, &err));
    seed_bytes(text, strlen(text));
    seed_write("pem", "certificate");
    free(text);
    assert_ok(key_to_pem(&membership->seed, &key, &err));
    seed_bytes(key.bytes, key.len);
    seed_write("pem", "key");
}

static void
requests(struct membership *membership)
{
    Api__JoinClusterRequest cluster = API__JOIN_CLUSTER_REQUEST__INIT;
    cluster.initialcluster = (char *)"1=192.0.2.1:7834";
    cluster.certs = &membership->certs;
    seed_message(&cluster.base);
    seed_write("join_request", "member");
    seed_byte(3);
    seed_message(&cluster.base);
    seed_write("wire", "join_cluster");

    uint8_t message[19 + 32], proof[ED25519_SIGNATURE_LEN];
    struct st_err err = {0};
    Api__JoinMastersRequest masters = API__JOIN_MASTERS_REQUEST__INIT;
    memcpy(message, "smalltown member v1", 19);
    memset(message + 19, DOOR_TICKET, 32);
    assert_ok(key_sign(&membership->seed, message, sizeof(message), proof, &err));
    masters.secret = seed_lend(message + 19, 32);
    masters.address = seed_lend("\xc0\x00\x02\x07", 4);
    masters.public_key = seed_lend(membership->public_key, ED25519_PUBLIC_LEN);
    masters.proof = seed_lend(proof, sizeof(proof));
    seed_byte(0);
    seed_message_piece(&masters.base);
    seed_message_piece(&masters.base);
    seed_write("join_masters", "twice");
    seed_byte(2);
    seed_message(&masters.base);
    seed_write("wire", "join_masters");
}

static void
self_fill(const struct membership *membership, State__Self *out)
{
    const Api__ConsensusCertificates *certs = &membership->certs;
    out->address = seed_lend("\xc0\x00\x02\x07", 4);
    out->key = certs->key;
    out->id = 4;
    out->cert = certs->cert;
    out->ca = certs->ca;
    out->crl = certs->crl;
    out->joining = true;
}

/* As much as fits. */
static void
full_self(State__Self self)
{
    static const uint8_t bytes[2 * CERT_MAX_LEN];
    self.cert = seed_lend(bytes, sizeof(((struct cert *)0)->der));
    self.ca = self.cert;
    self.crl = seed_lend(bytes, 20);
    self.key = seed_lend(bytes, SECRET_MAX);
    seed_message(&self.base);
    seed_write("self", "full");
}

static void
ticket(struct membership *membership)
{
    uint8_t secret[32], digest[SHA256_LEN];
    ProtobufCBinaryData ip = seed_lend("\xc0\x00\x02\x01", 4);
    struct st_err err = {0};
    Api__MasterTicket ticket = API__MASTER_TICKET__INIT;
    State__Self begun = STATE__SELF__INIT;
    Api__JoinMastersResponse response = API__JOIN_MASTERS_RESPONSE__INIT;
    memset(secret, DOOR_TICKET, sizeof(secret));
    assert_ok(digest_labelled("smalltown joining ticket v1", secret, sizeof(secret),
                              digest, &err));
    ticket.secret = seed_lend(secret, sizeof(secret));
    ticket.masters_cert = seed_lend(membership->masters.der, membership->masters.len);
    ticket.n_master_ips = 1;
    ticket.master_ips = &ip;
    ticket.cluster = (char *)"fuzz";
    begun.address = seed_lend("\xc0\x00\x02\x07", 4);
    begun.key = membership->certs.key;
    begun.ticket = seed_lend(digest, sizeof(digest));
    membership->certs.key.len = 0;
    response.certs = &membership->certs;
    seed_message_piece(&ticket.base);
    seed_message_piece(&begun.base);
    seed_message_piece(&response.base);
    seed_write("ticket", "begun");
    seed_message(&begun.base);
    seed_write("self", "begun");
}

void
seeds_join(void)
{
    static struct membership membership;
    State__Place place = STATE__PLACE__INIT, *place_list[1];
    State__Self self = STATE__SELF__INIT;
    membership_make(&membership);
    certificates(&membership);
    no_members(&membership);
    pem(&membership);
    requests(&membership);
    self_fill(&membership, &self);
    seed_message(&self.base);
    seed_write("self", "member");
    place_list[0] = &place;
    place.id = 2;
    place.address = seed_lend("\x0a\x00\x00\x02", 4);
    self.places = place_list;
    self.n_places = 1;
    seed_message(&self.base);
    seed_write("self", "places");
    full_self(self);
    ticket(&membership);
}
