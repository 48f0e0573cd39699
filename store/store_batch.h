/* store_batch.h - a batch from the inside, for store/ alone. */
#ifndef STORE_STORE_BATCH_H
#define STORE_STORE_BATCH_H

#include "store/store.h"

enum change_kind {
    CHANGE_MEMBER,        /* a */
    CHANGE_HARD,          /* a term, b vote */
    CHANGE_BOOT,          /* a member, b number, bytes */
    CHANGE_APPEND,        /* a index, b term, type, bytes */
    CHANGE_CUT_TAIL,      /* a index */
    CHANGE_CUT_HEAD,      /* a index */
    CHANGE_CONFIGURATION, /* a index, bytes */
    CHANGE_PUT,           /* key, bytes */
    CHANGE_DELETE,        /* key */
    CHANGE_REPLACE,       /* a index, b term */
    CHANGE_APPLIED,       /* a index */
};

struct change {
    enum change_kind kind;
    uint16_t type;
    uint64_t a, b;
    const uint8_t *key, *bytes;
    size_t key_len, len;
    void *memory; /* owned: what key and bytes point into, or NULL */
};

struct store_batch {
    struct store_batch *next; /* in the queue */
    struct change *changes;
    size_t count, room;
    bool bad; /* memory ran out */
    void (*done)(void *arg);
    void *arg;
};

#endif
