/* stctl authority: who approves of other boots for the nodes' own halves. */
#include "tools/connect.h"

enum {
    AUTHORITY_LEN = 64
};

/* What it follows, so that a second one does not come by a repeated call. */
static enum st_code
get_present(struct connection *connection, ProtobufCMessage **out_answer,
            ProtobufCBinaryData *out, struct st_err *err)
{
    const Api__GetStatusRequest request = API__GET_STATUS_REQUEST__INIT;
    enum st_code code =
        connect_call(connection, "GetStatus", &request.base,
                     &api__get_status_response__descriptor, out_answer, err);
    if (!code)
        *out = ((const Api__GetStatusResponse *)*out_answer)->seal_authority;
    return code;
}

enum st_code
stctl_authority_renew(const struct invocation *in, struct st_err *err)
{
    Api__RenewAuthorityRequest request = API__RENEW_AUTHORITY_REQUEST__INIT;
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *present = NULL;
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    enum st_code code = connect_open(in, &connection, err);
    if (!code)
        code = get_present(&connection, &present, &request.expected, err);
    if (!code)
        code = connect_call(&connection, "RenewAuthority", &request.base,
                            &api__renew_authority_response__descriptor, &answer, err);
    if (code)
        return code;
    const bool first = request.expected.len == 0;
    if (((const Api__RenewAuthorityResponse *)answer)->authority.len != AUTHORITY_LEN)
        return st_fail(err, ST_INTERNAL, "the answer names no authority");
    if (in->json)
        return json_print(json_pack("{s:b}", "first", first), err);
    printf("%s  Each node takes it over at its next unlock.\n",
           first ? "The cluster has an authority."
                 : "The cluster has a new authority; the one before still counts.");
    return ST_OK;
}
