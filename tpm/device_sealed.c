/* The bytes of a sealed secret, big-endian:
 *
 *      0   8  "STSEAL" 0x00 0x01    magic and version
 *      8   4  pcr_mask
 *     12  34  Name of the SRK
 *     46  32  PolicyPCR(pcr_mask) of when it was sealed
 *     78  32  unique                (of the object)
 *    110  96  version 2 only: the authority, its point and the ref
 *      .   2  n
 *      .   n  private               (TPM2B_PRIVATE without its size)
 *      .   .  version 3 only: TPMS_CREATION_DATA, TPMT_TK_CREATION
 *      .  32  SHA-256 of all before
 *
 * The policy of the object is not here: it follows from the rest, so an authority that
 * was exchanged makes another object, which the TPM does not load.  Versions 1 and 3
 * have that of the PCRs alone; nothing makes version 1 any more.
 *
 * The TPM alone protects the secret.  The digest at the end tells a rotten file from PCRs
 * that differ, before the TPM is asked. */
#include "tpm/device_internal.h"

#include <string.h>
#include <tss2/tss2_mu.h>
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>

static const uint8_t magic[7] = {'S', 'T', 'S', 'E', 'A', 'L', 0};

enum {
    VERSION_PCRS = 1,
    VERSION_AUTHORITY = 2,
    VERSION_CREATION = 3,
    AUTHORITY_LEN = TPM_AUTHORITY_LEN + SHA256_LEN,
    FIXED_LEN = sizeof(magic) + 1 + 4 + TPM_NAME_LEN + SHA256_LEN + SHA256_LEN + 2,
};

static size_t
fixed_len(bool approvable)
{
    return FIXED_LEN + (approvable ? AUTHORITY_LEN : 0);
}

static uint8_t
version_of(const struct tpm_sealed_parts *parts)
{
    if (parts->approvable)
        return VERSION_AUTHORITY;
    return parts->has_creation ? VERSION_CREATION : VERSION_PCRS;
}

/* *len bytes are there already, and room for the digest is left. */
static enum st_code
creation_pack(const struct tpm_creation *creation, struct tpm_sealed *out, size_t *len,
              struct st_err *err)
{
    const size_t room = TPM_SEALED_MAX - SHA256_LEN;
    if (Tss2_MU_TPMS_CREATION_DATA_Marshal(&creation->data, out->bytes, room, len) ||
        Tss2_MU_TPMT_TK_CREATION_Marshal(&creation->ticket, out->bytes, room, len))
        return st_fail(err, ST_INTERNAL, "what this TPM says of a making is too long");
    return ST_OK;
}

enum st_code
tpm_sealed_pack(const struct tpm_sealed_parts *parts, struct tpm_sealed *out,
                struct st_err *err)
{
    const TPM2B_PRIVATE *private = &parts->private;
    enum st_code code;
    if (fixed_len(parts->approvable) + private->size + SHA256_LEN > TPM_SEALED_MAX)
        return st_fail(err, ST_INTERNAL, "this TPM's sealed objects are too long: %u",
                       private->size);
    uint8_t *at = out->bytes;
    at = mempcpy(at, magic, sizeof(magic));
    *at++ = version_of(parts);
    for (int shift = 24; shift >= 0; shift -= 8)
        *at++ = parts->pcr_mask >> shift & 0xff;
    at = mempcpy(at, parts->srk_name, TPM_NAME_LEN);
    at = mempcpy(at, parts->pcr_policy, SHA256_LEN);
    at = mempcpy(at, parts->unique, SHA256_LEN);
    if (parts->approvable) {
        at = mempcpy(at, parts->authority.point, TPM_AUTHORITY_LEN);
        at = mempcpy(at, parts->authority.ref, SHA256_LEN);
    }
    *at++ = private->size >> 8;
    *at++ = private->size & 0xff;
    at = mempcpy(at, private->buffer, private->size);
    size_t len = (size_t)(at - out->bytes);
    if (version_of(parts) == VERSION_CREATION &&
        (code = creation_pack(&parts->creation, out, &len, err)))
        return code;
    if (wc_Sha256Hash(out->bytes, (word32)len, out->bytes + len))
        return st_fail(err, ST_INTERNAL, "SHA-256 failed");
    out->len = len + SHA256_LEN;
    return ST_OK;
}

