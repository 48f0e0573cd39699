#include "node/join.h"

#include "proto/api.pb-c.h"
#include "proto/der.h"
#include "proto/event.h"
#include "proto/mutant.h"

#include <string.h>

enum {
    DEADLINE_MS = 10000,
    CALLS_MAX = 64,
    MESSAGE_MAX = 64 * 1024,
    GRACE_MS = 500
};

/* The public half of who may call is no secret: an ordinary comparison does. */
static enum st_code
admit(void *context, const char *path, const void *client_cert, size_t client_cert_len,
      struct st_err *err)
{
    const struct cert *masters = &((const struct node *)context)->config.masters;
    (void)path;
    if (REFUSES(0x52a, client_cert_len != masters->len ||
                           memcmp(client_cert, masters->der, masters->len) != 0))
        return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED, "refused");
    return ST_OK;
}

static enum st_code
check_der(const ProtobufCBinaryData *wire, bool certificate, const char *what,
          struct st_err *err)
{
    struct der_certificate parsed;
    bool good = certificate ? der_certificate(wire->data, wire->len, &parsed)
                            : der_check(wire->data, wire->len, DER_SEQUENCE);
    if (REFUSES(0x52b, wire->len == 0 || wire->len > CERT_MAX_LEN || !good))
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
    if ((code = check_der(&certs->ca, true, "ca", err)) ||
        (code = check_der(&certs->crl, false, "crl", err)) ||
        (code = check_der(&certs->cert, true, "cert", err)))
        return code;
    return check_der(&certs->key, false, "key", err);
}

static void
handle_join(struct rpc_call *call, enum rpc_event what, const ProtobufCMessage *message)
{
    struct st_err err = {0};
    if (what != RPC_MESSAGE)
        return;
    if (!check_request((const Api__JoinClusterRequest *)message, &err))
        (void)st_fail(&err, ST_UNIMPLEMENTED,
                      "this node was not adopted as a master, and cannot become one");
    event("join", "peer=%s decision=%s", rpc_call_peer(call), st_code_name(err.code));
    rpc_call_finish(call, &err);
}

static const struct rpc_method methods[] = {
    {.path = "/api.NodeService/JoinCluster",
     .in = &api__join_cluster_request__descriptor,
     .out = &api__join_cluster_response__descriptor,
     .deadline_ms = DEADLINE_MS,
     .handle = handle_join},
};

enum st_code
join_start(const struct node *node, const struct identity *identity,
           struct rpc_server **out, struct st_err *err)
{
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
        .context = (void *)node,
        .max_message = MESSAGE_MAX,
        .max_calls = CALLS_MAX,
    };
    return rpc_server_start(&config, out, err);
}

void
join_stop(struct rpc_server *server)
{
    rpc_server_stop(server, GRACE_MS);
    rpc_server_free(server);
}
