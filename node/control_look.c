/* What is there of a control volume, and what that means. */
#include "node/control.h"
#include "node/control_mount.h"
#include "proto/file.h"
#include "proto/mutant.h"
#include "proto/scope.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    MASTERS_PEM_MAX = 8192
};

static bool
has(const char *folder, const char *name)
{
    char path[PATH_MAX];
    return snprintf(path, sizeof(path), "%s/%s", folder, name) < PATH_MAX &&
           access(path, F_OK) == 0;
}

static enum start_file
observe_file(const struct node *node, enum esp_file file, struct control_facts *facts)
{
    uint8_t content[ESP_CONTENT_MAX];
    struct st_err err = {0};
    size_t len;
    enum st_code code = esp_read(node->esp, file, content, &len, &err);
    if (code == ST_NOT_FOUND)
        return START_FILE_ABSENT;
    if (!code)
        return START_FILE_PRESENT;
    if (!facts->why.code)
        facts->why = err;
    return START_FILE_UNREADABLE;
}

void
control_observe(const struct node *node, struct control_facts *out)
{
    const char *folder = node->control_folder;
    struct disk_found found = {.state = START_VOLUME_UNREADABLE};
    struct st_err err = {0};
    memset(out, 0, sizeof(*out));
    out->plain = !control_is_mounted(folder) && has(folder, "member.pb");
    out->control = observe_file(node, ESP_CONTROL, out);
    out->pending = observe_file(node, ESP_CONTROL_PENDING, out);
    if (disk_observe(node->control, &found, &err) && !out->why.code)
        out->why = err;
    out->volume = found.state;
}

enum control_owner
control_owner(const struct node *node)
{
    char path[PATH_MAX];
    AUTO(st_freep) uint8_t *pem = NULL;
    struct cert theirs;
    size_t len;
    if (snprintf(path, sizeof(path), "%s/masters.pem", node->control_folder) >= PATH_MAX)
        return CONTROL_OF_OTHERS;
    const enum st_code code = file_read(path, MASTERS_PEM_MAX, &pem, &len, NULL);
    if (code == ST_NOT_FOUND)
        return has(node->control_folder, "member.pb") ? CONTROL_OF_A_MEMBER
                                                      : CONTROL_OF_NOBODY;
    const struct cert *ours = &node->config.masters;
    return !code && !cert_from_pem((const char *)pem, &theirs, NULL) &&
                   theirs.len == ours->len && !memcmp(theirs.der, ours->der, ours->len)
               ? CONTROL_OF_OURS
               : CONTROL_OF_OTHERS;
}

static struct control_verdict
refuse(const char *sentence)
{
    return (struct control_verdict){CONTROL_REFUSED, sentence};
}

/* Whatever was begun holds no records yet. */
static struct control_verdict
without_file(const struct control_facts *facts)
{
    static const struct control_verdict free_ = {CONTROL_FREE, NULL};
    switch (facts->volume) {
    case START_VOLUME_BLANK:
        return free_;
    case START_VOLUME_TORN:
    case START_VOLUME_PENDING:
    case START_VOLUME_ENROLLED:
        if (facts->pending == START_FILE_PRESENT)
            return free_;
        return refuse("EFI/smalltown/control is gone: the TPM cannot open the control "
                      "volume, the data volume may, once it is open; else restore the "
                      "file, or wipe the volume of a machine that is no master any more");
    case START_VOLUME_FOREIGN:
        return refuse("the control volume holds something else, or records in the clear: "
                      "it is neither opened nor formatted; wipe it if nothing on it is "
                      "needed");
    case START_VOLUME_NONE:
    case START_VOLUME_UNREADABLE:
    case START_VOLUME_COUNT:
        break;
    }
    return refuse("the control volume cannot be used");
}

static struct control_verdict
with_file(const struct control_facts *facts)
{
    switch (facts->volume) {
    case START_VOLUME_ENROLLED:
        return (struct control_verdict){CONTROL_OPENS, NULL};
    case START_VOLUME_BLANK:
        if (REFUSES(0x4875, facts->volume == START_VOLUME_BLANK))
            return refuse(
                "this machine has made a control volume, and this one is blank: "
                "attach the right one; to lose it, remove "
                "EFI/smalltown/control");
        return (struct control_verdict){CONTROL_FREE, NULL};
    case START_VOLUME_UNREADABLE:
        return refuse("the control volume cannot be used");
    case START_VOLUME_NONE:
    case START_VOLUME_TORN:
    case START_VOLUME_PENDING:
    case START_VOLUME_FOREIGN:
    case START_VOLUME_COUNT:
        break;
    }
    return refuse("the control volume is not the one that this machine made: attach the "
                  "right one");
}

struct control_verdict
control_decide(const struct control_facts *facts)
{
    switch (facts->control) {
    case START_FILE_ABSENT:
        if (facts->plain)
            return (struct control_verdict){CONTROL_LEFT, NULL};
        return without_file(facts);
    case START_FILE_PRESENT:
        if (facts->plain)
            return refuse("there are records of a master in the clear where those of the "
                          "control volume belong: move them away");
        return with_file(facts);
    case START_FILE_UNREADABLE:
    case START_FILE_COUNT:
        break;
    }
    return refuse("EFI/smalltown/control cannot be used: restore it");
}
