#include "tpm/judge_internal.h"

#include <assert.h>
#include <string.h>
#include <tss2/tss2_mu.h>

enum st_code
tpm_malformed(struct st_err *err, const char *why)
{
    return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED, "%s", why);
}

enum st_code
tpm_refused(struct st_err *err, const char *why)
{
    return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED, "%s", why);
}

enum st_code
tpm_crypto_failed(struct st_err *err, const char *what)
{
    return st_fail(err, ST_INTERNAL, "cannot %s", what);
}

/* libtss2-mu leaves bytes behind without a word, and where a TPM2B is around a structure
 * it ignores what fails inside: so the bare structure is read, and must give the same
 * bytes when it is written again. */
struct codec {
    const char *name;
    size_t max;
    TSS2_RC (*unmarshal)(const uint8_t *bytes, size_t len, size_t *offset, void *out);
    TSS2_RC (*marshal)(const void *in, uint8_t *bytes, size_t size, size_t *offset);
};

enum {
    STRUCTURE_MAX = 600
};

static enum st_code
read_exactly(const struct codec *codec, const void *bytes, size_t len, void *out,
             struct st_err *err)
{
    uint8_t again[STRUCTURE_MAX];
    size_t read = 0, written = 0;
    assert(codec->max <= sizeof(again));
    if (len < 1 || len > codec->max)
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "a %s of %zu bytes", codec->name, len);
    if (codec->unmarshal(bytes, len, &read, out) ||
        codec->marshal(out, again, sizeof(again), &written))
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "the bytes are no %s", codec->name);
    if (REFUSES(0x14a, read != len || written != len || memcmp(again, bytes, len) != 0))
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "the bytes are not exactly one %s", codec->name);
    return ST_OK;
}

/* tpm_<name>_read() for a TPM structure, through functions of the codec's type. */
#define DEFINE_READ(read, type, limit)                                                   \
    static TSS2_RC type##_unmarshal(const uint8_t *bytes, size_t len, size_t *offset,    \
                                    void *out)                                           \
    {                                                                                    \
        return Tss2_MU_##type##_Unmarshal(bytes, len, offset, out);                      \
    }                                                                                    \
    static TSS2_RC type##_marshal(const void *in, uint8_t *bytes, size_t size,           \
                                  size_t *offset)                                        \
    {                                                                                    \
        return Tss2_MU_##type##_Marshal(in, bytes, size, offset);                        \
    }                                                                                    \
    enum st_code read(const void *bytes, size_t len, type *out, struct st_err *err)      \
    {                                                                                    \
        static const struct codec codec = {#type, limit, type##_unmarshal,               \
                                           type##_marshal};                              \
        type value = {0};                                                                \
        enum st_code code = read_exactly(&codec, bytes, len, &value, err);               \
        if (!code)                                                                       \
            *out = value;                                                                \
        return code;                                                                     \
    }

DEFINE_READ(tpm_public_read, TPMT_PUBLIC, TPM_PUBLIC_MAX)
DEFINE_READ(tpm_attest_read, TPMS_ATTEST, TPM_QUOTE_MAX)
DEFINE_READ(tpm_signature_read, TPMT_SIGNATURE, TPM_SIGNATURE_MAX)
