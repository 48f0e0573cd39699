#include "node/facts.h"

#include <string.h>

static void
note(struct facts *facts, const struct st_err *err)
{
    if (!facts->why.code)
        facts->why = *err;
}

static void
observe_config(struct node *node, struct facts *facts)
{
    struct st_err err = {0};
    enum st_code code = config_read(esp_path(node->esp, ESP_CONFIG), &node->config, &err);
    if (!code)
        facts->start.config =
            node->config.secret.len ? START_CONFIG_SECRET : START_CONFIG_ENROLLED;
    else if (code == ST_NOT_FOUND)
        facts->start.config = START_CONFIG_ABSENT;
    else {
        facts->start.config = START_CONFIG_UNREADABLE;
        note(facts, &err);
    }
}

static enum start_file
observe_file(const struct node *node, enum esp_file file, struct facts *facts)
{
    uint8_t content[ESP_CONTENT_MAX];
    struct st_err err = {0};
    size_t len;
    enum st_code code = esp_read(node->esp, file, content, &len, &err);
    if (code == ST_NOT_FOUND)
        return START_FILE_ABSENT;
    if (!code)
        return START_FILE_PRESENT;
    note(facts, &err);
    return START_FILE_UNREADABLE;
}

static void
observe_volume(const struct node *node, struct facts *facts)
{
    struct st_err err = {0};
    facts->start.volume = START_VOLUME_NONE;
    if (!node->volume)
        return;
    if (disk_observe(node->volume, &facts->disk, &err)) {
        facts->start.volume = START_VOLUME_UNREADABLE;
        note(facts, &err);
        return;
    }
    facts->start.volume = facts->disk.state;
    facts->start.volume_is_ours =
        *node->config.node_id && !strcmp(facts->disk.node_id, node->config.node_id);
}

void
facts_observe(struct node *node, bool bootstrap, struct facts *out)
{
    memset(out, 0, sizeof(*out));
    out->start.bootstrap = bootstrap;
    observe_config(node, out);
    out->start.sealed = observe_file(node, ESP_SEALED, out);
    out->start.pending = observe_file(node, ESP_PENDING, out);
    out->start.identity = observe_file(node, ESP_IDENTITY, out);
    observe_volume(node, out);
}
