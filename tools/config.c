#include "tools/config.h"

#include "proto/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PEM_MAX_LEN = 16384,
};

enum st_code
config_path(const char *file, char out[PATH_MAX], struct st_err *err)
{
    const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int len;
    if (base && base[0] == '/')
        len = snprintf(out, PATH_MAX, "%s/smalltown", base);
    else if (home && home[0] == '/')
        len = snprintf(out, PATH_MAX, "%s/.config/smalltown", home);
    else
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "neither HOME nor XDG_CONFIG_HOME says where your files are");
    if (file && len < PATH_MAX)
        len += snprintf(out + len, (size_t)(PATH_MAX - len), "/%s", file);
    if (len >= PATH_MAX)
        return st_fail(err, ST_FAILED_PRECONDITION, "the path of your files is too long");
    return ST_OK;
}

static enum st_code
damaged(const char *what, struct st_err *err)
{
    char path[PATH_MAX] = "contexts.json";
    if (config_path("contexts.json", path, NULL))
        return st_fail(err, ST_DATA_LOSS, "contexts.json is damaged: %s", what);
    return st_fail(err, ST_DATA_LOSS, "%.200s is damaged: %.150s", path, what);
}

enum st_code
config_read(json_t **out, struct st_err *err)
{
    char path[PATH_MAX];
    enum st_code code = config_path("contexts.json", path, err);
    if (code)
        return code;
    AUTO(st_freep) uint8_t *text = NULL;
    size_t len;
    code = file_read(path, FILE_MAX_LEN, &text, &len, err);
    if (code == ST_NOT_FOUND) {
        *out = json_pack("{s:{}}", "contexts");
        return *out ? ST_OK : st_fail(err, ST_INTERNAL, "no memory");
    }
    if (code)
        return code;
    json_error_t error;
    AUTO(json_freep)
    json_t *config = json_loadb((char *)text, len, JSON_REJECT_DUPLICATES, &error);
    if (!config)
        return damaged(error.text, err);
    if (!json_is_object(json_object_get(config, "contexts")))
        return damaged("it has no contexts", err);
    *out = TAKE(config);
    return ST_OK;
}

enum st_code
config_write(const json_t *config, struct st_err *err)
{
    char path[PATH_MAX];
    enum st_code code = config_path(NULL, path, err);
    if (!code)
        code = file_make_folder(path, err);
    if (!code)
        code = config_path("contexts.json", path, err);
    if (code)
        return code;
    AUTO(st_freep) char *text = json_dumps(config, JSON_INDENT(2) | JSON_SORT_KEYS);
    if (!text)
        return st_fail(err, ST_INTERNAL, "no memory to write %.200s", path);
    return file_write(path, 0600, text, strlen(text), err);
}

const char *
config_current(const json_t *config)
{
    return json_string_value(json_object_get(config, "current"));
}

/* Says where the list of addresses ends, the NUL or the comma. */
static enum st_code
add_address(const char *text, size_t len, struct context *out, struct st_err *err)
{
    char one[ADDRESS_TEXT_MAX];
    if (out->address_count == ADDRESSES_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "more than %d addresses", ADDRESSES_MAX);
    if (len >= sizeof(one))
        return st_fail(err, ST_INVALID_ARGUMENT, "'%.60s...' is no address", text);
    memcpy(one, text, len);
    one[len] = 0;
    enum st_code code = address_parse(one, &out->addresses[out->address_count], err);
    if (!code)
        out->address_count++;
    return code;
}

enum st_code
config_addresses_parse(const char *text, struct context *out, struct st_err *err)
{
    out->address_count = 0;
    for (;;) {
        size_t len = strcspn(text, ",");
        enum st_code code = add_address(text, len, out, err);
        if (code)
            return code;
        if (!text[len])
            return ST_OK;
        text += len + 1;
    }
}

bool
config_has_address(const struct context *context, const struct st_address *address)
{
    for (size_t i = 0; i < context->address_count; i++)
        if (address_equal(&context->addresses[i], address))
            return true;
    return false;
}

void
config_addresses_format(const struct context *context, char *out, size_t size)
{
    *out = 0;
    for (size_t i = 0; i < context->address_count; i++) {
        char one[ADDRESS_TEXT_MAX];
        size_t used = strlen(out);
        address_format(&context->addresses[i], one);
        snprintf(out + used, size - used, "%s%s", i ? "," : "", one);
    }
}

