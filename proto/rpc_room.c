/* Who may have a call open: so many in all, of one method, from one network.
 *
 * A crowd of strangers who say nothing must not keep a good node out, and a storm of good
 * nodes must not push each other out before they are through.  Where a method has all its
 * calls, the newcomer therefore takes the place of one of the eldest strangers only if
 * that one's network still has more calls than his, or if it had time enough to prove
 * itself: half of what it has for its first message.  Where his own network has all its
 * calls (a site behind one address, with a machine that means ill), he takes the place of
 * one of them on the latter condition alone.
 */
#include "proto/rpc_internal.h"

#include "proto/clock.h"
#include "proto/mutant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    RETRY_MIN_MS = 500,
    RETRY_SPREAD_MS = 2048,
    ELDEST = 16,        /* are looked at */
    LEAVING_MAX = 1024, /* wait for their status to leave; more are cut */
};

/* Spread, so that those who were sent away together do not come back together. */
static enum st_code
busy(const char *sentence, struct st_err *err)
{
    uint16_t spread = 0;
    enum st_code code =
        st_fail_for(err, ST_RESOURCE_EXHAUSTED, ST_REASON_BUSY, "%s", sentence);
    (void)!getrandom(&spread, sizeof(spread), GRND_NONBLOCK);
    err->retry_ms = RETRY_MIN_MS + spread % RETRY_SPREAD_MS;
    return code;
}

/* Of "192.0.2.1:40000" or "[2001:db8::1]:40000".  Whatever is neither counts as one. */
static uint64_t
network_of_peer(const char *peer)
{
    struct st_address address;
    char host[sizeof(((struct rpc_call *)0)->peer)];
    const bool six = *peer == '[';
    snprintf(host, sizeof(host), "%s", peer + six);
    host[strcspn(host, six ? "]%" : ":")] = 0;
    return address_parse(host, &address, NULL) ? 0 : address_network(&address);
}

static struct rpc_network **
network_list(struct rpc_server *server, uint64_t address)
{
    return &server->networks[address * server->network_seed >> 32 & (NETWORK_LISTS - 1)];
}

static struct rpc_network *
network_find(struct rpc_server *server, uint64_t address)
{
    struct rpc_network *network = *network_list(server, address);
    while (network && network->address != address)
        network = network->next;
    return network;
}

/* NULL without memory. */
static struct rpc_network *
network_enter(struct rpc_server *server, uint64_t address)
{
    struct rpc_network *network = network_find(server, address);
    if (!network) {
        struct rpc_network **list = network_list(server, address);
        if (!(network = calloc(1, sizeof(*network))))
            return NULL;
        network->address = address;
        network->next = *list;
        *list = network;
    }
    network->calls++;
    return network;
}

static void
network_leave(struct rpc_server *server, struct rpc_network *network)
{
    struct rpc_network **place = network_list(server, network->address);
    if (--network->calls)
        return;
    while (*place != network)
        place = &(*place)->next;
    *place = network->next;
    free(network);
}

/* First the methods of no name, then the server's own, then health and reflection. */
enum {
    OWN = 1,
    HEALTH_COUNT = sizeof(rpc_health_methods) / sizeof(*rpc_health_methods),
    REFLECTION_COUNT = sizeof(rpc_reflection_methods) / sizeof(*rpc_reflection_methods),
};

static size_t
count_rooms(const struct rpc_server *server)
{
    return OWN + server->method_count + HEALTH_COUNT + REFLECTION_COUNT;
}

struct rpc_room *
rpc_rooms_new(const struct rpc_server *server)
{
    return calloc(count_rooms(server), sizeof(struct rpc_room));
}

static struct rpc_room *
room_of(const struct rpc_server *server, const struct rpc_method *method)
{
    size_t i = OWN;
    if (!method)
        return &server->rooms[0];
    for (size_t n = 0; n < server->method_count; n++, i++)
        if (method == &server->methods[n])
            return &server->rooms[i];
    for (size_t n = 0; n < HEALTH_COUNT; n++, i++)
        if (method == &rpc_health_methods[n])
            return &server->rooms[i];
    return &server->rooms[i];
}

static void
line_up(struct rpc_room *room, struct rpc_call *call)
{
    call->standing = RPC_STRANGER;
    call->elder = room->youngest;
    call->younger = NULL;
    *(call->elder ? &call->elder->younger : &room->eldest) = call;
    room->youngest = call;
}

static void
step_out(struct rpc_call *call)
{
    struct rpc_room *room = call->room;
    *(call->elder ? &call->elder->younger : &room->eldest) = call->younger;
    *(call->younger ? &call->younger->elder : &room->youngest) = call->elder;
    call->elder = call->younger = NULL;
}

