/* The half of a raft_io that writes, as raft/io*.c over the store does it. */
#include "raft/conf.h"
#include "tests/raft/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sim_entry *
make_entry(struct sim *sim, raft_term term, unsigned short type,
           const struct raft_buffer *bytes)
{
    struct sim_entry *entry = calloc(1, sizeof(*entry) + bytes->len);
    if (!entry)
        abort();
    entry->term = term;
    entry->type = type;
    entry->len = bytes->len;
    memcpy(entry->bytes, bytes->base, bytes->len);
    entry->next = sim->every_entry;
    sim->every_entry = entry;
    return entry;
}

const struct sim_entry *
sim_disk_configuration(const struct sim_disk *disk, raft_index index, raft_index *out)
{
    for (*out = index < disk->last ? index : disk->last; *out >= disk->first; --*out)
        if (disk->entries[*out]->type == RAFT_CHANGE)
            return disk->entries[*out];
    *out = disk->configuration_index;
    return disk->configuration;
}

/* ---- the queue ---- */

static struct sim_op *
submit(struct sim_member *member, enum sim_op_kind kind, unsigned n, void *req)
{
    struct sim *sim = member->sim;
    struct sim_op *op = calloc(1, sizeof(*op) + n * sizeof(op->entries[0])), *tail;
    if (!op)
        abort();
    op->kind = kind;
    op->req = req;
    op->n = n;
    op->state = member->state;
    op->when = sim->now + member->disk_ms + sim_pick(sim, member->disk_ms + 1);
    for (tail = member->ops; tail; tail = tail->next)
        if (op->when < tail->when)
            op->when = tail->when;
    *member->last_op = op;
    member->last_op = &op->next;
    sim_push(sim, (struct sim_event){.when = op->when,
                                     .kind = SIM_DISK,
                                     .member = (unsigned)member->id - 1,
                                     .life = member->life});
    return op;
}

static struct sim_op *
take(struct sim_member *member)
{
    struct sim_op *op = member->ops;
    member->ops = op->next;
    if (!member->ops)
        member->last_op = &member->ops;
    return op;
}

/* ---- what each does to the disk ---- */

static void
keep_applied(struct sim_disk *disk, const struct sim_state *state)
{
    if (state->index > disk->applied.index)
        disk->applied = *state;
}

static void
write_entries(struct sim_member *member, const struct sim_op *op)
{
    struct sim_disk *disk = &member->disk;
    if (op->index != disk->last + 1)
        sim_fail(member->sim, "m%llu writes entry %llu after %llu", member->id, op->index,
                 disk->last);
    for (unsigned i = 0; i < op->n; i++)
        disk->entries[op->index + i] = op->entries[i];
    disk->last = op->index + op->n - 1;
    keep_applied(disk, &op->state);
}

static void
cut_head(struct sim_disk *disk, raft_index first)
{
    if (first <= disk->first)
        return;
    disk->configuration = (struct sim_entry *)sim_disk_configuration(
        disk, first - 1, &disk->configuration_index);
    disk->first = first;
}

static void
install(struct sim_member *member, const struct sim_op *op)
{
    struct sim_disk *disk = &member->disk;
    disk->first = op->state.index + 1;
    disk->last = op->state.index;
    disk->applied = op->state;
    disk->configuration = op->configuration;
    disk->configuration_index = op->configuration_index;
    member->sim->seen.installs++;
}

static void
take_effect(struct sim_member *member, const struct sim_op *op)
{
    switch (op->kind) {
    case SIM_APPEND:
        write_entries(member, op);
        break;
    case SIM_TRUNCATE:
        if (op->index <= member->disk.last)
            member->disk.last = op->index - 1;
        break;
    case SIM_COMPACT:
        keep_applied(&member->disk, &op->state);
        cut_head(&member->disk, op->index);
        break;
    case SIM_INSTALL:
        install(member, op);
        break;
    case SIM_GET:
        break;
    }
}

/* ---- and what libraft hears of it ---- */

static void
decode(const struct sim_entry *entry, struct raft_configuration *out)
{
    if (conf_decode(entry->bytes, entry->len, out))
        abort();
}

/* The records as of the applied index. */
static struct raft_snapshot *
snapshot_of(const struct sim_disk *disk)
{
    struct raft_snapshot *snapshot = raft_calloc(1, sizeof(*snapshot));
    snapshot->index = disk->applied.index;
    snapshot->term = disk->applied.term;
    decode(sim_disk_configuration(disk, snapshot->index, &snapshot->configuration_index),
           &snapshot->configuration);
    snapshot->n_bufs = 1;
    snapshot->bufs = raft_calloc(1, sizeof(*snapshot->bufs));
    snapshot->bufs[0].len = sizeof(disk->applied);
    snapshot->bufs[0].base = raft_malloc(sizeof(disk->applied));
    memcpy(snapshot->bufs[0].base, &disk->applied, sizeof(disk->applied));
    return snapshot;
}

static void
call_back(struct sim_member *member, const struct sim_op *op)
{
    struct raft_io_append *append = op->req;
    struct raft_io_snapshot_put *put = op->req;
    struct raft_io_snapshot_get *get = op->req;
    switch (op->kind) {
    case SIM_APPEND:
        append->cb(append, 0);
        break;
    case SIM_TRUNCATE:
        break;
    case SIM_COMPACT:
    case SIM_INSTALL:
        put->cb(put, 0);
        break;
    case SIM_GET:
        get->cb(get, snapshot_of(&member->disk), 0);
        break;
    }
}

