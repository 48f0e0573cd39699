/* identity.h - who this node is: its Ed25519 key and id_cert.
 *
 * On the ESP it is encrypted under the disk key, so whoever holds the machine learns it
 * only when a master released the global half:
 *
 *     nonce (12) | ChaCha20-Poly1305 of seed (32), id_cert | tag (16)
 *
 * The key is HKDF-SHA256 (RFC 5869) of the disk key, info "smalltown identity v1"; the
 * node id is authenticated with it.  esp.h frames it as a file.
 */
#ifndef NODE_IDENTITY_H
#define NODE_IDENTITY_H

#include "node/esp.h"
#include "proto/cert.h"
#include "proto/secret.h"

struct identity {
    struct secret seed;
    struct cert cert;
    char node_id[NODE_ID_LEN + 1];
};
void identity_wipe(struct identity *identity);
#define IDENTITY __attribute__((cleanup(identity_wipe))) struct identity

/* The identity of this key; the same key gives the same certificate. */
enum st_code identity_of_seed(const struct secret *seed, struct identity *out,
                              struct st_err *err);

enum st_code identity_write(const struct esp *esp, const struct secret *disk_key,
                            const struct identity *identity, struct st_err *err);
/* ST_NOT_FOUND; ST_DATA_LOSS where the file is damaged, of another node, or the key does
 * not open it. */
enum st_code identity_read(const struct esp *esp, const struct secret *disk_key,
                           const char *node_id, struct identity *out, struct st_err *err);

#endif
