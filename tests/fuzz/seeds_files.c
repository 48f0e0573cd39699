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

static void
esp(void)
{
    struct tpm_sealed sealed;
    struct tpm_sealed_parts parts = {.pcr_mask = 1 << 4 | 1 << 11 | 1 << 12,
                                     .private = {.size = 5, .buffer = "bytes"}};
    struct st_err err = {0};
    assert_ok(tpm_sealed_pack(&parts, &sealed, &err));
    seed_bytes(sealed.bytes, sealed.len);
    seed_write("tpm_sealed", "whole");
    seed_bytes(sealed.bytes, sealed.len - SHA256_LEN);
    seed_write("tpm_sealed", "without-digest");
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
    esp();
    disk();
    recovery();
    contexts();
}
