/* stctl context update: where the masters are by now. */
#include "tools/connect.h"
#include "tools/text.h"

#include <string.h>

/* A master that was removed, or is cut off, is in touch with no leader. */
static bool
is_current(const Api__ListMastersResponse *list)
{
    for (size_t i = 0; i < list->n_masters; i++)
        if (list->masters[i]->leader && list->masters[i]->connected)
            return true;
    return false;
}

/* Everybody who is not leaving, behind those that the context has. */
static enum st_code
add_masters(const Api__ListMastersResponse *list, struct context *context,
            struct st_err *err)
{
    for (size_t i = 0; i < list->n_masters; i++) {
        struct st_address address;
        enum st_code code = address_unpack(&list->masters[i]->address, &address, err);
        if (code)
            return st_wrap(err, "the answer names no address");
        if (list->masters[i]->state == API__MASTER__STATE__LEAVING ||
            config_has_address(context, &address))
            continue;
        if (context->address_count == ADDRESSES_MAX)
            return st_fail(err, ST_INTERNAL, "the answer names too many masters");
        context->addresses[context->address_count++] = address;
    }
    return ST_OK;
}

static enum st_code
list(const struct connection *connection, size_t master, ProtobufCMessage **out,
     struct st_err *err)
{
    const Api__ListMastersRequest request = API__LIST_MASTERS_REQUEST__INIT;
    AUTO(rpc_channel_closep) struct rpc_channel *channel = NULL;
    enum st_code code = connect_to(connection, master, &channel, err);
    return code ? code
                : rpc_unary(channel, "/api.ClusterManagement/ListMasters", &request.base,
                            &api__list_masters_response__descriptor,
                            connection->timeout_ms, out, err);
}

/* The first answer that is current, of one master after the other; an old one still says
 * whom else to ask. */
static enum st_code
learn(struct connection *connection, struct st_err *err)
{
    struct context *context = &connection->context;
    enum st_code code = ST_OK;
    for (size_t i = 0; i < context->address_count; i++) {
        AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
        struct st_err said = {0};
        if (list(connection, i, &answer, &said)) {
            if (!code)
                code = st_fail_for(err, said.code, said.reason, "%s", said.text);
            continue;
        }
        if (is_current((const void *)answer)) {
            context->address_count = 0;
            return add_masters((const void *)answer, context, err);
        }
        code = add_masters((const void *)answer, context, err);
        if (!code)
            code = st_fail_for(err, ST_UNAVAILABLE, ST_REASON_NO_QUORUM,
                               "no master is in touch with a leader");
    }
    return st_wrap(err, "cluster %s", context->name);
}

static enum st_code
keep(const struct context *context, struct st_err *err)
{
    AUTO(json_freep) json_t *config = NULL;
    enum st_code code = config_read(&config, err);
    if (!code)
        code = config_put(config, context, err);
    return code ? code : config_write(config, err);
}

static json_t *
as_json(const struct context *context)
{
    json_t *addresses = json_array();
    for (size_t i = 0; i < context->address_count; i++) {
        char address[ADDRESS_TEXT_MAX];
        address_format(&context->addresses[i], address);
        json_array_append_new(addresses, json_string(address));
    }
    return addresses;
}

enum st_code
stctl_context_update(const struct invocation *in, struct st_err *err)
{
    CONNECTION connection = {0};
    char before[ADDRESSES_MAX * ADDRESS_TEXT_MAX], now[ADDRESSES_MAX * ADDRESS_TEXT_MAX];
    struct context *context = &connection.context;
    enum st_code code = connect_prepare(in, &connection, err);
    if (code)
        return code;
    connect_briefly(in, &connection);
    config_addresses_format(context, before, sizeof(before));
    if ((code = learn(&connection, err)) || (code = keep(context, err)))
        return code;
    config_addresses_format(context, now, sizeof(now));
    if (in->json)
        return json_print(json_pack("{s:s, s:o, s:b}", "name", context->name, "addresses",
                                    as_json(context), "changed",
                                    strcmp(before, now) != 0),
                          err);
    printf("context %s: %s%s\n", context->name, now,
           strcmp(before, now) ? "" : " (as before)");
    return ST_OK;
}
