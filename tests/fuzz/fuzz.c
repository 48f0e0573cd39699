#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* ---- pieces ---- */

void
fuzz_piece_free(struct fuzz_piece *piece)
{
    free(piece->bytes);
}

uint8_t
fuzz_take_byte(struct fuzz_input *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->at++;
}

struct fuzz_piece
fuzz_take(struct fuzz_input *input)
{
    size_t len = fuzz_take_byte(input);
    len |= (size_t)fuzz_take_byte(input) << 8;
    if (len > input->left)
        len = input->left;
    struct fuzz_piece piece = {malloc(len ? len : 1), len};
    FUZZ_HOLDS(piece.bytes);
    if (len > 0)
        memcpy(piece.bytes, input->at, len);
    input->at += len;
    input->left -= len;
    return piece;
}

char *
fuzz_text(const void *bytes, size_t len)
{
    char *text = malloc(len + 1);
    FUZZ_HOLDS(text);
    if (len > 0)
        memcpy(text, bytes, len);
    text[len] = 0;
    return text;
}

/* ---- files ---- */

static char folder[PATH_MAX];

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static void
remove_folder(void)
{
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *
fuzz_folder(void)
{
    if (*folder)
        return folder;
    const char *where = getenv("TMPDIR");
    snprintf(folder, sizeof(folder), "%s/smalltown-fuzz-XXXXXX", where ? where : "/tmp");
    FUZZ_HOLDS(mkdtemp(folder));
    FUZZ_HOLDS(atexit(remove_folder) == 0);
    return folder;
}

const char *
fuzz_path(const char *name)
{
    static char path[2 * PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", fuzz_folder(), name);
    return path;
}

void
fuzz_file(const char *name, const void *bytes, size_t len)
{
    int fd = open(fuzz_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_HOLDS(fd >= 0);
    FUZZ_HOLDS(write(fd, bytes, len) == (ssize_t)len);
    close(fd);
}

void
fuzz_no_file(const char *name)
{
    (void)unlink(fuzz_path(name));
}
