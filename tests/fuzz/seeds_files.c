/* Files of a node and of an administrator. */
#include "tests/fuzz/seeds.h"

#include "proto/api.pb-c.h"
#include "proto/cert.h"
#include "proto/recovery.h"
#include "tests/fuzz/fuzz.h"
#include "tpm/device_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct secret seed = {.len = ED25519_SEED_LEN};
static struct cert cert; /* of that key */
static char id[NODE_ID_LEN + 1];

static void
keys(void)
{
    uint8_t public_key[ED25519_PUBLIC_LEN];
    struct st_err err = {0};
    memset(seed.bytes, FUZZ_SEED, seed.len);
    assert_ok(key_public(&seed, public_key, &err));
    node_id_of_key(public_key, id);
    assert_ok(cert_self_sign(&seed, id, &cert, &err));
}

static void
configs(void)
{
    ProtobufCBinaryData ips[] = {
        seed_lend("\xc0\x00\x02\x01", 4),
        seed_lend("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2", 16),
    };
    Api__EnrolmentConfig config = API__ENROLMENT_CONFIG__INIT;
    config.masters_cert = seed_lend(cert.der, cert.len);
    config.master_ips = ips;
    config.n_master_ips = 2;
    config.node_id = id;
    seed_message(&config.base);
    seed_write("node_config", "enrolled");
    config.node_id = (char *)"";
    config.enrolment_secret = seed_lend(seed.bytes, seed.len);
    seed_message(&config.base);
    seed_write("node_config", "secret");
}

/* A newer list, the same again, an older one, none. */
static void
masters(void)
{
    ProtobufCBinaryData ips[] = {
        seed_lend("\xc0\x00\x02\x02", 4),
        seed_lend("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2", 16),
    };
    static const uint64_t numbers[] = {1001, 1001, 999};
    Api__SetMastersRequest request = API__SET_MASTERS_REQUEST__INIT;
    request.master_ips = ips;
    request.n_master_ips = 2;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        request.number = numbers[i];
        seed_message_piece(&request.base);
    }
    request.n_master_ips = 0;
    seed_message_piece(&request.base);
    seed_write("node_masters", "lists");
}

/* The authority has a point of the curve, its generator. */
static void
approvals(void)
{
    static const uint8_t generator[TPM_AUTHORITY_LEN] = {
        0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63,
        0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1,
        0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f,
        0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57,
        0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5};
    static struct tpm_approval made[] = {{.policy = "image 1"}, {.policy = "image 2"}};
    Api__SealApproval messages[2], *list[2];
    Api__TPM2UnlockResponse response = API__TPM2_UNLOCK_RESPONSE__INIT;
    for (int i = 0; i < 2; i++) {
        memcpy(made[i].point, generator, sizeof(generator));
        api__seal_approval__init(list[i] = &messages[i]);
        messages[i].authority = seed_lend(made[i].point, sizeof(made[i].point));
        messages[i].policy = seed_lend(made[i].policy, sizeof(made[i].policy));
        messages[i].signature = seed_lend(made[i].signature, sizeof(made[i].signature));
    }
    response.global_unlock_key = seed_lend(seed.bytes, seed.len);
    response.seal_authority = seed_lend(generator, sizeof(generator));
    response.seal_approvals = list;
    response.n_seal_approvals = 2;
    seed_byte(0);
    seed_message(&response.base);
    seed_write("approvals", "said");
    seed_byte(2);
    seed_bytes(made, sizeof(made));
    seed_write("approvals", "kept");
    seed_byte(2);
    seed_bytes(made, sizeof(*made));
    seed_write("approvals", "one");
    seed_byte(1);
    seed_bytes("smalltown approvals v1\n", 23);
    seed_write("approvals", "cut");
}

