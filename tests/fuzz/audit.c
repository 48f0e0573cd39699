/* A file of the audit that somebody else may have touched: what is taken for a line is
 * what would be written for it, byte for byte, and can break no other line. */
#include "nms/audit_file.h"
#include "tests/fuzz/fuzz.h"

#include <ctype.h>
#include <string.h>

static void
is_as_written(const struct audit_line *line, const char *text, size_t len)
{
    char again[AUDIT_LINE_MAX], words[AUDIT_LINE_MAX];
    FUZZ_HOLDS(audit_line_format(line, again) == len + 1);
    FUZZ_HOLDS(memcmp(again, text, len) == 0 && again[len] == '\n');
    for (size_t i = 0; i < len; i++)
        FUZZ_HOLDS(isprint((unsigned char)text[i]));
    audit_line_words(line, words);
    FUZZ_HOLDS(strlen(words) < len && memmem(text, len, words, strlen(words)));
    FUZZ_HOLDS(audit_line_number(text, len) == line->number && line->number > 0);
    FUZZ_HOLDS(line->decision ? text[len - 1] == '"'
                              : memmem(text + len - 12, 12, " decision=OK", 12) != NULL);
}

struct seen {
    uint64_t last;
    size_t count;
};

static bool
see(void *arg, const struct audit_line *line)
{
    struct seen *seen = arg;
    seen->last = line->number;
    seen->count++;
    return true;
}

/* Both directions come to the same lines; what is written next is one more of them. */
static void
reads_alike(const uint8_t *bytes, size_t len)
{
    const struct st_err ok = {0};
    struct audit_file file;
    struct audit_line line;
    struct seen forwards = {0}, backwards = {0}, after = {0};
    struct st_err err = {0};
    char text[AUDIT_LINE_MAX];
    fuzz_file("some.log", bytes, len);
    FUZZ_HOLDS(!audit_file_init(&file, fuzz_folder(), "some", 1, 1 << 20, &err));
    audit_file_each(&file, 0, true, see, &backwards);
    if (audit_file_last(&file) > 0)
        audit_file_each(&file, 0, false, see, &forwards);
    FUZZ_HOLDS(forwards.count == backwards.count);
    audit_line_fill(&line, "unlock", "?", NULL, &ok);
    line.number = UINT64_MAX;
    const size_t line_len = audit_line_format(&line, text);
    FUZZ_HOLDS(!audit_file_append(&file, text, line_len, &err));
    FUZZ_HOLDS(audit_file_last(&file) == UINT64_MAX);
    audit_file_each(&file, 0, false, see, &after);
    FUZZ_HOLDS(after.count == forwards.count + 1 && after.last == UINT64_MAX);
    audit_file_close(&file);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    const char *at = (const char *)bytes, *end = at + len;
    while (at < end) {
        struct audit_line line;
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const size_t line_len = (size_t)((newline ? newline : end) - at);
        if (audit_line_parse(at, line_len, &line))
            is_as_written(&line, at, line_len);
        at += line_len + 1;
    }
    if (len < 1 << 16)
        reads_alike(bytes, len);
    return 0;
}
