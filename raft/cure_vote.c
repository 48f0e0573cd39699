/* Who stands, and whom one votes for: F, I, J, M, N, O. */
#include "raft/cure.h"

static struct raft_server *
myself(const struct raft *raft)
{
    for (unsigned i = 0; i < raft->configuration.n; i++)
        if (raft->configuration.servers[i].id == raft->id)
            return &raft->configuration.servers[i];
    return NULL;
}

static unsigned
count_voters(const struct raft *raft)
{
    unsigned voters = 0;
    for (unsigned i = 0; i < raft->configuration.n; i++)
        voters += raft->configuration.servers[i].role == RAFT_VOTER;
    return voters;
}

/* ---- F: a sole voter takes a term of its own ---- */

bool
cure_sole_voter(const struct raft *raft)
{
    const struct raft_server *me = myself(raft);
    return count_voters(raft) == 1 && me && me->role == RAFT_VOTER;
}

int
cure_take_term(struct cure *cure)
{
    struct raft *raft = cure->face.data;
    int status = cure->inner->set_term(cure->inner, raft->current_term + 1);
    if (status)
        return status;
    raft->current_term++;
    raft->voted_for = 0;
    status = cure->inner->set_vote(cure->inner, raft->id);
    if (!status)
        raft->voted_for = raft->id;
    return status;
}

static bool
about_to_elect_itself(struct cure *cure)
{
    struct raft *raft = cure->face.data;
    return raft_state(raft) == RAFT_FOLLOWER && cure_sole_voter(raft) &&
           cure->inner->time(cure->inner) - raft->election_timer_start >=
               raft->follower_state.randomized_election_timeout;
}

/* ---- J, and an install: whose log is in flux does not stand ---- */

static bool
in_flux(const struct cure *cure)
{
    return cure->installing || cure->changes_under_way;
}

bool
cure_may_tick(struct cure *cure)
{
    if (in_flux(cure))
        return false;
    /* Without a durable term there is no election: the next tick tries again. */
    return !about_to_elect_itself(cure) || cure_take_term(cure) == 0;
}

/* A sole voter stands by itself, in a term of its own. */
bool
cure_may_stand(const struct cure *cure)
{
    return !in_flux(cure) && !cure_sole_voter(cure->face.data);
}

/* ---- I: one vote in a term, also for whom we hand over to ---- */

bool
cure_voted_otherwise(const struct cure *cure, const struct raft_request_vote *args)
{
    const struct raft *raft = cure->face.data;
    return raft->transfer && !args->pre_vote && args->term == raft->current_term &&
           raft->voted_for && raft->voted_for != args->candidate_id;
}

/* ---- M, O: for one call a voter, whatever libraft has read in our log ---- */

struct seat {
    bool taken;
    bool added; /* at the end, where it moves nobody's votes */
    int role;   /* before */
};

/* Without an address: nobody sends to himself, and ours may be where another one of the
 * group once was. */
static struct seat
take_seat(struct raft *raft)
{
    struct raft_server *me = myself(raft);
    struct seat seat = {.added = !me};
    if (me) {
        seat.role = me->role;
        me->role = RAFT_VOTER;
    }
    seat.taken =
        me || raft_configuration_add(&raft->configuration, raft->id, "", RAFT_VOTER) == 0;
    return seat;
}

static void
leave_seat(struct raft *raft, const struct seat *seat)
{
    if (!seat->taken)
        return;
    if (seat->added)
        raft_free(raft->configuration.servers[--raft->configuration.n].address);
    else
        myself(raft)->role = seat->role;
}

/* One that never stands never stops to believe in its last leader, either. */
static void
forget_stale_leader(struct cure *cure, struct raft *raft)
{
    raft_time silence = cure->inner->time(cure->inner) - raft->election_timer_start;
    if (raft_state(raft) == RAFT_FOLLOWER && silence >= raft->election_timeout)
        raft->follower_state.current_leader.id = 0;
}

/* M: it may be a voter in a log that is newer than ours.  One that has not heard of a
 * group yet is in none. */
void
cure_let_vote(struct cure *cure, struct raft_message *message)
{
    struct raft *raft = cure->face.data;
    const struct raft_server *me = myself(raft);
    struct seat seat = {0};
    if (raft->configuration.n && !(me && me->role == RAFT_VOTER)) {
        forget_stale_leader(cure, raft);
        seat = take_seat(raft);
    }
    cure->recv(&cure->face, message);
    leave_seat(raft, &seat);
}

/* O: a change that is not committed takes our vote away: nobody else may have a log as
 * long as ours, so that we have to stand until it is. */
static bool
is_leaving(const struct cure *cure)
{
    const struct raft *raft = cure->face.data;
    const struct raft_server *me = myself(raft);
    return raft_state((struct raft *)raft) != RAFT_LEADER &&
           raft->configuration_uncommitted_index && !(me && me->role == RAFT_VOTER) &&
           cure_was_voter(cure);
}

/* Ours is not to count: with `voters` but for us, a majority of them has to agree.
 * libraft asks for a majority of them and us, which is one vote less where they are even.
 */
static void
withdraw_own_vote(struct raft *raft, unsigned voters)
{
    unsigned position = 0;
    if (raft_state(raft) != RAFT_CANDIDATE || voters % 2)
        return;
    for (unsigned i = 0; raft->configuration.servers[i].id != raft->id; i++)
        position += raft->configuration.servers[i].role == RAFT_VOTER;
    raft->candidate_state.votes[position] = false;
}

static struct seat
stand_up(struct cure *cure)
{
    struct seat seat = {0};
    return is_leaving(cure) ? take_seat(cure->face.data) : seat;
}

static void
sit_down(struct cure *cure, const struct seat *seat)
{
    struct raft *raft = cure->face.data;
    if (seat->taken)
        withdraw_own_vote(raft, count_voters(raft) - 1);
    leave_seat(raft, seat);
}

void
cure_let_tick(struct cure *cure)
{
    struct seat seat = stand_up(cure);
    cure->tick(&cure->face);
    sit_down(cure, &seat);
}

void
cure_let_count(struct cure *cure, struct raft_message *message)
{
    struct seat seat = stand_up(cure);
    cure->recv(&cure->face, message);
    sit_down(cure, &seat);
}

/* ---- N: who refuses for the sake of its term tells the term ---- */

void
cure_tell_term(const struct cure *cure, struct raft_request_vote_result *result)
{
    const struct raft *raft = cure->face.data;
    if (result->pre_vote == raft_tribool_true && !result->vote_granted &&
        result->term < raft->current_term)
        result->term = raft->current_term;
}
