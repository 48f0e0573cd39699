/* Where members are: what was told, what they say, and who answers there. */
#include "raft/mesh_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void
mesh_peer_says(struct mesh *mesh, uint64_t id, const char *address)
{
    for (struct mesh_peer *peer = mesh->peers; peer; peer = peer->next)
        if (peer->id == id && strcmp(peer->says, address) != 0) {
            snprintf(peer->says, sizeof(peer->says), "%s", address);
            peer->turn = 0;
        }
}

const char *
mesh_says(const struct mesh *mesh, uint64_t id)
{
    const struct mesh_peer *peer = mesh_peer_find(mesh, id);
    return peer ? peer->says : "";
}

enum {
    PLACES_MAX = 1 + REPLICA_PLACES_MAX + 1
};

/* Each once. */
static unsigned
put(const char *out[PLACES_MAX], unsigned count, const char *address)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(out[i], address) == 0)
            return count;
    if (*address)
        out[count++] = address;
    return count;
}

/* Of a network that no machine is in (RFC 6666): others, and earlier releases, can read
 * it, and find nobody there. */
void
mesh_nowhere(uint64_t id, char out[REPLICA_ADDRESS_MAX])
{
    snprintf(out, REPLICA_ADDRESS_MAX,
             "[100::%" PRIx64 ":%" PRIx64 ":%" PRIx64 ":%" PRIx64 "]:%d", id >> 48,
             id >> 32 & 0xffff, id >> 16 & 0xffff, id & 0xffff, PORT_CONSENSUS);
}

/* Those with its name, the likeliest first.  Lent until anything is told. */
static unsigned
own_places(const struct mesh_peer *peer, const char *out[PLACES_MAX])
{
    const struct mesh *mesh = peer->mesh;
    char nobody[REPLICA_ADDRESS_MAX];
    unsigned count = put(out, 0, peer->says);
    mesh_nowhere(peer->id, nobody);
    for (unsigned i = 0; i < mesh->place_count; i++)
        if (mesh->places[i].id == peer->id)
            count = put(out, count, mesh->places[i].address);
    return strcmp(peer->address, nobody) ? put(out, count, peer->address) : count;
}

/* Another member was dialled there, and is there. */
static bool
is_taken(const struct mesh_peer *peer, const char *address)
{
    for (const struct mesh_peer *other = peer->mesh->peers; other; other = other->next)
        if (other != peer && other->conn && other->conn->state == MESH_UP &&
            strcmp(other->dialled, address) == 0)
            return true;
    return false;
}

/* And then those where some member may be: who is found is not looked for there, and
 * nobody else is. */
static unsigned
places_of(const struct mesh_peer *peer, const char *out[PLACES_MAX])
{
    const struct mesh *mesh = peer->mesh;
    unsigned count = own_places(peer, out);
    for (unsigned i = 0; i < mesh->place_count; i++)
        if (!mesh->places[i].id && !is_taken(peer, mesh->places[i].address))
            count = put(out, count, mesh->places[i].address);
    return count;
}

bool
mesh_peer_place(struct mesh_peer *peer, struct sockaddr_storage *out)
{
    const char *places[PLACES_MAX];
    const unsigned count = places_of(peer, places);
    for (unsigned i = 0; i < count; i++) {
        const char *place = places[peer->turn++ % count];
        if (mesh_place(place, out, &peer->mesh->trouble))
            continue;
        snprintf(peer->dialled, sizeof(peer->dialled), "%s", place);
        return true;
    }
    return false;
}

void
mesh_set_places(struct mesh *mesh, const struct replica_place *places, unsigned count)
{
    if (count > REPLICA_PLACES_MAX)
        count = REPLICA_PLACES_MAX;
    if (count == mesh->place_count &&
        memcmp(mesh->places, places, count * sizeof(*places)) == 0)
        return; /* it is told often */
    mesh->place_count = count;
    memcpy(mesh->places, places, mesh->place_count * sizeof(*places));
    for (struct mesh_peer *peer = mesh->peers; peer; peer = peer->next)
        peer->turn = 0;
}

/* ---- who is no stranger ---- */

void
mesh_peer_seen(struct mesh *mesh, uint64_t id, const struct st_address *source)
{
    for (struct mesh_peer *peer = mesh->peers; peer; peer = peer->next)
        if (peer->id == id)
            peer->seen = *source;
}

static bool
names(const char *place, const struct st_address *source)
{
    struct sockaddr_storage name;
    struct st_address address;
    if (mesh_place(place, &name, NULL))
        return false;
    address_of_socket(&name, &address);
    return address_equal(&address, source);
}

bool
mesh_peer_is_at(const struct mesh *mesh, const struct st_address *source)
{
    const char *places[PLACES_MAX];
    for (const struct mesh_peer *peer = mesh->peers; peer; peer = peer->next) {
        if (address_equal(&peer->seen, source))
            return true;
        const unsigned count = own_places(peer, places);
        for (unsigned i = 0; i < count; i++)
            if (names(places[i], source))
                return true;
    }
    for (unsigned i = 0; i < mesh->place_count; i++)
        if (!mesh->places[i].id && names(mesh->places[i].address, source))
            return true;
    return false;
}