void
rpc_room_vouch(struct rpc_call *call)
{
    if (call->standing != RPC_STRANGER)
        return;
    step_out(call);
    call->standing = RPC_VOUCHED;
}

void
rpc_room_leave(struct rpc_server *server, struct rpc_call *call)
{
    if (call->standing == RPC_LEAVING)
        return;
    if (call->standing == RPC_STRANGER)
        step_out(call);
    call->standing = RPC_LEAVING;
    call->room->calls--;
    call->room = NULL;
    network_leave(server, call->network);
    call->network = NULL;
    server->call_count--;
    server->leaving_count++;
}

bool
rpc_room_crowded(const struct rpc_server *server)
{
    return server->leaving_count > LEAVING_MAX;
}

static uint32_t
calls_of(struct rpc_server *server, uint64_t address)
{
    const struct rpc_network *network = network_find(server, address);
    return network ? network->calls : 0;
}

/* The stranger from the network with the most calls, of the eldest; NULL where everybody
 * was vouched for. */
static struct rpc_call *
find_crowd(const struct rpc_room *room)
{
    struct rpc_call *found = room->eldest, *call = room->eldest;
    for (int i = 0; call && i < ELDEST; i++, call = call->younger)
        if (call->network->calls > found->network->calls)
            found = call;
    return found;
}

static bool
had_its_time(const struct rpc_call *call)
{
    return clock_ms() >= call->patience;
}

/* The stranger of this network who had its time before all others; NULL: none had. */
static struct rpc_call *
find_own(const struct rpc_server *server, uint64_t address)
{
    struct rpc_call *found = NULL;
    for (size_t i = 0; i < count_rooms(server); i++) {
        struct rpc_call *call = server->rooms[i].eldest;
        while (call && had_its_time(call) && call->network->address != address)
            call = call->younger;
        if (call && had_its_time(call) && (!found || call->patience < found->patience))
            found = call;
    }
    return found;
}

/* Who goes, so that somebody from this network can come; NULL: nobody. */
static struct rpc_call *
choose(struct rpc_server *server, const struct rpc_room *room, uint64_t address)
{
    struct rpc_call *crowd = find_crowd(room);
    if (!crowd)
        return NULL;
    if (REFUSES(0x44b, crowd->network->calls > calls_of(server, address) + 1))
        return crowd;
    return REFUSES(0x44c, had_its_time(room->eldest)) ? room->eldest : NULL;
}

/* Where it is the whole door that is full: of any method. */
static struct rpc_call *
choose_anywhere(struct rpc_server *server, uint64_t address)
{
    struct rpc_call *found = NULL;
    for (size_t i = 0; !found && i < count_rooms(server); i++)
        found = choose(server, &server->rooms[i], address);
    return found;
}

static void
send_away(struct rpc_server *server, struct rpc_call *call)
{
    struct st_err err = {0};
    const bool crowded = rpc_room_crowded(server);
    (void)busy("made room for others", &err);
    rpc_room_leave(server, call);
    rpc_call_expire(call, clock_ms(), &err);
    if (crowded)
        rpc_call_expire(call, clock_ms(), &err);
}

static bool
method_is_full(const struct rpc_room *room, const struct rpc_method *method)
{
    const uint32_t limit = method ? method->max_calls : 0;
    return REFUSES(0x46c, limit && room->calls >= limit);
}

static bool
door_is_full(const struct rpc_server *server)
{
    return REFUSES(0x46d, server->call_count >= server->max_calls);
}

enum st_code
rpc_room_take(struct rpc_server *server, struct rpc_call *call,
              const struct rpc_method *method, struct st_err *err)
{
    const uint64_t address = network_of_peer(call->peer);
    struct rpc_room *room = room_of(server, method);
    if (REFUSES(0x46b, calls_of(server, address) >= server->max_calls_per_network)) {
        struct rpc_call *own = find_own(server, address);
        if (!REFUSES(0x44d, own != NULL))
            return busy("too many calls at once from one network", err);
        send_away(server, own);
    }
    const bool full = method_is_full(room, method);
    if (full || door_is_full(server)) {
        struct rpc_call *other =
            full ? choose(server, room, address) : choose_anywhere(server, address);
        if (!other)
            return busy("too many calls at once", err);
        send_away(server, other);
    }
    if (!(call->network = network_enter(server, address)))
        return busy("no memory for a call", err);
    call->room = room;
    room->calls++;
    line_up(room, call);
    server->call_count++;
    server->leaving_count--;
    return ST_OK;
}
