#include "proto/mutant.h"
#include "raft/conf.h"
#include "raft/mesh_wire.h"

#include <string.h>

enum {
    LENGTH_DELIMITED = 2,
    SNAPSHOT_MIN = 16,
};

/* ---- memory: what a frame unpacks to is bounded by its size ---- */

struct budget {
    size_t left;
};

static void *
budget_alloc(void *data, size_t size)
{
    struct budget *budget = data;
    if (size > budget->left)
        return NULL;
    budget->left -= size;
    return raft_malloc(size);
}

static void
budget_free(void *data, void *memory)
{
    (void)data;
    raft_free(memory);
}

static void
owner_free(void *owner)
{
    ProtobufCAllocator allocator = {budget_alloc, budget_free, NULL};
    protobuf_c_message_free_unpacked(owner, &allocator);
}

/* ---- the frame's one field ---- */

static bool
get_varint(const uint8_t **at, const uint8_t *end, uint32_t *out)
{
    uint32_t value = 0;
    for (unsigned shift = 0; *at < end && shift < 28; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint32_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = value;
            return true;
        }
    }
    return false;
}

/* A frame is one field of Frame and no byte more. */
static const ProtobufCFieldDescriptor *
find_field(const uint8_t **at, const uint8_t *end)
{
    uint32_t tag, len;
    if (!get_varint(at, end, &tag) || (tag & 7) != LENGTH_DELIMITED ||
        !get_varint(at, end, &len) || len != (size_t)(end - *at))
        return NULL;
    return protobuf_c_message_descriptor_get_field(&peer__frame__descriptor, tag >> 3);
}

enum st_code
mesh_malformed(struct st_err *err, const char *what)
{
    return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED, "a malformed %s",
                       what);
}

/* ---- each kind ---- */

bool
mesh_configuration_decode(const void *bytes, size_t len, struct raft_configuration *out)
{
    raft_configuration_init(out);
    return len > 0 && len <= MESH_CONFIGURATION_MAX &&
           conf_decode(bytes, len, out) == 0 && out->n > 0;
}

bool
mesh_term_and_index(uint64_t term, uint64_t index, uint64_t index_term)
{
    return term > 0 && index <= MESH_INDEX_MAX && (index == 0) == (index_term == 0) &&
           index_term <= term;
}

static enum st_code
take_hello(const Peer__Hello *hello, uint64_t from, struct mesh_frame *out,
           struct st_err *err)
{
    const ProtobufCBinaryData *address = &hello->address;
    if (hello->format != MESH_FORMAT)
        return st_fail(err, ST_UNIMPLEMENTED, "member %llu speaks format %u, this is %d",
                       (unsigned long long)from, hello->format, MESH_FORMAT);
    if (REFUSES(0x54a, hello->id != from))
        return st_fail(err, ST_PERMISSION_DENIED,
                       "member %llu says that it is member %llu",
                       (unsigned long long)from, (unsigned long long)hello->id);
    if (hello->nonce.len != MESH_NONCE_LEN || address->len < 1 ||
        address->len >= REPLICA_ADDRESS_MAX)
        return mesh_malformed(err, "Hello");
    for (size_t i = 0; i < address->len; i++)
        if (address->data[i] <= ' ' || address->data[i] > '~')
            return mesh_malformed(err, "Hello");
    out->kind = MESH_HELLO;
    out->hello = (struct mesh_hello){
        .id = hello->id, .boot = hello->boot, .nonce = hello->nonce.data};
    memcpy(out->hello.address, address->data, address->len);
    return ST_OK;
}

/* A code or a reason of a later release is what it is here: unknown. */
static enum st_code
take_refusal(const Peer__Refusal *refusal, struct mesh_frame *out)
{
    char text[sizeof(out->refusal.text)] = "";
    size_t len = refusal->text.len < sizeof(text) ? refusal->text.len : sizeof(text) - 1;
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = refusal->text.data[i];
        text[i] = byte < ' ' || byte > '~' ? '?' : (char)byte;
    }
    out->kind = MESH_REFUSAL;
    out->refusal = (struct st_err){0};
    bool known = refusal->code > ST_OK && refusal->code <= ST_UNAUTHENTICATED;
    enum st_code code = known ? (enum st_code)refusal->code : ST_UNKNOWN;
    enum st_reason reason = refusal->reason < ST_REASON_COUNT
                                ? (enum st_reason)refusal->reason
                                : ST_REASON_NONE;
    (void)!st_fail_for(&out->refusal, code, reason, "%s", text);
    return ST_OK;
}

