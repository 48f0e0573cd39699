/* rpc_tls.h - the certificates of both sides of the door, as gRPC wants and gives them.
 *
 * Only proto/rpc_*.c use it.  Every function here may be called from any thread.
 */
#ifndef PROTO_RPC_TLS_H
#define PROTO_RPC_TLS_H

#include "proto/cert.h"
#include "proto/err.h"
#include "proto/rpc_client.h"
#include "proto/secret.h"

#include <grpc/grpc_security.h>

/* The first CERTIFICATE block of len bytes of PEM, malloc'ed DER of at most CERT_MAX_LEN.
 * ST_INVALID_ARGUMENT. */
enum st_code rpc_pem_to_der(const char *pem, size_t len, uint8_t **out, size_t *out_len,
                            struct st_err *err);

/* A key and its certificate in PEM, wiped by scope. */
struct pem_pair {
    char key[SECRET_MAX + 1];
    char *cert;
};
void pem_pair_wipe(struct pem_pair *pair);
enum st_code pem_pair_make(const struct cert *cert, const struct secret *seed,
                           struct pem_pair *out, struct st_err *err);

#endif
