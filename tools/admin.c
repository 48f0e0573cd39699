/* stctl admin: who may administer. */
#include "tools/confirm.h"
#include "tools/connect.h"
#include "tools/table.h"
#include "tools/text.h"

#include <string.h>
#include <strings.h>
#include <time.h>

enum {
    SHORT_LEN = 16, /* digits, as in the audit */
};

static bool
is_me(const struct connection *connection, const char *sha256)
{
    char own[TEXT_SHA256_MAX];
    text_sha256(connection->cert.der, connection->cert.len, own);
    return !strcmp(own, sha256);
}

static json_t *
as_json(const Api__Administrator *admin)
{
    return json_pack("{s:o, s:s, s:s, s:o, s:o}", "sha256", json_hex(&admin->sha256),
                     "name", admin->name, "role", admin->role, "added_at",
                     json_time(admin->added_at), "added_by", json_hex(&admin->added_by));
}

static void
add_row(struct table *table, const struct connection *connection,
        const Api__Administrator *admin)
{
    char sha256[TEXT_SHA256_MAX], by[TEXT_SHA256_MAX], age[TEXT_AGE_MAX], name[160];
    AUTO(st_freep) char *printable = text_printable(admin->name);
    text_hex(&admin->sha256, sha256);
    text_hex(&admin->added_by, by);
    text_age(admin->added_at, time(NULL), age);
    snprintf(name, sizeof(name), "%s%s", printable,
             is_me(connection, sha256) ? " (you)" : "");
    sha256[SHORT_LEN] = by[SHORT_LEN] = 0;
    table_row(table, (const char *[]){sha256, admin->role, age, by, name});
}

static enum st_code
ask_for_list(const struct invocation *in, struct connection *connection,
             ProtobufCMessage **out, struct st_err *err)
{
    const Api__ListAdministratorsRequest request = API__LIST_ADMINISTRATORS_REQUEST__INIT;
    enum st_code code = connect_open(in, connection, err);
    return code ? code
                : connect_call(connection, "ListAdministrators", &request.base,
                               &api__list_administrators_response__descriptor, out, err);
}

enum st_code
stctl_admin_list(const struct invocation *in, struct st_err *err)
{
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    enum st_code code = ask_for_list(in, &connection, &answer, err);
    if (code)
        return code;
    const Api__ListAdministratorsResponse *list = (const void *)answer;
    AUTO(json_freep) json_t *json = json_array();
    AUTO(table_freep)
    struct table *table =
        table_new(5, (const char *[]){"SHA256", "ROLE", "AGE", "BY", "NAME"});
    for (size_t i = 0; i < list->n_administrators; i++) {
        json_array_append_new(json, as_json(list->administrators[i]));
        add_row(table, &connection, list->administrators[i]);
    }
    if (in->json)
        return json_print(TAKE(json), err);
    table_print(table, stdout, table_width(stdout));
    return ST_OK;
}

enum st_code
stctl_admin_add(const struct invocation *in, struct st_err *err)
{
    const char *role = in->options[OPTION_ROLE] ? in->options[OPTION_ROLE] : "admin";
    Api__AddAdministratorRequest request = API__ADD_ADMINISTRATOR_REQUEST__INIT;
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    struct cert cert;
    char sha256[TEXT_SHA256_MAX];
    if (strcmp(role, "admin") != 0 && strcmp(role, "viewer") != 0)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "--role of an administrator is admin or viewer, not '%.30s'",
                       role);
    enum st_code code = config_read_cert(in->argument, &cert, err);
    if (code)
        return code;
    request.cert = (ProtobufCBinaryData){cert.len, cert.der};
    request.role = (char *)role;
    code = connect_once(in, "AddAdministrator", &request.base,
                        &api__add_administrator_response__descriptor, &answer, err);
    if (code)
        return code;
    const Api__Administrator *admin =
        ((const Api__AddAdministratorResponse *)answer)->administrator;
    AUTO(st_freep) char *name = text_printable(admin ? admin->name : "");
    text_sha256(cert.der, cert.len, sha256);
    if (in->json)
        return json_print(
            json_pack("{s:s, s:s, s:s}", "sha256", sha256, "name", name, "role", role),
            err);
    printf("%s (%.*s) %s from now on\n", name, SHORT_LEN, sha256,
           strcmp(role, "admin") ? "may look" : "may do everything");
    return ST_OK;
}

/* The one whose fingerprint begins so; lent from the list. */
static enum st_code
find(const Api__ListAdministratorsResponse *list, const char *typed,
     const Api__Administrator **out, char out_sha256[TEXT_SHA256_MAX], struct st_err *err)
{
    const size_t len = strlen(typed);
    char sha256[TEXT_SHA256_MAX];
    size_t count = 0;
    if (len < NODE_PREFIX_MIN || strspn(typed, "0123456789abcdefABCDEF") != len)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "an administrator is named by the first digits of the SHA-256 of "
                       "the certificate: see `stctl admin list`");
    for (size_t i = 0; i < list->n_administrators; i++) {
        text_hex(&list->administrators[i]->sha256, sha256);
        if (strncasecmp(sha256, typed, len) != 0)
            continue;
        *out = list->administrators[i];
        strcpy(out_sha256, sha256);
        count++;
    }
    if (count == 0)
        return st_fail(err, ST_NOT_FOUND,
                       "no administrator's certificate begins with %.64s: see `stctl "
                       "admin list`",
                       typed);
    if (count > 1)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "%zu certificates begin with %.64s: give more digits", count,
                       typed);
    return ST_OK;
}

/* Whoever takes himself away cannot undo it. */
static enum st_code
confirm_removal(const struct invocation *in, const Api__Administrator *admin, bool me,
                struct st_err *err)
{
    AUTO(st_freep) char *name = text_printable(admin->name);
    if (in->options[OPTION_YES])
        return ST_OK;
    if (!confirm_can_ask())
        return st_fail(err, ST_INVALID_ARGUMENT, "removing %s%s: say --yes", name,
                       me ? ", that is you," : "");
    fprintf(stderr, "%s (%s)%s\nRemove? [yes/no] ", name, admin->role,
            me ? ": that is you, and afterwards you cannot undo it" : "");
    if (!confirm_is_yes())
        return st_fail(err, ST_CANCELLED, "nobody was removed");
    return ST_OK;
}

enum st_code
stctl_admin_remove(const struct invocation *in, struct st_err *err)
{
    Api__RemoveAdministratorRequest request = API__REMOVE_ADMINISTRATOR_REQUEST__INIT;
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *listed = NULL, *answer = NULL;
    const Api__Administrator *admin;
    char sha256[TEXT_SHA256_MAX];
    enum st_code code;
    if ((code = ask_for_list(in, &connection, &listed, err)) ||
        (code = find((const void *)listed, in->argument, &admin, sha256, err)) ||
        (code = confirm_removal(in, admin, is_me(&connection, sha256), err)))
        return code;
    request.sha256 = admin->sha256;
    code = connect_call(&connection, "RemoveAdministrator", &request.base,
                        &api__remove_administrator_response__descriptor, &answer, err);
    if (code)
        return code;
    if (in->json)
        return json_print(json_pack("{s:s}", "removed", sha256), err);
    AUTO(st_freep) char *name = text_printable(admin->name);
    printf("%s (%.*s) is heard no more\n", name, SHORT_LEN, sha256);
    return ST_OK;
}
