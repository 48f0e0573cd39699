#include "nms/move.h"
#include "nms/offline.h"
#include "proto/mutant.h"

#include <stdio.h>
#include <string.h>

static struct move_place *
find(struct move_view *view, uint64_t id)
{
    for (size_t i = 0; i < view->count; i++)
        if (view->at[i].id == id)
            return &view->at[i];
    return NULL;
}

static enum st_code
view_read(struct offline *folder, struct move_view *out, struct st_err *err)
{
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    struct members recorded;
    enum st_code code = state_cluster(folder->state, &cluster, err);
    if (code)
        return code;
    snprintf(out->cluster, sizeof(out->cluster), "%s", cluster->name);
    members_read(folder->state, &recorded);
    out->id = folder->self.id;
    out->count = recorded.count;
    for (size_t i = 0; i < recorded.count; i++)
        out->at[i] = (struct move_place){.id = recorded.at[i].id,
                                         .recorded = recorded.at[i].address,
                                         .now = folder->members.at[i].address};
    return ST_OK;
}

static enum st_code
take(struct move_view *view, const struct self_place *places, size_t count,
     struct st_err *err)
{
    for (size_t i = 0; i < count; i++) {
        const unsigned long long id = places[i].id;
        struct move_place *place = find(view, places[i].id);
        if (!place)
            return st_fail(err, ST_INVALID_ARGUMENT,
                           "this folder knows no master %llu: see `smalltown-nms move` "
                           "without --member",
                           id);
        for (size_t j = 0; j < i; j++)
            if (places[j].id == places[i].id)
                return st_fail(err, ST_INVALID_ARGUMENT, "master %llu is named twice",
                               id);
        if (REFUSES(0x3092, !address_is_host(&places[i].address)))
            return st_fail(err, ST_INVALID_ARGUMENT,
                           "master %llu cannot be at an address that no host has", id);
        place->now = places[i].address;
    }
    return ST_OK;
}

static enum st_code
no_two_at_one(const struct move_view *view, struct st_err *err)
{
    for (size_t i = 0; i < view->count; i++)
        for (size_t j = 0; j < i; j++)
            if (REFUSES(0x5284, address_equal(&view->at[i].now, &view->at[j].now)))
                return st_fail(err, ST_INVALID_ARGUMENT,
                               "masters %llu and %llu would have the same address: say "
                               "where both are",
                               (unsigned long long)view->at[j].id,
                               (unsigned long long)view->at[i].id);
    return ST_OK;
}

static void
note(const struct move_view *view, struct self *self)
{
    self->place_count = 0;
    for (size_t i = 0; i < view->count; i++) {
        const struct move_place *place = &view->at[i];
        if (place->id == self->id)
            self->address = place->now;
        else if (place->moved)
            self->places[self->place_count++] =
                (struct self_place){place->id, place->now};
    }
}

enum st_code
move_masters(const char *dir, const struct self_place *places, size_t count,
             struct move_view *out, struct st_err *err)
{
    OFFLINE folder = {0};
    struct move_view view = {0};
    enum st_code code;
    if ((code = offline_open(dir, &folder, err)) ||
        (code = view_read(&folder, &view, err)) ||
        (code = take(&view, places, count, err)) ||
        (count > 0 && (code = no_two_at_one(&view, err))))
        return code;
    for (size_t i = 0; i < view.count; i++)
        view.at[i].moved = !address_equal(&view.at[i].recorded, &view.at[i].now);
    if (count > 0) {
        note(&view, &folder.self);
        if ((code = self_write(dir, &folder.self, err)))
            return code;
    }
    *out = view;
    return ST_OK;
}
