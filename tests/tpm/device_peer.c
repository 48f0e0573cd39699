#include "tests/tpm/device_peer.h"

#include "tests/cmocka.h"

#include <string.h>

/* Magic and version, TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET; all big-endian. */
static const uint8_t head[8] = {0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1};

static size_t
get_sized(const uint8_t **at, const uint8_t *end, uint8_t *out, size_t max)
{
    assert_true(end - *at >= 2);
    size_t len = (size_t)(*at)[0] << 8 | (*at)[1];
    *at += 2;
    assert_true(len <= max && len <= (size_t)(end - *at));
    memcpy(out, *at, len);
    *at += len;
    return len;
}

static uint8_t *
put_sized(uint8_t *at, const uint8_t *bytes, size_t len)
{
    *at++ = (uint8_t)(len >> 8);
    *at++ = (uint8_t)len;
    return mempcpy(at, bytes, len);
}

struct tpm_challenge
peer_challenge_get(const struct swtpm *swtpm, const char *name)
{
    uint8_t file[1024];
    struct tpm_challenge out = {0};
    size_t len = swtpm_get(swtpm, name, file, sizeof(file));
    assert_true(len > sizeof(head));
    assert_memory_equal(file, head, sizeof(head));
    const uint8_t *at = file + sizeof(head), *end = file + len;
    out.id_object_len = get_sized(&at, end, out.id_object, sizeof(out.id_object));
    out.encrypted_secret_len =
        get_sized(&at, end, out.encrypted_secret, sizeof(out.encrypted_secret));
    assert_ptr_equal(at, end);
    return out;
}

void
peer_challenge_put(const struct swtpm *swtpm, const char *name,
                   const struct tpm_challenge *challenge)
{
    uint8_t file[1024];
    uint8_t *at = mempcpy(file, head, sizeof(head));
    at = put_sized(at, challenge->id_object, challenge->id_object_len);
    at = put_sized(at, challenge->encrypted_secret, challenge->encrypted_secret_len);
    swtpm_put(swtpm, name, file, (size_t)(at - file));
}

const char *const peer_ek[TPM_EK_TYPES] = {
    [TPM_EK_RSA_2048] = "EK=0x81010001 && tpm2_readpublic -c $EK -o ek.pub",
    [TPM_EK_ECC_P256] = ("EK=ek.ctx && tpm2_createek -G ecc -c $EK -u ek.pub && "
                         "tpm2_flushcontext -t"),
    [TPM_EK_ECC_P384] = "EK=0x81010016 && tpm2_readpublic -c $EK -o ek.pub",
};

#define BY_POLICY                                                                        \
    "tpm2_startauthsession --policy-session -S s && tpm2_policysecret -S s -c e && "     \
    "tpm2_activatecredential -c ak.ctx -C $EK -P session:s -i blob -o solution && "      \
    "tpm2_flushcontext s && tpm2_flushcontext -t"

const char *const peer_activate[TPM_EK_TYPES] = {
    [TPM_EK_RSA_2048] = BY_POLICY,
    [TPM_EK_ECC_P256] = BY_POLICY,
    [TPM_EK_ECC_P384] = ("tpm2_activatecredential -c ak.ctx -C $EK -i blob -o solution "
                         "&& tpm2_flushcontext -t"),
};

#define AK_OF(algorithm)                                                                 \
    "tpm2_createprimary -C o -g sha256 -G " algorithm " -c ak.ctx -a 'fixedtpm|"         \
    "fixedparent|sensitivedataorigin|userwithauth|restricted|sign|noda' && "             \
    "tpm2_readpublic -c ak.ctx -o ak.pub -n ak.name && tpm2_flushcontext -t"

const char *const peer_ak[2] = {
    [TPM_AK_ECC_P256] = AK_OF("ecc256:ecdsa-sha256:null"),
    [TPM_AK_RSA_2048] = AK_OF("rsa2048:rsassa-sha256:null"),
};

struct tpm *
peer_open(const struct swtpm *swtpm)
{
    struct tpm *tpm = NULL;
    struct st_err err = {0};
    assert_ok(tpm_open(swtpm_tcti(swtpm), &tpm, &err));
    return tpm;
}
