#include "tpm/judge_internal.h"

#include <string.h>

bool
tpm_rsa_load(RsaKey *key, const uint8_t modulus[RSA_LEN])
{
    static const uint8_t exponent[] = {0x01, 0x00, 0x01};
    return wc_InitRsaKey(key, NULL) == 0 &&
           wc_RsaPublicKeyDecodeRaw(modulus, RSA_LEN, exponent, sizeof(exponent), key) ==
               0;
}

bool
tpm_point_load(ecc_key *key, int curve, const uint8_t *x, const uint8_t *y)
{
    return wc_ecc_init(key) == 0 && wc_ecc_import_unsigned(key, x, y, NULL, curve) == 0;
}

bool
tpm_point_check(int curve, const uint8_t *x, const uint8_t *y)
{
    TPM_ECC_KEY key = {0};
    return tpm_point_load(&key, curve, x, y) && wc_ecc_check_key(&key) == 0;
}

bool
tpm_p256_pad(const TPM2B_ECC_PARAMETER *number, uint8_t out[P256_LEN])
{
    if (number->size < 1 || number->size > P256_LEN)
        return false;
    memset(out, 0, P256_LEN);
    memcpy(out + P256_LEN - number->size, number->buffer, number->size);
    return true;
}

void
tpm_ecc_key_free(ecc_key *key)
{
    wc_ecc_free(key);
    wc_ecc_fp_free();
}
