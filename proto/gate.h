/* gate.h - how often strangers may begin anew: each network (address_network()) `burst`
 * times at once, and once more every refill_ms.
 *
 * GATE_NETWORKS networks are remembered; one that has its whole burst again is forgotten.
 * Where none is, whoever comes besides has what is left of the burst of the one that used
 * least of it: so many networks together begin GATE_NETWORKS times as often as one may,
 * and fewer are in nobody's way.
 *
 * Pure: the clock is the caller's and never goes back.  One thread at a time.
 */
#ifndef PROTO_GATE_H
#define PROTO_GATE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    GATE_NETWORKS = 128,
    GATE_SAY_MS = 60000,
};

struct gate {
    uint32_t burst, refill_ms;
    struct {
        uint64_t network;
        uint64_t full_ms; /* when it may have a whole burst again */
    } places[GATE_NETWORKS];
    uint64_t turned_away; /* and not said yet */
    uint64_t say_ms;
};

/* Whether this one may begin; otherwise it was counted. */
bool gate_pass(struct gate *gate, uint64_t network, uint64_t now_ms);

/* How many were turned away since it was said last; 0 where that was less than
 * GATE_SAY_MS ago. */
uint64_t gate_say(struct gate *gate, uint64_t now_ms);

#endif
