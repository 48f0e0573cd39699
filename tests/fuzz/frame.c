/* One frame of another member, and that what is taken of it can be sent on. */
#include "raft/mesh_frame.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

enum {
    FROM = 2
};

/* As bytes again, without the length before it. */
static struct fuzz_piece
bytes_of(struct mesh_item *item)
{
    FUZZ_HOLDS(item);
    struct fuzz_piece all = {malloc(item->size + 1), 0};
    FUZZ_HOLDS(all.bytes);
    for (size_t n;
         (n = mesh_frame_copy(item, all.bytes + all.len, item->size - all.len));)
        all.len += n;
    free(item);
    FUZZ_HOLDS(all.len > MESH_LENGTH_LEN);
    all.len -= MESH_LENGTH_LEN;
    memmove(all.bytes, all.bytes + MESH_LENGTH_LEN, all.len);
    return all;
}

static void
send_on(const struct mesh_frame *frame)
{
    struct mesh_frame again;
    const struct raft_message *message = &frame->message;
    if (frame->kind != MESH_MESSAGE && frame->kind != MESH_SNAPSHOT)
        return;
    FUZZ_PIECE bytes = bytes_of(frame->kind == MESH_SNAPSHOT
                                    ? mesh_frame_snapshot(&message->install_snapshot)
                                    : mesh_frame_message(message));
    FUZZ_HOLDS(mesh_frame_unpack(bytes.bytes, bytes.len, FROM, &again, NULL) == ST_OK);
    FUZZ_HOLDS(again.kind == frame->kind && again.message.type == message->type);
    mesh_frame_free(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct mesh_frame frame;
    struct st_err err = {0};
    if (mesh_frame_unpack(bytes, len, FROM, &frame, &err)) {
        FUZZ_HOLDS(err.code);
        return 0;
    }
    send_on(&frame);
    mesh_frame_free(&frame);
    return 0;
}
