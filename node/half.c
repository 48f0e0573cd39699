#include "node/half.h"

#include "node/measure.h"

#include <string.h>

enum st_code
half_seal(const struct node *node, struct tpm *tpm, enum esp_file file,
          const struct secret *secret, struct st_err *err)
{
    struct tpm_sealed sealed;
    uint32_t mask = measure_mask(measure_secure_boot(node->efivars));
    enum st_code code = tpm_seal(tpm, secret, mask, &sealed, err);
    if (code)
        return code;
    return esp_write(node->esp, file, sealed.bytes, sealed.len, err);
}

enum st_code
half_unseal(const struct node *node, struct tpm *tpm, enum esp_file file, size_t len,
            struct secret *out, struct st_err *err)
{
    const char *path = esp_path(node->esp, file);
    uint8_t content[ESP_CONTENT_MAX];
    struct tpm_sealed sealed;
    SECRET secret = {0};
    enum st_code code = esp_read(node->esp, file, content, &sealed.len, err);
    if (code)
        return code;
    if (sealed.len > sizeof(sealed.bytes))
        return st_fail(err, ST_DATA_LOSS, "%s is too long", path);
    memcpy(sealed.bytes, content, sealed.len);
    code = tpm_unseal(tpm, &sealed, &secret, err);
    if (code == ST_PERMISSION_DENIED)
        return st_wrap(err,
                       "the TPM keeps %s to itself: firmware, boot loader, kernel or "
                       "masters are not those of the enrolment",
                       path);
    if (code)
        return st_wrap(err, "unseal %s", path);
    if (secret.len != len)
        return st_fail(err, ST_DATA_LOSS, "%s holds %zu bytes, not %zu", path, secret.len,
                       len);
    *out = secret;
    return ST_OK;
}
