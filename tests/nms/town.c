#include "tests/nms/town.h"

#include "nms/init.h"
#include "proto/file.h"
#include "proto/scope.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct st_address
town_address(unsigned n)
{
    const unsigned pid = (unsigned)getpid();
    return (struct st_address){
        .len = 4,
        .bytes = {127, (uint8_t)(71 + n), (uint8_t)(pid >> 8), (uint8_t)pid},
    };
}

static void
admin_make(struct town *town, const char *name, struct town_admin *out, char path[128])
{
    uint8_t public_key[ED25519_PUBLIC_LEN];
    AUTO(st_freep) char *pem = NULL;
    struct st_err err = {0};
    assert_ok(key_generate(&out->seed, public_key, &err));
    assert_ok(cert_self_sign(&out->seed, name, &out->cert, &err));
    assert_ok(cert_to_pem(out->cert.der, out->cert.len, &pem, &err));
    snprintf(path, 128, "%s/%s.pem", town->dir, name);
    assert_ok(file_write(path, 0600, pem, strlen(pem), &err));
}

static void
town_start(struct town *town)
{
    struct st_err err = {0};
    char dir[80];
    snprintf(dir, sizeof(dir), "%s/data", town->dir);
    const struct nms_config config = {.dir = dir, .refused = town_is_left};
    assert_ok(nms_start(&config, &town->nms, &err));
    town->nodes = town_node_channel(town);
    town->admins = town_admin_channel(town, &town->admin);
}

void
town_open(struct town *town)
{
    char admin[128], viewer[128], stranger[128], dir[80];
    struct cert masters;
    struct st_err err = {0};
    memset(town, 0, sizeof(*town));
    strcpy(town->dir, "/tmp/smalltown-nms-XXXXXX");
    assert_non_null(mkdtemp(town->dir));
    snprintf(dir, sizeof(dir), "%s/data", town->dir);
    town->address = town_address(0);
    admin_make(town, "admin", &town->admin, admin);
    admin_make(town, "viewer", &town->viewer, viewer);
    admin_make(town, "stranger", &town->stranger, stranger);
    const struct init_config init = {
        .dir = dir,
        .name = "town",
        .address = town->address,
        .admins = {{admin, STATE__ADMIN_ROLE__ADMIN},
                   {viewer, STATE__ADMIN_ROLE__VIEWER}},
        .admin_count = 2,
    };
    assert_ok(init_cluster(&init, &masters, &err));
    town_start(town);
}

static void
town_stop(struct town *town)
{
    rpc_channel_close(town->nodes);
    rpc_channel_close(town->admins);
    nms_stop(town->nms);
    town->nms = NULL;
}

void
town_is_left(const char *sentence)
{
    (void)sentence;
}

void
town_restart(struct town *town)
{
    town_stop(town);
    town_start(town);
}

void
town_remove_folder(const char *path)
{
    char inner[512];
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.' &&
            (!entry->d_name[1] || strcmp(entry->d_name, "..") == 0))
            continue;
        snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
        if (entry->d_type == DT_DIR)
            town_remove_folder(inner);
        else
            assert_int_equal(unlink(inner), 0);
    }
    closedir(dir);
    assert_int_equal(rmdir(path), 0);
}

void
town_close(struct town *town)
{
    if (town->nms)
        town_stop(town);
    town_remove_folder(town->dir);
}

struct rpc_channel *
town_channel(const struct town *town, const struct st_address *address, uint16_t port,
             const struct town_admin *admin)
{
    struct rpc_channel *channel;
    struct st_err err = {0};
    const struct rpc_channel_config config = {
        .addresses = address,
        .address_count = 1,
        .port = port,
        .server_cert = town->nms->masters_cert.der,
        .server_cert_len = town->nms->masters_cert.len,
        .cert = admin ? &admin->cert : NULL,
        .seed = admin ? &admin->seed : NULL,
    };
    assert_ok(rpc_channel_open(&config, &channel, &err));
    return channel;
}

struct rpc_channel *
town_node_channel(const struct town *town)
{
    return town_channel(town, &town->address, rpc_server_port(town->nms->nodes), NULL);
}

struct rpc_channel *
town_admin_channel(const struct town *town, const struct town_admin *admin)
{
    return town_channel(town, &town->address, rpc_server_port(town->nms->admins), admin);
}

enum st_code
town_call(struct rpc_channel *channel, const char *method,
          const ProtobufCMessage *request, const ProtobufCMessageDescriptor *answer,
          void *out, struct st_err *err)
{
    char path[128];
    snprintf(path, sizeof(path), MANAGEMENT "%s", method);
    return rpc_unary(channel, path, request, answer, MACHINE_TIMEOUT_MS, out, err);
}

