/* file.h - small files that must never be half there.
 *
 * Every function here may be called from any thread.
 */
#ifndef PROTO_FILE_H
#define PROTO_FILE_H

#include "proto/err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    FILE_MAX_LEN = 1024 * 1024
};

/* Replaces path as one step: temporary file beside it with `mode` from its creation on,
 * write, fsync, rename, fsync of file and folder.  On failure path is as it was, or new
 * where only one of the last two failed. */
enum st_code file_write(const char *path, mode_t mode, const void *bytes, size_t len,
                        struct st_err *err);

/* The whole file, malloc'ed, with a NUL behind it that out_len does not count.
 * ST_NOT_FOUND; ST_INVALID_ARGUMENT above max bytes. */
enum st_code file_read(const char *path, size_t max, uint8_t **out, size_t *out_len,
                       struct st_err *err);

/* Overwrites the bytes, then removes the file and fsyncs the folder; a missing file is
 * fine.  (Flash may keep old blocks: never the only protection.) */
enum st_code file_erase(const char *path, struct st_err *err);

/* Takes the name away, that of a symbolic link too, and fsyncs the folder; a missing file
 * is fine.  Whose the file is does not matter, only whose the folder; its bytes may stay
 * on the disk. */
enum st_code file_remove(const char *path, struct st_err *err);

/* mkdir -p with mode 0700 for what is made. */
enum st_code file_make_folder(const char *path, struct st_err *err);

#endif
