/* The bytes of a sealed secret, big-endian:
 *
 *      0   8  "STSEAL" 0x00 0x01    magic and version
 *      8   4  pcr_mask
 *     12  34  Name of the SRK
 *     46  32  policy                (authPolicy of the object)
 *     78  32  unique                (of the object)
 *    110   2  n
 *    112   n  private               (TPM2B_PRIVATE without its size)
 *  112+n  32  SHA-256 of all before
 *
 * The TPM alone protects the secret.  The digest at the end tells a rotten file from PCRs
 * that differ, before the TPM is asked. */
#include "tpm/device_internal.h"

#include <string.h>
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>

static const uint8_t magic[8] = {'S', 'T', 'S', 'E', 'A', 'L', 0, 1};

enum {
    FIXED_LEN = sizeof(magic) + 4 + TPM_NAME_LEN + SHA256_LEN + SHA256_LEN + 2,
};

enum st_code
tpm_sealed_pack(const struct tpm_sealed_parts *parts, struct tpm_sealed *out,
                struct st_err *err)
{
    const TPM2B_PRIVATE *private = &parts->private;
    if (FIXED_LEN + private->size + SHA256_LEN > TPM_SEALED_MAX)
        return st_fail(err, ST_INTERNAL, "this TPM's sealed objects are too long: %u",
                       private->size);
    uint8_t *at = out->bytes;
    at = mempcpy(at, magic, sizeof(magic));
    for (int shift = 24; shift >= 0; shift -= 8)
        *at++ = parts->pcr_mask >> shift & 0xff;
    at = mempcpy(at, parts->srk_name, TPM_NAME_LEN);
    at = mempcpy(at, parts->policy, SHA256_LEN);
    at = mempcpy(at, parts->unique, SHA256_LEN);
    *at++ = private->size >> 8;
    *at++ = private->size & 0xff;
    at = mempcpy(at, private->buffer, private->size);
    if (wc_Sha256Hash(out->bytes, (word32)(at - out->bytes), at))
        return st_fail(err, ST_INTERNAL, "SHA-256 failed");
    out->len = (size_t)(at - out->bytes) + SHA256_LEN;
    return ST_OK;
}

static enum st_code
rotten(struct st_err *err, const char *why)
{
    return st_fail(err, ST_DATA_LOSS, "the sealed secret is corrupt: %s", why);
}

enum st_code
tpm_sealed_unpack(const struct tpm_sealed *sealed, struct tpm_sealed_parts *out,
                  struct st_err *err)
{
    if (sealed->len < FIXED_LEN + SHA256_LEN || sealed->len > TPM_SEALED_MAX)
        return rotten(err, "its length");
    const uint8_t *at = sealed->bytes;
    if (memcmp(at, magic, sizeof(magic)))
        return rotten(err, "not a file of this kind or version");
    const size_t body = sealed->len - SHA256_LEN;
    uint8_t digest[SHA256_LEN];
    if (wc_Sha256Hash(at, (word32)body, digest))
        return st_fail(err, ST_INTERNAL, "SHA-256 failed");
    if (memcmp(at + body, digest, SHA256_LEN))
        return rotten(err, "its digest");
    at += sizeof(magic);
    struct tpm_sealed_parts parts = {0};
    for (int i = 0; i < 4; i++)
        parts.pcr_mask = parts.pcr_mask << 8 | *at++;
    if (!parts.pcr_mask || parts.pcr_mask >> TPM_PCR_COUNT)
        return rotten(err, "its PCRs");
    memcpy(parts.srk_name, at, TPM_NAME_LEN);
    memcpy(parts.policy, at += TPM_NAME_LEN, SHA256_LEN);
    memcpy(parts.unique, at += SHA256_LEN, SHA256_LEN);
    at += SHA256_LEN;
    parts.private.size = (UINT16)(at[0] << 8 | at[1]);
    if (parts.private.size != body - FIXED_LEN)
        return rotten(err, "an inner length");
    memcpy(parts.private.buffer, at + 2, parts.private.size);
    *out = parts;
    return ST_OK;
}