void
town_answer_free(void *answer)
{
    protobuf_c_message_free_unpacked(answer, &secret_allocator);
}

Api__NewEnrolmentConfigResponse *
town_enrolment(struct town *town, const char *name, uint32_t uses)
{
    Api__NewEnrolmentConfigRequest request = API__NEW_ENROLMENT_CONFIG_REQUEST__INIT;
    Api__NewEnrolmentConfigResponse *answer;
    struct st_err err = {0};
    request.name = (char *)name;
    request.uses = uses;
    assert_ok(town_call(town->admins, "NewEnrolmentConfig", &request.base,
                        &api__new_enrolment_config_response__descriptor, &answer, &err));
    return answer;
}

enum st_code
town_adopt(struct town *town, const char *id, Api__Node__State role, struct st_err *err)
{
    Api__AddNodeRequest request = API__ADD_NODE_REQUEST__INIT;
    ProtobufCMessage *answer;
    request.node_id = (char *)id;
    request.role = role;
    enum st_code code = town_call(town->admins, "AddNode", &request.base,
                                  &api__add_node_response__descriptor, &answer, err);
    if (!code)
        town_answer_free(answer);
    return code;
}

enum st_code
town_remove(struct town *town, const char *id, struct st_err *err)
{
    Api__RemoveNodeRequest request = API__REMOVE_NODE_REQUEST__INIT;
    ProtobufCMessage *answer;
    request.node_id = (char *)id;
    enum st_code code = town_call(town->admins, "RemoveNode", &request.base,
                                  &api__remove_node_request__descriptor, &answer, err);
    if (!code)
        town_answer_free(answer);
    return code;
}

enum st_code
town_remove_enrolment(struct town *town, const char *name, struct st_err *err)
{
    Api__RemoveEnrolmentConfigRequest request =
        API__REMOVE_ENROLMENT_CONFIG_REQUEST__INIT;
    ProtobufCMessage *answer;
    request.name = (char *)name;
    enum st_code code =
        town_call(town->admins, "RemoveEnrolmentConfig", &request.base,
                  &api__remove_enrolment_config_response__descriptor, &answer, err);
    if (!code)
        town_answer_free(answer);
    return code;
}

Api__ListNodesResponse *
town_nodes(struct town *town)
{
    const Api__ListNodesRequest request = API__LIST_NODES_REQUEST__INIT;
    Api__ListNodesResponse *answer;
    struct st_err err = {0};
    assert_ok(town_call(town->admins, "ListNodes", &request.base,
                        &api__list_nodes_response__descriptor, &answer, &err));
    return answer;
}

void
town_settle(struct town *town, struct machine *machine, bool waiting)
{
    char name[NAME_MAX_LEN + 1];
    struct st_err err = {0};
    snprintf(name, sizeof(name), "for-%s", machine->id);
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, name, 1);
    assert_ok(
        machine_enrol(machine, town->nodes, enrolment->enrolment_config, NULL, &err));
    town_answer_free(enrolment);
    if (!waiting)
        assert_ok(town_adopt(town, machine->id, API__NODE__STATE__WORKER, &err));
}

void
assert_told(const struct st_err *err, enum st_code code, const char *word)
{
    if (err->code != code)
        fail_msg("%s instead of %s: %s", st_code_name(err->code), st_code_name(code),
                 err->text);
    assert_string_equal(err->text, word);
    assert_string_equal(st_reason_word(err->reason), word);
}

Api__GetNodePcrsResponse *
town_node_pcrs(struct town *town, const char *id)
{
    Api__GetNodePcrsRequest request = API__GET_NODE_PCRS_REQUEST__INIT;
    Api__GetNodePcrsResponse *answer;
    struct st_err err = {0};
    request.node_id = (char *)id;
    assert_ok(town_call(town->admins, "GetNodePcrs", &request.base,
                        &api__get_node_pcrs_response__descriptor, &answer, &err));
    return answer;
}

int
town_group_setup(void **state)
{
    (void)state;
    rpc_init(NULL);
    return 0;
}

int
town_group_teardown(void **state)
{
    (void)state;
    rpc_shutdown();
    return 0;
}

int
town_setup(void **state)
{
    static struct town town;
    town_open(&town);
    *state = &town;
    return 0;
}

int
town_teardown(void **state)
{
    town_close(*state);
    return 0;
}
