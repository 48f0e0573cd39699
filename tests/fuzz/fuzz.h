/* fuzz.h - what the fuzz targets share.
 *
 * A target is one file with LLVMFuzzerTestOneInput().  Built by clang with libFuzzer
 * (preset fuzz) it looks for inputs that do harm; built otherwise, replay.c runs it on
 * the inputs of corpus/<target>.  Where a target wants more than one thing, its input is
 * a row of pieces:
 *
 *     u16 length, little-endian | that many bytes, or as many as are left
 *
 * One thread.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    FUZZ_SEED = 0x21 /* each byte of the keys that targets and seeds agree on */
};

/* libFuzzer's: 0 for an input, whatever it did. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* What must be true of every input, also in a build without assertions. */
#define FUZZ_HOLDS(condition)                                                            \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__,            \
                    #condition);                                                         \
            abort();                                                                     \
        }                                                                                \
    } while (0)

struct fuzz_input {
    const uint8_t *at;
    size_t left;
};

/* Memory of its own, so that a sanitizer sees who reads on; with a NUL behind it only
 * where fuzz_text() made it. */
struct fuzz_piece {
    uint8_t *bytes;
    size_t len;
};
void fuzz_piece_free(struct fuzz_piece *piece);
#define FUZZ_PIECE __attribute__((cleanup(fuzz_piece_free))) struct fuzz_piece

/* The next piece; an empty one at the end. */
struct fuzz_piece fuzz_take(struct fuzz_input *input);
uint8_t fuzz_take_byte(struct fuzz_input *input);
/* The bytes as a string. */
char *fuzz_text(const void *bytes, size_t len);

/* A folder of this process in TMPDIR, gone when it ends. */
const char *fuzz_folder(void);
/* DIR/name of it; lent until the next call. */
const char *fuzz_path(const char *name);
/* Holds these bytes from now on. */
void fuzz_file(const char *name, const void *bytes, size_t len);
/* Is not there from now on. */
void fuzz_no_file(const char *name);

#endif