static void
esp(void)
{
    struct tpm_sealed sealed, created, approvable;
    struct tpm_sealed_parts parts = {.pcr_mask = 1 << 4 | 1 << 11 | 1 << 12,
                                     .private = {.size = 5, .buffer = "bytes"}};
    struct st_err err = {0};
    assert_ok(tpm_sealed_pack(&parts, &sealed, &err));
    seed_bytes(sealed.bytes, sealed.len);
    seed_write("tpm_sealed", "whole");
    seed_bytes(sealed.bytes, sealed.len - SHA256_LEN);
    seed_write("tpm_sealed", "without-digest");
    parts.has_creation = true;
    parts.creation.data.pcrSelect = tpm_pcr_selection(parts.pcr_mask);
    parts.creation.data.pcrDigest.size = SHA256_LEN;
    parts.creation.ticket.digest.size = SHA256_LEN;
    assert_ok(tpm_sealed_pack(&parts, &created, &err));
    seed_bytes(created.bytes, created.len);
    seed_write("tpm_sealed", "created");
    seed_bytes(created.bytes, created.len - SHA256_LEN);
    seed_write("tpm_sealed", "created-without-digest");
    parts.has_creation = false;
    parts.approvable = true;
    assert_ok(tpm_sealed_pack(&parts, &approvable, &err));
    seed_bytes(approvable.bytes, approvable.len);
    seed_write("tpm_sealed", "approvable");
    seed_bytes(approvable.bytes, approvable.len - SHA256_LEN);
    seed_write("tpm_sealed", "approvable-without-digest");
    seed_byte(4); /* sealed, framed */
    seed_bytes(sealed.bytes, sealed.len);
    seed_write("esp", "sealed");
    seed_byte(4 | 2); /* identity, framed */
    seed_bytes("a nonce of 1", 12);
    seed_bytes(seed.bytes, seed.len);
    seed_bytes(cert.der, cert.len);
    seed_bytes("a tag of 16 byte", 16);
    seed_write("esp", "identity");
    seed_byte(2);
    seed_bytes("smalltown identity v1\n", 22);
    seed_write("esp", "cut");
}

static void
disk(void)
{
    seed_byte(0);
    seed_bytes("smalltown format v1\n", 20);
    seed_bytes(id, NODE_ID_LEN);
    seed_write("disk", "torn");
    seed_byte(1);
    seed_bytes("LUKS\xba\xbe\0\2", 8);
    seed_write("disk", "luks");
    seed_byte(0);
    static const char before[] = "{\"type\":\"smalltown\",\"keyslots\":[\"0\"],"
                                 "\"state\":\"pending\",\"node\":\"";
    seed_bytes(before, strlen(before));
    seed_bytes(id, NODE_ID_LEN);
    seed_bytes("\"}", 2);
    seed_write("disk", "token");
    seed_byte(0);
    static const char sealed[] = "{\"type\":\"smalltown-recovery\",\"keyslots\":[\"1\"],"
                                 "\"sealed\":\"";
    seed_bytes(sealed, strlen(sealed));
    for (int i = 0; i < RECOVERY_SEALED_LEN; i++)
        seed_bytes("5a", 2);
    seed_bytes("\"}", 2);
    seed_write("disk", "sealed");
}

/* For a key that nobody keeps: it opens nothing. */
static void
recovery(void)
{
    struct recovery_place place = {.uuid = "4c1b3f1e-7a52-4c63-9f3b-0123456789ab"};
    struct secret key = {0}, private_key = {.len = HPKE_KEY_LEN};
    struct st_err err = {0};
    uint8_t bytes[RECOVERY_SEALED_LEN];
    memset(private_key.bytes, FUZZ_SEED, HPKE_KEY_LEN);
    strcpy(place.node_id, id);
    assert_ok(hpke_public(&private_key, place.recipient, &err));
    assert_ok(recovery_make(&key, &err));
    assert_ok(recovery_seal(&key, &place, bytes, &err));
    seed_byte(0);
    seed_bytes(bytes, sizeof(bytes));
    seed_write("recovery", "sealed");
    seed_byte(1);
    seed_bytes(key.bytes, key.len);
    seed_write("recovery", "typed");
    char pem[RECOVERY_PEM_MAX];
    assert_ok(recovery_public_to_pem(place.recipient, pem, &err));
    seed_byte(2);
    seed_bytes(pem, strlen(pem));
    seed_write("recovery", "public");
    struct secret private_pem;
    assert_ok(recovery_private_to_pem(&private_key, &private_pem, &err));
    seed_byte(2);
    seed_bytes(private_pem.bytes, private_pem.len);
    seed_write("recovery", "private");
}

static void
contexts(void)
{
    static char text[4096], escaped[2048];
    size_t used = 0;
    char *pem;
    struct st_err err = {0};
    assert_ok(cert_to_pem(cert.der, cert.len, &pem, &err));
    for (const char *at = pem; *at; at++) {
        if (*at == '\n')
            escaped[used++] = '\\';
        escaped[used++] = *at == '\n' ? 'n' : *at;
    }
    snprintf(text, sizeof(text),
             "{\"current\": \"town\", \"contexts\": {\"town\": {\"addresses\": "
             "[\"192.0.2.1\", \"2001:db8::1\"], \"masters_cert\": \"%s\", "
             "\"cert\": \"/a.pem\", \"key\": \"/b.pem\"}}}",
             escaped);
    seed_bytes(text, strlen(text));
    seed_write("contexts", "town");
    free(pem);
}

void
seeds_files(void)
{
    keys();
    configs();
    masters();
    approvals();
    esp();
    disk();
    recovery();
    contexts();
}
