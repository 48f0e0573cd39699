#include "node/esp.h"

#include "proto/file.h"
#include "proto/mutant.h"
#include "proto/scope.h"
#include "proto/sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define FOLDER "EFI/smalltown"
#define VERSION " v1\n"

static const char *const names[] = {
    [ESP_CONFIG] = "enrolment.pb",
    [ESP_SEALED] = "sealed",
    [ESP_PENDING] = "pending",
    [ESP_IDENTITY] = "identity",
    [ESP_APPROVALS] = "approvals",
    [ESP_CONTROL] = "control",
    [ESP_CONTROL_PENDING] = "control-pending",
};

enum {
    FILES = sizeof(names) / sizeof(*names),
    LABEL_MAX = 32,
    FRAMED_MAX = LABEL_MAX + ESP_CONTENT_MAX + SHA256_LEN
};

struct esp {
    int lock;
    char paths[FILES][PATH_MAX];
};

static enum st_code
name_files(const char *dir, struct esp *esp, struct st_err *err)
{
    for (int i = 0; i < FILES; i++) {
        int n = snprintf(esp->paths[i], PATH_MAX, "%s/" FOLDER "/%s", dir, names[i]);
        if (n >= PATH_MAX)
            return st_fail(err, ST_INVALID_ARGUMENT, "--esp is too long");
    }
    return ST_OK;
}

enum st_code
esp_open_beside(const char *dir, struct esp **out, struct st_err *err)
{
    AUTO(esp_closep) struct esp *esp = calloc(1, sizeof(*esp));
    if (!esp)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory");
    esp->lock = -1;
    enum st_code code = name_files(dir, esp, err);
    if (code)
        return code;
    *out = TAKE(esp);
    return ST_OK;
}

enum st_code
esp_open(const char *dir, struct esp **out, struct st_err *err)
{
    AUTO(esp_closep) struct esp *esp = NULL;
    enum st_code code = esp_open_beside(dir, &esp, err);
    if (code)
        return code;
    esp->lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (esp->lock < 0)
        return st_fail(err, ST_FAILED_PRECONDITION, "cannot open --esp %s: %s", dir,
                       strerror(errno));
    if (flock(esp->lock, LOCK_EX | LOCK_NB))
        return errno == EWOULDBLOCK
                   ? st_fail(err, ST_ALREADY_EXISTS,
                             "another smalltown-node works on the ESP %s: stop it first "
                             "(its units: systemctl stop smalltown-crypttab.socket "
                             "smalltown-node)",
                             dir)
                   : st_fail(err, ST_INTERNAL, "cannot lock %s: %s", dir,
                             strerror(errno));
    *out = TAKE(esp);
    return ST_OK;
}

void
esp_close(struct esp *esp)
{
    if (esp && esp->lock >= 0)
        close(esp->lock); /* and with it the lock */
    free(esp);
}

const char *
esp_path(const struct esp *esp, enum esp_file file)
{
    return esp->paths[file];
}

static size_t
label_of(enum esp_file file, char out[LABEL_MAX])
{
    return (size_t)snprintf(out, LABEL_MAX, "smalltown %s" VERSION, names[file]);
}

enum st_code
esp_write(const struct esp *esp, enum esp_file file, const void *content, size_t len,
          struct st_err *err)
{
    char label[LABEL_MAX];
    uint8_t framed[FRAMED_MAX];
    size_t at = label_of(file, label);
    if (len > ESP_CONTENT_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "%zu bytes for %s", len, names[file]);
    memcpy(framed, label, at);
    memcpy(framed + at, content, len);
    at += len;
    sha256_of(framed, at, framed + at);
    return file_write(esp->paths[file], 0600, framed, at + SHA256_LEN, err);
}

static enum st_code
unframe(const struct esp *esp, enum esp_file file, const uint8_t *bytes, size_t len,
        size_t *out_start, struct st_err *err)
{
    char label[LABEL_MAX];
    uint8_t sum[SHA256_LEN];
    size_t label_len = label_of(file, label), stem = label_len - strlen(VERSION);
    const char *path = esp->paths[file];
    if (len < label_len + SHA256_LEN || memcmp(bytes, label, stem) != 0)
        return st_fail(err, ST_DATA_LOSS, "%s is not a file of smalltown-node", path);
    sha256_of(bytes, len - SHA256_LEN, sum);
    if (REFUSES(0x48e, memcmp(sum, bytes + len - SHA256_LEN, SHA256_LEN) != 0))
        return st_fail(err, ST_DATA_LOSS, "%s is damaged", path);
    if (memcmp(bytes, label, label_len) != 0)
        return st_fail(err, ST_DATA_LOSS, "%s is of another version of smalltown-node",
                       path);
    *out_start = label_len;
    return ST_OK;
}

enum st_code
esp_read(const struct esp *esp, enum esp_file file, uint8_t out[ESP_CONTENT_MAX],
         size_t *out_len, struct st_err *err)
{
    AUTO(st_freep) uint8_t *bytes = NULL;
    size_t len, start;
    enum st_code code = file_read(esp->paths[file], FRAMED_MAX, &bytes, &len, err);
    if (code == ST_INVALID_ARGUMENT)
        return st_fail(err, ST_DATA_LOSS, "%s is not a file of smalltown-node",
                       esp->paths[file]);
    if (code || (code = unframe(esp, file, bytes, len, &start, err)))
        return code;
    if (len - start - SHA256_LEN > ESP_CONTENT_MAX)
        return st_fail(err, ST_DATA_LOSS, "%s is too long", esp->paths[file]);
    *out_len = len - start - SHA256_LEN;
    memcpy(out, bytes + start, *out_len);
    return ST_OK;
}

enum st_code
esp_erase(const struct esp *esp, enum esp_file file, struct st_err *err)
{
    return file_erase(esp->paths[file], err);
}
