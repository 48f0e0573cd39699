/* stctl policy edit: the policy, through an editor. */
#include "proto/file.h"
#include "tools/policy.h"
#include "tools/text.h"

#include <errno.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* A file for an editor. */
struct draft {
    char path[200];
    bool keep;
};

static void
draft_end(struct draft *draft)
{
    if (*draft->path && !draft->keep)
        unlink(draft->path);
}

static enum st_code
draft_write(struct draft *draft, const json_t *document, struct st_err *err)
{
    const char *folder = getenv("TMPDIR");
    snprintf(draft->path, sizeof(draft->path), "%.150s/policy-XXXXXX.json",
             folder && *folder ? folder : "/tmp");
    const int fd = mkstemps(draft->path, 5);
    if (fd < 0) {
        const int why = errno;
        draft->path[0] = 0;
        return st_fail(err, ST_INTERNAL, "no file for the editor: %s", strerror(why));
    }
    FILE *file = fdopen(fd, "w");
    if (!file) {
        close(fd);
        return st_fail(err, ST_INTERNAL, "no memory");
    }
    const int failed = json_dumpf(document, file, JSON_INDENT(2)) | fputc('\n', file);
    if (fclose(file) || failed < 0)
        return st_fail(err, ST_INTERNAL, "%s cannot be written", draft->path);
    return ST_OK;
}

/* $VISUAL may have options: it is the shell's to read. */
static enum st_code
editor_run(const char *path, struct st_err *err)
{
    static const char script[] = "exec ${VISUAL:-${EDITOR:-vi}} \"$1\"";
    char *const argv[] = {(char *)"sh", (char *)"-c", (char *)script,
                          (char *)"sh", (char *)path, NULL};
    pid_t pid;
    int status;
    if (posix_spawnp(&pid, "sh", NULL, NULL, argv, environ))
        return st_fail(err, ST_INTERNAL, "no editor was started");
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return st_fail(err, ST_INTERNAL, "the editor is lost");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return st_fail(err, ST_CANCELLED, "the editor failed: nothing was changed");
    return ST_OK;
}

/* The policy in force, on a connection that does not wait for a person. */
static enum st_code
fetch(const struct invocation *in, json_t **out, uint64_t *out_version,
      struct st_err *err)
{
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    const Api__PolicyVersion *policy;
    enum st_code code = connect_open(in, &connection, err);
    if (!code)
        code = policy_get(&connection, 0, &answer, &policy, err);
    if (!code)
        code = policy_document(policy, out, err);
    if (!code)
        *out_version = policy->version;
    return code;
}

static enum st_code
put_draft(const struct invocation *in, const struct draft *draft, const json_t *before,
          uint64_t version, struct st_err *err)
{
    CONNECTION connection = {0};
    AUTO(st_freep) uint8_t *text = NULL;
    size_t len;
    enum st_code code = file_read(draft->path, POLICY_FILE_MAX, &text, &len, err);
    if (code)
        return code;
    AUTO(json_freep) json_t *after = json_loadb((char *)text, len, 0, NULL);
    if (after && json_equal(after, before))
        return st_fail(err, ST_CANCELLED, "nothing was changed");
    code = connect_open(in, &connection, err);
    if (!code)
        code = policy_put_print(in, &connection, (const char *)text, version, err);
    return code;
}

enum st_code
stctl_policy_edit(const struct invocation *in, struct st_err *err)
{
    __attribute__((cleanup(draft_end))) struct draft draft = {0};
    AUTO(json_freep) json_t *before = NULL;
    uint64_t version;
    enum st_code code = fetch(in, &before, &version, err);
    if (!code)
        code = draft_write(&draft, before, err);
    if (!code)
        code = editor_run(draft.path, err);
    if (code)
        return code;
    code = put_draft(in, &draft, before, version, err);
    draft.keep = code && code != ST_CANCELLED;
    return draft.keep ? st_wrap(err, "your text is kept in %s", draft.path) : code;
}
