/* Certificates, keys and whatever else comes as DER. */
#include "nms/ca.h"
#include "proto/cert.h"
#include "proto/der.h"
#include "raft/mesh_x509.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void
certificate(const uint8_t *bytes, size_t len)
{
    struct der_certificate cert;
    struct mesh_member member;
    uint8_t key[ED25519_PUBLIC_LEN];
    const bool good = der_certificate(bytes, len, &cert);
    FUZZ_HOLDS(!good || der_check(bytes, len, DER_SEQUENCE));
    FUZZ_HOLDS(!good || (cert.spki.at >= bytes && cert.spki.len <= len));
    if (!cert_public_key(bytes, len, key, NULL))
        FUZZ_HOLDS(good);
    if (!mesh_member_read(bytes, len, NULL, &member, NULL))
        FUZZ_HOLDS(good && member.serial_len <= sizeof(member.serial));
}

/* What is taken as a key is what would be written of it. */
static void
key(const uint8_t *bytes, size_t len)
{
    SECRET seed = {0}, again = {0};
    if (key_from_pkcs8(bytes, len, &seed, NULL))
        return;
    FUZZ_HOLDS(key_to_pkcs8(&seed, &again, NULL) == ST_OK);
    FUZZ_HOLDS(again.len == len && memcmp(again.bytes, bytes, len) == 0);
}

/* What OpenSSL reads: an administrator's certificate, and a list. */
static void
by_openssl(const uint8_t *bytes, size_t len)
{
    uint64_t number;
    struct st_err err = {0};
    if (ca_client_check(bytes, len, 1600000000, &err))
        FUZZ_HOLDS(err.code == ST_INVALID_ARGUMENT && *err.text);
    err = (struct st_err){0};
    if (ca_crl_number(bytes, len, &number, &err))
        FUZZ_HOLDS(err.code == ST_INVALID_ARGUMENT && *err.text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    by_openssl(bytes, len);
    certificate(bytes, len);
    key(bytes, len);
    return 0;
}
