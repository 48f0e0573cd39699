#include "nms/places.h"
#include "nms/carrier_internal.h"
#include "proto/event.h"

#include <stdio.h>
#include <string.h>

void
places_begin(struct places *places, const struct nms_config *config,
             const struct self *self)
{
    places->count = self->place_count;
    memcpy(places->told, self->places, sizeof(places->told));
    for (size_t i = 0; i < config->master_count && i < ADDRESSES_MAX; i++)
        if (!address_equal(&config->masters[i], &self->address))
            places->some[places->some_count++] = config->masters[i];
}

static void
add(struct replica_place *out, unsigned *count, uint64_t id,
    const struct st_address *address)
{
    struct replica_place *place = &out[(*count)++];
    memset(place, 0, sizeof(*place));
    place->id = id;
    address_format_port(address, PORT_CONSENSUS, place->address);
}

void
places_tell(const struct places *places, struct nms *nms)
{
    struct replica_place all[REPLICA_PLACES_MAX] = {0};
    struct members members;
    unsigned count = 0;
    for (size_t i = 0; i < places->count; i++)
        add(all, &count, places->told[i].id, &places->told[i].address);
    members_read(nms->state, &members);
    for (size_t i = 0; i < members.count; i++)
        add(all, &count, members.at[i].id, &members.at[i].address);
    for (size_t i = 0; i < places->some_count; i++)
        add(all, &count, 0, &places->some[i]);
    replica_set_places(nms->replica, all, count);
}

/* ---- what a person told ---- */

static enum st_code
keep(const struct places *places, const char *dir, struct st_err *err)
{
    AUTO(self_wipep) struct self self = {0};
    enum st_code code = self_read(dir, &self, err);
    if (code)
        return code;
    self.place_count = places->count;
    memcpy(self.places, places->told, sizeof(self.places));
    return self_write(dir, &self, err);
}

void
places_settle(struct places *places, struct nms *nms)
{
    struct places left = *places;
    struct members members;
    struct st_err err = {0};
    if (places->count == 0)
        return;
    left.count = 0;
    members_read(nms->state, &members);
    for (size_t i = 0; i < places->count; i++) {
        const struct self_place *told = &places->told[i];
        const struct member *member = members_find(&members, told->id);
        if (member && !address_equal(&member->address, &told->address))
            left.told[left.count++] = *told;
    }
    if (left.count == places->count)
        return;
    if (keep(&left, nms->dir, &err))
        event("places", "decision=%s reason=\"%s\"", st_code_name(err.code), err.text);
    else
        *places = left;
}

/* ---- what they say ---- */

/* Its port is everybody's, and it is written as we write it: else the record would never
 * be the same. */
static bool
read_word(const char *says, struct st_address *out)
{
    char host[REPLICA_ADDRESS_MAX], again[ADDRESS_TEXT_MAX];
    const char *colon = strrchr(says, ':');
    const bool brackets = *says == '[';
    if (!colon || colon - says < 2 * brackets)
        return false;
    snprintf(host, sizeof(host), "%.*s", (int)(colon - says - 2 * brackets),
             says + brackets);
    if (address_parse(host, out, NULL) || !address_is_host(out))
        return false;
    address_format_port(out, PORT_CONSENSUS, again);
    return strcmp(again, says) == 0;
}

static void
note_word(const struct replica_member *heard, struct members *members,
          struct self_place out[REPLICA_MEMBERS_MAX], size_t *count)
{
    struct st_address address;
    const struct member *member = members_find(members, heard->id);
    if (!member || !heard->connected || !read_word(heard->says, &address) ||
        address_equal(&address, &member->address))
        return;
    out[(*count)++] = (struct self_place){heard->id, address};
}

static const struct st_address *
place_then(const struct member *member, const struct self_place *moved, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (moved[i].id == member->id)
            return &moved[i].address;
    return &member->address;
}

static bool
clashes(const struct members *members, const struct self_place *moved, size_t count,
        const struct self_place *place)
{
    for (size_t i = 0; i < members->count; i++)
        if (members->at[i].id != place->id &&
            address_equal(place_then(&members->at[i], moved, count), &place->address))
            return true;
    return false;
}

/* The machine judges the same; but one that cannot move shall not hold up the others. */
size_t
places_moved(struct nms *nms, struct self_place out[REPLICA_MEMBERS_MAX],
             uint64_t *out_clash)
{
    struct replica_member group[REPLICA_MEMBERS_MAX];
    const unsigned group_count = replica_members(nms->replica, group);
    struct members members;
    size_t count = 0, i = 0;
    *out_clash = 0;
    members_read(nms->state, &members);
    for (unsigned j = 0; j < group_count; j++)
        note_word(&group[j], &members, out, &count);
    while (i < count) {
        if (!clashes(&members, out, count, &out[i])) {
            i++;
            continue;
        }
        *out_clash = out[i].id;
        out[i] = out[--count];
        i = 0;
    }
    return count;
}

enum st_code
places_propose(struct nms *nms, const struct self_place *moved, size_t count,
               struct st_err *err)
{
    State__Place places[REPLICA_MEMBERS_MAX], *list[REPLICA_MEMBERS_MAX];
    State__MoveMasters move_masters = STATE__MOVE_MASTERS__INIT;
    for (size_t i = 0; i < count; i++) {
        state__place__init(list[i] = &places[i]);
        places[i].id = moved[i].id;
        places[i].address = (ProtobufCBinaryData){moved[i].address.len,
                                                  (uint8_t *)moved[i].address.bytes};
    }
    move_masters.places = list;
    move_masters.n_places = count;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_MOVE_MASTERS;
    command.move_masters = &move_masters;
    return nms_propose_wait(nms, &command, CARRIER_STEP_MS, err);
}
