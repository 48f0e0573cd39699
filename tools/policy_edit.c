/* stctl policy edit, and capture: the policy with something changed in it. */
#include "proto/file.h"
#include "tools/node.h"
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
        code = policy_put(in, &connection, (const char *)text, version, err);
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

/* "4,11" as one bit each. */
static enum st_code
pcrs_parse(const char *text, unsigned *out, struct st_err *err)
{
    unsigned bits = 0;
    for (const char *at = text;; at++) {
        char *end;
        const unsigned long pcr = *at >= '0' && *at <= '9' ? strtoul(at, &end, 10) : 99;
        if (pcr >= NODE_PCRS)
            return st_fail(err, ST_INVALID_ARGUMENT,
                           "--pcrs is a list of numbers from 0 to 15, not '%.40s'", text);
        bits |= 1u << pcr;
        at = end;
        if (!*at)
            break;
        if (*at != ',')
            return st_fail(err, ST_INVALID_ARGUMENT,
                           "--pcrs is a list of numbers from 0 to 15, not '%.40s'", text);
    }
    *out = bits;
    return ST_OK;
}

static json_t *
values_of(const struct node_boot *boot, unsigned bits)
{
    json_t *values = json_object();
    for (unsigned pcr = 0; pcr < NODE_PCRS; pcr++) {
        char number[4], hex[TEXT_SHA256_MAX];
        if (!(bits & 1u << pcr))
            continue;
        snprintf(number, sizeof(number), "%u", pcr);
        text_hex(&boot->pcrs[pcr], hex);
        json_object_set_new(values, number, json_pack("[s]", hex));
    }
    return values;
}

static enum st_code
add_set(json_t *document, const char *name, const char *node, json_t *values,
        struct st_err *err)
{
    AUTO(json_freep)
    json_t *set =
        json_pack("{s:s, s:[s], s:o}", "name", name, "nodes", node, "values", values);
    json_t *sets = json_object_get(json_object_get(document, "pcrs"), "sets"), *other;
    size_t i;
    if (!set || !json_is_array(sets))
        return st_fail(err, ST_INTERNAL, "the policy has no list of sets");
    json_array_foreach(sets, i, other)
    {
        const char *taken = json_string_value(json_object_get(other, "name"));
        if (taken && !strcmp(taken, name))
            return st_fail(err, ST_ALREADY_EXISTS, "the policy has a set %s already",
                           name);
    }
    return json_array_append_new(sets, TAKE(set))
               ? st_fail(err, ST_INTERNAL, "no memory for a set")
               : ST_OK;
}

static enum st_code
boot_to_capture(const struct invocation *in, struct connection *connection,
                const char *node_id, ProtobufCMessage **out_answer, struct node_boot *out,
                struct st_err *err)
{
    enum st_code code = node_pcrs_get(connection, node_id, out_answer, err);
    if (code)
        return code;
    return in->options[OPTION_REFUSED]
               ? node_boot_refused((const void *)*out_answer, out, err)
               : node_boot_accepted((const void *)*out_answer, out, err);
}

static enum st_code
capture(const struct invocation *in, struct connection *connection, const char *node_id,
        unsigned bits, struct st_err *err)
{
    AUTO(connect_answer_freep) ProtobufCMessage *pcrs = NULL, *answer = NULL;
    AUTO(json_freep) json_t *document = NULL;
    const Api__PolicyVersion *policy;
    struct node_boot boot;
    enum st_code code = boot_to_capture(in, connection, node_id, &pcrs, &boot, err);
    if (!code)
        code = policy_get(connection, 0, &answer, &policy, err);
    if (!code)
        code = policy_document(policy, &document, err);
    if (!code)
        code =
            add_set(document, in->options[OPTION_NAME],
                    in->options[OPTION_ALL] ? "*" : node_id, values_of(&boot, bits), err);
    if (code)
        return code;
    AUTO(st_freep) char *text = json_dumps(document, JSON_COMPACT);
    if (!text)
        return st_fail(err, ST_INTERNAL, "no memory for a policy");
    return policy_put(in, connection, text, policy->version, err);
}

enum st_code
stctl_policy_capture(const struct invocation *in, struct st_err *err)
{
    const char *pcrs = in->options[OPTION_PCRS], *name = in->options[OPTION_NAME];
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *nodes = NULL;
    const Api__Node *node;
    unsigned bits;
    enum st_code code = name_check("a set", name, err);
    if (!code)
        code = pcrs_parse(pcrs ? pcrs : "4,11", &bits, err);
    if (!code)
        code = node_resolve(in, &connection, &nodes, &node, err);
    if (!code)
        code = capture(in, &connection, node->node_id, bits, err);
    return code;
}
