/* stctl context: which clusters there are, and which one is meant. */
#include "proto/scope.h"
#include "tools/config.h"
#include "tools/stctl.h"
#include "tools/table.h"
#include "tools/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* An absolute path of what `given` or, without it, the folder of the configuration
 * names. */
static enum st_code
credential_path(const char *given, const char *standard, char out[PATH_MAX],
                struct st_err *err)
{
    char path[PATH_MAX];
    if (!given) {
        enum st_code code = config_path(standard, path, err);
        if (code)
            return code;
        given = path;
    }
    if (!realpath(given, out))
        return st_fail(err, errno == ENOENT ? ST_NOT_FOUND : ST_FAILED_PRECONDITION,
                       "%.200s: %s; make one with `stctl keygen`", given,
                       strerror(errno));
    return ST_OK;
}

static enum st_code
check_fingerprint(const struct context *context, const char *typed,
                  char out[TEXT_SHA256_MAX], struct st_err *err)
{
    text_sha256(context->masters.der, context->masters.len, out);
    if (typed && !text_is_sha256(typed, out))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "the certificate's fingerprint is %s, not the given one: do not "
                       "use it until you know why",
                       out);
    return ST_OK;
}

/* Everything that the command line says about the context. */
static enum st_code
describe(const struct invocation *in, struct context *out, struct st_err *err)
{
    *out = (struct context){0};
    enum st_code code = name_check("a context", in->argument, err);
    if (code)
        return code;
    strcpy(out->name, in->argument);
    SECRET seed = {0};
    struct cert cert;
    code = config_addresses_parse(in->options[OPTION_ADDRESS], out, err);
    if (!code)
        code = config_read_cert(in->options[OPTION_MASTERS_CERT], &out->masters, err);
    if (!code)
        code =
            credential_path(in->options[OPTION_CERT], "admin.pem", out->cert_path, err);
    if (!code)
        code =
            credential_path(in->options[OPTION_KEY], "admin-key.pem", out->key_path, err);
    if (!code)
        code = config_credentials(out, &cert, &seed, err);
    return code;
}

enum st_code
stctl_context_add(const struct invocation *in, struct st_err *err)
{
    struct context context;
    char fingerprint[TEXT_SHA256_MAX];
    AUTO(json_freep) json_t *config = NULL;
    enum st_code code = describe(in, &context, err);
    if (!code)
        code = check_fingerprint(&context, in->options[OPTION_FINGERPRINT], fingerprint,
                                 err);
    if (!code)
        code = config_read(&config, err);
    if (code)
        return code;
    if (json_object_get(json_object_get(config, "contexts"), context.name))
        return st_fail(err, ST_ALREADY_EXISTS,
                       "there is a context %s already: remove it first, or take another "
                       "name",
                       context.name);
    code = config_put(config, &context, err);
    if (code)
        return code;
    if (!config_current(config))
        json_object_set_new(config, "current", json_string(context.name));
    code = config_write(config, err);
    if (code)
        return code;
    if (in->json)
        return json_print(
            json_pack("{s:s, s:s}", "name", context.name, "fingerprint", fingerprint),
            err);
    printf("context %s added%s\nfingerprint of its masters (SHA-256): %s\n", context.name,
           strcmp(config_current(config), context.name) ? "" : " and in use",
           fingerprint);
    if (!in->options[OPTION_FINGERPRINT])
        printf("compare it with what `smalltown-nms init` printed\n");
    return ST_OK;
}

enum st_code
stctl_context_use(const struct invocation *in, struct st_err *err)
{
    AUTO(json_freep) json_t *config = NULL;
    struct context context;
    enum st_code code = config_read(&config, err);
    if (!code)
        code = config_find(config, in->argument, &context, err);
    if (code)
        return code;
    json_object_set_new(config, "current", json_string(context.name));
    code = config_write(config, err);
    if (code)
        return code;
    if (in->json)
        return json_print(json_pack("{s:s}", "current", context.name), err);
    printf("%s is in use\n", context.name);
    return ST_OK;
}

enum st_code
stctl_context_remove(const struct invocation *in, struct st_err *err)
{
    AUTO(json_freep) json_t *config = NULL;
    enum st_code code = config_read(&config, err);
    if (code)
        return code;
    if (json_object_del(json_object_get(config, "contexts"), in->argument))
        return st_fail(err, ST_NOT_FOUND,
                       "there is no context %s: see `stctl context list`", in->argument);
    const char *current = config_current(config);
    if (current && !strcmp(current, in->argument))
        json_object_del(config, "current");
    code = config_write(config, err);
    if (code)
        return code;
    if (in->json)
        return json_print(json_pack("{s:s}", "removed", in->argument), err);
    printf("%s is forgotten%s\n", in->argument,
           config_current(config) ? "" : "; none is in use now");
    return ST_OK;
}

static json_t *
as_json(const struct context *context, bool current)
{
    char fingerprint[TEXT_SHA256_MAX];
    text_sha256(context->masters.der, context->masters.len, fingerprint);
    json_t *addresses = json_array();
    for (size_t i = 0; i < context->address_count; i++) {
        char address[ADDRESS_TEXT_MAX];
        address_format(&context->addresses[i], address);
        json_array_append_new(addresses, json_string(address));
    }
    return json_pack("{s:s, s:b, s:o, s:s, s:s, s:s}", "name", context->name, "current",
                     current, "addresses", addresses, "fingerprint", fingerprint, "cert",
                     context->cert_path, "key", context->key_path);
}

enum st_code
stctl_context_list(const struct invocation *in, struct st_err *err)
{
    AUTO(json_freep) json_t *config = NULL;
    enum st_code code = config_read(&config, err);
    if (code)
        return code;
    AUTO(json_freep) json_t *list = json_array();
    AUTO(table_freep)
    struct table *table =
        table_new(4, (const char *[]){"USE", "NAME", "CERTIFICATE", "ADDRESSES"});
    const char *name, *current = config_current(config);
    json_t *entry;
    json_object_foreach(json_object_get(config, "contexts"), name, entry)
    {
        struct context context;
        char addresses[ADDRESSES_MAX * ADDRESS_TEXT_MAX], fingerprint[TEXT_SHA256_MAX];
        code = config_find(config, name, &context, err);
        if (code)
            return code;
        bool used = current && !strcmp(current, name);
        config_addresses_format(&context, addresses, sizeof(addresses));
        text_sha256(context.masters.der, context.masters.len, fingerprint);
        fingerprint[16] = 0;
        table_row(table,
                  (const char *[]){used ? "*" : " ", name, fingerprint, addresses});
        json_array_append_new(list, as_json(&context, used));
    }
    if (in->json)
        return json_print(TAKE(list), err);
    table_print(table, stdout, table_width(stdout));
    return ST_OK;
}