static enum st_code
rotten(struct st_err *err, const char *why)
{
    return st_fail(err, ST_DATA_LOSS, "the sealed secret is corrupt: %s", why);
}

/* The frame: a version that we know, long enough for what it always has, not rotten. */
static enum st_code
frame_check(const struct tpm_sealed *sealed, uint8_t *out_version, struct st_err *err)
{
    if (sealed->len < FIXED_LEN + SHA256_LEN || sealed->len > TPM_SEALED_MAX)
        return rotten(err, "its length");
    const uint8_t version = sealed->bytes[sizeof(magic)];
    if (memcmp(sealed->bytes, magic, sizeof(magic)) || version < VERSION_PCRS ||
        version > VERSION_CREATION)
        return rotten(err, "not a file of this kind or version");
    if (sealed->len < fixed_len(version == VERSION_AUTHORITY) + SHA256_LEN)
        return rotten(err, "its length");
    const size_t body = sealed->len - SHA256_LEN;
    uint8_t digest[SHA256_LEN];
    if (wc_Sha256Hash(sealed->bytes, (word32)body, digest))
        return st_fail(err, ST_INTERNAL, "SHA-256 failed");
    if (memcmp(sealed->bytes + body, digest, SHA256_LEN))
        return rotten(err, "its digest");
    *out_version = version;
    return ST_OK;
}

static const uint8_t *
take(void *to, const uint8_t *at, size_t len)
{
    memcpy(to, at, len);
    return at + len;
}

/* Nothing but that is left. */
static bool
creation_unpack(const uint8_t *at, size_t len, struct tpm_creation *out)
{
    size_t offset = 0;
    return !Tss2_MU_TPMS_CREATION_DATA_Unmarshal(at, len, &offset, &out->data) &&
           !Tss2_MU_TPMT_TK_CREATION_Unmarshal(at, len, &offset, &out->ticket) &&
           offset == len;
}

enum st_code
tpm_sealed_unpack(const struct tpm_sealed *sealed, struct tpm_sealed_parts *out,
                  struct st_err *err)
{
    struct tpm_sealed_parts parts = {0};
    uint8_t version;
    enum st_code code = frame_check(sealed, &version, err);
    if (code)
        return code;
    parts.approvable = version == VERSION_AUTHORITY;
    parts.has_creation = version == VERSION_CREATION;
    const uint8_t *at = sealed->bytes + sizeof(magic) + 1;
    for (int i = 0; i < 4; i++)
        parts.pcr_mask = parts.pcr_mask << 8 | *at++;
    if (!parts.pcr_mask || parts.pcr_mask >> TPM_PCR_COUNT)
        return rotten(err, "its PCRs");
    at = take(parts.srk_name, at, TPM_NAME_LEN);
    at = take(parts.pcr_policy, at, SHA256_LEN);
    at = take(parts.unique, at, SHA256_LEN);
    if (parts.approvable) {
        at = take(parts.authority.point, at, TPM_AUTHORITY_LEN);
        at = take(parts.authority.ref, at, SHA256_LEN);
    }
    const size_t left = sealed->len - SHA256_LEN - fixed_len(parts.approvable);
    parts.private.size = (UINT16)(at[0] << 8 | at[1]);
    if (parts.has_creation ? parts.private.size > left : parts.private.size != left)
        return rotten(err, "an inner length");
    at = take(parts.private.buffer, at + 2, parts.private.size);
    if (parts.has_creation &&
        !creation_unpack(at, left - parts.private.size, &parts.creation))
        return rotten(err, "what the TPM said of its making");
    *out = parts;
    return ST_OK;
}

enum st_code
tpm_sealed_mask(const struct tpm_sealed *sealed, uint32_t *out, struct st_err *err)
{
    struct tpm_sealed_parts parts;
    enum st_code code = tpm_sealed_unpack(sealed, &parts, err);
    if (!code)
        *out = parts.pcr_mask;
    return code;
}

enum st_code
tpm_sealed_authority(const struct tpm_sealed *sealed, struct tpm_authority *out,
                     struct st_err *err)
{
    struct tpm_sealed_parts parts;
    enum st_code code = tpm_sealed_unpack(sealed, &parts, err);
    if (code)
        return code;
    if (!parts.approvable)
        return st_fail(err, ST_NOT_FOUND, "sealed to PCRs alone");
    *out = parts.authority;
    return ST_OK;
}
