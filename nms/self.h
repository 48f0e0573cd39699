/* self.h - what one master keeps beside the store: who it is among the members.
 *
 * DIR/member.pb (0600) holds its id, address, certificate and key; DIR/masters.pem (0644)
 * the certificate that nodes and administrators pin.  Every function here may be called
 * from any thread.
 */
#ifndef NMS_SELF_H
#define NMS_SELF_H

#include "proto/address.h"
#include "proto/cert.h"
#include "proto/secret.h"

#include <stdint.h>

struct self {
    uint64_t id;
    struct st_address address;
    struct cert cert;  /* of the consensus CA */
    struct secret key; /* PKCS#8 */
};

/* ST_NOT_FOUND where there is none; ST_DATA_LOSS where it is not readable. */
enum st_code self_read(const char *dir, struct self *out, struct st_err *err);
enum st_code self_write(const char *dir, const struct self *self, struct st_err *err);
enum st_code self_erase(const char *dir, struct st_err *err);

/* Leaves the file alone where it already holds this certificate. */
enum st_code masters_pem_write(const char *dir, const void *der, size_t len,
                               struct st_err *err);

#endif
