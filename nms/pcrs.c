#include "nms/pcrs.h"
#include "proto/mutant.h"

#include <string.h>

enum st_code
pcrs_unpack(size_t count, const ProtobufCBinaryData *wire, struct tpm_pcrs *out,
            struct st_err *err)
{
    struct tpm_pcrs pcrs = {0};
    if (REFUSES(0x09f, count != TPM_PCR_COUNT))
        return st_fail(err, ST_INVALID_ARGUMENT, "%zu PCRs", count);
    for (size_t i = 0; i < count; i++) {
        if (REFUSES(0x09e, wire[i].len != SHA256_LEN))
            return st_fail(err, ST_INVALID_ARGUMENT, "PCR %zu has %zu bytes", i,
                           wire[i].len);
        memcpy(pcrs.digest[i], wire[i].data, SHA256_LEN);
    }
    *out = pcrs;
    return ST_OK;
}
