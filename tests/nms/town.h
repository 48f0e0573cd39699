/* town.h - a cluster of one real master in this process: real store, real replica, real
 * doors on a loopback address, any free ports; and its administrators.
 */
#ifndef TESTS_NMS_TOWN_H
#define TESTS_NMS_TOWN_H

#include "nms/nms.h"
#include "proto/rpc_client.h"
#include "tests/cmocka.h"
#include "tests/nms/machine.h"

#define MANAGEMENT "/api.ClusterManagement/"
#define JOIN_PATH "/api.NodeManagementService/JoinMasters"

/* The n-th address of this process, from 0: port 7834 is the same everywhere, and tests
 * run beside each other. */
struct st_address town_address(unsigned n);

struct town_admin {
    struct secret seed;
    struct cert cert;
};

struct town {
    char dir[64];
    struct nms *nms;
    struct st_address address;
    struct town_admin admin, viewer, stranger;
    struct rpc_channel *nodes;  /* 7833 */
    struct rpc_channel *admins; /* 7836 as `admin` */
};

void town_open(struct town *town);
/* Stops the master and starts it again from its folder; channels are new ones. */
void town_restart(struct town *town);
void town_close(struct town *town);

/* A master that was removed goes on until its test stops it. */
void town_is_left(const char *sentence);

/* With everything in it. */
void town_remove_folder(const char *path);

struct rpc_channel *town_node_channel(const struct town *town);
struct rpc_channel *town_admin_channel(const struct town *town,
                                       const struct town_admin *admin);

/* One unary call of ClusterManagement; *out is freed with town_answer_free(). */
enum st_code town_call(struct rpc_channel *channel, const char *method,
                       const ProtobufCMessage *request,
                       const ProtobufCMessageDescriptor *answer, void *out,
                       struct st_err *err);
void town_answer_free(void *answer);

struct rpc_channel *town_channel(const struct town *town,
                                 const struct st_address *address, uint16_t port,
                                 const struct town_admin *admin);

/* The same calls, one line each.  The config keeps its secret. */
Api__NewEnrolmentConfigResponse *town_enrolment(struct town *town, const char *name,
                                                uint32_t uses);
enum st_code town_adopt(struct town *town, const char *id, Api__Node__State role,
                        struct st_err *err);
enum st_code town_remove(struct town *town, const char *id, struct st_err *err);
enum st_code town_remove_enrolment(struct town *town, const char *name,
                                   struct st_err *err);
Api__ListNodesResponse *town_nodes(struct town *town);

/* What GetNodePcrs says of a node; freed with town_answer_free(). */
Api__GetNodePcrsResponse *town_node_pcrs(struct town *town, const char *id);

/* What a stranger is told: the code, and a word for the reason instead of a sentence. */
void assert_told(const struct st_err *err, enum st_code code, const char *word);

/* A machine that is a node; adopted unless waiting. */
void town_settle(struct town *town, struct machine *machine, bool waiting);

/* For cmocka: rpc_init() and rpc_shutdown() around the group; a fresh town per test. */
int town_group_setup(void **state);
int town_group_teardown(void **state);
int town_setup(void **state);
int town_teardown(void **state);
#define TOWN_TEST(name) cmocka_unit_test_setup_teardown(name, town_setup, town_teardown)

#endif
