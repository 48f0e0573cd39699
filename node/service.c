#include "node/service.h"

#include "node/control.h"
#include "node/masters.h"
#include "node/stop.h"
#include "proto/api.pb-c.h"
#include "proto/der.h"
#include "proto/event.h"
#include "proto/mutant.h"
#include "proto/scope.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEADLINE_MS = 20000,
    CALLS_MAX = 64,
    MESSAGE_MAX = KEEPER_REQUEST_MAX,
    BUSY_MS = 1000,
    GRACE_MS = 500
};

struct service {
    struct node *node;
    pthread_mutex_t masters_lock; /* one list at a time, see masters_told() */
    struct rpc_server *server;
    pthread_mutex_t lock;
    struct rpc_call *asked; /* under lock, held: the call that the keeper works for */
};

/* The public half of who may call is no secret: an ordinary comparison does. */
static enum st_code
admit(void *context, const char *path, const char *peer, const void *client_cert,
      size_t client_cert_len, bool *out_vouch, struct st_err *err)
{
    const struct cert *masters = &((const struct service *)context)->node->config.masters;
    (void)path;
    (void)peer;
    (void)out_vouch;
    if (REFUSES(0x52a, client_cert_len != masters->len ||
                           memcmp(client_cert, masters->der, masters->len) != 0))
        return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED, "refused");
    return ST_OK;
}

static enum st_code
check_der(const ProtobufCBinaryData *wire, bool certificate, size_t max, const char *what,
          struct st_err *err)
{
    struct der_certificate parsed;
    bool good = certificate ? der_certificate(wire->data, wire->len, &parsed)
                            : der_check(wire->data, wire->len, DER_SEQUENCE);
    if (REFUSES(0x52b, wire->len == 0 || wire->len > max || !good))
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "certs.%s is missing or malformed", what);
    return ST_OK;
}

static enum st_code
check_request(const Api__JoinClusterRequest *request, struct st_err *err)
{
    const Api__ConsensusCertificates *certs = request->certs;
    enum st_code code;
    if (!certs)
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "certs is missing");
    if ((code = check_der(&certs->ca, true, CERT_MAX_LEN, "ca", err)) ||
        (code = check_der(&certs->crl, false, CRL_MAX_LEN, "crl", err)) ||
        (code = check_der(&certs->cert, true, CERT_MAX_LEN, "cert", err)))
        return code;
    return check_der(&certs->key, false, CERT_MAX_LEN, "key", err);
}

static enum st_code
hand_on(struct keeper *keeper, const ProtobufCMessage *request, struct st_err *err)
{
    const size_t len = protobuf_c_message_get_packed_size(request);
    AUTO(st_freep) uint8_t *packed = malloc(len);
    if (!packed)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory");
    protobuf_c_message_pack(request, packed);
    enum st_code code = keeper_ask(keeper, packed, len, err);
    explicit_bzero(packed, len);
    return code;
}

/* The keeper takes one at a time; its answer finishes the call, see service_wait(). */
static enum st_code
ask(struct service *service, struct rpc_call *call, const ProtobufCMessage *request,
    struct st_err *err)
{
    enum st_code code = ST_OK;
    pthread_mutex_lock(&service->lock);
    if (service->asked)
        code = st_fail_for(err, ST_RESOURCE_EXHAUSTED, ST_REASON_BUSY,
                           "another JoinCluster is under way");
    else if (!(code = hand_on(service->node->keeper, request, err)))
        service->asked = rpc_call_hold(call);
    pthread_mutex_unlock(&service->lock);
    if (code == ST_RESOURCE_EXHAUSTED)
        err->retry_ms = BUSY_MS;
    return code;
}

static void
finish(struct rpc_call *call, const struct st_err *err)
{
    const Api__JoinClusterResponse response = API__JOIN_CLUSTER_RESPONSE__INIT;
    event("join", "peer=%s decision=%s%s%s%s", rpc_call_peer(call),
          st_code_name(err->code), err->code ? " reason=\"" : "",
          err->code ? err->text : "", err->code ? "\"" : "");
    if (err->code)
        rpc_call_finish(call, err);
    else
        rpc_call_reply(call, &response.base);
}

static enum st_code
refuse(const struct node *node, struct st_err *err)
{
    if (node->lacks_nms)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "this node cannot become a master: smalltown-nms is not installed "
                       "there: install it, then reboot");
    return st_fail(err, ST_FAILED_PRECONDITION,
                   "this node cannot become a master: its smalltown-node was started "
                   "without --master-data DIR");
}

