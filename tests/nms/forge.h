/* forge.h - certificates and lists as nms/ca.c would never make them. */
#ifndef TESTS_NMS_FORGE_H
#define TESTS_NMS_FORGE_H

#include "nms/ca.h"

/* NULL and 0: left out, or what a member's certificate has. */
struct forge {
    const char *name, *second_name; /* CN */
    const struct ca *issuer;        /* NULL: itself */
    const uint8_t *public_key;      /* NULL: a fresh key, which goes into out->key */
    bool p256;                      /* the fresh key is no Ed25519 one */
    const char *constraints, *key_usage, *purposes;
    uint64_t serial;
};
void forge_cert(const struct forge *what, struct ca *out);

/* What makes an authority of it. */
#define FORGE_AUTHORITY                                                                  \
    .constraints = "critical,CA:TRUE", .key_usage = "critical,keyCertSign,cRLSign"

/* number 0: none; revoked 0: nobody. */
void forge_crl(const struct ca *issuer, uint64_t number, uint64_t revoked,
               struct crl *out);

#endif
