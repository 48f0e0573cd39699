/* Writes from outside, as fast as they are answered: a number of clients, each with a
 * connection of its own, each with one write under way.  The same program drives our
 * masters and etcd, over TLS with certificates on both ends.
 *
 *   bench-load smalltown|etcd ADDRESS,... SERVER.pem CLIENT.pem CLIENT-KEY.pem
 *              CLIENTS SECONDS WRITES BYTES
 *
 * Ends after SECONDS or WRITES, whichever comes first.  BYTES is the value of one Put.
 * Client n talks to address n modulo their number.  Prints one line of JSON; latencies in
 * microseconds.
 */
#include "proto/api.pb-c.h"
#include "proto/cert.h"
#include "proto/file.h"
#include "proto/rpc_client.h"
#include "proto/rpc_server.h"
#include "proto/scope.h"
#include "tests/bench/etcd.pb-c.h"
#include "tests/bench/latencies.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    CLIENTS_MAX = 256,
    BYTES_MAX = 16 * 1024,
    ETCD_PORT = 2379,
    ETCD_KEYS = 100, /* of one client: written over and over */
    CALL_MS = 10000,
};

struct client;

/* One write. */
typedef enum st_code (*write_fn)(struct client *client, uint64_t number,
                                 struct st_err *err);

struct load {
    write_fn write;
    uint16_t port;
    struct st_address addresses[ADDRESSES_MAX];
    size_t address_count;
    struct cert server, cert;
    struct secret seed;
    unsigned clients;
    uint64_t seconds, bytes;

    pthread_barrier_t ready; /* every client is connected */
    uint64_t ends;           /* ns; written before `ready` is passed */
    atomic_int_fast64_t left;
    atomic_uint_fast64_t failed;
};

struct client {
    pthread_t thread;
    struct load *load;
    unsigned number;
    struct rpc_channel *channel;
    struct latencies latencies;
};

static enum st_code
call(struct client *client, const char *path, const ProtobufCMessage *request,
     const ProtobufCMessageDescriptor *answer, struct st_err *err)
{
    ProtobufCMessage *message = NULL;
    enum st_code code =
        rpc_unary(client->channel, path, request, answer, CALL_MS, &message, err);
    if (!code)
        protobuf_c_message_free_unpacked(message, &secret_allocator);
    return code;
}

static enum st_code
write_etcd(struct client *client, uint64_t number, struct st_err *err)
{
    static uint8_t value[BYTES_MAX];
    char key[48];
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key.data = (uint8_t *)key;
    put.key.len = (size_t)snprintf(key, sizeof(key), "bench-%u-%u", client->number,
                                   (unsigned)(number % ETCD_KEYS));
    put.value = (ProtobufCBinaryData){client->load->bytes, value};
    return call(client, "/etcdserverpb.KV/Put", &put.base,
                &etcdserverpb__put_response__descriptor, err);
}

/* Makes an enrolment, and with the next write removes it. */
static enum st_code
write_smalltown(struct client *client, uint64_t number, struct st_err *err)
{
    char name[NAME_MAX_LEN + 1];
    snprintf(name, sizeof(name), "bench-%d-%u-%llu", getpid(), client->number,
             (unsigned long long)number / 2);
    if (number % 2) {
        Api__RemoveEnrolmentConfigRequest remove =
            API__REMOVE_ENROLMENT_CONFIG_REQUEST__INIT;
        remove.name = name;
        return call(client, "/api.ClusterManagement/RemoveEnrolmentConfig", &remove.base,
                    &api__remove_enrolment_config_response__descriptor, err);
    }
    Api__NewEnrolmentConfigRequest make = API__NEW_ENROLMENT_CONFIG_REQUEST__INIT;
    make.name = name;
    return call(client, "/api.ClusterManagement/NewEnrolmentConfig", &make.base,
                &api__new_enrolment_config_response__descriptor, err);
}

static void
client_open(struct client *client)
{
    struct load *load = client->load;
    struct st_err err = {0};
    const struct rpc_channel_config config = {
        .addresses = &load->addresses[client->number % load->address_count],
        .address_count = 1,
        .port = load->port,
        .server_cert = load->server.der,
        .server_cert_len = load->server.len,
        .cert = &load->cert,
        .seed = &load->seed,
    };
    latencies_open(&client->latencies);
    if (rpc_channel_open(&config, &client->channel, &err) ||
        load->write(client, 0, &err) || load->write(client, 1, &err)) {
        fprintf(stderr, "bench-load: client %u: %s\n", client->number, err.text);
        exit(1);
    }
}

