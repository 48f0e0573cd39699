/* What a step is taken on: the group and the records as they are now. */
#include "nms/carrier_internal.h"

void
carrier_view_read(const struct nms *nms, struct carrier_view *out)
{
    out->count = replica_group(nms->replica, out->group, &out->status);
    members_read(nms->state, &out->members);
}

bool
carrier_view_member(const struct nms *nms, const struct carrier_view *view, size_t i,
                    struct member *out)
{
    if (i < view->members.count)
        *out = view->members.at[i];
    return i < view->members.count ||
           (i == view->members.count &&
            members_unrecorded(&view->members, view->group, view->count, nms->member_id,
                               out));
}

struct members_facts
carrier_facts(const struct nms *nms, const struct carrier_view *view,
              const struct member *member)
{
    struct members_facts facts = {
        .phase = member->phase,
        .is_node = *member->node_id != 0,
        .is_me = member->id == nms->member_id,
        .changing = view->status.changing,
    };
    for (unsigned i = 0; i < view->count; i++)
        if (view->group[i].id == member->id) {
            facts.in_group = true;
            facts.role = view->group[i].role;
            facts.connected = view->group[i].connected;
        }
    return facts;
}