static enum st_code
take_request_vote(const Peer__RequestVote *vote, uint64_t from,
                  struct raft_message *message, struct st_err *err)
{
    if (REFUSES(0x54b, vote->candidate != from))
        return st_fail(err, ST_PERMISSION_DENIED,
                       "member %llu asks for votes for member %llu",
                       (unsigned long long)from, (unsigned long long)vote->candidate);
    if (REFUSES(0x54c,
                !mesh_term_and_index(vote->term, vote->last_index, vote->last_term)))
        return mesh_malformed(err, "RequestVote");
    message->type = RAFT_IO_REQUEST_VOTE;
    message->request_vote =
        (struct raft_request_vote){.term = vote->term,
                                   .candidate_id = vote->candidate,
                                   .last_log_index = vote->last_index,
                                   .last_log_term = vote->last_term,
                                   .disrupt_leader = vote->disrupt_leader,
                                   .pre_vote = vote->pre_vote};
    return ST_OK;
}

static enum st_code
take_request_vote_result(const Peer__RequestVoteResult *result,
                         struct raft_message *message, struct st_err *err)
{
    if (REFUSES(0x54d, result->term == 0 || result->pre_vote > raft_tribool_false))
        return mesh_malformed(err, "RequestVoteResult");
    message->type = RAFT_IO_REQUEST_VOTE_RESULT;
    message->request_vote_result =
        (struct raft_request_vote_result){.term = result->term,
                                          .vote_granted = result->granted,
                                          .pre_vote = (raft_tribool)result->pre_vote};
    return ST_OK;
}

static enum st_code
take_append_entries_result(const Peer__AppendEntriesResult *result,
                           struct raft_message *message, struct st_err *err)
{
    if (REFUSES(0x542, result->term == 0 || result->rejected > MESH_INDEX_MAX ||
                           result->last_index > MESH_INDEX_MAX))
        return mesh_malformed(err, "AppendEntriesResult");
    message->type = RAFT_IO_APPEND_ENTRIES_RESULT;
    message->append_entries_result =
        (struct raft_append_entries_result){.term = result->term,
                                            .rejected = result->rejected,
                                            .last_log_index = result->last_index};
    return ST_OK;
}

static enum st_code
take_timeout_now(const Peer__TimeoutNow *args, struct raft_message *message,
                 struct st_err *err)
{
    if (REFUSES(0x543,
                !mesh_term_and_index(args->term, args->last_index, args->last_term)))
        return mesh_malformed(err, "TimeoutNow");
    message->type = RAFT_IO_TIMEOUT_NOW;
    message->timeout_now = (struct raft_timeout_now){.term = args->term,
                                                     .last_log_index = args->last_index,
                                                     .last_log_term = args->last_term};
    return ST_OK;
}

static enum st_code
take_snapshot(const Peer__Snapshot *args, struct raft_message *message,
              struct st_err *err)
{
    if (REFUSES(0x544, args->size < SNAPSHOT_MIN || args->size > MESH_SNAPSHOT_MAX))
        return st_fail(err, ST_INVALID_ARGUMENT, "a snapshot of %llu bytes",
                       (unsigned long long)args->size);
    if (REFUSES(0x545,
                !mesh_term_and_index(args->term, args->last_index, args->last_term) ||
                    args->last_index == 0 || args->configuration_index == 0 ||
                    args->configuration_index > args->last_index))
        return mesh_malformed(err, "Snapshot");
    struct raft_install_snapshot *install = &message->install_snapshot;
    *install = (struct raft_install_snapshot){.term = args->term,
                                              .last_index = args->last_index,
                                              .last_term = args->last_term,
                                              .conf_index = args->configuration_index,
                                              .data = {NULL, args->size}};
    bool good = mesh_configuration_decode(args->configuration.data,
                                          args->configuration.len, &install->conf);
    if (REFUSES(0x546, !good)) {
        raft_configuration_close(&install->conf);
        return mesh_malformed(err, "configuration of a snapshot");
    }
    message->type = RAFT_IO_INSTALL_SNAPSHOT;
    return ST_OK;
}

