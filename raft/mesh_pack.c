#include "raft/mesh_wire.h"

#include <stdlib.h>
#include <string.h>

enum {
    VARINT_MAX = 10,
    HEAD_MAX = MESH_LENGTH_LEN + 4 * VARINT_MAX, /* but the packed message */
    LENGTH_DELIMITED = 2,
};

/* An item whose first piece has `head` bytes of room behind the array. */
static struct mesh_item *
item_new(size_t head, unsigned borrowed)
{
    size_t pieces = (1 + (size_t)borrowed) * sizeof(struct raft_buffer);
    struct mesh_item *item = calloc(1, sizeof(*item) + pieces + head);
    if (!item)
        return NULL;
    item->size = sizeof(*item) + pieces + head;
    item->count = 1;
    item->pieces[0].base = (uint8_t *)item->pieces + pieces;
    return item;
}

void
mesh_frame_borrow(struct mesh_item *item, const void *bytes, size_t len)
{
    if (!len)
        return;
    item->pieces[item->count++] = (struct raft_buffer){(void *)bytes, len};
    item->size += len;
}

static void
put_varint(struct raft_buffer *out, uint64_t value)
{
    uint8_t *at = (uint8_t *)out->base + out->len;
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    out->len = (size_t)(at - (uint8_t *)out->base);
}

static void
put_tag(struct raft_buffer *out, unsigned field, uint64_t len)
{
    put_varint(out, field << 3 | LENGTH_DELIMITED);
    put_varint(out, len);
}

static size_t
tag_size(unsigned field, uint64_t len)
{
    uint8_t bytes[2 * VARINT_MAX];
    struct raft_buffer tag = {bytes, 0};
    put_tag(&tag, field, len);
    return tag.len;
}

/* False where the frame is too large. */
static bool
put_length(struct raft_buffer *out, size_t len)
{
    uint8_t *at = (uint8_t *)out->base + out->len;
    if (len > MESH_FRAME_MAX)
        return false;
    for (int i = 0; i < MESH_LENGTH_LEN; i++)
        at[i] = (uint8_t)(len >> (8 * i));
    out->len += MESH_LENGTH_LEN;
    return true;
}

struct mesh_item *
mesh_frame_of(unsigned field, const ProtobufCMessage *message, unsigned last, size_t len,
              unsigned borrowed)
{
    size_t packed = protobuf_c_message_get_packed_size(message);
    size_t size = packed + (len ? tag_size(last, len) + len : 0);
    struct mesh_item *item = item_new(HEAD_MAX + packed, borrowed);
    if (!item)
        return NULL;
    struct raft_buffer *head = &item->pieces[0];
    if (!put_length(head, tag_size(field, size) + size)) {
        free(item);
        return NULL;
    }
    put_tag(head, field, size);
    head->len += protobuf_c_message_pack(message, (uint8_t *)head->base + head->len);
    if (len)
        put_tag(head, last, len);
    return item;
}

static struct mesh_item *
request_vote(const struct raft_request_vote *args)
{
    Peer__RequestVote message = PEER__REQUEST_VOTE__INIT;
    message.term = args->term;
    message.candidate = args->candidate_id;
    message.last_index = args->last_log_index;
    message.last_term = args->last_log_term;
    message.disrupt_leader = args->disrupt_leader;
    message.pre_vote = args->pre_vote;
    return mesh_frame_of(PEER__FRAME__KIND_REQUEST_VOTE, &message.base, 0, 0, 0);
}

static struct mesh_item *
request_vote_result(const struct raft_request_vote_result *args)
{
    Peer__RequestVoteResult message = PEER__REQUEST_VOTE_RESULT__INIT;
    message.term = args->term;
    message.granted = args->vote_granted;
    message.pre_vote = args->pre_vote;
    return mesh_frame_of(PEER__FRAME__KIND_REQUEST_VOTE_RESULT, &message.base, 0, 0, 0);
}

static struct mesh_item *
append_entries_result(const struct raft_append_entries_result *args)
{
    Peer__AppendEntriesResult message = PEER__APPEND_ENTRIES_RESULT__INIT;
    message.term = args->term;
    message.rejected = args->rejected;
    message.last_index = args->last_log_index;
    return mesh_frame_of(PEER__FRAME__KIND_APPEND_ENTRIES_RESULT, &message.base, 0, 0, 0);
}

