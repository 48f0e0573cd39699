/* chain_forge.h - CAs, and EK certificates as such CAs should and should not make them.
 *
 * Everything here fails the running test where it cannot do its work.
 */
#ifndef TESTS_TPM_CHAIN_FORGE_H
#define TESTS_TPM_CHAIN_FORGE_H

#include "tests/tpm/judge_forge.h"

struct forge_issuer {
    void *key, *cert; /* of OpenSSL */
    struct forge_bytes der;
};

/* What is 0 is as it should be. */
struct forge_chain {
    const char *name;                 /* CN */
    const struct forge_issuer *above; /* of a CA; NULL: itself */
    const char *constraints;          /* "" is none */
    const char *purposes;             /* "" is none; of a CA: none */
    const char *usage;                /* of a CA; "" is none: keyCertSign, cRLSign */
    const char *names;                /* nameConstraints of a CA: none */
    const char *digest;               /* of the signature: SHA256 */
    const char *curve;                /* of a CA's key: P-256 */
    const char *from, *to;            /* 20200101000000Z */
    const char *critical;             /* an unknown extension with this OID */
};

void forge_issuer_make(const struct forge_chain *what, struct forge_issuer *out);
void forge_issuer_free(struct forge_issuer *issuer);
#define FORGE_ISSUER __attribute__((cleanup(forge_issuer_free))) struct forge_issuer

/* Of this SubjectPublicKeyInfo; issuer NULL: signed with a key of nobody's, in the EK's
 * own name. */
struct forge_bytes forge_ek_cert(const struct forge_issuer *issuer,
                                 const struct forge_bytes *spki,
                                 const struct forge_chain *what);

#endif
