/* replay.c - main() of a fuzz target without a fuzzer: every input of a folder, once.
 *
 *     fuzz_<target> FOLDER
 *
 * The name of an input is written before it is run, so that the last line of a run that
 * a sanitizer ended says which one it was. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

enum {
    INPUT_MAX = 1024 * 1024
};

static int
is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* False with a line where it cannot be read. */
static bool
replay(const char *path)
{
    struct stat st;
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &st) || !S_ISREG(st.st_mode) ||
        st.st_size > INPUT_MAX) {
        fprintf(stderr, "replay: %s is no input\n", path);
        if (file)
            fclose(file);
        return false;
    }
    const size_t len = (size_t)st.st_size;
    uint8_t *bytes = malloc(len ? len : 1);
    const bool whole = bytes && fread(bytes, 1, len, file) == len;
    fclose(file);
    if (whole) {
        fprintf(stderr, "%s\n", path);
        LLVMFuzzerTestOneInput(bytes, len);
    } else {
        fprintf(stderr, "replay: cannot read %s\n", path);
    }
    free(bytes);
    return whole;
}

int
main(int argc, char **argv)
{
    struct dirent **entries;
    char path[PATH_MAX];
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    const int count = scandir(argv[1], &entries, is_input, alphasort);
    if (count <= 0) {
        fprintf(stderr, "replay: no input in %s: %s\n", argv[1],
                count < 0 ? strerror(errno) : "it is empty");
        return 1;
    }
    bool good = true;
    for (int i = 0; i < count; i++) {
        const int n = snprintf(path, sizeof(path), "%s/%s", argv[1], entries[i]->d_name);
        good = n < (int)sizeof(path) && replay(path) && good;
        free(entries[i]);
    }
    free(entries);
    printf("%d inputs\n", count);
    return good ? 0 : 1;
}
