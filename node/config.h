/* config.h - the EnrolmentConfig on the ESP: who the masters are, and who this node is.
 */
#ifndef NODE_CONFIG_H
#define NODE_CONFIG_H

#include "proto/address.h"
#include "proto/cert.h"
#include "proto/hpke.h"
#include "proto/secret.h"

/* Has either a secret (not enrolled yet) or a node id (enrolled), never both. */
struct node_config {
    struct secret secret; /* len 0: none */
    struct cert masters;
    struct st_address addresses[ADDRESSES_MAX]; /* at least one */
    size_t address_count;
    uint64_t masters_number;       /* of this list of addresses; 0: not known */
    char node_id[NODE_ID_LEN + 1]; /* "": none */
    bool has_recovery; /* the volume's recovery key is sealed to this administrator: */
    uint8_t recovery[HPKE_KEY_LEN];
};
void config_wipe(struct node_config *config);
#define NODE_CONFIG __attribute__((cleanup(config_wipe))) struct node_config

/* ST_NOT_FOUND; ST_DATA_LOSS for a file that is no EnrolmentConfig, or one that makes no
 * sense: a damaged certificate, no address, a secret and a node id, neither of them. */
enum st_code config_read(const char *path, struct node_config *out, struct st_err *err);
/* Replaced as one step. */
enum st_code config_write(const char *path, const struct node_config *config,
                          struct st_err *err);
/* Into out->addresses, their number into out->masters_number; out is as it was on
 * failure. */
enum st_code config_addresses(const ProtobufCBinaryData *wire, size_t count,
                              uint64_t number, struct node_config *out,
                              struct st_err *err);

#endif
