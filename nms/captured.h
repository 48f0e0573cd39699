/* captured.h - the boots that windows and approvals let in, as an administrator is told
 * of them: a list that is being made.
 *
 *     AUTO(captured_free) struct captured_list list = {0};
 *     state_each_captured(state, NULL, captured_add, &list, err)
 *     captured_add_nodes(&list, state, err)
 *
 * Any thread, each list by one.
 */
#ifndef NMS_CAPTURED_H
#define NMS_CAPTURED_H

#include "nms/state.h"
#include "proto/api.pb-c.h"

struct captured_row;
struct captured_list {
    size_t count, room;
    Api__CapturedSet **sets; /* for a message; lent */
    struct captured_row **rows;
};

/* For state_each_captured(); arg is the list.  ST_RESOURCE_EXHAUSTED. */
enum st_code captured_add(void *arg, const uint8_t sha256[SHA256_LEN],
                          const State__Captured *captured, struct st_err *err);
/* To each of the sets, which are all that there are, its nodes. */
enum st_code captured_add_nodes(struct captured_list *list, struct state *state,
                                struct st_err *err);
void captured_free(struct captured_list *list);

#endif
