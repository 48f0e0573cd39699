/* A window: for some time boots may change. */
#include "nms/apply.h"
#include "proto/mutant.h"

#include <string.h>

static enum st_code
nodes_check(const struct applying *applying, const State__OpenWindow *open_window,
            struct st_err *err)
{
    char key[STATE_KEY_MAX];
    if (open_window->n_node_ids > STATE_WINDOW_NODES_MAX)
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "a window for %zu nodes: %d is the limit, or all",
                           open_window->n_node_ids, STATE_WINDOW_NODES_MAX);
    for (size_t i = 0; i < open_window->n_node_ids; i++) {
        const char *node_id = open_window->node_ids[i];
        enum st_code code = node_id_check(node_id, err);
        if (code)
            return code;
        key_of_node(node_id, key);
        if (!records_find(&applying->state->records, key))
            return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND, "no node %s",
                               node_id);
    }
    return ST_OK;
}

enum st_code
apply_open_window(struct applying *applying, const State__OpenWindow *open_window,
                  struct st_err *err)
{
    State__Window *open;
    State__Window window = STATE__WINDOW__INIT;
    if (applying->by.len == 0 || open_window->seconds == 0 ||
        REFUSES(0x1219, open_window->seconds > STATE_WINDOW_MAX_S))
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "a window is open for at most %d days",
                           STATE_WINDOW_MAX_S / 86400);
    if (!window_find(applying->state, applying->now, &open, NULL)) {
        record_free_unpacked(open);
        return st_fail_for(err, ST_ALREADY_EXISTS, ST_REASON_EXISTS,
                           "a window is open already: `stctl policy window close`");
    }
    enum st_code code = nodes_check(applying, open_window, err);
    if (code)
        return code;
    window.number = applying->index;
    window.opened_at = applying->now;
    window.closes_at = applying->now + (int64_t)open_window->seconds;
    window.opened_by = applying->by;
    window.node_ids = open_window->node_ids;
    window.n_node_ids = open_window->n_node_ids;
    applying_put(applying, "window", NULL, &window.base);
    return ST_OK;
}

/* Also one that another master's clock has closed. */
enum st_code
apply_close_window(struct applying *applying, struct st_err *err)
{
    if (!records_find(&applying->state->records, "window"))
        return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND, "no window is open");
    applying_delete(applying, "window");
    return ST_OK;
}
