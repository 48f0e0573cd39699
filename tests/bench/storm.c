/* A storm: machines that were all cut from power at once ask for their keys, each on a
 * connection of its own, as often as they are answered.
 *
 *   bench-storm ADDRESS,... MASTERS.pem ENROLMENT.pb MACHINES CLIENTS SECONDS
 *
 * Enrols the machines first (the policy must adopt them), says "ready", and begins when
 * a line comes.  Client n talks to address n modulo their number.  Prints one line of
 * JSON; latencies in microseconds, connection and quote included.
 */
#include "proto/cert.h"
#include "proto/file.h"
#include "proto/rpc_server.h"
#include "proto/scope.h"
#include "tests/bench/latencies.h"
#include "tests/nms/machine.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MACHINES_MAX = 1000,
    CLIENTS_MAX = 64,
};

struct storm {
    struct st_address addresses[ADDRESSES_MAX];
    size_t address_count;
    struct cert server;
    Api__EnrolmentConfig *config;
    struct machine *machines;
    unsigned machine_count, clients, seconds;
    uint64_t ends; /* ns */
    atomic_uint failed;
};

/* Every `clients`-th machine is its own. */
struct client {
    pthread_t thread;
    struct storm *storm;
    unsigned number;
    struct latencies latencies;
};

static struct rpc_channel *
channel(const struct storm *storm, unsigned number)
{
    struct rpc_channel *channel;
    struct st_err err = {0};
    const struct rpc_channel_config config = {
        .addresses = &storm->addresses[number % storm->address_count],
        .address_count = 1,
        .port = PORT_NODE_MANAGEMENT,
        .server_cert = storm->server.der,
        .server_cert_len = storm->server.len,
    };
    if (rpc_channel_open(&config, &channel, &err)) {
        fprintf(stderr, "bench-storm: %s\n", err.text);
        exit(1);
    }
    return channel;
}

static void
enrol(struct storm *storm)
{
    struct rpc_channel *one = channel(storm, 0);
    for (unsigned i = 0; i < storm->machine_count; i++) {
        struct st_err err = {0};
        machine_make(&storm->machines[i], FORGE_ECC);
        if (machine_enrol(&storm->machines[i], one, storm->config, NULL, &err)) {
            fprintf(stderr, "bench-storm: machine %u: %s\n", i, err.text);
            exit(1);
        }
    }
    rpc_channel_close(one);
}

/* After a reset, so that its quote says something new. */
static bool
unlock(struct client *client, struct machine *machine)
{
    Api__TPM2UnlockFlowResponse *answer = NULL;
    struct st_err err = {0};
    struct rpc_channel *own = channel(client->storm, client->number);
    machine->clock.reset_count++;
    if (machine_unlock(machine, own, NULL, &answer, &err)) {
        if (atomic_fetch_add(&client->storm->failed, 1) == 0)
            fprintf(stderr, "bench-storm: %s\n", err.text);
    } else {
        machine_answer_free(answer);
    }
    rpc_channel_close(own);
    return !err.code;
}

static void *
client_run(void *arg)
{
    struct client *client = arg;
    struct storm *storm = client->storm;
    uint64_t before = now_ns();
    for (unsigned at = client->number; before < storm->ends; at += storm->clients) {
        if (at >= storm->machine_count)
            at = client->number;
        const bool good = unlock(client, &storm->machines[at]);
        const uint64_t after = now_ns();
        if (good)
            latencies_add(&client->latencies, before, after);
        before = after;
    }
    return NULL;
}

static void
print(const struct storm *storm, struct client *clients, uint64_t ns)
{
    struct latencies all = {0};
    for (unsigned i = 0; i < storm->clients; i++)
        latencies_join(&all, &clients[i].latencies);
    latencies_print(&all, "unlocks", atomic_load(&storm->failed), ns);
}

static void
run(struct storm *storm)
{
    struct client clients[CLIENTS_MAX] = {0};
    const uint64_t began = now_ns();
    storm->ends = began + storm->seconds * UINT64_C(1000000000);
    for (unsigned i = 0; i < storm->clients; i++) {
        clients[i].storm = storm;
        clients[i].number = i;
        latencies_open(&clients[i].latencies);
        if (pthread_create(&clients[i].thread, NULL, client_run, &clients[i]))
            abort();
    }
    for (unsigned i = 0; i < storm->clients; i++)
        pthread_join(clients[i].thread, NULL);
    print(storm, clients, now_ns() - began);
    for (unsigned i = 0; i < storm->clients; i++)
        free(clients[i].latencies.us);
}

static enum st_code
read_config(const char *file, Api__EnrolmentConfig **out, struct st_err *err)
{
    AUTO(st_freep) uint8_t *bytes = NULL;
    size_t len;
    enum st_code code = file_read(file, FILE_MAX_LEN, &bytes, &len, err);
    if (code)
        return code;
    *out = api__enrolment_config__unpack(NULL, len, bytes);
    return *out ? ST_OK : st_fail(err, ST_INVALID_ARGUMENT, "%s: no enrolment", file);
}

static enum st_code
read_addresses(char *list, struct storm *storm, struct st_err *err)
{
    char *rest = list, *word;
    while ((word = strsep(&rest, ",")) && storm->address_count < ADDRESSES_MAX) {
        enum st_code code =
            address_parse(word, &storm->addresses[storm->address_count++], err);
        if (code)
            return code;
    }
    return ST_OK;
}

static enum st_code
read_arguments(int argc, char **argv, struct storm *storm, struct st_err *err)
{
    AUTO(st_freep) char *server = NULL;
    size_t len;
    enum st_code code;
    if (argc != 7)
        return st_fail(err, ST_INVALID_ARGUMENT, "see the head of storm.c for arguments");
    storm->machine_count = (unsigned)strtoul(argv[4], NULL, 10);
    storm->clients = (unsigned)strtoul(argv[5], NULL, 10);
    storm->seconds = (unsigned)strtoul(argv[6], NULL, 10);
    if (storm->clients < 1 || storm->clients > CLIENTS_MAX ||
        storm->machine_count < storm->clients || storm->machine_count > MACHINES_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "1 to %d clients, as many machines",
                       CLIENTS_MAX);
    if ((code = read_addresses(argv[1], storm, err)) ||
        (code = file_read(argv[2], FILE_MAX_LEN, (uint8_t **)&server, &len, err)) ||
        (code = cert_from_pem(server, &storm->server, err)))
        return code;
    return read_config(argv[3], &storm->config, err);
}

int
main(int argc, char **argv)
{
    struct storm storm = {0};
    struct st_err err = {0};
    if (read_arguments(argc, argv, &storm, &err)) {
        fprintf(stderr, "bench-storm: %s\n", err.text);
        return 2;
    }
    storm.machines = calloc(storm.machine_count, sizeof(*storm.machines));
    if (!storm.machines)
        abort();
    rpc_init(NULL);
    enrol(&storm);
    puts("ready");
    fflush(stdout);
    (void)!getchar();
    run(&storm);
    for (unsigned i = 0; i < storm.machine_count; i++)
        machine_free(&storm.machines[i]);
    free(storm.machines);
    api__enrolment_config__free_unpacked(storm.config, NULL);
    rpc_shutdown();
    return fflush(stdout) ? 1 : 0;
}
