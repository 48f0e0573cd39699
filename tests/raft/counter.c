#include "tests/raft/counter.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
counters_init(struct counters *counters)
{
    *counters = (struct counters){.slots = calloc(COUNTERS_MAX, sizeof(struct counter))};
    if (!counters->slots)
        abort();
}

void
counters_free(struct counters *counters)
{
    free(counters->slots);
}

static struct counter *
slot_of(const struct counters *counters, const char *name)
{
    uint32_t hash = 2166136261;
    for (const char *c = name; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 16777619;
    for (uint32_t i = hash;; i++) {
        struct counter *slot = &counters->slots[i % COUNTERS_MAX];
        if (!slot->name[0] || !strcmp(slot->name, name))
            return slot;
    }
}

uint64_t
counters_get(const struct counters *counters, const char *name)
{
    return slot_of(counters, name)->value;
}

static void
set(struct counters *counters, const char *name, uint64_t value)
{
    struct counter *slot = slot_of(counters, name);
    if (!slot->name[0]) {
        if (++counters->count > COUNTERS_MAX / 2)
            abort();
        snprintf(slot->name, sizeof(slot->name), "%s", name);
    }
    slot->value = value;
}

static void
reset(void *self)
{
    struct counters *counters = self;
    memset(counters->slots, 0, COUNTERS_MAX * sizeof(*counters->slots));
    counters->count = counters->applied = counters->loaded = counters->last_index = 0;
}

static enum st_code
load(void *self, const void *key, size_t key_len, const void *value, size_t value_len,
     struct st_err *err)
{
    struct counters *counters = self;
    char name[COUNTER_NAME_MAX], number[24];
    if (key_len >= sizeof(name) || value_len >= sizeof(number))
        return st_fail(err, ST_DATA_LOSS, "a counter is too long");
    snprintf(name, sizeof(name), "%.*s", (int)key_len, (const char *)key);
    snprintf(number, sizeof(number), "%.*s", (int)value_len, (const char *)value);
    set(counters, name, strtoull(number, NULL, 10));
    counters->loaded++;
    return ST_OK;
}

static void
apply(void *self, uint64_t index, const void *command, size_t command_len,
      struct replica_change *change, struct replica_result *result)
{
    struct counters *counters = self;
    char name[COUNTER_NAME_MAX], number[24];
    assert(index > counters->last_index);
    counters->last_index = index;
    counters->applied++;
    /* A long command counts by its beginning. */
    size_t len = command_len < sizeof(name) - 1 ? command_len : sizeof(name) - 1;
    snprintf(name, sizeof(name), "%.*s", (int)len, (const char *)command);
    if (!strncmp(name, "- ", 2)) {
        set(counters, name + 2, 0);
        replica_change_delete(change, name + 2, strlen(name + 2));
        return;
    }
    uint64_t value = counters_get(counters, name) + 1;
    set(counters, name, value);
    int n = snprintf(number, sizeof(number), "%llu", (unsigned long long)value);
    replica_change_put(change, name, strlen(name), number, (size_t)n);
    memcpy(result->bytes, number, (size_t)n);
    result->len = (size_t)n;
}

struct replica_machine
counters_machine(struct counters *counters)
{
    return (struct replica_machine){
        .self = counters, .reset = reset, .load = load, .apply = apply};
}
