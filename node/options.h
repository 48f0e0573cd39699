/* options.h - the command line of smalltown-node.
 */
#ifndef NODE_OPTIONS_H
#define NODE_OPTIONS_H

#include "node/disk.h"
#include "proto/address.h"
#include "tpm/device.h"

#include <stdio.h>

enum {
    OPTIONS_ADMIN_CERTS_MAX = 32
};

/* Strings are lent by argv. */
struct options {
    bool help, version;          /* then nothing else is filled in */
    bool recover;                /* not run: address and what follows it are not there */
    bool masters;                /* neither: esp and the addresses of masters alone */
    const char *crypttab_volume; /* crypttab-key, not run: nothing else is there */
    const char *esp, *tcti, *volume, *address_text;
    struct st_address address;
    enum disk_encryption encryption;
    enum tpm_ak_type ak;
    const char *bootstrap, *master_data, *control; /* NULL: not given */
    const char *admin_certs[OPTIONS_ADMIN_CERTS_MAX];
    size_t admin_cert_count;
    const char *recovery_terminal; /* NULL: not given, or none */
    bool no_recovery;
    struct st_address masters_now[ADDRESSES_MAX];
    size_t masters_now_count;
};

/* ST_INVALID_ARGUMENT with a sentence for whoever typed it. */
enum st_code options_read(int argc, char **argv, struct options *out, struct st_err *err);
void options_help(FILE *out);

#endif
