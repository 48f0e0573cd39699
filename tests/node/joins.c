#include "tests/node/joins.h"

#include "proto/api.pb-c.h"
#include "proto/file.h"
#include "proto/rpc_client.h"
#include "proto/scope.h"
#include "tests/node/flow.h"
#include "tests/patience.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct joins joins;

void
joins_set_up(void)
{
    struct st_err err = {0};
    assert_ok(ca_new("town", &joins.authority, &err));
    assert_ok(ca_crl_empty(&joins.authority, 1, &joins.list, &err));
    assert_ok(ca_issue_member(&joins.authority, 2, 3, &joins.member.cert,
                              &joins.member.key, &err));
}

/* Where the daemon says that it serves. */
static uint16_t
port_of_node(void)
{
    static const char words[] = "serve address=127.0.0.1:";
    AUTO(st_freep) uint8_t *log = NULL;
    size_t len;
    struct st_err err = {0};
    machine_wait_for(&machine, words);
    assert_ok(file_read(machine.log, FILE_MAX_LEN, &log, &len, &err));
    return (uint16_t)atoi(strstr((const char *)log, words) + strlen(words));
}

enum st_code
joins_ask(const struct secret *key, uint32_t timeout_ms, struct st_err *err)
{
    static const struct st_address loopback = {{127, 0, 0, 1}, 4};
    const struct rpc_channel_config config = {
        .addresses = &loopback,
        .address_count = 1,
        .port = port_of_node(),
        .server_cert = master.id_cert,
        .server_cert_len = master.id_cert_len,
        .cert = &master.cert,
        .seed = &master.seed,
    };
    AUTO(rpc_channel_closep) struct rpc_channel *channel = NULL;
    Api__JoinClusterRequest request = API__JOIN_CLUSTER_REQUEST__INIT;
    Api__ConsensusCertificates certs = API__CONSENSUS_CERTIFICATES__INIT;
    ProtobufCMessage *answer = NULL;
    request.certs = &certs;
    certs.ca = (ProtobufCBinaryData){joins.authority.cert.len, joins.authority.cert.der};
    certs.crl = (ProtobufCBinaryData){joins.list.len, joins.list.der};
    certs.cert = (ProtobufCBinaryData){joins.member.cert.len, joins.member.cert.der};
    certs.key = (ProtobufCBinaryData){key->len, (uint8_t *)key->bytes};
    assert_int_equal(rpc_channel_open(&config, &channel, err), ST_OK);
    enum st_code code =
        rpc_unary(channel, "/api.NodeService/JoinCluster", &request.base,
                  &api__join_cluster_response__descriptor, timeout_ms, &answer, err);
    if (answer)
        protobuf_c_message_free_unpacked(answer, &secret_allocator);
    return code;
}

void
joins_path(const char *name, char out[MACHINE_PATH])
{
    snprintf(out, MACHINE_PATH, "%.40s/%.30s", swtpm_folder(machine.chip), name);
}

unsigned
joins_count_said(const char *text)
{
    AUTO(st_freep) uint8_t *all = NULL;
    char path[MACHINE_PATH];
    unsigned count = 0;
    size_t len;
    joins_path("smalltown-nms.said", path);
    if (file_read(path, FILE_MAX_LEN, &all, &len, NULL))
        return 0;
    for (const char *at = (const char *)all; (at = strstr(at, text)); at++)
        count++;
    return count;
}

void
joins_wait_for_runs(unsigned count)
{
    for (int i = 0; joins_count_said("run --data") < count; i++) {
        assert_true(i < machine_timeout_ms() / 10);
        sleep_ms(10);
    }
}

void
joins_run_until_master(void)
{
    const unsigned before = joins_count_said("run --data");
    machine_start(&machine, 0);
    machine_wait_for(&machine, "serve ");
    joins_wait_for_runs(before + 1);
    assert_int_equal(machine_stop(&machine), 0);
}
