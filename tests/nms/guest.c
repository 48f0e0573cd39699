#include "tests/nms/guest.h"

#include "proto/file.h"
#include "proto/scope.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void
guest_make(struct guest *guest, unsigned n)
{
    uint8_t public_key[ED25519_PUBLIC_LEN];
    struct st_err err = {0};
    memset(guest, 0, sizeof(*guest));
    guest->address = town_address(n);
    strcpy(guest->dir, "/tmp/smalltown-nms-XXXXXX");
    assert_non_null(mkdtemp(guest->dir));
    assert_ok(key_generate(&guest->seed, public_key, &err));
}

void
guest_stop(struct guest *guest)
{
    rpc_channel_close(guest->nodes);
    rpc_channel_close(guest->admins);
    nms_stop(guest->nms);
    guest->nodes = guest->admins = NULL;
    guest->nms = NULL;
}

void
guest_free(struct guest *guest)
{
    guest_stop(guest);
    if (guest->door)
        rpc_server_stop(guest->door, 0);
    rpc_server_free(guest->door);
    secret_wipe(&guest->self.key);
    town_remove_folder(guest->dir);
}

enum st_code
guest_ask(const struct guest *guest, struct rpc_channel *channel, const void *secret,
          size_t secret_len, Api__JoinMastersResponse **out, struct st_err *err)
{
    uint8_t public_key[ED25519_PUBLIC_LEN], proof[ED25519_SIGNATURE_LEN];
    uint8_t message[19 + SECRET_MAX] = "smalltown member v1";
    struct st_err own = {0};
    memcpy(message + 19, secret, secret_len);
    assert_int_equal(key_public(&guest->seed, public_key, &own), ST_OK);
    assert_int_equal(key_sign(&guest->seed, message, 19 + secret_len, proof, &own),
                     ST_OK);
    Api__JoinMastersRequest request = API__JOIN_MASTERS_REQUEST__INIT;
    request.secret = (ProtobufCBinaryData){secret_len, (uint8_t *)secret};
    request.address =
        (ProtobufCBinaryData){guest->address.len, (uint8_t *)guest->address.bytes};
    request.public_key = (ProtobufCBinaryData){sizeof(public_key), public_key};
    request.proof = (ProtobufCBinaryData){sizeof(proof), proof};
    return rpc_unary(channel, JOIN_PATH, &request.base,
                     &api__join_masters_response__descriptor, MACHINE_TIMEOUT_MS,
                     (ProtobufCMessage **)out, err);
}

static void
put(const ProtobufCBinaryData *bytes, uint8_t *out, size_t max, size_t *out_len)
{
    assert_in_range(bytes->len, 1, max);
    memcpy(out, bytes->data, bytes->len);
    *out_len = bytes->len;
}

/* Its id is in its certificate: "smalltown-member-2". */
static uint64_t
id_of(const struct cert *cert)
{
    static const char name[] = "smalltown-member-";
    const char *at = memmem(cert->der, cert->len, name, sizeof(name) - 1);
    assert_non_null(at);
    return (uint64_t)(at[sizeof(name) - 1] - '0');
}

void
guest_take(struct guest *guest, const Api__ConsensusCertificates *certs)
{
    struct self *self = &guest->self;
    struct st_err err = {0};
    memset(self, 0, sizeof(*self));
    self->address = guest->address;
    put(&certs->ca, self->ca.der, sizeof(self->ca.der), &self->ca.len);
    put(&certs->crl, self->crl.der, sizeof(self->crl.der), &self->crl.len);
    put(&certs->cert, self->cert.der, sizeof(self->cert.der), &self->cert.len);
    self->id = id_of(&self->cert);
    self->joining = true;
    if (certs->key.len > 0)
        assert_ok(secret_set(&self->key, certs->key.data, certs->key.len, &err));
    else
        assert_ok(key_to_pkcs8(&guest->seed, &self->key, &err));
    assert_ok(self_write(guest->dir, self, &err));
}

void
guest_start(struct guest *guest, const struct town *town)
{
    struct st_err err = {0};
    const struct nms_config config = {
        .dir = guest->dir, .address = guest->address, .refused = town_is_left};
    assert_ok(nms_start(&config, &guest->nms, &err));
    guest->nodes =
        town_channel(town, &guest->address, rpc_server_port(guest->nms->nodes), NULL);
    guest->admins = town_channel(town, &guest->address,
                                 rpc_server_port(guest->nms->admins), &town->admin);
}

static void
handle_join(struct rpc_call *call, enum rpc_event what, const ProtobufCMessage *message)
{
    const Api__JoinClusterRequest *request = (const Api__JoinClusterRequest *)message;
    const Api__JoinClusterResponse response = API__JOIN_CLUSTER_RESPONSE__INIT;
    struct guest *guest = rpc_call_context(call);
    if (what != RPC_MESSAGE)
        return;
    if (guest->calls == 0) {
        guest_take(guest, request->certs);
        snprintf(guest->cluster, sizeof(guest->cluster), "%s", request->initialcluster);
    }
    __atomic_add_fetch(&guest->calls, 1, __ATOMIC_RELEASE);
    rpc_call_reply(call, &response.base);
}

void
guest_open_door(struct guest *guest, const struct machine *machine)
{
    static const struct rpc_method method = {
        .path = "/api.NodeService/JoinCluster",
        .in = &api__join_cluster_request__descriptor,
        .out = &api__join_cluster_response__descriptor,
        .deadline_ms = MACHINE_TIMEOUT_MS,
        .handle = handle_join,
    };
    struct st_err err = {0};
    guest->door_seed = machine->id_seed;
    guest->door_cert = machine->id_cert;
    const struct rpc_server_config config = {
        .addresses = &guest->address,
        .address_count = 1,
        .port = PORT_NODE,
        .cert = &guest->door_cert,
        .seed = &guest->door_seed,
        .want_client_cert = true,
        .methods = &method,
        .method_count = 1,
        .context = guest,
    };
    assert_ok(rpc_server_start(&config, &guest->door, &err));
}

void
guest_await_call(struct guest *guest)
{
    while (__atomic_load_n(&guest->calls, __ATOMIC_ACQUIRE) == 0)
        usleep(10000);
}
