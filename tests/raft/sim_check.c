/* What must hold, whatever happens. */
#include "raft/conf.h"
#include "tests/raft/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void
sim_fail(struct sim *sim, const char *format, ...)
{
    va_list arguments;
    if (sim->failure[0])
        return;
    int n = snprintf(sim->failure, sizeof(sim->failure), "at %llu ms: ", sim->now);
    va_start(arguments, format);
    vsnprintf(sim->failure + n, sizeof(sim->failure) - (size_t)n, format, arguments);
    va_end(arguments);
    sim_trace(sim, NULL, "FAILURE: %s", sim->failure);
}

static const struct raft_entry *
entry_at(const struct raft_log *log, raft_index index)
{
    size_t count = log->size ? (log->back + log->size - log->front) % log->size : 0;
    if (index <= log->offset || index > log->offset + count)
        return NULL;
    return &log->entries[(log->front + (index - log->offset - 1)) % log->size];
}

raft_term
sim_term_at(const struct sim_member *member, raft_index index)
{
    const struct raft_entry *entry = entry_at(&member->raft.log, index);
    return entry ? entry->term : 0;
}

/* ---- leaders: one in a term, and each has all that was committed ---- */

static void
has_committed(struct sim_member *leader, raft_index index)
{
    struct sim *sim = leader->sim;
    const struct raft_log *log = &leader->raft.log;
    if (!sim->committed[index] || index <= log->offset ||
        index <= log->snapshot.last_index)
        return;
    raft_term term = sim_term_at(leader, index);
    if (leader->raft.current_term >= sim->committed_in[index] &&
        term != sim->committed[index])
        sim_fail(sim,
                 "m%llu leads in term %llu and at %llu has an entry of term %llu, "
                 "where one of term %llu was committed",
                 leader->id, leader->raft.current_term, index, term,
                 sim->committed[index]);
}

static void
check_leader(struct sim_member *member)
{
    struct sim *sim = member->sim;
    raft_term term = member->raft.current_term;
    if (term >= SIM_TERM_MAX)
        abort();
    if (sim->leader_of[term] && sim->leader_of[term] != member->id)
        sim_fail(sim, "m%llu and m%llu lead in term %llu", member->id,
                 sim->leader_of[term], term);
    if (sim->leader_of[term] == member->id)
        return;
    sim_trace(sim, member, "leads");
    sim->leader_of[term] = member->id;
    sim->seen.elections++;
    for (raft_index index = 1; index <= sim->committed_max; index++)
        has_committed(member, index);
}

/* ---- what is committed ---- */

/* The newest configuration of its log, which need not be what libraft thinks. */
static void
group_of(const struct sim_member *member, struct raft_configuration *out)
{
    const struct raft_log *log = &member->raft.log;
    raft_index index = log->offset;
    const struct raft_entry *entry;
    raft_configuration_init(out);
    while (entry_at(log, index + 1))
        index++;
    for (; (entry = entry_at(log, index)); index--)
        if (entry->type == RAFT_CHANGE &&
            !conf_decode(entry->buf.base, entry->buf.len, out))
            return;
    const struct sim_entry *kept = sim_disk_configuration(&member->disk, index, &index);
    if (!kept || conf_decode(kept->bytes, kept->len, out))
        abort();
}

static bool
stored(const struct sim_member *member, raft_index index, raft_term term)
{
    const struct sim_disk *disk = &member->disk;
    if (index < disk->first)
        return true;
    return index <= disk->last && disk->entries[index]->term == term;
}

static void
check_majority(struct sim_member *leader)
{
    struct sim *sim = leader->sim;
    raft_index index = leader->raft.commit_index;
    raft_term term = sim_term_at(leader, index);
    struct raft_configuration group;
    unsigned voters = 0, have = 0;
    if (!term)
        return;
    group_of(leader, &group);
    for (unsigned i = 0; i < group.n; i++) {
        if (group.servers[i].role != RAFT_VOTER)
            continue;
        voters++;
        have += stored(&sim->members[group.servers[i].id - 1], index, term);
    }
    raft_configuration_close(&group);
    if (have <= voters / 2)
        sim_fail(sim, "m%llu commits %llu of term %llu, which %u of %u voters have",
                 leader->id, index, term, have, voters);
}

