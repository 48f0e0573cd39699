/* A member: libraft between a machine that counts and a raft_io that invents. */
#include "tests/raft/sim.h"

#include <stdlib.h>
#include <string.h>

/* ---- the machine ---- */

static int
machine_apply(struct raft_fsm *fsm, const struct raft_buffer *entry, void **result)
{
    struct sim_member *member = fsm->data;
    raft_index index = raft_last_applied(&member->raft) + 1;
    uint64_t value;
    memcpy(&value, entry->base, sizeof(value));
    uint64_t chain = (member->state.chain ^ index) * 0x100000001b3;
    member->state = (struct sim_state){.index = index,
                                       .term = sim_term_at(member, index),
                                       .chain = (chain ^ value) * 0x100000001b3};
    *result = NULL;
    sim_check_applied(member, index, value);
    return 0;
}

static int
machine_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n)
{
    (void)fsm;
    *bufs = raft_calloc(1, sizeof(**bufs));
    (*bufs)[0] = (struct raft_buffer){raft_calloc(1, 1), 1};
    *n = 1;
    return 0;
}

static int
machine_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
    struct sim_member *member = fsm->data;
    memcpy(&member->state, buf->base, sizeof(member->state));
    raft_free(buf->base);
    return 0;
}

/* ---- the rest of its raft_io ---- */

static int
io_init(struct raft_io *io, raft_id id, const char *address)
{
    (void)io;
    (void)id;
    (void)address;
    return 0;
}

static int
io_start(struct raft_io *io, unsigned ms, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
    struct sim_member *member = io->impl;
    member->tick = tick;
    member->recv = recv;
    sim_push(member->sim, (struct sim_event){.when = member->sim->now + ms,
                                             .kind = SIM_TICK,
                                             .member = (unsigned)member->id - 1,
                                             .life = member->life});
    return 0;
}

static void
io_close(struct raft_io *io, raft_io_close_cb cb)
{
    struct sim_member *member = io->impl;
    member->closed = cb;
}

static raft_time
io_time(struct raft_io *io)
{
    struct sim_member *member = io->impl;
    return member->sim->now;
}

static int
io_random(struct raft_io *io, int min, int max)
{
    struct sim_member *member = io->impl;
    return min + (int)sim_pick(member->sim, (uint64_t)(max - min));
}

/* ---- its lives ---- */

void
sim_start(struct sim_member *member)
{
    struct sim *sim = member->sim;
    struct raft *raft = &member->raft;
    member->up = true;
    member->life++;
    member->frozen_until = 0;
    member->state = (struct sim_state){0};
    member->flying = member->changing = member->handing_over = false;
    member->commit = member->disk.applied.index;
    member->role = RAFT_UNAVAILABLE;
    memset(raft, 0, sizeof(*raft));
    member->io = (struct raft_io){.version = 1,
                                  .impl = member,
                                  .init = io_init,
                                  .start = io_start,
                                  .close = io_close,
                                  .time = io_time,
                                  .random = io_random};
    sim_disk_init(member);
    sim_net_init(member);
    member->fsm = (struct raft_fsm){.version = 1,
                                    .data = member,
                                    .apply = machine_apply,
                                    .snapshot = machine_snapshot,
                                    .restore = machine_restore};
    if (sim->cured)
        cure_init(&member->cure, &member->io, NULL, NULL);
    struct raft_io *io = sim->cured ? &member->cure.face : &member->io;
    if (raft_init(raft, io, &member->fsm, member->id, member->address))
        abort();
    raft_set_pre_vote(raft, sim->pre_vote);
    raft_set_snapshot_threshold(raft, sim->threshold);
    raft_set_snapshot_trailing(raft, sim->trailing);
    raft_set_install_snapshot_timeout(raft, 3000);
    if (raft_start(raft))
        sim_fail(sim, "m%llu does not start", member->id);
    else if (sim->cured)
        cure_lead(&member->cure);
    sim_trace(sim, member, "starts: %llu to %llu, applied %llu", member->disk.first,
              member->disk.last, member->disk.applied.index);
    sim_check(member);
}

void
sim_crash(struct sim_member *member)
{
    sim_trace(member->sim, member, "crashes");
    sim_disk_crash(member);
    member->up = false;
    member->sim->seen.crashes++;
    /* The memory is let go of as a good end does it: the disk hears nothing more. */
    raft_close(&member->raft, NULL);
    sim_disk_close(member);
    sim_net_close(member);
    member->closed(&member->io);
    if (member->sim->cured)
        cure_free(&member->cure);
    memset(&member->raft, 0, sizeof(member->raft));
}

struct sim_member *
sim_grow(struct sim *sim)
{
    if (sim->n == SIM_MEMBERS_MAX)
        return NULL;
    sim_start(&sim->members[sim->n]);
    return &sim->members[sim->n++];
}

/* ---- what it is asked for ---- */

static bool
serves(const struct sim_member *member)
{
    return member->up && member->raft.state == RAFT_LEADER &&
           (!member->sim->cured || cure_serving(&member->cure));
}

static void
applied(struct raft_apply *req, int status, void *result)
{
    struct sim_member *member = req->data;
    (void)result;
    member->flying = false;
    if (status == 0)
        sim_check_acked(member, req->index, member->value);
}

bool
sim_propose(struct sim_member *member, uint64_t value)
{
    if (!serves(member) || member->flying)
        return false;
    struct raft_buffer buf = {raft_malloc(sizeof(value)), sizeof(value)};
    memcpy(buf.base, &value, sizeof(value));
    member->value = value;
    member->apply.data = member;
    member->flying = true;
    if (raft_apply(&member->raft, &member->apply, &buf, 1, applied) == 0)
        return true;
    raft_free(buf.base);
    member->flying = false;
    return false;
}

static void
reached(struct raft_barrier *req, int status)
{
    struct sim_member *member = req->data;
    member->flying = false;
    if (status == 0)
        sim_check_read(member, req->index);
}

bool
sim_read(struct sim_member *member)
{
    if (!serves(member) || member->flying)
        return false;
    member->known = member->sim->acked_max;
    member->barrier.data = member;
    member->flying = raft_barrier(&member->raft, &member->barrier, reached) == 0;
    return member->flying;
}
