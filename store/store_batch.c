#include "store/store_batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct store_batch *
store_batch_new(void)
{
    return calloc(1, sizeof(struct store_batch));
}

void
store_batch_free(struct store_batch *batch)
{
    if (!batch)
        return;
    for (size_t i = 0; i < batch->count; i++)
        free(batch->changes[i].memory);
    free(batch->changes);
    free(batch);
}

bool
store_batch_empty(const struct store_batch *batch)
{
    return batch->count == 0 && !batch->bad;
}

static bool
make_room(struct store_batch *batch)
{
    if (batch->count < batch->room)
        return true;
    const size_t room = batch->room ? batch->room * 2 : 8;
    struct change *changes = realloc(batch->changes, room * sizeof(*changes));
    if (!changes) {
        batch->bad = true;
        return false;
    }
    batch->changes = changes;
    batch->room = room;
    return true;
}

static void
add(struct store_batch *batch, struct change change)
{
    if (make_room(batch))
        batch->changes[batch->count++] = change;
    else
        free(change.memory);
}

/* The same, with key and bytes copied. */
static void
add_copy(struct store_batch *batch, struct change change)
{
    uint8_t *memory = malloc(change.key_len + change.len + 1);
    if (!memory) {
        batch->bad = true;
        return;
    }
    if (change.key_len)
        memcpy(memory, change.key, change.key_len);
    if (change.len)
        memcpy(memory + change.key_len, change.bytes, change.len);
    change.memory = memory;
    change.key = memory;
    change.bytes = memory + change.key_len;
    add(batch, change);
}

void
store_put_member(struct store_batch *batch, uint64_t member)
{
    add(batch, (struct change){.kind = CHANGE_MEMBER, .a = member});
}

void
store_put_hard(struct store_batch *batch, uint64_t term, uint64_t vote)
{
    add(batch, (struct change){.kind = CHANGE_HARD, .a = term, .b = vote});
}

void
store_put_boot(struct store_batch *batch, uint64_t member, const struct store_boot *boot)
{
    add_copy(batch, (struct change){.kind = CHANGE_BOOT,
                                    .a = member,
                                    .b = boot->number,
                                    .bytes = boot->nonce,
                                    .len = sizeof(boot->nonce)});
}

void
store_append(struct store_batch *batch, uint64_t index, uint64_t term, uint16_t type,
             const void *bytes, size_t len)
{
    add(batch, (struct change){.kind = CHANGE_APPEND,
                               .a = index,
                               .b = term,
                               .type = type,
                               .bytes = bytes,
                               .len = len});
}

void
store_cut_tail(struct store_batch *batch, uint64_t index)
{
    add(batch, (struct change){.kind = CHANGE_CUT_TAIL, .a = index});
}

void
store_cut_head(struct store_batch *batch, uint64_t index)
{
    add(batch, (struct change){.kind = CHANGE_CUT_HEAD, .a = index});
}

void
store_put_configuration(struct store_batch *batch, uint64_t index, const void *bytes,
                        size_t len)
{
    add_copy(batch,
             (struct change){
                 .kind = CHANGE_CONFIGURATION, .a = index, .bytes = bytes, .len = len});
}

void
store_put_record(struct store_batch *batch, const void *key, size_t key_len,
                 const void *value, size_t value_len)
{
    assert(key_len && key_len <= STORE_KEY_MAX && value_len <= STORE_VALUE_MAX);
    add_copy(batch, (struct change){.kind = CHANGE_PUT,
                                    .key = key,
                                    .key_len = key_len,
                                    .bytes = value,
                                    .len = value_len});
}

void
store_delete_record(struct store_batch *batch, const void *key, size_t key_len)
{
    assert(key_len && key_len <= STORE_KEY_MAX);
    add_copy(batch,
             (struct change){.kind = CHANGE_DELETE, .key = key, .key_len = key_len});
}

void
store_replace(struct store_batch *batch, uint64_t index, uint64_t term)
{
    add(batch, (struct change){.kind = CHANGE_REPLACE, .a = index, .b = term});
}

void
store_put_applied(struct store_batch *batch, uint64_t index)
{
    add(batch, (struct change){.kind = CHANGE_APPLIED, .a = index});
}
