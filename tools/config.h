/* config.h - which clusters this administrator knows: ~/.config/smalltown/contexts.json.
 *
 *     {"current": "town",
 *      "contexts": {"town": {"addresses": ["192.0.2.1"], "masters_cert": "-----BEGIN...",
 *                            "cert": "/home/a/.config/smalltown/admin.pem",
 *                            "key": "/home/a/.config/smalltown/admin-key.pem"}}}
 *
 * The masters' certificate is copied into it: it is what stctl trusts, and must not
 * change because another file did.  Keys stay in their own files.
 */
#ifndef TOOLS_CONFIG_H
#define TOOLS_CONFIG_H

#include "proto/address.h"
#include "proto/cert.h"
#include "proto/ident.h"
#include "proto/scope.h"

#include <jansson.h>
#include <limits.h>

struct context {
    char name[NAME_MAX_LEN + 1];
    struct st_address addresses[ADDRESSES_MAX];
    size_t address_count;
    struct cert masters;
    char cert_path[PATH_MAX], key_path[PATH_MAX];
};

/* The configuration folder ($XDG_CONFIG_HOME or ~/.config, then smalltown) with "/file"
 * behind it where file is not NULL.  ST_FAILED_PRECONDITION without a home. */
enum st_code config_path(const char *file, char out[PATH_MAX], struct st_err *err);

/* The whole file, an empty configuration where there is none.  Owns: json_decref().
 * ST_DATA_LOSS where it is not what config_write() writes. */
enum st_code config_read(json_t **out, struct st_err *err);
enum st_code config_write(const json_t *config, struct st_err *err);
AUTO_DEFINE(json_t *, json_freep, json_decref)

/* The name of the context in use, NULL where there is none; lent by config. */
const char *config_current(const json_t *config);
/* One context.  ST_NOT_FOUND; ST_DATA_LOSS. */
enum st_code config_find(const json_t *config, const char *name, struct context *out,
                         struct st_err *err);
/* Adds or replaces. */
enum st_code config_put(json_t *config, const struct context *context,
                        struct st_err *err);

/* "192.0.2.1,192.0.2.2" and back. */
void config_addresses_format(const struct context *context, char *out, size_t size);
enum st_code config_addresses_parse(const char *text, struct context *out,
                                    struct st_err *err);

bool config_has_address(const struct context *context, const struct st_address *address);

/* The administrator's certificate and key at the paths of the context.
 * ST_INVALID_ARGUMENT where they are none, or not of each other. */
enum st_code config_credentials(const struct context *context, struct cert *out_cert,
                                struct secret *out_seed, struct st_err *err);
/* A certificate in a PEM file. */
enum st_code config_read_cert(const char *path, struct cert *out, struct st_err *err);

#endif
