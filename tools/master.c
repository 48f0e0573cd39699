/* stctl master: who decides. */
#include "tools/confirm.h"
#include "tools/connect.h"
#include "tools/table.h"
#include "tools/text.h"

#include <inttypes.h>
#include <string.h>

static const char *
state_name(Api__Master__State state)
{
    static const char *const states[] = {"joining", "voter", "leaving"};
    return (unsigned)state < 3 ? states[state] : "unknown";
}

static json_t *
as_json(const Api__Master *master)
{
    return json_pack("{s:I, s:o, s:s, s:s, s:s, s:b, s:b}", "member_id",
                     (json_int_t)master->id, "address", json_address(&master->address),
                     "name", master->name, "node_id", master->node_id, "state",
                     state_name(master->state), "leader", master->leader, "connected",
                     master->connected);
}

static void
add_row(struct table *table, const Api__Master *master)
{
    char id[24], address[ADDRESS_TEXT_MAX];
    snprintf(id, sizeof(id), "%" PRIu64, master->id);
    text_address(&master->address, address, sizeof(address));
    table_row(table,
              (const char *[]){id, master->leader ? "leader" : state_name(master->state),
                               master->connected ? "yes" : "no", address,
                               *master->node_id ? "node" : "host",
                               *master->name ? master->name : "-"});
}

enum st_code
stctl_master_list(const struct invocation *in, struct st_err *err)
{
    const Api__ListMastersRequest request = API__LIST_MASTERS_REQUEST__INIT;
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    enum st_code code =
        connect_once(in, "ListMasters", &request.base,
                     &api__list_masters_response__descriptor, &answer, err);
    if (code)
        return code;
    const Api__ListMastersResponse *list = (const void *)answer;
    AUTO(json_freep) json_t *json = json_array();
    AUTO(table_freep)
    struct table *table = table_new(
        6, (const char *[]){"ID", "STATE", "CONNECTED", "ADDRESS", "KIND", "NAME"});
    for (size_t i = 0; i < list->n_masters; i++) {
        json_array_append_new(json, as_json(list->masters[i]));
        add_row(table, list->masters[i]);
    }
    if (in->json)
        return json_print(TAKE(json), err);
    table_print(table, stdout, table_width(stdout));
    return ST_OK;
}

/* What cannot be undone is asked for on a terminal, and wants --yes elsewhere. */
static enum st_code
confirm_removal(const struct invocation *in, uint32_t id, struct st_err *err)
{
    if (in->options[OPTION_YES])
        return ST_OK;
    if (!confirm_can_ask())
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "removing master %u revokes its certificate for ever: say --yes",
                       id);
    fprintf(stderr, "Master %u can never come back. Remove it? [yes/no] ", id);
    if (!confirm_is_yes())
        return st_fail(err, ST_CANCELLED, "nothing was removed");
    return ST_OK;
}

enum st_code
stctl_master_remove(const struct invocation *in, struct st_err *err)
{
    uint32_t id;
    Api__RemoveMasterRequest request = API__REMOVE_MASTER_REQUEST__INIT;
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    enum st_code code = text_count("ID", in->argument, UINT32_MAX, &id, NULL);
    if (code)
        return st_fail(err, code,
                       "'%.60s' is no number of a master: see `stctl master list`",
                       in->argument);
    code = confirm_removal(in, id, err);
    if (!code)
        code = connect_open(in, &connection, err);
    if (code)
        return code;
    request.id = id;
    request.force = in->options[OPTION_FORCE] != NULL;
    connect_patiently(in, &connection, "the others have to agree that it leaves");
    code = connect_insist(&connection, "RemoveMaster", &request.base,
                          &api__remove_master_response__descriptor, &answer, err);
    if (code)
        return code;
    if (in->json)
        return json_print(json_pack("{s:I}", "removed", (json_int_t)id), err);
    printf("master %u is removed, and its certificate revoked\n", id);
    return ST_OK;
}
