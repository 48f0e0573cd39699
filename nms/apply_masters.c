/* Where the masters are, as nodes are told: the number of that list, and who has it. */
#include "nms/apply.h"

/* A log that goes on from an older folder (Recover) counts anew, and nodes may have
 * heard the numbers that it lost; the clock did not go back with it. */
void
masters_renumber(struct applying *applying)
{
    State__Cluster *cluster = cluster_of(applying->state);
    if (!cluster)
        return;
    const uint64_t now = applying->now > 0 ? (uint64_t)applying->now : 0;
    const uint64_t next = cluster->masters_number + 1;
    cluster->masters_number = now > next ? now : next;
    applying_put(applying, "cluster", NULL, &cluster->base);
    record_free_unpacked(cluster);
}

static void
told(struct applying *applying, const char *node_id, uint64_t number)
{
    State__Node *node = node_of(applying->state, node_id);
    if (!node)
        return; /* it was removed meanwhile */
    if (node->masters_number < number) {
        node->masters_number = number;
        applying_put_node(applying, node);
    }
    record_free_unpacked(node);
}

/* That of an older list is as true as it was. */
enum st_code
apply_masters_told(struct applying *applying, const State__MastersTold *masters_told,
                   struct st_err *err)
{
    if (masters_told->number > masters_number(applying->state))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "no list of masters has this number yet");
    for (size_t i = 0; i < masters_told->n_node_ids; i++)
        told(applying, masters_told->node_ids[i], masters_told->number);
    return ST_OK;
}
