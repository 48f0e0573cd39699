/* A long answer, packed while it is made.
 *
 * On the wire a repeated field is its elements, each with the field's tag and its own
 * length, one after the other: so a message that is nothing but such a field can be
 * written into pieces as the elements come.  gRPC frees each piece once it is sent.
 */
#include "proto/rpc_internal.h"

#include "proto/scope.h"

#include <assert.h>
#include <grpc/slice_buffer.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* Above M_MMAP_THRESHOLD: a mapping of its own, which leaves no hole in the heap. */
    PIECE_LEN = 256 * 1024,
    VARINT_MAX = 5, /* bytes of a number of 32 bits */
};

struct rpc_list {
    const ProtobufCMessageDescriptor *type;
    const ProtobufCFieldDescriptor *field;
    grpc_byte_buffer *buffer; /* the pieces that are full */
    size_t buffer_len;
    uint8_t *piece; /* where the next element goes; NULL: there is none yet */
    size_t piece_len, piece_room;
};

struct rpc_list *
rpc_list_new(const ProtobufCMessageDescriptor *type, const char *field)
{
    AUTO(rpc_list_freep) struct rpc_list *list = calloc(1, sizeof(*list));
    if (!list)
        return NULL;
    list->type = type;
    list->field = protobuf_c_message_descriptor_get_field_by_name(type, field);
    assert(list->field && list->field->label == PROTOBUF_C_LABEL_REPEATED &&
           list->field->type == PROTOBUF_C_TYPE_MESSAGE);
    list->buffer = grpc_raw_byte_buffer_create(NULL, 0);
    return TAKE(list);
}

void
rpc_list_free(struct rpc_list *list)
{
    if (!list)
        return;
    if (list->buffer)
        grpc_byte_buffer_destroy(list->buffer);
    if (list->piece)
        rpc_wipe_and_free(list->piece, list->piece_len);
    free(list);
}

/* The piece goes to those that are full. */
static void
close_piece(struct rpc_list *list)
{
    if (!list->piece)
        return;
    list->buffer_len += list->piece_len;
    grpc_slice_buffer_add(
        &list->buffer->data.raw.slice_buffer,
        grpc_slice_new_with_len(list->piece, list->piece_len, rpc_wipe_and_free));
    list->piece = NULL;
    list->piece_len = list->piece_room = 0;
}

static enum st_code
reserve(struct rpc_list *list, size_t len, struct st_err *err)
{
    if (len > RPC_ANSWER_MAX - list->buffer_len - list->piece_len)
        return st_fail_for(err, ST_RESOURCE_EXHAUSTED, ST_REASON_NONE,
                           "the list is longer than an answer may be");
    if (len <= list->piece_room - list->piece_len)
        return ST_OK;
    const size_t room = len > PIECE_LEN ? len : PIECE_LEN;
    uint8_t *piece = malloc(room);
    if (!piece)
        return st_fail_for(err, ST_RESOURCE_EXHAUSTED, ST_REASON_BUSY,
                           "no memory for the list");
    close_piece(list);
    list->piece = piece;
    list->piece_room = room;
    return ST_OK;
}

static size_t
varint_put(uint32_t number, uint8_t out[VARINT_MAX])
{
    size_t len = 0;
    for (; number >= 0x80; number >>= 7)
        out[len++] = (uint8_t)(number | 0x80);
    out[len++] = (uint8_t)number;
    return len;
}

enum st_code
rpc_list_add(struct rpc_list *list, const ProtobufCMessage *element, struct st_err *err)
{
    uint8_t head[2 * VARINT_MAX];
    assert(element->descriptor == list->field->descriptor);
    const size_t len = protobuf_c_message_get_packed_size(element);
    if (len > RPC_ANSWER_MAX)
        return st_fail_for(err, ST_RESOURCE_EXHAUSTED, ST_REASON_NONE,
                           "an element is longer than an answer may be");
    size_t head_len =
        varint_put(list->field->id << 3 | PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, head);
    head_len += varint_put((uint32_t)len, head + head_len);
    enum st_code code = reserve(list, head_len + len, err);
    if (code)
        return code;
    uint8_t *at = list->piece + list->piece_len;
    memcpy(at, head, head_len);
    protobuf_c_message_pack(element, at + head_len);
    list->piece_len += head_len + len;
    return ST_OK;
}

grpc_byte_buffer *
rpc_list_pack(struct rpc_list *list, const ProtobufCMessageDescriptor *type)
{
    assert(list->type == type);
    (void)type;
    close_piece(list);
    return TAKE(list->buffer);
}
