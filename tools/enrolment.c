/* stctl enrolment: the files with which machines come. */
#include "tools/connect.h"
#include "tools/keep.h"
#include "tools/recovery.h"
#include "tools/table.h"
#include "tools/text.h"

#include <string.h>
#include <time.h>

enum {
    USES_MAX = 10000, /* nms/state.h */
    REQUEST_ID_LEN = 16,
};

static enum st_code
make_request(const struct invocation *in, Api__NewEnrolmentConfigRequest *out,
             struct secret *request_id, uint8_t recovery_key[HPKE_KEY_LEN],
             struct st_err *err)
{
    const char *uses = in->options[OPTION_USES], *expires = in->options[OPTION_EXPIRES];
    const char *recovery = in->options[OPTION_RECOVERY_KEY];
    uint64_t ms = 0;
    enum st_code code = name_check("an enrolment", in->argument, err);
    if (!code && uses)
        code = text_count("--uses", uses, USES_MAX, &out->uses, err);
    if (!code && expires)
        code = text_duration("--expires", expires, &ms, err);
    if (!code && recovery)
        code = recovery_read_public(recovery, recovery_key, err);
    if (!code)
        code = secret_random(request_id, REQUEST_ID_LEN, err);
    if (code)
        return code;
    out->name = (char *)in->argument;
    out->expires_in_s = (ms + 999) / 1000;
    out->request_id.data = request_id->bytes;
    out->request_id.len = request_id->len;
    out->recovery_key.data = recovery_key;
    out->recovery_key.len = recovery ? HPKE_KEY_LEN : 0;
    return ST_OK;
}

/* A master of before does not know what that is. */
static bool
is_for(const ProtobufCBinaryData *asked, const ProtobufCBinaryData *made)
{
    return asked->len == made->len &&
           (asked->len == 0 || !memcmp(asked->data, made->data, asked->len));
}

/* What a machine is given: secret, masters, addresses, to whom its recovery key goes, and
 * nothing else. */
static enum st_code
write_config(const struct connection *connection,
             const Api__NewEnrolmentConfigRequest *request,
             const Api__EnrolmentConfig *made, const char *path, struct st_err *err)
{
    const struct cert *masters = &connection->context.masters;
    if (made->enrolment_secret.len == 0 || made->n_master_ips == 0 ||
        made->masters_cert.len != masters->len ||
        memcmp(made->masters_cert.data, masters->der, masters->len) != 0)
        return st_fail(err, ST_INTERNAL,
                       "the master's answer is no enrolment of this "
                       "cluster");
    if (!is_for(&request->recovery_key, &made->recovery_key))
        return st_fail(err, ST_INTERNAL, "the master knows nothing of recovery keys");
    Api__EnrolmentConfig file = API__ENROLMENT_CONFIG__INIT;
    file.recovery_key = made->recovery_key;
    file.enrolment_secret = made->enrolment_secret;
    file.masters_cert = made->masters_cert;
    file.n_master_ips = made->n_master_ips;
    file.master_ips = made->master_ips;
    file.masters_number = made->masters_number;
    return keep_write(path, &file.base, err);
}

static enum st_code
print_created(const struct invocation *in, const Api__EnrolmentConfig *made,
              const char *path, struct st_err *err)
{
    if (in->json)
        return json_print(json_pack("{s:s, s:s, s:i, s:o}", "name", in->argument, "file",
                                    path, "uses_left", (int)made->uses_left, "expires_at",
                                    json_time(made->expires_at)),
                          err);
    char age[TEXT_AGE_MAX];
    text_age(time(NULL), made->expires_at, age);
    printf(
        "%s: enrolment %s for %u node%s, for %s\n\n"
        "It holds a secret.  On the ESP of the new machine it is\n"
        "  EFI/smalltown/enrolment.pb\n"
        "Then `stctl node list` shows the machine, and `stctl node adopt` lets it in.\n",
        path, in->argument, made->uses_left, made->uses_left == 1 ? "" : "s", age);
    return ST_OK;
}

