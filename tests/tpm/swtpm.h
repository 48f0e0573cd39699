/* swtpm.h - a TPM of the test's own, to start, to cut from power and to throw away.
 *
 * Everything lives in one folder under /tmp with a short name (a socket's path holds 107
 * bytes) and goes with swtpm_free().  The process is ended by its id, and by the kernel
 * if the test dies first; so make it from the main thread.  Whatever fails here says why
 * and aborts the test.  A swtpm serves one connection at a time: close a struct tpm
 * before somebody else talks to its TPM.
 */
#ifndef TESTS_TPM_SWTPM_H
#define TESTS_TPM_SWTPM_H

#include <stddef.h>
#include <stdint.h>

/* Who makes chips and signs their EK certificates; two of them are two vendors. */
struct swtpm_ca;
struct swtpm_ca *swtpm_ca_make(void);
void swtpm_ca_free(struct swtpm_ca *ca);
/* Paths of PEM files, there once a TPM was made by this vendor.  Lent. */
const char *swtpm_ca_root(const struct swtpm_ca *ca);
const char *swtpm_ca_issuer(const struct swtpm_ca *ca);

struct swtpm;
/* Fresh from this vendor's factory, with EK certificates for RSA-2048 and ECC P-384;
 * NULL: from nobody's, without a certificate.  Switched on. */
struct swtpm *swtpm_make(const struct swtpm_ca *ca);
void swtpm_free(struct swtpm *swtpm);

/* "swtpm:path=/tmp/...", for tpm_open() and for TPM2TOOLS_TCTI.  Lent. */
const char *swtpm_tcti(const struct swtpm *swtpm);
/* For the test's files too.  Lent. */
const char *swtpm_folder(const struct swtpm *swtpm);

/* No TPM2_Shutdown, no warning. */
void swtpm_power_off(struct swtpm *swtpm);
void swtpm_power_on(struct swtpm *swtpm);
void swtpm_power_cycle(struct swtpm *swtpm);
/* As a chip whose firmware sent no TPM2_Startup. */
void swtpm_power_on_bare(struct swtpm *swtpm);

/* `sh -c` of the formatted command in the folder, with TPM2TOOLS_TCTI set; its exit
 * status.  What it prints is in the file "log" there. */
int swtpm_shell(const struct swtpm *swtpm, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A file of the folder. */
void swtpm_put(const struct swtpm *swtpm, const char *name, const void *bytes,
               size_t len);
size_t swtpm_get(const struct swtpm *swtpm, const char *name, void *out, size_t max);

#endif