static enum st_code
read_context(const json_t *entry, struct context *out, struct st_err *err)
{
    const char *masters, *cert, *key;
    json_t *addresses;
    if (json_unpack((json_t *)entry, "{s:o, s:s, s:s, s:s}", "addresses", &addresses,
                    "masters_cert", &masters, "cert", &cert, "key", &key) ||
        !json_is_array(addresses) || json_array_size(addresses) == 0 ||
        strlen(cert) >= PATH_MAX || strlen(key) >= PATH_MAX)
        return damaged("a context lacks something", err);
    strcpy(out->cert_path, cert);
    strcpy(out->key_path, key);
    struct st_err why = {0};
    if (cert_from_pem(masters, &out->masters, &why))
        return damaged(why.text, err);
    size_t i;
    json_t *address;
    json_array_foreach(addresses, i, address)
    {
        const char *text = json_string_value(address);
        if (!text || add_address(text, strlen(text), out, &why))
            return damaged("an address is none", err);
    }
    return ST_OK;
}

enum st_code
config_find(const json_t *config, const char *name, struct context *out,
            struct st_err *err)
{
    const json_t *entry = json_object_get(json_object_get(config, "contexts"), name);
    if (!entry)
        return st_fail(err, ST_NOT_FOUND,
                       "there is no context %s: see `stctl context list`", name);
    struct context context = {0};
    enum st_code code = name_check("a context", name, err);
    if (!code)
        code = read_context(entry, &context, err);
    if (code)
        return code;
    strcpy(context.name, name);
    *out = context;
    return ST_OK;
}

enum st_code
config_put(json_t *config, const struct context *context, struct st_err *err)
{
    AUTO(st_freep) char *pem = NULL;
    enum st_code code =
        cert_to_pem(context->masters.der, context->masters.len, &pem, err);
    if (code)
        return code;
    json_t *addresses = json_array();
    for (size_t i = 0; i < context->address_count; i++) {
        char text[ADDRESS_TEXT_MAX];
        address_format(&context->addresses[i], text);
        json_array_append_new(addresses, json_string(text));
    }
    json_t *entry =
        json_pack("{s:o, s:s, s:s, s:s}", "addresses", addresses, "masters_cert", pem,
                  "cert", context->cert_path, "key", context->key_path);
    if (!entry ||
        json_object_set_new(json_object_get(config, "contexts"), context->name, entry))
        return st_fail(err, ST_INVALID_ARGUMENT, "a path of the context is not UTF-8");
    return ST_OK;
}

enum st_code
config_read_cert(const char *path, struct cert *out, struct st_err *err)
{
    AUTO(st_freep) uint8_t *pem = NULL;
    size_t len;
    enum st_code code = file_read(path, PEM_MAX_LEN, &pem, &len, err);
    if (code)
        return code;
    if (cert_from_pem((char *)pem, out, err))
        return st_wrap(err, "%.200s", path);
    return ST_OK;
}

static enum st_code
read_key(const char *path, struct secret *out, struct st_err *err)
{
    AUTO(st_freep) uint8_t *pem = NULL;
    size_t len;
    enum st_code code = file_read(path, PEM_MAX_LEN, &pem, &len, err);
    if (code)
        return code;
    code = key_from_pem((char *)pem, out, err);
    explicit_bzero(pem, len);
    return code ? st_wrap(err, "%.200s", path) : ST_OK;
}

enum st_code
config_credentials(const struct context *context, struct cert *out_cert,
                   struct secret *out_seed, struct st_err *err)
{
    SECRET seed = {0};
    uint8_t of_key[ED25519_PUBLIC_LEN], of_cert[ED25519_PUBLIC_LEN];
    enum st_code code = config_read_cert(context->cert_path, out_cert, err);
    if (!code)
        code = read_key(context->key_path, &seed, err);
    if (!code)
        code = key_public(&seed, of_key, err);
    if (!code && cert_public_key(out_cert->der, out_cert->len, of_cert, err))
        return st_wrap(err, "%.200s", context->cert_path);
    if (code)
        return code;
    if (memcmp(of_key, of_cert, sizeof(of_key)) != 0)
        return st_fail(err, ST_INVALID_ARGUMENT, "%.150s is not the key of %.150s",
                       context->key_path, context->cert_path);
    *out_seed = seed;
    return ST_OK;
}