static enum st_code
take_chunk(const Peer__Chunk *chunk, struct mesh_frame *out, struct st_err *err)
{
    if (chunk->data.len < 1 || chunk->data.len > MESH_CHUNK_MAX)
        return mesh_malformed(err, "Chunk");
    out->kind = MESH_CHUNK;
    out->data.bytes = chunk->data.data;
    out->data.len = chunk->data.len;
    out->data.offset = chunk->offset;
    return ST_OK;
}

static enum st_code
take_any(unsigned field, void *message, uint64_t from, struct mesh_frame *out,
         struct st_err *err)
{
    out->kind = MESH_MESSAGE;
    out->message = (struct raft_message){.server_id = from};
    switch ((Peer__Frame__KindCase)field) {
    case PEER__FRAME__KIND_HELLO:
        return take_hello(message, from, out, err);
    case PEER__FRAME__KIND_REFUSAL:
        return take_refusal(message, out);
    case PEER__FRAME__KIND_REQUEST_VOTE:
        return take_request_vote(message, from, &out->message, err);
    case PEER__FRAME__KIND_REQUEST_VOTE_RESULT:
        return take_request_vote_result(message, &out->message, err);
    case PEER__FRAME__KIND_APPEND_ENTRIES:
        return mesh_entries_take(message, &out->message, err);
    case PEER__FRAME__KIND_APPEND_ENTRIES_RESULT:
        return take_append_entries_result(message, &out->message, err);
    case PEER__FRAME__KIND_TIMEOUT_NOW:
        return take_timeout_now(message, &out->message, err);
    case PEER__FRAME__KIND_SNAPSHOT:
        out->kind = MESH_SNAPSHOT;
        return take_snapshot(message, &out->message, err);
    case PEER__FRAME__KIND_CHUNK:
        return take_chunk(message, out, err);
    case PEER__FRAME__KIND_NOTE:
    case PEER__FRAME__KIND__NOT_SET:
    case _PEER__FRAME__KIND__CASE_IS_INT_SIZE:
        break;
    }
    return mesh_malformed(err, "frame");
}

static enum st_code
take_note(const uint8_t *bytes, size_t len, struct mesh_frame *out, struct st_err *err)
{
    if (REFUSES(0x547, len > MESH_NOTE_MAX))
        return mesh_malformed(err, "note");
    *out = (struct mesh_frame){.kind = MESH_NOTE, .data = {.bytes = bytes, .len = len}};
    return ST_OK;
}

enum st_code
mesh_frame_unpack(const void *bytes, size_t len, uint64_t from, struct mesh_frame *out,
                  struct st_err *err)
{
    const uint8_t *at = bytes, *end = at + len;
    const ProtobufCFieldDescriptor *field = find_field(&at, end);
    if (!field)
        return mesh_malformed(err, "frame");
    size_t left = (size_t)(end - at);
    if (field->id == PEER__FRAME__KIND_NOTE)
        return take_note(at, left, out, err);
    struct budget budget = {left + left / 2 + 1024};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
    ProtobufCMessage *message =
        protobuf_c_message_unpack(field->descriptor, &allocator, left, at);
    if (!message)
        return mesh_malformed(err, field->name);
    struct mesh_frame frame = {.owner = message};
    enum st_code code = message->n_unknown_fields
                            ? mesh_malformed(err, field->name)
                            : take_any(field->id, message, from, &frame, err);
    if (code) {
        owner_free(message);
        return code;
    }
    *out = frame;
    return ST_OK;
}

void
mesh_frame_free(struct mesh_frame *frame)
{
    if (frame->owner)
        owner_free(frame->owner);
    if (frame->kind != MESH_MESSAGE && frame->kind != MESH_SNAPSHOT)
        return;
    switch (frame->message.type) {
    case RAFT_IO_APPEND_ENTRIES:
        if (frame->message.append_entries.entries)
            raft_free(frame->message.append_entries.entries[0].batch);
        raft_free(frame->message.append_entries.entries);
        break;
    case RAFT_IO_INSTALL_SNAPSHOT:
        raft_configuration_close(&frame->message.install_snapshot.conf);
        raft_free(frame->message.install_snapshot.data.base);
        break;
    default:
        break;
    }
}