enum st_code
stctl_enrolment_create(const struct invocation *in, struct st_err *err)
{
    const char *path = in->options[OPTION_OUT] ? in->options[OPTION_OUT] : "enrolment.pb";
    Api__NewEnrolmentConfigRequest request = API__NEW_ENROLMENT_CONFIG_REQUEST__INIT;
    SECRET request_id = {0};
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    uint8_t recovery_key[HPKE_KEY_LEN];
    enum st_code code = make_request(in, &request, &request_id, recovery_key, err);
    if (!code)
        code = keep_check(path, err);
    if (!code)
        code = connect_open(in, &connection, err);
    if (!code)
        code =
            connect_call(&connection, "NewEnrolmentConfig", &request.base,
                         &api__new_enrolment_config_response__descriptor, &answer, err);
    if (code)
        return code;
    const Api__EnrolmentConfig *made =
        ((Api__NewEnrolmentConfigResponse *)answer)->enrolment_config;
    const Api__EnrolmentConfig nothing = API__ENROLMENT_CONFIG__INIT;
    code = write_config(&connection, &request, made ? made : &nothing, path, err);
    if (code)
        return st_wrap(err, "`stctl enrolment revoke %s`, its secret is lost",
                       in->argument);
    return print_created(in, made, path, err);
}

static json_t *
as_json(const Api__EnrolmentConfig *enrolment)
{
    return json_pack("{s:s, s:i, s:o}", "name", enrolment->name, "uses_left",
                     (int)enrolment->uses_left, "expires_at",
                     json_time(enrolment->expires_at));
}

static void
add_row(struct table *table, const Api__EnrolmentConfig *enrolment)
{
    char left[16], expires[TEXT_AGE_MAX];
    time_t now = time(NULL);
    snprintf(left, sizeof(left), "%u", enrolment->uses_left);
    text_expires(now, enrolment->expires_at, expires);
    table_row(table, (const char *[]){left, expires, enrolment->name});
}

enum st_code
stctl_enrolment_list(const struct invocation *in, struct st_err *err)
{
    const Api__ListEnrolmentConfigsRequest request =
        API__LIST_ENROLMENT_CONFIGS_REQUEST__INIT;
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    enum st_code code =
        connect_once(in, "ListEnrolmentConfigs", &request.base,
                     &api__list_enrolment_configs_response__descriptor, &answer, err);
    if (code)
        return code;
    const Api__ListEnrolmentConfigsResponse *list = (const void *)answer;
    AUTO(json_freep) json_t *json = json_array();
    AUTO(table_freep)
    struct table *table = table_new(3, (const char *[]){"LEFT", "EXPIRES", "NAME"});
    for (size_t i = 0; i < list->n_enrolment_config; i++) {
        json_array_append_new(json, as_json(list->enrolment_config[i]));
        add_row(table, list->enrolment_config[i]);
    }
    if (in->json)
        return json_print(TAKE(json), err);
    table_print(table, stdout, table_width(stdout));
    return ST_OK;
}

enum st_code
stctl_enrolment_revoke(const struct invocation *in, struct st_err *err)
{
    Api__RemoveEnrolmentConfigRequest request =
        API__REMOVE_ENROLMENT_CONFIG_REQUEST__INIT;
    request.name = (char *)in->argument;
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    enum st_code code = name_check("an enrolment", in->argument, err);
    if (!code)
        code = connect_once(in, "RemoveEnrolmentConfig", &request.base,
                            &api__remove_enrolment_config_response__descriptor, &answer,
                            err);
    if (code)
        return code;
    if (in->json)
        return json_print(json_pack("{s:s}", "revoked", in->argument), err);
    printf("%s is revoked: nobody enrols with it any more\n", in->argument);
    return ST_OK;
}