static struct mesh_item *
timeout_now(const struct raft_timeout_now *args)
{
    Peer__TimeoutNow message = PEER__TIMEOUT_NOW__INIT;
    message.term = args->term;
    message.last_index = args->last_log_index;
    message.last_term = args->last_log_term;
    return mesh_frame_of(PEER__FRAME__KIND_TIMEOUT_NOW, &message.base, 0, 0, 0);
}

struct mesh_item *
mesh_frame_message(const struct raft_message *message)
{
    switch (message->type) {
    case RAFT_IO_APPEND_ENTRIES:
        return mesh_entries_pack(&message->append_entries);
    case RAFT_IO_APPEND_ENTRIES_RESULT:
        return append_entries_result(&message->append_entries_result);
    case RAFT_IO_REQUEST_VOTE:
        return request_vote(&message->request_vote);
    case RAFT_IO_REQUEST_VOTE_RESULT:
        return request_vote_result(&message->request_vote_result);
    case RAFT_IO_TIMEOUT_NOW:
        return timeout_now(&message->timeout_now);
    default:
        return NULL;
    }
}

struct mesh_item *
mesh_frame_snapshot(const struct raft_install_snapshot *args)
{
    struct raft_buffer configuration;
    if (args->data.len > MESH_SNAPSHOT_MAX ||
        raft_configuration_encode(&args->conf, &configuration))
        return NULL;
    Peer__Snapshot message = PEER__SNAPSHOT__INIT;
    message.term = args->term;
    message.last_index = args->last_index;
    message.last_term = args->last_term;
    message.configuration_index = args->conf_index;
    message.configuration = (ProtobufCBinaryData){configuration.len, configuration.base};
    message.size = args->data.len;
    struct mesh_item *item =
        mesh_frame_of(PEER__FRAME__KIND_SNAPSHOT, &message.base, 0, 0, 0);
    raft_free(configuration.base);
    return item;
}

struct mesh_item *
mesh_frame_chunk(const struct raft_buffer *data, size_t offset, size_t len)
{
    Peer__Chunk message = PEER__CHUNK__INIT;
    message.offset = offset;
    struct mesh_item *item =
        mesh_frame_of(PEER__FRAME__KIND_CHUNK, &message.base, 2, len, 1);
    if (item)
        mesh_frame_borrow(item, (const uint8_t *)data->base + offset, len);
    return item;
}

struct mesh_item *
mesh_frame_note(const void *bytes, size_t len)
{
    struct mesh_item *item = item_new(HEAD_MAX + len, 0);
    if (!item)
        return NULL;
    struct raft_buffer *head = &item->pieces[0];
    if (!put_length(head, tag_size(PEER__FRAME__KIND_NOTE, len) + len)) {
        free(item);
        return NULL;
    }
    put_tag(head, PEER__FRAME__KIND_NOTE, len);
    if (len)
        memcpy((uint8_t *)head->base + head->len, bytes, len);
    head->len += len;
    return item;
}

struct mesh_item *
mesh_frame_hello(const struct mesh_hello *hello)
{
    Peer__Hello message = PEER__HELLO__INIT;
    message.format = MESH_FORMAT;
    message.id = hello->id;
    message.address =
        (ProtobufCBinaryData){strlen(hello->address), (uint8_t *)hello->address};
    message.boot = hello->boot;
    message.nonce = (ProtobufCBinaryData){MESH_NONCE_LEN, (uint8_t *)hello->nonce};
    return mesh_frame_of(PEER__FRAME__KIND_HELLO, &message.base, 0, 0, 0);
}

struct mesh_item *
mesh_frame_refusal(const struct st_err *why)
{
    Peer__Refusal message = PEER__REFUSAL__INIT;
    message.code = why->code;
    message.reason = why->reason;
    message.text = (ProtobufCBinaryData){strlen(why->text), (uint8_t *)why->text};
    return mesh_frame_of(PEER__FRAME__KIND_REFUSAL, &message.base, 0, 0, 0);
}

size_t
mesh_frame_copy(struct mesh_item *item, uint8_t *out, size_t room)
{
    size_t copied = 0;
    while (item->at < item->count && copied < room) {
        const struct raft_buffer *piece = &item->pieces[item->at];
        size_t len = piece->len - item->offset;
        if (len > room - copied)
            len = room - copied;
        memcpy(out + copied, (const uint8_t *)piece->base + item->offset, len);
        copied += len;
        item->offset += len;
        if (item->offset == piece->len) {
            item->at++;
            item->offset = 0;
        }
    }
    return copied;
}
