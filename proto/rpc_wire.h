/* rpc_wire.h - protobuf as bytes: what gRPC carries, and what is refused in it.
 *
 * Only proto/rpc_*.c use it.  Every function here may be called from any thread.
 */
#ifndef PROTO_RPC_WIRE_H
#define PROTO_RPC_WIRE_H

#include "proto/err.h"

#include <grpc/byte_buffer.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A walk over the fields of one message.  Bytes are borrowed. */
struct wire {
    const uint8_t *at;
    const uint8_t *end;
};
struct wire_field {
    uint32_t number;
    uint8_t type;         /* ProtobufCWireType */
    const uint8_t *bytes; /* of a length-prefixed field */
    size_t len;
};
/* False at the end and where the bytes are no field; then wire->at != wire->end. */
bool wire_next(struct wire *wire, struct wire_field *out);

/* Every string in the message, nested ones too, is UTF-8 without NUL: protobuf-c would
 * take the one and cut at the other.  ST_INVALID_ARGUMENT, naming the field. */
enum st_code rpc_text_check(const ProtobufCMessageDescriptor *type, const void *bytes,
                            size_t len, struct st_err *err);

/* Packed for sending; the bytes are wiped when gRPC lets go of them.  NULL without
 * memory. */
grpc_byte_buffer *rpc_pack(const ProtobufCMessage *message);

/* Checks the text and unpacks with secret_allocator.  Wipes and destroys `buffer` in any
 * case.  ST_INVALID_ARGUMENT where it is no such message; ST_UNIMPLEMENTED where it is
 * compressed: nothing here inflates what a stranger sent. */
enum st_code rpc_unpack(const ProtobufCMessageDescriptor *type, grpc_byte_buffer *buffer,
                        ProtobufCMessage **out, struct st_err *err);

#endif
