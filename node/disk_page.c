/* The volume as bare bytes: whether it is blank, and the page that marks a begun format.
 */
#include "node/disk_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_LABEL "smalltown format v1\n"
#define LUKS_MAGIC "LUKS\xba\xbe"

enum {
    PAGE = 4096,
    CHUNK = 64 * 1024,
    LOOK = 1024 * 1024,        /* at the start and at the end */
    HEADER = 16 * 1024 * 1024, /* of LUKS2, with its keyslots */
    SIZE_MIN = 2 * HEADER,
};

static void
fd_closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static enum st_code
open_volume(const char *path, int flags, int *out, off_t *out_size, struct st_err *err)
{
    AUTO(fd_closep) int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 && errno == ENOENT)
        return st_fail(err, ST_NOT_FOUND,
                       "there is no volume %.200s: attach it, or make an image file "
                       "with `truncate -s 1G`",
                       path);
    if (fd < 0 || fstat(fd, &st))
        return st_fail(err, ST_INTERNAL, "cannot open the volume %.200s: %s", path,
                       strerror(errno));
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "the volume %.200s is neither a block device nor an image "
                       "file",
                       path);
    *out_size = lseek(fd, 0, SEEK_END);
    if (*out_size < SIZE_MIN)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "the volume %.200s has %lld bytes, at least %d are needed", path,
                       (long long)*out_size, SIZE_MIN);
    *out = fd;
    fd = -1;
    return ST_OK;
}

static enum st_code
read_at(int fd, off_t at, void *out, size_t len, const char *path, struct st_err *err)
{
    for (size_t have = 0; have < len;) {
        ssize_t n = pread(fd, (char *)out + have, len - have, at + (off_t)have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return st_fail(err, ST_INTERNAL, "cannot read the volume %.200s: %s", path,
                           n ? strerror(errno) : "it ends too early");
        have += (size_t)n;
    }
    return ST_OK;
}

static bool
all_zero(const uint8_t *bytes, size_t len)
{
    return bytes[0] == 0 && !memcmp(bytes, bytes + 1, len - 1);
}

static enum st_code
is_zero(int fd, off_t from, const char *path, bool *out, struct st_err *err)
{
    uint8_t chunk[CHUNK];
    *out = true;
    for (off_t at = from; *out && at < from + LOOK; at += CHUNK) {
        enum st_code code = read_at(fd, at, chunk, CHUNK, path, err);
        if (code)
            return code;
        *out = all_zero(chunk, CHUNK);
    }
    return ST_OK;
}

static off_t
page_offset(off_t size)
{
    return size / PAGE * PAGE - PAGE;
}

static void
page_make(const char *node_id, uint8_t out[PAGE])
{
    memset(out, 0, PAGE);
    if (!*node_id)
        return;
    memcpy(out, PAGE_LABEL, strlen(PAGE_LABEL));
    memcpy(out + strlen(PAGE_LABEL), node_id, NODE_ID_LEN);
}

static bool
page_read(const uint8_t page[PAGE], char out[NODE_ID_LEN + 1])
{
    uint8_t expected[PAGE];
    memcpy(out, page + strlen(PAGE_LABEL), NODE_ID_LEN);
    out[NODE_ID_LEN] = 0;
    if (node_id_check(out, NULL))
        return false;
    page_make(out, expected);
    return !memcmp(page, expected, PAGE);
}

/* How a format that was cut leaves the start: LUKS2 wipes, then writes its header. */
static bool
looks_torn(const uint8_t head[PAGE])
{
    return all_zero(head, PAGE) || !memcmp(head, LUKS_MAGIC, strlen(LUKS_MAGIC));
}

enum st_code
disk_page_observe(const char *path, struct disk_found *out, struct st_err *err)
{
    AUTO(fd_closep) int fd = -1;
    off_t size;
    uint8_t head[PAGE], page[PAGE];
    char node_id[NODE_ID_LEN + 1];
    bool head_zero, tail_zero;
    enum st_code code;
    if ((code = open_volume(path, O_RDONLY, &fd, &size, err)) ||
        (code = read_at(fd, 0, head, PAGE, path, err)) ||
        (code = read_at(fd, page_offset(size), page, PAGE, path, err)) ||
        (code = is_zero(fd, 0, path, &head_zero, err)) ||
        (code = is_zero(fd, size - LOOK, path, &tail_zero, err)))
        return code;
    memset(out, 0, sizeof(*out));
    out->state = START_VOLUME_FOREIGN;
    if (head_zero && tail_zero)
        out->state = START_VOLUME_BLANK;
    else if (looks_torn(head) && page_read(page, node_id)) {
        out->state = START_VOLUME_TORN;
        strcpy(out->node_id, node_id);
    }
    return ST_OK;
}

static enum st_code
write_at(int fd, off_t at, const void *bytes, size_t len, const char *path,
         struct st_err *err)
{
    for (size_t have = 0; have < len;) {
        ssize_t n = pwrite(fd, (const char *)bytes + have, len - have, at + (off_t)have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return st_fail(err, ST_INTERNAL, "cannot write to the volume %.200s: %s",
                           path, n ? strerror(errno) : "it ends too early");
        have += (size_t)n;
    }
    return ST_OK;
}

static enum st_code
flush(int fd, const char *path, struct st_err *err)
{
    if (fsync(fd))
        return st_fail(err, ST_INTERNAL, "cannot write to the volume %.200s: %s", path,
                       strerror(errno));
    return ST_OK;
}

static enum st_code
zero(int fd, off_t from, off_t to, const char *path, struct st_err *err)
{
    static const uint8_t zeros[CHUNK];
    enum st_code code = ST_OK;
    for (off_t at = from; !code && at < to; at += CHUNK)
        code = write_at(fd, at, zeros, (size_t)(to - at < CHUNK ? to - at : CHUNK), path,
                        err);
    return code ? code : flush(fd, path, err);
}

static enum st_code
put_page(int fd, off_t size, const char *node_id, const char *path, struct st_err *err)
{
    uint8_t page[PAGE];
    page_make(node_id, page);
    enum st_code code = write_at(fd, page_offset(size), page, PAGE, path, err);
    return code ? code : flush(fd, path, err);
}

enum st_code
disk_page_write(const char *path, const char *node_id, struct st_err *err)
{
    AUTO(fd_closep) int fd = -1;
    off_t size;
    enum st_code code = open_volume(path, O_WRONLY, &fd, &size, err);
    return code ? code : put_page(fd, size, node_id, path, err);
}

enum st_code
disk_page_blank(const char *path, const char *node_id, struct st_err *err)
{
    AUTO(fd_closep) int fd = -1;
    off_t size;
    enum st_code code;
    if ((code = open_volume(path, O_WRONLY, &fd, &size, err)) ||
        (code = put_page(fd, size, node_id, path, err)) ||
        (code = zero(fd, 0, HEADER, path, err)) ||
        (code = zero(fd, size - LOOK, page_offset(size), path, err)) ||
        (code = zero(fd, page_offset(size) + PAGE, size, path, err)))
        return code;
    return put_page(fd, size, "", path, err);
}