void
sim_disk_done(struct sim_member *member)
{
    struct sim_op *op = take(member);
    take_effect(member, op);
    call_back(member, op);
    free(op);
}

void
sim_disk_crash(struct sim_member *member)
{
    struct sim_op *op = member->ops;
    while (op && sim_chance(member->sim, 60)) {
        take_effect(member, op);
        op = op->next;
    }
}

void
sim_disk_close(struct sim_member *member)
{
    while (member->ops) {
        struct sim_op *op = take(member);
        call_back(member, op);
        free(op);
    }
}

/* ---- raft_io ---- */

static int
io_load(struct raft_io *io, raft_term *term, raft_id *vote,
        struct raft_snapshot **snapshot, raft_index *start_index,
        struct raft_entry *entries[], size_t *n_entries)
{
    struct sim_member *member = io->impl;
    const struct sim_disk *disk = &member->disk;
    *term = disk->term;
    *vote = disk->vote;
    *snapshot = disk->applied.index ? snapshot_of(disk) : NULL;
    *start_index = disk->first;
    *n_entries = disk->last + 1 - disk->first;
    *entries = *n_entries ? raft_calloc(*n_entries, sizeof(**entries)) : NULL;
    for (size_t i = 0; i < *n_entries; i++) {
        const struct sim_entry *from = disk->entries[disk->first + i];
        void *bytes = raft_malloc(from->len);
        memcpy(bytes, from->bytes, from->len);
        (*entries)[i] = (struct raft_entry){
            .term = from->term, .type = from->type, .buf = {bytes, from->len}, bytes};
    }
    member->next_index = disk->last + 1;
    return 0;
}

static int
io_bootstrap(struct raft_io *io, const struct raft_configuration *configuration)
{
    (void)io;
    (void)configuration;
    return RAFT_CANTBOOTSTRAP;
}

static int
io_set_term(struct raft_io *io, raft_term term)
{
    struct sim_member *member = io->impl;
    member->disk.term = term;
    member->disk.vote = 0;
    return 0;
}

static int
io_set_vote(struct raft_io *io, raft_id vote)
{
    struct sim_member *member = io->impl;
    member->disk.vote = vote;
    return 0;
}

static void
trace_group(const struct sim_member *member, raft_index index,
            const struct sim_entry *entry)
{
    struct raft_configuration group;
    char text[128] = "";
    size_t n = 0;
    decode(entry, &group);
    for (unsigned i = 0; i < group.n; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, " %llu%c", group.servers[i].id,
                              "svp"[group.servers[i].role]);
    raft_configuration_close(&group);
    sim_trace(member->sim, member, "has at %llu/%llu the group%s", index, entry->term,
              text);
}

static int
io_append(struct raft_io *io, struct raft_io_append *req,
          const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    struct sim_member *member = io->impl;
    struct sim_op *op = submit(member, SIM_APPEND, n, req);
    req->cb = cb;
    op->index = member->next_index;
    if (op->index + n > SIM_INDEX_MAX)
        abort();
    for (unsigned i = 0; i < n; i++) {
        op->entries[i] =
            make_entry(member->sim, entries[i].term, entries[i].type, &entries[i].buf);
        if (member->sim->trace && entries[i].type == RAFT_CHANGE)
            trace_group(member, op->index + i, op->entries[i]);
    }
    member->next_index += n;
    return 0;
}

static int
io_truncate(struct raft_io *io, raft_index index)
{
    struct sim_member *member = io->impl;
    submit(member, SIM_TRUNCATE, 0, NULL)->index = index;
    member->next_index = index;
    sim_trace(member->sim, member, "truncates at %llu", index);
    return 0;
}

static int
io_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
                const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    struct sim_member *member = io->impl;
    struct sim_op *op = submit(member, trailing ? SIM_COMPACT : SIM_INSTALL, 0, req);
    req->cb = cb;
    sim_trace(member->sim, member, "%s a snapshot of %llu",
              trailing ? "takes" : "installs", snapshot->index);
    op->state.index = snapshot->index;
    op->state.term = snapshot->term;
    if (trailing) {
        op->index = snapshot->index > trailing ? snapshot->index - trailing + 1 : 0;
        return 0;
    }
    struct raft_buffer bytes;
    memcpy(&op->state, snapshot->bufs[0].base, sizeof(op->state));
    if (raft_configuration_encode(&snapshot->configuration, &bytes))
        abort();
    op->configuration = make_entry(member->sim, 0, RAFT_CHANGE, &bytes);
    op->configuration_index = snapshot->configuration_index;
    raft_free(bytes.base);
    member->next_index = snapshot->index + 1;
    return 0;
}

static int
io_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *req,
                raft_io_snapshot_get_cb cb)
{
    req->cb = cb;
    submit(io->impl, SIM_GET, 0, req);
    return 0;
}

void
sim_disk_init(struct sim_member *member)
{
    struct raft_io *io = &member->io;
    member->ops = NULL;
    member->last_op = &member->ops;
    io->load = io_load;
    io->bootstrap = io_bootstrap;
    io->recover = io_bootstrap;
    io->set_term = io_set_term;
    io->set_vote = io_set_vote;
    io->append = io_append;
    io->truncate = io_truncate;
    io->snapshot_put = io_snapshot_put;
    io->snapshot_get = io_snapshot_get;
}

void
sim_disk_bootstrap(struct sim_member *member, const struct raft_buffer *group)
{
    struct sim_disk *disk = &member->disk;
    disk->term = 1;
    disk->entries[1] = make_entry(member->sim, 1, RAFT_CHANGE, group);
    disk->last = 1;
    disk->applied = (struct sim_state){.index = 1, .term = 1};
}
