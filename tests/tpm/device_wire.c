#include "tests/tpm/device_wire.h"

#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_tctildr.h>

enum {
    LISTEN_LEN = 16,
};

struct wire wire;

struct wrapper {
    TSS2_TCTI_CONTEXT_COMMON_V2 common;
    TSS2_TCTI_CONTEXT *inner;
    bool dead;
    bool answer_code; /* the command was swallowed: `code` is the answer */
    bool strike;      /* the answer to this command is the one */
};

TSS2_RC __real_Tss2_TctiLdr_Initialize(const char *conf, TSS2_TCTI_CONTEXT **out);
void __real_Tss2_TctiLdr_Finalize(TSS2_TCTI_CONTEXT **tcti);
TSS2_RC __wrap_Tss2_TctiLdr_Initialize(const char *conf, TSS2_TCTI_CONTEXT **out);
void __wrap_Tss2_TctiLdr_Finalize(TSS2_TCTI_CONTEXT **tcti);

static void
listen_to(const uint8_t *bytes, size_t len)
{
    if (wire.listened_for && memmem(bytes, len, wire.listened_for, LISTEN_LEN))
        wire.heard = true;
}

static TSS2_RC
transmit(TSS2_TCTI_CONTEXT *context, size_t len, const uint8_t *command)
{
    struct wrapper *w = (struct wrapper *)context;
    if (w->dead)
        return TSS2_TCTI_RC_IO_ERROR;
    listen_to(command, len);
    const uint32_t code = (uint32_t)command[6] << 24 | (uint32_t)command[7] << 16 |
                          (uint32_t)command[8] << 8 | command[9];
    bool counts = !wire.only || wire.only == code;
    w->strike = counts && wire.countdown && !--wire.countdown;
    if (w->strike) {
        wire.struck = true;
        wire.command = code;
        if (wire.fault == WIRE_CODE) {
            w->answer_code = true;
            if (wire.times > 1) {
                wire.times--;
                wire.countdown = 1;
            }
            return 0;
        }
        if (wire.fault == WIRE_BROKEN) {
            w->dead = true;
            return TSS2_TCTI_RC_IO_ERROR;
        }
    }
    return Tss2_Tcti_Transmit(w->inner, len, command);
}

static TSS2_RC
receive(TSS2_TCTI_CONTEXT *context, size_t *len, uint8_t *answer, int32_t timeout)
{
    struct wrapper *w = (struct wrapper *)context;
    if (w->dead)
        return TSS2_TCTI_RC_IO_ERROR;
    if (w->answer_code) {
        const uint32_t code = wire.code;
        const uint8_t refusal[10] = {0x80,
                                     0x01,
                                     0,
                                     0,
                                     0,
                                     10,
                                     (uint8_t)(code >> 24),
                                     (uint8_t)(code >> 16),
                                     (uint8_t)(code >> 8),
                                     (uint8_t)code};
        *len = sizeof(refusal);
        if (!answer) /* is asking how long it will be */
            return 0;
        w->answer_code = false;
        memcpy(answer, refusal, sizeof(refusal));
        return 0;
    }
    TSS2_RC rc = Tss2_Tcti_Receive(w->inner, len, answer, timeout);
    if (rc || !answer)
        return rc;
    listen_to(answer, *len);
    if (!w->strike)
        return 0;
    w->strike = false;
    wire.answer_len = *len;
    if (wire.fault == WIRE_SILENT) {
        w->dead = true;
        return TSS2_TCTI_RC_IO_ERROR;
    }
    if (wire.fault == WIRE_CHANGE && wire.at < *len)
        answer[wire.at] ^= 1;
    return 0;
}

TSS2_RC
__wrap_Tss2_TctiLdr_Initialize(const char *conf, TSS2_TCTI_CONTEXT **out)
{
    struct wrapper *w = calloc(1, sizeof(*w));
    if (!w)
        return TSS2_TCTI_RC_MEMORY;
    TSS2_RC rc = __real_Tss2_TctiLdr_Initialize(conf, &w->inner);
    if (rc) {
        free(w);
        return rc;
    }
    w->common.v1.version = 2;
    w->common.v1.transmit = transmit;
    w->common.v1.receive = receive;
    *out = (TSS2_TCTI_CONTEXT *)w;
    return 0;
}

void
__wrap_Tss2_TctiLdr_Finalize(TSS2_TCTI_CONTEXT **tcti)
{
    struct wrapper *w = (struct wrapper *)*tcti;
    __real_Tss2_TctiLdr_Finalize(&w->inner);
    free(w);
    *tcti = NULL;
}