static void *
client_run(void *arg)
{
    struct client *client = arg;
    struct load *load = client->load;
    client_open(client);
    pthread_barrier_wait(&load->ready); /* the last is here ... */
    pthread_barrier_wait(&load->ready); /* ... and the clock was set */
    uint64_t before = now_ns();
    for (uint64_t number = 2;
         before < load->ends && client->latencies.count < LATENCIES_MAX; number++) {
        struct st_err err = {0};
        if (atomic_fetch_sub(&load->left, 1) <= 0)
            break;
        enum st_code code = load->write(client, number, &err);
        const uint64_t after = now_ns();
        if (!code)
            latencies_add(&client->latencies, before, after);
        else if (atomic_fetch_add(&load->failed, 1) == 0)
            fprintf(stderr, "bench-load: %s\n", err.text);
        before = after;
    }
    return NULL;
}

static void
print(const struct load *load, struct client *clients, uint64_t ns)
{
    struct latencies all = {0};
    for (unsigned i = 0; i < load->clients; i++)
        latencies_join(&all, &clients[i].latencies);
    latencies_print(&all, "writes", atomic_load(&load->failed), ns);
}

static void
run(struct load *load)
{
    struct client *clients = calloc(load->clients, sizeof(*clients));
    if (!clients || pthread_barrier_init(&load->ready, NULL, load->clients + 1))
        abort();
    for (unsigned i = 0; i < load->clients; i++) {
        clients[i].load = load;
        clients[i].number = i;
        if (pthread_create(&clients[i].thread, NULL, client_run, &clients[i]))
            abort();
    }
    pthread_barrier_wait(&load->ready);
    const uint64_t began = now_ns();
    load->ends = began + load->seconds * 1000000000;
    pthread_barrier_wait(&load->ready);
    for (unsigned i = 0; i < load->clients; i++)
        pthread_join(clients[i].thread, NULL);
    print(load, clients, now_ns() - began);
    for (unsigned i = 0; i < load->clients; i++) {
        rpc_channel_close(clients[i].channel);
        free(clients[i].latencies.us);
    }
    free(clients);
    pthread_barrier_destroy(&load->ready);
}

static enum st_code
read_pem(const char *file, char **out, struct st_err *err)
{
    size_t len;
    return file_read(file, FILE_MAX_LEN, (uint8_t **)out, &len, err);
}

static enum st_code
read_certificates(char **files, struct load *load, struct st_err *err)
{
    AUTO(st_freep) char *server = NULL;
    AUTO(st_freep) char *cert = NULL;
    AUTO(st_freep) char *key = NULL;
    enum st_code code;
    if ((code = read_pem(files[0], &server, err)) ||
        (code = read_pem(files[1], &cert, err)) ||
        (code = read_pem(files[2], &key, err)) ||
        (code = cert_from_pem(server, &load->server, err)) ||
        (code = cert_from_pem(cert, &load->cert, err)))
        return code;
    return key_from_pem(key, &load->seed, err);
}

static enum st_code
read_addresses(char *list, struct load *load, struct st_err *err)
{
    char *rest = list, *word;
    while ((word = strsep(&rest, ","))) {
        if (load->address_count == ADDRESSES_MAX)
            return st_fail(err, ST_INVALID_ARGUMENT, "too many addresses");
        enum st_code code =
            address_parse(word, &load->addresses[load->address_count++], err);
        if (code)
            return code;
    }
    return ST_OK;
}

static enum st_code
read_arguments(int argc, char **argv, struct load *load, struct st_err *err)
{
    if (argc != 10)
        return st_fail(err, ST_INVALID_ARGUMENT, "see the head of load.c for arguments");
    const bool etcd = strcmp(argv[1], "etcd") == 0;
    load->write = etcd ? write_etcd : write_smalltown;
    load->port = etcd ? ETCD_PORT : PORT_CLUSTER_MANAGEMENT;
    load->clients = (unsigned)strtoul(argv[6], NULL, 10);
    load->seconds = strtoul(argv[7], NULL, 10);
    atomic_init(&load->left, strtol(argv[8], NULL, 10));
    load->bytes = strtoul(argv[9], NULL, 10);
    if (load->clients < 1 || load->clients > CLIENTS_MAX || load->bytes > BYTES_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "1 to %d clients, up to %d bytes",
                       CLIENTS_MAX, BYTES_MAX);
    enum st_code code = read_addresses(argv[2], load, err);
    return code ? code : read_certificates(argv + 3, load, err);
}

int
main(int argc, char **argv)
{
    struct load load = {0};
    struct st_err err = {0};
    if (read_arguments(argc, argv, &load, &err)) {
        fprintf(stderr, "bench-load: %s\n", err.text);
        return 2;
    }
    rpc_init(NULL);
    run(&load);
    rpc_shutdown();
    secret_wipe(&load.seed);
    return fflush(stdout) ? 1 : 0;
}
