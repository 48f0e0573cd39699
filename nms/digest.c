#include <wolfssl/options.h>

#include "nms/digest.h"
#include "proto/scope.h"

#include <stdint.h>
#include <string.h>
#include <wolfssl/wolfcrypt/sha256.h>

enum st_code
digest_labelled(const char *label, const void *bytes, size_t len, uint8_t out[SHA256_LEN],
                struct st_err *err)
{
    AUTO(wc_Sha256Free) wc_Sha256 sha;
    if (wc_InitSha256(&sha))
        return st_fail(err, ST_INTERNAL, "cannot begin SHA-256");
    if (len > UINT32_MAX ||
        wc_Sha256Update(&sha, (const byte *)label, (word32)strlen(label) + 1) ||
        (len > 0 && wc_Sha256Update(&sha, bytes, (word32)len)) ||
        wc_Sha256Final(&sha, out))
        return st_fail(err, ST_INTERNAL, "cannot compute SHA-256");
    return ST_OK;
}
