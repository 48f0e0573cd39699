#include "nms/recover.h"
#include "nms/nms.h"
#include "nms/offline.h"

#include <stdio.h>

static enum st_code
note_term(void *arg, const struct store_entry *entry, struct st_err *err)
{
    (void)err;
    *(uint64_t *)arg = entry->term;
    return ST_OK;
}

enum st_code
recover_look(const char *dir, struct recover_view *out, struct st_err *err)
{
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    OFFLINE folder = {0};
    struct state_counts counts = {0};
    enum st_code code;
    *out = (struct recover_view){0};
    if ((code = offline_open(dir, &folder, err)) ||
        (code = state_cluster(folder.state, &cluster, err)))
        return code;
    const struct store_head *head = &folder.head;
    out->id = folder.self.id;
    out->begun = folder.self.recovering;
    out->last = head->last;
    out->term = head->base_term;
    if (head->last >= head->first &&
        (code = store_each_entry(folder.store, head->last, head->last, note_term,
                                 &out->term, err)))
        return code;
    snprintf(out->cluster, sizeof(out->cluster), "%s", cluster->name);
    out->members = folder.members;
    if ((code = state_count(folder.state, nms_now(), &counts, err)))
        return code;
    out->nodes = counts.nodes;
    out->changed_at = state_changed_at(folder.state);
    return ST_OK;
}

const char *
recover_doubt(const struct recover_view *view)
{
    const struct member *me = members_find(&view->members, view->id);
    if (!me)
        return NULL;
    switch (me->phase) {
    case STATE__PHASE__LEAVING:
        return "it was being removed, and the others may have gone on without it: take "
               "the\nfolder of one of them if there is any; with this one it is a master "
               "again\n";
    case STATE__PHASE__JOINING:
    case STATE__PHASE__CATCHING_UP:
        return "it had no vote yet, and may lack what the others agreed on: take the "
               "folder\nof one that had if there is any\n";
    case STATE__PHASE__VOTER:
    case _STATE__PHASE_IS_INT_SIZE:
        break;
    }
    return NULL;
}
