/* device_wire.h - stands between tpm_open() and the TPM: counts, breaks, listens.
 *
 * The program that links it needs -Wl,--wrap=Tss2_TctiLdr_Initialize and
 * -Wl,--wrap=Tss2_TctiLdr_Finalize.
 */
#ifndef TESTS_TPM_DEVICE_WIRE_H
#define TESTS_TPM_DEVICE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_fault {
    WIRE_CODE,   /* the TPM answers `code` and did nothing */
    WIRE_BROKEN, /* the command does not go out, nor does any after it */
    WIRE_SILENT, /* the command is done, its answer is lost, and all after it */
    WIRE_CHANGE, /* byte `at` of the answer is changed */
};

struct wire {
    enum wire_fault fault;
    unsigned countdown; /* the fault strikes at this command from now on; 0: never */
    uint32_t only;      /* commands with this code are counted; 0: all */
    uint32_t code;
    unsigned times; /* WIRE_CODE: so often in a row; 0 is 1 */
    size_t at;

    bool struck;
    uint32_t command;            /* code of the one struck */
    size_t answer_len;           /* of it */
    const uint8_t *listened_for; /* 16 bytes; NULL: nothing */
    bool heard;                  /* they went over the wire, in either direction */
};
extern struct wire wire;

#endif
