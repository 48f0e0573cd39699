/* audit_file.h - lines on disk, in so many files of so many bytes: DIR/NAME.log is
 * written, DIR/NAME.log.1 was before it, and so on; the oldest is replaced.
 *
 * Files are 0600 and hold whole lines: what a crash or a full disk left of a line is cut
 * off before the next one is written.  Whoever reads leaves out what is no line.
 *
 * One thread at a time.
 */
#ifndef NMS_AUDIT_FILE_H
#define NMS_AUDIT_FILE_H

#include "nms/audit_line.h"

enum {
    AUDIT_PATH_MAX = 4200,
    AUDIT_SPARES = 32 * 1024 * 1024,
};

struct audit_file {
    char path[AUDIT_PATH_MAX]; /* of NAME.log */
    unsigned count;            /* of files */
    size_t max;                /* bytes of each */
    int fd;                    /* of the one that is written; -1: not open */
    size_t size;               /* its whole lines */
    bool dirty;                /* not flushed to the disk */
};

/* Opens nothing yet.  ST_INVALID_ARGUMENT for a path that is too long. */
enum st_code audit_file_init(struct audit_file *file, const char *dir, const char *name,
                             unsigned count, size_t max, struct st_err *err);
void audit_file_close(struct audit_file *file);

/* One line with its newline: all of it, or nothing and ST_INTERNAL, also where it would
 * leave less than AUDIT_SPARES bytes of the disk: a master whose records find no room
 * ends.  The next line tries again. */
enum st_code audit_file_append(struct audit_file *file, const char *line, size_t len,
                               struct st_err *err);
enum st_code audit_file_flush(struct audit_file *file, struct st_err *err);

/* Of the last line there is; 0: none. */
uint64_t audit_file_last(const struct audit_file *file);

/* `each` is given the lines that are after the number `after`, the oldest first, or (with
 * `backwards`) the newest first, until it returns false. */
void audit_file_each(const struct audit_file *file, uint64_t after, bool backwards,
                     bool (*each)(void *arg, const struct audit_line *line), void *arg);

#endif
