#include "nms/offline.h"

#include <string.h>

void
offline_close(struct offline *offline)
{
    store_close(offline->store);
    state_free(offline->state);
    secret_wipe(&offline->self.key);
    memset(offline, 0, sizeof(*offline));
}

static enum st_code
load(void *arg, const void *key, size_t key_len, const void *value, size_t value_len,
     struct st_err *err)
{
    const struct replica_machine *machine = arg;
    return machine->load(machine->self, key, key_len, value, value_len, err);
}

static enum st_code
load_all(struct offline *offline, struct st_err *err)
{
    struct replica_machine machine = state_machine(offline->state);
    machine.reset(machine.self);
    enum st_code code = store_each_record(offline->store, load, &machine, err);
    machine.loaded(machine.self);
    return code;
}

static void
overlay(struct offline *offline)
{
    const struct self *self = &offline->self;
    for (size_t i = 0; i < offline->members.count; i++) {
        struct member *member = &offline->members.at[i];
        if (member->id == self->id)
            member->address = self->address;
        for (size_t j = 0; j < self->place_count; j++)
            if (self->places[j].id == member->id)
                member->address = self->places[j].address;
    }
}

enum st_code
offline_open(const char *dir, struct offline *out, struct st_err *err)
{
    const struct store_config config = {.dir = dir};
    enum st_code code;
    memset(out, 0, sizeof(*out));
    if ((code = self_read(dir, &out->self, err)) || (code = state_new(&out->state, err)))
        return code;
    if ((code = store_open(&config, &out->store, err)) ||
        (code = store_head(out->store, &out->head, err)))
        return code;
    if (out->head.member != out->self.id || !out->head.applied)
        return st_fail(
            err, ST_NOT_FOUND,
            "%s holds no records of master %llu: take the folder of another one", dir,
            (unsigned long long)out->self.id);
    if ((code = load_all(out, err)))
        return code;
    members_read(out->state, &out->members);
    overlay(out);
    return ST_OK;
}
