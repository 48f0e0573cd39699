/* grow.h - lists of which nobody knows before how long they get. */
#ifndef PROTO_GROW_H
#define PROTO_GROW_H

#include <stdlib.h>

/* Where `at`, with room for *room items of so many bytes, can take another one after
 * `count`; it may move.  NULL without memory, and `at` is as it was.  To be freed. */
static inline void *
st_grow(void *at, size_t count, size_t *room, size_t size)
{
    enum {
        FIRST = 16
    };
    if (count < *room)
        return at;
    const size_t more = *room ? 2 * *room : FIRST;
    void *grown = realloc(at, more * size);
    if (grown)
        *room = more;
    return grown;
}

#endif
