/* PEM: files of an administrator, and what gRPC shows of a client's certificate. */
#include "proto/rpc_tls.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void
from_grpc(const char *text, size_t len)
{
    uint8_t *der;
    size_t der_len;
    FUZZ_PIECE exact = {malloc(len ? len : 1), len};
    FUZZ_HOLDS(exact.bytes);
    memcpy(exact.bytes, text, len);
    if (rpc_pem_to_der((const char *)exact.bytes, len, &der, &der_len, NULL))
        return;
    FUZZ_HOLDS(der_len > 0 && der_len <= CERT_MAX_LEN);
    free(der);
}

static void
from_file(const char *text)
{
    struct cert cert, again;
    SECRET seed = {0}, seed_again = {0}, pem_of_key = {0};
    char *pem;
    if (!cert_from_pem(text, &cert, NULL)) {
        FUZZ_HOLDS(cert_to_pem(cert.der, cert.len, &pem, NULL) == ST_OK);
        FUZZ_HOLDS(cert_from_pem(pem, &again, NULL) == ST_OK);
        FUZZ_HOLDS(again.len == cert.len && memcmp(again.der, cert.der, cert.len) == 0);
        free(pem);
    }
    if (!key_from_pem(text, &seed, NULL)) {
        FUZZ_HOLDS(key_to_pem(&seed, &pem_of_key, NULL) == ST_OK);
        pem_of_key.bytes[pem_of_key.len] = 0;
        FUZZ_HOLDS(key_from_pem((char *)pem_of_key.bytes, &seed_again, NULL) == ST_OK);
        FUZZ_HOLDS(secret_equal(&seed, &seed_again));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    char *text = fuzz_text(bytes, len);
    from_grpc(text, len);
    from_file(text);
    free(text);
    return 0;
}
