#include "proto/gate.h"

#include <stddef.h>

/* The network's own place, else that of whoever used least: of one that is forgotten,
 * where there is one. */
static size_t
place_of(const struct gate *gate, uint64_t network, uint64_t now_ms)
{
    size_t least = 0;
    for (size_t i = 0; i < GATE_NETWORKS; i++) {
        if (gate->places[i].full_ms > now_ms && gate->places[i].network == network)
            return i;
        if (gate->places[i].full_ms < gate->places[least].full_ms)
            least = i;
    }
    return least;
}

/* GCRA: full_ms moves on by refill_ms with each that begins, and may be a burst ahead. */
bool
gate_pass(struct gate *gate, uint64_t network, uint64_t now_ms)
{
    const size_t i = place_of(gate, network, now_ms);
    const uint64_t full_ms = gate->places[i].full_ms;
    const uint64_t from_ms = full_ms > now_ms ? full_ms : now_ms;
    if (from_ms - now_ms > (uint64_t)(gate->burst - 1) * gate->refill_ms) {
        gate->turned_away++;
        return false;
    }
    gate->places[i].network = network;
    gate->places[i].full_ms = from_ms + gate->refill_ms;
    return true;
}

uint64_t
gate_say(struct gate *gate, uint64_t now_ms)
{
    const uint64_t count = gate->turned_away;
    if (count == 0 || now_ms < gate->say_ms)
        return 0;
    gate->turned_away = 0;
    gate->say_ms = now_ms + GATE_SAY_MS;
    return count;
}
