/* stctl policy ca: who may certify EKs. */
#include "proto/file.h"
#include "tools/node.h"
#include "tools/policy.h"
#include "tools/table.h"
#include "tools/text.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

enum {
    CA_FILE_MAX = 64 * 1024,
};

static enum st_code
add_der(struct connection *connection, const char *path, const void *der, size_t len,
        json_t *added, struct st_err *err)
{
    Api__AddEkCaRequest request = API__ADD_EK_CA_REQUEST__INIT;
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    request.cert = (ProtobufCBinaryData){len, (uint8_t *)der};
    enum st_code code = connect_call(connection, "AddEkCa", &request.base,
                                     &api__add_ek_ca_response__descriptor, &answer, err);
    if (code)
        return st_wrap(err, "%s", path);
    const Api__EkCa *ca = ((const Api__AddEkCaResponse *)answer)->ca;
    char sha256[TEXT_SHA256_MAX];
    AUTO(st_freep) char *name = text_printable(ca ? ca->name : "");
    text_sha256(der, len, sha256);
    json_array_append_new(added, json_pack("{s:s, s:s, s:s}", "sha256", sha256, "name",
                                           name, "file", path));
    return ST_OK;
}

/* Every certificate of a PEM, or the one that is DER. */
static enum st_code
add_file(struct connection *connection, const char *path, json_t *added,
         struct st_err *err)
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----";
    AUTO(st_freep) uint8_t *bytes = NULL;
    size_t len;
    enum st_code code = file_read(path, CA_FILE_MAX, &bytes, &len, err);
    if (code)
        return code;
    const char *at = strstr((const char *)bytes, begin);
    if (!at)
        return add_der(connection, path, bytes, len, added, err);
    for (; !code && at; at = strstr(at + 1, begin)) {
        uint8_t der[CERT_MAX_LEN];
        size_t der_len;
        if (!cert_der_from_pem(at, der, &der_len))
            return st_fail(err, ST_INVALID_ARGUMENT, "%s: no certificate in PEM", path);
        code = add_der(connection, path, der, der_len, added, err);
    }
    return code;
}

static int
is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* In the order of their names; the first that is no CA ends it. */
static enum st_code
add_folder(struct connection *connection, const char *path, json_t *added,
           struct st_err *err)
{
    struct dirent **entries = NULL;
    const int count = scandir(path, &entries, is_visible, alphasort);
    enum st_code code = ST_OK;
    if (count < 0)
        return st_fail(err, ST_INVALID_ARGUMENT, "%s cannot be read", path);
    for (int i = 0; i < count; i++) {
        char inner[4096];
        snprintf(inner, sizeof(inner), "%.3800s/%.255s", path, entries[i]->d_name);
        if (!code)
            code = add_file(connection, inner, added, err);
        free(entries[i]);
    }
    free(entries);
    return code;
}

static enum st_code
add_path(struct connection *connection, const char *path, json_t *added,
         struct st_err *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return add_folder(connection, path, added, err);
    return add_file(connection, path, added, err);
}

enum st_code
stctl_policy_ca_add(const struct invocation *in, struct st_err *err)
{
    CONNECTION connection = {0};
    AUTO(json_freep) json_t *added = json_array();
    json_t *ca;
    size_t i;
    enum st_code code = connect_open(in, &connection, err);
    if (!code)
        code = add_path(&connection, in->argument, added, err);
    /* Those before the one that failed are there. */
    if (code && json_array_size(added) == 0)
        return code;
    if (in->json) {
        const enum st_code printed = json_print(TAKE(added), code ? NULL : err);
        return code ? code : printed;
    }
    json_array_foreach(added, i, ca)
        printf("%s  %s\n", json_string_value(json_object_get(ca, "sha256")),
               json_string_value(json_object_get(ca, "name")));
    return code;
}

enum st_code
stctl_policy_ca_list(const struct invocation *in, struct st_err *err)
{
    const Api__ListEkCasRequest request = API__LIST_EK_CAS_REQUEST__INIT;
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    enum st_code code =
        connect_once(in, "ListEkCas", &request.base,
                     &api__list_ek_cas_response__descriptor, &answer, err);
    if (code)
        return code;
    const Api__ListEkCasResponse *list = (const void *)answer;
    AUTO(json_freep) json_t *json = json_array();
    AUTO(table_freep)
    struct table *table = table_new(2, (const char *[]){"SHA256", "NAME"});
    for (size_t i = 0; i < list->n_cas; i++) {
        const Api__EkCa *ca = list->cas[i];
        char sha256[TEXT_SHA256_MAX];
        text_hex(&ca->sha256, sha256);
        json_array_append_new(json,
                              json_pack("{s:s, s:s, s:o}", "sha256", sha256, "name",
                                        ca->name, "added_at", json_time(ca->added_at)));
        table_row(table, (const char *[]){sha256, *ca->name ? ca->name : "-"});
    }
    if (in->json)
        return json_print(TAKE(json), err);
    table_print(table, stdout, table_width(stdout));
    return ST_OK;
}

static enum st_code
sha256_parse(const char *text, uint8_t out[SHA256_LEN], struct st_err *err)
{
    if (strlen(text) != 2 * SHA256_LEN ||
        strspn(text, "0123456789abcdefABCDEF") != 2 * SHA256_LEN)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "a CA is named by 64 hex digits: see `stctl policy ca list`");
    for (size_t i = 0; i < SHA256_LEN; i++) {
        const char byte[] = {text[2 * i], text[2 * i + 1], 0};
        out[i] = (uint8_t)strtoul(byte, NULL, 16);
    }
    return ST_OK;
}

enum st_code
stctl_policy_ca_remove(const struct invocation *in, struct st_err *err)
{
    Api__RemoveEkCaRequest request = API__REMOVE_EK_CA_REQUEST__INIT;
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    uint8_t sha256[SHA256_LEN];
    enum st_code code = sha256_parse(in->argument, sha256, err);
    if (!code)
        code = connect_open(in, &connection, err);
    if (code)
        return code;
    request.sha256 = (ProtobufCBinaryData){sizeof(sha256), sha256};
    code = connect_call(&connection, "RemoveEkCa", &request.base,
                        &api__remove_ek_ca_response__descriptor, &answer, err);
    if (code)
        return code;
    if (in->json)
        return json_print(json_pack("{s:s}", "removed", in->argument), err);
    printf("%s certifies no EK any more\n", in->argument);
    return ST_OK;
}