static void
note_committed(struct sim_member *member, raft_index index)
{
    struct sim *sim = member->sim;
    raft_term term = sim_term_at(member, index);
    if (!term) /* it came with a snapshot */
        return;
    if (sim->committed[index] && sim->committed[index] != term)
        sim_fail(sim,
                 "m%llu commits %llu of term %llu, another committed one of term %llu",
                 member->id, index, term, sim->committed[index]);
    if (sim->committed[index])
        return;
    sim->committed[index] = term;
    sim->committed_in[index] = member->raft.current_term;
    if (index > sim->committed_max)
        sim->committed_max = index;
    for (unsigned i = 0; i < sim->n; i++)
        if (sim->members[i].up && sim->members[i].raft.state == RAFT_LEADER)
            has_committed(&sim->members[i], index);
}

void
sim_check(struct sim_member *member)
{
    struct sim *sim = member->sim;
    struct raft *raft = &member->raft;
    if (raft->state == RAFT_UNAVAILABLE)
        sim_fail(sim, "m%llu: the library gave up: %s", member->id, raft_errmsg(raft));
    if (raft->state == RAFT_LEADER)
        check_leader(member);
    if (raft->commit_index == member->commit)
        return;
    if (raft->state == RAFT_LEADER)
        check_majority(member);
    while (member->commit < raft->commit_index)
        note_committed(member, ++member->commit);
}

/* ---- what is applied, said, read ---- */

void
sim_check_applied(struct sim_member *member, raft_index index, uint64_t value)
{
    struct sim *sim = member->sim;
    if (sim->applied[index] && sim->applied[index] != value)
        sim_fail(sim, "m%llu applies value %llu at %llu, another applied %llu",
                 member->id, (unsigned long long)value, index,
                 (unsigned long long)sim->applied[index]);
    if (sim->chain[index] && sim->chain[index] != member->state.chain)
        sim_fail(sim, "m%llu applied something else, or less, before %llu", member->id,
                 index);
    sim->applied[index] = value;
    sim->chain[index] = member->state.chain;
}

void
sim_check_acked(struct sim_member *member, raft_index index, uint64_t value)
{
    struct sim *sim = member->sim;
    sim->seen.acks++;
    if (sim->applied[index] != value)
        sim_fail(sim, "m%llu acknowledges value %llu at %llu, which is %llu", member->id,
                 (unsigned long long)value, index,
                 (unsigned long long)sim->applied[index]);
    if (index > sim->acked_max)
        sim->acked_max = index;
    if (sim->acked_count == sim->acked_size) {
        sim->acked_size = sim->acked_size ? 2 * sim->acked_size : 64;
        sim->acked = realloc(sim->acked, sim->acked_size * sizeof(*sim->acked));
        if (!sim->acked)
            abort();
    }
    sim->acked[sim->acked_count++] = value;
}

void
sim_check_read(struct sim_member *member, raft_index index)
{
    struct sim *sim = member->sim;
    sim->seen.reads++;
    if (index <= member->known)
        sim_fail(sim, "m%llu reads as of %llu, and %llu was acknowledged before",
                 member->id, index, member->known);
}

void
sim_check_end(struct sim *sim)
{
    for (size_t i = 0; i < sim->acked_count; i++) {
        raft_index index = 1;
        while (index < SIM_INDEX_MAX && sim->applied[index] != sim->acked[i])
            index++;
        if (index == SIM_INDEX_MAX)
            sim_fail(sim, "value %llu was acknowledged and is gone",
                     (unsigned long long)sim->acked[i]);
    }
}
