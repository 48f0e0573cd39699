#include "tools/status.h"
#include "tools/table.h"
#include "tools/text.h"
#include "tools/window.h"

#include <inttypes.h>
#include <string.h>

/* What the others know of it; NULL: nothing.  Who answers says which master it is; its
 * address here may be another than theirs, as of a port that is forwarded. */
static const Api__Master *
listed(const struct status *status, size_t index)
{
    const struct st_address *own = &status->connection.context.addresses[index];
    const Api__GetStatusResponse *answer = status_answer(&status->masters[index]);
    const Api__ListMastersResponse *list = (const void *)status->list;
    for (size_t i = 0; list && i < list->n_masters; i++) {
        const Api__Master *master = list->masters[i];
        if (answer ? answer->member_id == master->id
                   : status_is_at(master, own) && !status_has_answered(status, master))
            return master;
    }
    return NULL;
}

static bool
all_have_answered(const struct status *status)
{
    const Api__ListMastersResponse *list = (const void *)status->list;
    for (size_t i = 0; i < list->n_masters; i++)
        if (!status_has_answered(status, list->masters[i]))
            return false;
    return true;
}

/* Who is asked for the list and sees no leader may have been removed itself. */
static bool
is_unknown(const struct status *status, size_t index)
{
    return status->list && status_answer(status->best)->leader_id &&
           !listed(status, index);
}

static bool
is_removed(const struct status *status, size_t index)
{
    return is_unknown(status, index) && status_answer(&status->masters[index]);
}

/* An address that is silent may be another one of a master that is down, or that of
 * before of one that moved: nothing there is to be wiped. */
static bool
is_left(const struct status *status, size_t index)
{
    return is_unknown(status, index) && !status_answer(&status->masters[index]) &&
           all_have_answered(status);
}

static const char *
state_of(const struct status *status, size_t index)
{
    const struct status_master *master = &status->masters[index];
    const Api__GetStatusResponse *answer = status_answer(master);
    if (is_removed(status, index))
        return "no master";
    if (answer)
        return answer->leader_id == 0                   ? "no leader"
               : answer->leader_id == answer->member_id ? "leader"
                                                        : "follower";
    if (master->err.reason == ST_REASON_OTHER_SERVER)
        return "other cluster";
    if (master->err.reason == ST_REASON_UNREACHABLE ||
        master->err.reason == ST_REASON_LOST)
        return "unreachable";
    return master->err.code == ST_DEADLINE_EXCEEDED ? "silent" : "refuses";
}

/* 0 where it is not known. */
static uint64_t
member_id(const struct status *status, size_t index)
{
    const Api__GetStatusResponse *answer = status_answer(&status->masters[index]);
    const Api__Master *known = listed(status, index);
    return answer ? answer->member_id : known ? known->id : 0;
}

static json_t *
masters_json(const struct status *status)
{
    const struct context *context = &status->connection.context;
    json_t *list = json_array();
    for (size_t i = 0; i < context->address_count; i++) {
        char address[ADDRESS_TEXT_MAX];
        const Api__GetStatusResponse *answer = status_answer(&status->masters[i]);
        address_format(&context->addresses[i], address);
        json_t *one =
            json_pack("{s:s, s:s, s:b, s:b, s:I}", "address", address, "state",
                      state_of(status, i), "reachable", answer != NULL, "in_context",
                      i < status->known, "member_id", (json_int_t)member_id(status, i));
        if (answer)
            json_object_update_new(
                one, json_pack("{s:I, s:I, s:I, s:s}", "term", (json_int_t)answer->term,
                               "commit_index", (json_int_t)answer->commit_index,
                               "applied_index", (json_int_t)answer->applied_index,
                               "version", answer->version));
        else
            json_object_set_new(one, "error", json_string(status->masters[i].err.text));
        json_array_append_new(list, one);
    }
    return list;
}

enum st_code
status_print_json(const struct status *status, struct st_err *err)
{
    const Api__GetStatusResponse *best = status_answer(status->best);
    return json_print(
        json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:b, s:o}",
                  "context", status->connection.context.name, "cluster", best->cluster,
                  "role", best->role, "members", (int)best->members, "nodes",
                  (int)best->nodes, "waiting", (int)best->waiting, "outdated",
                  (int)best->outdated, "enrolments", (int)best->enrolments, "window",
                  window_json(best->window), "authority_since",
                  json_time(best->seal_authority_since), "leader", best->leader_id != 0,
                  "masters", masters_json(status)),
        err);
}

