#include "nms/members.h"
#include "nms/node_call.h"
#include "nms/tell_internal.h"

#include <pthread.h>

struct calling {
    struct tell_round *round;
    const Api__SetMastersRequest *request;
    atomic_size_t next;
};

static enum st_code
tell_one(const struct calling *calling, const char *node_id)
{
    struct nms *nms = calling->round->nms;
    AUTO(state_node_freep) State__Node *node = NULL;
    struct st_err err = {0};
    enum st_code code = state_node(nms->state, node_id, &node, &err);
    if (code)
        return code; /* it was removed meanwhile */
    return node_call(nms, node, "/api.NodeService/SetMasters", &calling->request->base,
                     &api__set_masters_response__descriptor, TELL_CALL_MS, &err);
}

static void *
call(void *arg)
{
    struct calling *calling = arg;
    struct tell_round *round = calling->round;
    size_t i;
    while ((i = atomic_fetch_add(&calling->next, 1)) < round->count)
        round->at[i]->code = round->ended(round->arg)
                                 ? ST_CANCELLED
                                 : tell_one(calling, round->at[i]->node_id);
    return NULL;
}

enum st_code
tell_round(struct tell_round *round, struct st_err *err)
{
    struct st_address room[REPLICA_MEMBERS_MAX];
    ProtobufCBinaryData ips[REPLICA_MEMBERS_MAX];
    pthread_t threads[TELL_CALLS - 1];
    size_t begun = 0;
    Api__SetMastersRequest request = API__SET_MASTERS_REQUEST__INIT;
    request.master_ips = ips;
    request.n_master_ips = members_ips(round->nms->state, room, ips, &request.number);
    if (request.number != round->number || request.n_master_ips == 0)
        return st_fail(err, ST_ABORTED, "the masters are others by now");
    struct calling calling = {.round = round, .request = &request};
    /* This thread calls, too: where there are no more, it calls alone. */
    while (begun < TELL_CALLS - 1 && begun + 1 < round->count &&
           pthread_create(&threads[begun], NULL, call, &calling) == 0)
        begun++;
    call(&calling);
    for (size_t i = 0; i < begun; i++)
        pthread_join(threads[i], NULL);
    return ST_OK;
}
