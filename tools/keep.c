#include "tools/keep.h"

#include "proto/file.h"
#include "proto/scope.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum st_code
keep_check(const char *path, struct st_err *err)
{
    char copy[PATH_MAX];
    struct stat st;
    if (strlen(path) >= PATH_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "--out is too long");
    if (lstat(path, &st) == 0)
        return st_fail(err, ST_ALREADY_EXISTS,
                       "%.250s is there already and is not overwritten: move it away, or "
                       "choose another file with --out",
                       path);
    strcpy(copy, path);
    if (access(dirname(copy), W_OK | X_OK))
        return st_fail(err, ST_FAILED_PRECONDITION, "%.250s cannot be written: %s", path,
                       strerror(errno));
    return ST_OK;
}

enum st_code
keep_write(const char *path, const ProtobufCMessage *message, struct st_err *err)
{
    const size_t len = protobuf_c_message_get_packed_size(message);
    AUTO(st_freep) uint8_t *packed = malloc(len);
    if (!packed)
        return st_fail(err, ST_INTERNAL, "no memory for %.200s", path);
    protobuf_c_message_pack(message, packed);
    enum st_code code = file_write(path, 0600, packed, len, err);
    explicit_bzero(packed, len);
    return code;
}
