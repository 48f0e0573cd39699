#include "proto/rpc_wire.h"

#include "proto/scope.h"
#include "proto/secret.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <string.h>

static void
wipe_and_free(void *bytes, size_t len)
{
    explicit_bzero(bytes, len);
    free(bytes);
}

grpc_byte_buffer *
rpc_pack(const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(len ? len : 1);
    if (!bytes)
        return NULL;
    protobuf_c_message_pack(message, bytes);
    grpc_slice slice = grpc_slice_new_with_len(bytes, len, wipe_and_free);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

/* Moves the bytes out of gRPC's slices, which are ours alone by now, and leaves zeros. */
static bool
drain(grpc_byte_buffer *buffer, uint8_t *out, size_t len)
{
    grpc_byte_buffer_reader reader;
    grpc_slice *slice;
    size_t used = 0;
    if (!grpc_byte_buffer_reader_init(&reader, buffer))
        return false;
    while (grpc_byte_buffer_reader_peek(&reader, &slice)) {
        size_t n = GRPC_SLICE_LENGTH(*slice);
        if (n > len - used)
            break;
        memcpy(out + used, GRPC_SLICE_START_PTR(*slice), n);
        explicit_bzero(GRPC_SLICE_START_PTR(*slice), n);
        used += n;
    }
    grpc_byte_buffer_reader_destroy(&reader);
    return used == len;
}

static enum st_code
unpack(const ProtobufCMessageDescriptor *type, grpc_byte_buffer *buffer,
       ProtobufCMessage **out, struct st_err *err)
{
    if (buffer->type != GRPC_BB_RAW || buffer->data.raw.compression != GRPC_COMPRESS_NONE)
        return st_fail_for(err, ST_UNIMPLEMENTED, ST_REASON_MALFORMED,
                           "compressed messages are not taken");
    size_t len = grpc_byte_buffer_length(buffer);
    uint8_t *bytes = malloc(len ? len : 1);
    if (!bytes)
        return st_fail_for(err, ST_RESOURCE_EXHAUSTED, ST_REASON_BUSY, "out of memory");
    enum st_code code;
    ProtobufCMessage *message = NULL;
    if (!drain(buffer, bytes, len))
        code = st_fail(err, ST_INTERNAL, "gRPC lent a message and did not give it");
    else
        code = rpc_text_check(type, bytes, len, err);
    if (!code) {
        message = protobuf_c_message_unpack(type, &secret_allocator, len, bytes);
        if (!message)
            code = st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                               "not a %s message", type->short_name);
    }
    wipe_and_free(bytes, len);
    if (!code)
        *out = message;
    return code;
}

enum st_code
rpc_unpack(const ProtobufCMessageDescriptor *type, grpc_byte_buffer *buffer,
           ProtobufCMessage **out, struct st_err *err)
{
    enum st_code code = unpack(type, buffer, out, err);
    grpc_byte_buffer_destroy(buffer);
    return code;
}
