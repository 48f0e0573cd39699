/* address.h - where a machine is: an IP address without a port, because ports never vary.
 *
 * Every function here may be called from any thread.
 */
#ifndef PROTO_ADDRESS_H
#define PROTO_ADDRESS_H

#include "proto/err.h"

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
    PORT_NODE_MANAGEMENT = 7833,    /* NodeManagementService, on masters */
    PORT_CONSENSUS = 7834,          /* between masters */
    PORT_NODE = 7835,               /* NodeService, on every node */
    PORT_CLUSTER_MANAGEMENT = 7836, /* ClusterManagement, on masters */
};

/* bytes in network order; len is 4 (IPv4), 16 (IPv6) or 0 (unset). */
struct st_address {
    uint8_t bytes[16];
    uint8_t len;
};

enum {
    ADDRESS_TEXT_MAX = 64, /* an address in brackets with its port, and NUL */
    ADDRESSES_MAX = 32,    /* in one EnrolmentConfig or context */
};

/* "192.0.2.1" or "2001:db8::1", no port, no brackets, no zone.  ST_INVALID_ARGUMENT. */
enum st_code address_parse(const char *text, struct st_address *out, struct st_err *err);

bool address_equal(const struct st_address *a, const struct st_address *b);

/* One machine can have it, under this name alone: not 0.0.0.0 or ::, not a group's, not
 * an IPv4 address in the clothes of IPv6. */
bool address_is_host(const struct st_address *address);

/* From the wire: 4 or 16 bytes, else ST_INVALID_ARGUMENT. */
enum st_code address_unpack(const ProtobufCBinaryData *wire, struct st_address *out,
                            struct st_err *err);

/* Of whoever is at the other end of a socket; unset where that is no IP address. */
void address_of_socket(const struct sockaddr_storage *name, struct st_address *out);

/* What limits count as one: an IPv4 address, or the /64 of an IPv6 address, of which a
 * host can have as many as it likes. */
uint64_t address_network(const struct st_address *address);

/* "192.0.2.1", "2001:db8::1". */
void address_format(const struct st_address *address, char out[ADDRESS_TEXT_MAX]);

/* "192.0.2.1:7833", "[2001:db8::1]:7833". */
void address_format_port(const struct st_address *address, uint16_t port,
                         char out[ADDRESS_TEXT_MAX]);

#endif
