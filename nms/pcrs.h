/* pcrs.h - the PCR values in a flow's message, as the judge wants them. */
#ifndef NMS_PCRS_H
#define NMS_PCRS_H

#include "tpm/judge.h"

/* Exactly 16 digests of 32 bytes, else ST_INVALID_ARGUMENT (N09): never the same bytes
 * split otherwise. */
enum st_code pcrs_unpack(size_t count, const ProtobufCBinaryData *wire,
                         struct tpm_pcrs *out, struct st_err *err);

#endif