/* How many more of those that vote can go. */
static void
print_masters(const struct status *status)
{
    unsigned voters = 0, up = 0;
    for (size_t i = 0; i < status->connection.context.address_count; i++) {
        const Api__Master *known = listed(status, i);
        if (!known || known->state == API__MASTER__STATE__JOINING)
            continue;
        voters++;
        up += status->masters[i].answer != NULL;
    }
    const unsigned majority = voters / 2 + 1;
    if (voters == 0)
        printf("masters     %u\n\n", status_answer(status->best)->members);
    else if (up < majority)
        printf("masters     %u, of which %u answer here: no majority\n\n", voters, up);
    else if (up < voters)
        printf("masters     %u, of which %u answer; %u more may fail\n\n", voters, up,
               up - majority);
    else
        printf("masters     %u, of which %u may fail\n\n", voters, up - majority);
}

static void
print_table(const struct status *status)
{
    AUTO(table_freep)
    struct table *table = table_new(
        6, (const char *[]){"ID", "MASTER", "STATE", "TERM", "APPLIED", "VERSION"});
    for (size_t i = 0; i < status->connection.context.address_count; i++) {
        const Api__GetStatusResponse *answer = status_answer(&status->masters[i]);
        char address[ADDRESS_TEXT_MAX], id[24] = "-", term[24] = "-", applied[24] = "-";
        address_format(&status->connection.context.addresses[i], address);
        if (member_id(status, i))
            snprintf(id, sizeof(id), "%" PRIu64, member_id(status, i));
        if (answer) {
            snprintf(term, sizeof(term), "%" PRIu64, answer->term);
            snprintf(applied, sizeof(applied), "%" PRIu64, answer->applied_index);
        }
        table_row(table, (const char *[]){id, address, state_of(status, i), term, applied,
                                          answer ? answer->version : "-"});
    }
    table_print(table, stdout, table_width(stdout));
}

static void
print_authority(const Api__GetStatusResponse *best)
{
    char since[TEXT_TIME_MAX];
    text_time(best->seal_authority_since, since);
    if (best->seal_authority.len > 0)
        printf("authority   since %s\n", since);
    else
        printf("authority   none, updates shut nodes out: `stctl authority renew`\n");
}

/* What the table shows and a person may not know what to do about. */
static void
print_advice(const struct status *status)
{
    const struct context *context = &status->connection.context;
    bool outdated = context->address_count > status->known;
    if (outdated)
        printf("\n");
    for (size_t i = 0; i < status->known; i++) {
        char address[ADDRESS_TEXT_MAX];
        if (!is_removed(status, i) && !is_left(status, i))
            continue;
        address_format(&context->addresses[i], address);
        printf("%s%s %s\n", outdated ? "" : "\n", address,
               is_left(status, i)
                   ? "does not answer, and all masters are elsewhere."
                   : "is no master of this cluster: stop it there, and wipe it.");
        outdated = true;
    }
    if (outdated)
        printf("The context is not up to date: `stctl context update`.\n");
}

void
status_print(const struct status *status)
{
    const Api__GetStatusResponse *best = status_answer(status->best);
    char window[WINDOW_TEXT_MAX];
    AUTO(st_freep) char *cluster = text_printable(best->cluster);
    AUTO(st_freep) char *role = text_printable(best->role);
    printf("cluster     %s\nyour role   %s\nnodes       %u, %u of them not adopted\n"
           "enrolments  %u can be used\n",
           cluster, role, best->nodes, best->waiting, best->enrolments);
    if (best->outdated)
        printf("addresses   %u %s not heard yet where the masters are: `stctl node "
               "list`\n",
               best->outdated, best->outdated == 1 ? "node has" : "nodes have");
    window_text(best->window, window);
    if (*window)
        printf("window      %s\n", window);
    print_authority(best);
    print_masters(status);
    print_table(status);
    print_advice(status);
}
