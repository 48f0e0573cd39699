#include "proto/file.h"

#include "proto/scope.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
fd_closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static enum st_code
fail_errno(struct st_err *err, const char *verb, const char *path)
{
    enum st_code code = errno == ENOENT ? ST_NOT_FOUND : ST_INTERNAL;
    return st_fail(err, code, "cannot %s %s: %s", verb, path, strerror(errno));
}

static enum st_code
sync_folder_of(const char *path, struct st_err *err)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof(copy), "%s", path);
    AUTO(fd_closep) int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(err, "open the folder of", path);
    /* EINVAL: folders of this file system have no flush, as those that a hypervisor
     * shares.  The FAT of an ESP has one. */
    if (fsync(fd) && errno != EINVAL)
        return fail_errno(err, "flush the folder of", path);
    return ST_OK;
}

static int
write_all(int fd, const uint8_t *bytes, size_t len)
{
    while (len) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* On FAT the file's entry, which is under the new name now, says where its bytes are, and
 * only a flush of the file writes that: one of the folder leaves the entry of before,
 * whose bytes are free by then, or an empty one. */
static enum st_code
write_and_rename(int fd, const char *temporary, const char *path, mode_t mode,
                 const void *bytes, size_t len, struct st_err *err)
{
    if (fchmod(fd, mode) && errno != EPERM) /* FAT has no modes */
        return fail_errno(err, "set the mode of", temporary);
    if (write_all(fd, bytes, len) || fsync(fd))
        return fail_errno(err, "write", temporary);
    if (rename(temporary, path))
        return fail_errno(err, "replace", path);
    if (fsync(fd))
        return fail_errno(err, "flush", path);
    return sync_folder_of(path, err);
}

enum st_code
file_write(const char *path, mode_t mode, const void *bytes, size_t len,
           struct st_err *err)
{
    char temporary[PATH_MAX];
    int n = snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof(temporary))
        return st_fail(err, ST_INVALID_ARGUMENT, "path too long: %s", path);
    AUTO(fd_closep) int fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
    if (fd < 0)
        return fail_errno(err, "create a file beside", path);
    enum st_code code = write_and_rename(fd, temporary, path, mode, bytes, len, err);
    if (code)
        unlink(temporary);
    return code;
}

enum st_code
file_read(const char *path, size_t max, uint8_t **out, size_t *out_len,
          struct st_err *err)
{
    AUTO(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        return fail_errno(err, "read", path);
    if (!S_ISREG(st.st_mode))
        return st_fail(err, ST_INVALID_ARGUMENT, "%s is not a regular file", path);
    if ((size_t)st.st_size > max)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "%s has %lld bytes, at most %zu expected", path,
                       (long long)st.st_size, max);
    size_t want = (size_t)st.st_size, have = 0;
    AUTO(st_freep) uint8_t *bytes = malloc(want + 1);
    if (!bytes)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory reading %s", path);
    while (have < want) {
        ssize_t n = read(fd, bytes + have, want - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(err, "read", path);
        if (n == 0)
            break;
        have += (size_t)n;
    }
    bytes[have] = 0;
    *out_len = have;
    *out = TAKE(bytes);
    return ST_OK;
}

enum st_code
file_erase(const char *path, struct st_err *err)
{
    AUTO(fd_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 && errno == ENOENT)
        return ST_OK;
    if (fd < 0 || fstat(fd, &st))
        return fail_errno(err, "erase", path);
    static const uint8_t zeros[4096];
    for (off_t at = 0; at < st.st_size; at += (off_t)sizeof(zeros)) {
        off_t left = st.st_size - at;
        size_t n = left < (off_t)sizeof(zeros) ? (size_t)left : sizeof(zeros);
        if (write_all(fd, zeros, n))
            return fail_errno(err, "erase", path);
    }
    if (fsync(fd) || unlink(path))
        return fail_errno(err, "erase", path);
    return sync_folder_of(path, err);
}

enum st_code
file_remove(const char *path, struct st_err *err)
{
    if (unlink(path))
        return errno == ENOENT ? ST_OK : fail_errno(err, "remove", path);
    return sync_folder_of(path, err);
}

enum st_code
file_make_folder(const char *path, struct st_err *err)
{
    char copy[PATH_MAX];
    int n = snprintf(copy, sizeof(copy), "%s", path);
    if (n <= 0 || (size_t)n >= sizeof(copy))
        return st_fail(err, ST_INVALID_ARGUMENT, "bad folder name: %s", path);
    for (char *slash = copy + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        if (mkdir(copy, 0700) && errno != EEXIST)
            return fail_errno(err, "create", copy);
        *slash = '/';
    }
    struct stat st;
    if (mkdir(copy, 0700) && errno != EEXIST)
        return fail_errno(err, "create", copy);
    if (stat(copy, &st) || !S_ISDIR(st.st_mode))
        return st_fail(err, ST_INVALID_ARGUMENT, "%s is not a folder", copy);
    return ST_OK;
}