static void
handle_join(struct rpc_call *call, enum rpc_event what, const ProtobufCMessage *message)
{
    struct service *service = rpc_call_context(call);
    struct st_err err = {0};
    if (what != RPC_MESSAGE)
        return;
    enum st_code code = check_request((const Api__JoinClusterRequest *)message, &err);
    if (!code && !service->node->keeper)
        code = refuse(service->node, &err);
    if (!code && REFUSES(0x4817, service->node->control_state == CONTROL_IS_DOUBTED))
        code = st_fail(&err, ST_FAILED_PRECONDITION,
                       "the control volume of this machine may be somebody else's: the "
                       "log of its smalltown-node says why");
    if (code || ask(service, call, message, &err))
        finish(call, &err);
}

static void
handle_masters(struct rpc_call *call, enum rpc_event what,
               const ProtobufCMessage *message)
{
    const Api__SetMastersResponse response = API__SET_MASTERS_RESPONSE__INIT;
    struct service *service = rpc_call_context(call);
    struct st_err err = {0};
    if (what != RPC_MESSAGE)
        return;
    pthread_mutex_lock(&service->masters_lock);
    enum st_code code =
        masters_told(service->node, (const Api__SetMastersRequest *)message, &err);
    pthread_mutex_unlock(&service->masters_lock);
    if (code) {
        event("masters", "peer=%s decision=%s reason=\"%s\"", rpc_call_peer(call),
              st_code_name(code), err.text);
        rpc_call_finish(call, &err);
    } else {
        rpc_call_reply(call, &response.base);
    }
}

static const struct rpc_method methods[] = {
    {.path = "/api.NodeService/SetMasters",
     .in = &api__set_masters_request__descriptor,
     .out = &api__set_masters_response__descriptor,
     .deadline_ms = DEADLINE_MS,
     .handle = handle_masters},
    {.path = "/api.NodeService/JoinCluster",
     .in = &api__join_cluster_request__descriptor,
     .out = &api__join_cluster_response__descriptor,
     .deadline_ms = DEADLINE_MS,
     .handle = handle_join},
};

/* The call that waits; NULL where none does. */
static struct rpc_call *
take_asked(struct service *service)
{
    pthread_mutex_lock(&service->lock);
    struct rpc_call *call = TAKE(service->asked);
    pthread_mutex_unlock(&service->lock);
    return call;
}

enum st_code
service_start(struct node *node, const struct identity *identity, struct service **out,
              struct st_err *err)
{
    AUTO(st_freep) struct service *service = calloc(1, sizeof(*service));
    if (!service)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory");
    const struct rpc_server_config config = {
        .addresses = &node->address,
        .address_count = 1,
        .port = node->node_port,
        .cert = &identity->cert,
        .seed = &identity->seed,
        .want_client_cert = true,
        .admit = admit,
        .methods = methods,
        .method_count = sizeof(methods) / sizeof(*methods),
        .context = service,
        .max_message = MESSAGE_MAX,
        .max_calls = CALLS_MAX,
    };
    service->node = node;
    pthread_mutex_init(&service->lock, NULL);
    pthread_mutex_init(&service->masters_lock, NULL);
    enum st_code code = rpc_server_start(&config, &service->server, err);
    if (code)
        return code;
    *out = TAKE(service);
    return ST_OK;
}

uint16_t
service_port(const struct service *service)
{
    return rpc_server_port(service->server);
}

/* False where the keeper is gone.  The answer comes after the second key, which whoever
 * stops the daemon then would take from it; and there is none where the join was refused:
 * the records may be of another cluster's member. */
static bool
answer(struct service *service)
{
    struct st_err err;
    if (!keeper_answer(service->node->keeper, &err))
        return false;
    stop_hold(true);
    if (!REFUSES(0x481b, err.code != ST_OK))
        control_joined(service->node);
    stop_hold(false);
    struct rpc_call *call = take_asked(service);
    if (call) {
        finish(call, &err);
        rpc_call_release(call);
    }
    return true;
}

void
service_wait(struct service *service)
{
    const struct keeper *keeper = service->node->keeper;
    struct pollfd fds[2] = {{.fd = stop_fd(), .events = POLLIN},
                            {.fd = keeper ? keeper_fd(keeper) : -1, .events = POLLIN}};
    do
        while (poll(fds, 2, -1) < 0 && errno == EINTR)
            ;
    while (!fds[0].revents && answer(service));
}

/* First the door, which ends the calls; the one that still waits is let go of before the
 * memory of the door goes. */
void
service_stop(struct service *service)
{
    rpc_server_stop(service->server, GRACE_MS);
    struct rpc_call *call = take_asked(service);
    if (call)
        rpc_call_release(call);
    rpc_server_free(service->server);
    pthread_mutex_destroy(&service->lock);
    pthread_mutex_destroy(&service->masters_lock);
    free(service);
}
