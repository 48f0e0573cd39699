/* stctl node recovery-key, recovery open: a recovery key is opened here and nowhere else.
 */
#include "tools/recovery.h"

#include "proto/file.h"
#include "tools/node.h"

#include <string.h>

enum {
    FILE_MAX = 64 * 1024
};

enum st_code
recovery_read_public(const char *path, uint8_t out[HPKE_KEY_LEN], struct st_err *err)
{
    AUTO(st_freep) uint8_t *pem = NULL;
    const struct hpke_context nothing = {0};
    struct secret message = {.len = 1};
    uint8_t sealed[1 + HPKE_OVERHEAD];
    size_t len;
    enum st_code code = file_read(path, FILE_MAX, &pem, &len, err);
    if (code)
        return code;
    if ((code = recovery_public_from_pem((const char *)pem, out, err)) ||
        (code = hpke_seal(out, &nothing, &message, sealed, err)))
        return st_wrap(err, "%.200s", path);
    return ST_OK;
}

static enum st_code
read_private(const struct invocation *in, struct secret *out, struct st_err *err)
{
    const char *path = in->options[OPTION_KEY];
    AUTO(st_freep) uint8_t *pem = NULL;
    size_t len;
    enum st_code code = file_read(path, FILE_MAX, &pem, &len, err);
    if (code)
        return code;
    code = recovery_private_from_pem((const char *)pem, out, err);
    explicit_bzero(pem, len);
    return code ? st_wrap(err, "%.200s", path) : ST_OK;
}

static enum st_code
print_key(const struct invocation *in, const void *sealed, size_t len,
          const struct secret *private_key, struct st_err *err)
{
    SECRET key = {0};
    struct recovery_place place;
    struct st_err why = {0};
    enum st_code code;
    if ((code = recovery_look(sealed, len, &place, err)))
        return code;
    if (recovery_open(sealed, len, private_key, &key, &why)) /* no master said that */
        return st_fail(err, ST_FAILED_PRECONDITION, "%s", why.text);
    if (in->json)
        return json_print(json_pack("{s:s, s:s, s:s}", "node_id", place.node_id, "volume",
                                    place.uuid, "recovery_key", (char *)key.bytes),
                          err);
    printf("node          %s\nvolume        %s\nrecovery key  %s\n", place.node_id,
           place.uuid, (const char *)key.bytes);
    return ST_OK;
}

/* A master that names another node's key for this one is not believed. */
static enum st_code
check_node(const ProtobufCBinaryData *sealed, const char *node_id, struct st_err *err)
{
    struct recovery_place place;
    if (sealed->len == 0)
        return st_fail(err, ST_NOT_FOUND,
                       "the masters have no recovery key of %s: its enrolment was made "
                       "without --recovery-key, or it has no data volume",
                       node_id);
    if (recovery_look(sealed->data, sealed->len, &place, NULL) ||
        strcmp(place.node_id, node_id) != 0)
        return st_fail(err, ST_INTERNAL,
                       "the master's answer is no recovery key of this node");
    return ST_OK;
}

enum st_code
stctl_node_recovery_key(const struct invocation *in, struct st_err *err)
{
    SECRET private_key = {0};
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *nodes = NULL, *answer = NULL;
    Api__FetchRecoveryKeyRequest request = API__FETCH_RECOVERY_KEY_REQUEST__INIT;
    const Api__Node *node;
    enum st_code code = read_private(in, &private_key, err);
    if (!code)
        code = node_resolve(in, &connection, &nodes, &node, err);
    if (code)
        return code;
    request.node_id = node->node_id;
    code = connect_call(&connection, "FetchRecoveryKey", &request.base,
                        &api__fetch_recovery_key_response__descriptor, &answer, err);
    if (code)
        return code;
    const ProtobufCBinaryData *sealed =
        &((const Api__FetchRecoveryKeyResponse *)answer)->sealed;
    if ((code = check_node(sealed, node->node_id, err)))
        return code;
    return print_key(in, sealed->data, sealed->len, &private_key, err);
}

/* "sealed" of the token (node/disk.h). */
static enum st_code
read_token(const char *path, uint8_t out[RECOVERY_SEALED_LEN], struct st_err *err)
{
    AUTO(st_freep) uint8_t *text = NULL;
    size_t len;
    enum st_code code = file_read(path, FILE_MAX, &text, &len, err);
    if (code)
        return code;
    AUTO(json_freep) json_t *token = json_loads((const char *)text, 0, NULL);
    const char *hex = json_string_value(json_object_get(token, "sealed"));
    bool good = hex && strlen(hex) == 2 * RECOVERY_SEALED_LEN &&
                strspn(hex, "0123456789abcdef") == 2 * RECOVERY_SEALED_LEN;
    for (size_t i = 0; good && i < RECOVERY_SEALED_LEN; i++)
        good = sscanf(hex + 2 * i, "%2hhx", &out[i]) == 1;
    if (!good)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "%.200s is no token with a sealed recovery key", path);
    return ST_OK;
}

enum st_code
stctl_recovery_open(const struct invocation *in, struct st_err *err)
{
    SECRET private_key = {0};
    uint8_t sealed[RECOVERY_SEALED_LEN];
    enum st_code code;
    if ((code = read_private(in, &private_key, err)) ||
        (code = read_token(in->argument, sealed, err)))
        return code;
    return print_key(in, sealed, sizeof(sealed), &private_key, err);
}
