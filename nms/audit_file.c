#include "nms/audit_file.h"

#include "proto/file.h"
#include "proto/mutant.h"
#include "proto/scope.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    NUMBERED_MAX = AUDIT_PATH_MAX + 16,
};

enum st_code
audit_file_init(struct audit_file *file, const char *dir, const char *name,
                unsigned count, size_t max, struct st_err *err)
{
    *file = (struct audit_file){.count = count, .max = max, .fd = -1};
    const int len = snprintf(file->path, sizeof(file->path), "%s/%s.log", dir, name);
    if (len < 0 || (size_t)len >= sizeof(file->path))
        return st_fail(err, ST_INVALID_ARGUMENT, "the path of the audit is too long");
    return ST_OK;
}

void
audit_file_close(struct audit_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

static enum st_code
failed(const struct audit_file *file, const char *verb, struct st_err *err)
{
    return st_fail(err, ST_INTERNAL, "cannot %s %s: %s", verb, file->path,
                   strerror(errno));
}

/* The n-th before the one that is written. */
static void
path_of(const struct audit_file *file, unsigned n, char out[NUMBERED_MAX])
{
    if (n == 0)
        snprintf(out, NUMBERED_MAX, "%s", file->path);
    else
        snprintf(out, NUMBERED_MAX, "%s.%u", file->path, n);
}

/* NULL where it is not there, or no file of ours; free() it.  With one byte more than it
 * may have, for a line that somebody else wrote. */
static char *
read_whole(const struct audit_file *file, unsigned n, size_t *out_len)
{
    char path[NUMBERED_MAX];
    uint8_t *bytes;
    path_of(file, n, path);
    return file_read(path, file->max + AUDIT_LINE_MAX, &bytes, out_len, NULL)
               ? NULL
               : (char *)bytes;
}

/* Where the last whole line ends. */
static size_t
whole_lines(const char *text, size_t len)
{
    const char *newline = len ? memrchr(text, '\n', len) : NULL;
    return newline ? (size_t)(newline - text) + 1 : 0;
}

/* What a crash left of a line would run into the next one.  After a power cut that may be
 * more than one line's worth of zeroes. */
static enum st_code
cut_torn(struct audit_file *file, struct st_err *err)
{
    char tail[AUDIT_LINE_MAX];
    struct stat st;
    if (fstat(file->fd, &st))
        return failed(file, "read", err);
    size_t size = (size_t)st.st_size, want, whole;
    do {
        want = size < sizeof(tail) ? size : sizeof(tail);
        size -= want;
        const ssize_t got = pread(file->fd, tail, want, (off_t)size);
        if (got < 0 || (size_t)got != want)
            return failed(file, "read", err);
        whole = whole_lines(tail, want);
    } while (whole == 0 && size > 0);
    file->size = size + whole;
    if (REFUSES(0x3501, file->size < (size_t)st.st_size) &&
        ftruncate(file->fd, (off_t)file->size))
        return failed(file, "cut", err);
    return ST_OK;
}

static enum st_code
open_it(struct audit_file *file, struct st_err *err)
{
    enum st_code code;
    struct stat st;
    if (file->fd >= 0)
        return ST_OK;
    file->fd =
        open(file->path,
             O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (file->fd < 0)
        return failed(file, "open", err);
    if (fstat(file->fd, &st) || !S_ISREG(st.st_mode))
        code = st_fail(err, ST_INTERNAL, "%s is no file", file->path);
    else
        code = cut_torn(file, err);
    if (code)
        audit_file_close(file);
    return code;
}

static enum st_code
rotate(struct audit_file *file, struct st_err *err)
{
    char from[NUMBERED_MAX], to[NUMBERED_MAX];
    audit_file_close(file);
    for (unsigned n = file->count - 1; n > 0; n--) {
        path_of(file, n - 1, from);
        path_of(file, n, to);
        if (rename(from, to) && errno != ENOENT)
            return failed(file, "rename", err);
    }
    return open_it(file, err);
}

static enum st_code
spare_records(const struct audit_file *file, struct st_err *err)
{
    struct statvfs disk;
    if (fstatvfs(file->fd, &disk))
        return failed(file, "look at the disk of", err);
    if (REFUSES(0x4605, disk.f_bavail * disk.f_frsize < AUDIT_SPARES))
        return st_fail(err, ST_INTERNAL,
                       "cannot write %s: less than %d MiB of the disk are left, and the "
                       "records need them",
                       file->path, AUDIT_SPARES >> 20);
    return ST_OK;
}

/* A disk that is full takes half of a line, and that half goes again. */
static enum st_code
write_line(struct audit_file *file, const char *line, size_t len, struct st_err *err)
{
    size_t done = 0;
    while (done < len) {
        const ssize_t n = write(file->fd, line + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            enum st_code code = failed(file, "write", err);
            if (done > 0 && ftruncate(file->fd, (off_t)file->size))
                audit_file_close(file); /* is cut when it is opened again */
            return code;
        }
        done += (size_t)n;
    }
    file->size += len;
    file->dirty = true;
    return ST_OK;
}

enum st_code
audit_file_append(struct audit_file *file, const char *line, size_t len,
                  struct st_err *err)
{
    enum st_code code = open_it(file, err);
    if (!code && REFUSES(0x4603, file->size + len > file->max))
        code = rotate(file, err);
    if (!code)
        code = spare_records(file, err);
    return code ? code : write_line(file, line, len, err);
}

enum st_code
audit_file_flush(struct audit_file *file, struct st_err *err)
{
    if (!file->dirty || file->fd < 0)
        return ST_OK;
    file->dirty = false;
    return fdatasync(file->fd) ? failed(file, "flush", err) : ST_OK;
}

/* ---- reading ---- */

struct span {
    const char *at;
    size_t len; /* without the newline */
};

/* The line before `end`, which is behind a newline. */
static struct span
line_before(const char *text, const char *end)
{
    const char *newline = memrchr(text, '\n', (size_t)(end - text) - 1);
    const char *at = newline ? newline + 1 : text;
    return (struct span){at, (size_t)(end - at) - 1};
}

static uint64_t
last_number(const char *text, size_t len)
{
    const char *end = text + whole_lines(text, len);
    uint64_t number = 0;
    while (end > text && number == 0) {
        const struct span line = line_before(text, end);
        number = audit_line_number(line.at, line.len);
        end = line.at;
    }
    return number;
}

uint64_t
audit_file_last(const struct audit_file *file)
{
    uint64_t number = 0;
    for (unsigned n = 0; n < file->count && number == 0; n++) {
        size_t len = 0;
        AUTO(st_freep) char *text = read_whole(file, n, &len);
        number = text ? last_number(text, len) : 0;
    }
    return number;
}

struct visit {
    uint64_t after;
    bool (*each)(void *arg, const struct audit_line *line);
    void *arg;
};

/* False where that was enough. */
static bool
visit_line(const struct visit *visit, struct span span)
{
    struct audit_line line;
    if (!audit_line_parse(span.at, span.len, &line))
        return true;
    return line.number <= visit->after || visit->each(visit->arg, &line);
}

static bool
visit_backwards(const struct visit *visit, const char *text, size_t len)
{
    const char *end = text + whole_lines(text, len);
    while (end > text) {
        const struct span line = line_before(text, end);
        if (!visit_line(visit, line))
            return false;
        end = line.at;
    }
    return true;
}

static bool
visit_forwards(const struct visit *visit, const char *text, size_t len)
{
    const char *end = text + whole_lines(text, len);
    if (last_number(text, len) <= visit->after)
        return true;
    for (const char *at = text, *newline; at < end; at = newline + 1) {
        newline = memchr(at, '\n', (size_t)(end - at));
        const struct span line = {at, (size_t)(newline - at)};
        /* Most of them cost no more than a look at their numbers. */
        if (audit_line_number(line.at, line.len) > visit->after &&
            !visit_line(visit, line))
            return false;
    }
    return true;
}

void
audit_file_each(const struct audit_file *file, uint64_t after, bool backwards,
                bool (*each)(void *arg, const struct audit_line *line), void *arg)
{
    const struct visit visit = {after, each, arg};
    bool more = true;
    for (unsigned n = 0; more && n < file->count; n++) {
        size_t len = 0;
        AUTO(st_freep)
        char *text = read_whole(file, backwards ? n : file->count - 1 - n, &len);
        if (text)
            more = backwards ? visit_backwards(&visit, text, len)
                             : visit_forwards(&visit, text, len);
    }
}
