/* Addresses are tried here and not by gRPC: its own way spends 20 s on a frozen one, and
 * does not tell a dead server from a wrong one. */
#include "proto/rpc_channel.h"

#include "proto/scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    PATIENCE_MS = 1500, /* with one address, while others are left */
    /* A frozen server is noticed after both; whoever has no other to go to gives a busy
     * one more time. */
    KEEPALIVE_MS = 750,
    KEEPALIVE_WAIT_MS = 1250,
    KEEPALIVE_WAIT_ALONE_MS = 10000,
    ANSWER_MAX = 64 * 1024 * 1024, /* ten thousand nodes are 20 MB */
    WINDOW_LEN = 512 * 1024, /* 20 MB take two seconds where an answer takes 50 ms */
};

static gpr_timespec
after_ms(uint64_t ms)
{
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_millis((int64_t)ms, GPR_TIMESPAN));
}

static void
shuffle(struct st_address *addresses, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        uint32_t random = 0;
        (void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
        struct st_address swap = addresses[i - 1];
        addresses[i - 1] = addresses[random % i];
        addresses[random % i] = swap;
    }
}

enum st_code
rpc_channel_open(const struct rpc_channel_config *config, struct rpc_channel **out,
                 struct st_err *err)
{
    if (!config->address_count || config->address_count > ADDRESSES_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "%zu addresses, 1 to %d can be",
                       config->address_count, ADDRESSES_MAX);
    AUTO(rpc_channel_closep) struct rpc_channel *channel = calloc(1, sizeof(*channel));
    if (!channel)
        return st_fail(err, ST_INTERNAL, "out of memory");
    channel->address_count = config->address_count;
    memcpy(channel->addresses, config->addresses,
           config->address_count * sizeof(*config->addresses));
    shuffle(channel->addresses, channel->address_count);
    channel->port = config->port;
    channel->answer_max = config->answer_max ? config->answer_max : ANSWER_MAX;
    enum st_code code = rpc_pin_new(config, &channel->pin, &channel->credentials, err);
    if (code)
        return code;
    channel->queue = grpc_completion_queue_create_for_pluck(NULL);
    *out = TAKE(channel);
    return ST_OK;
}

static void
disconnect(struct rpc_channel *channel)
{
    if (channel->grpc)
        grpc_channel_destroy(channel->grpc);
    channel->grpc = NULL;
}

void
rpc_channel_drop(struct rpc_channel *channel)
{
    disconnect(channel);
    channel->current = (channel->current + 1) % channel->address_count;
}

void
rpc_channel_close(struct rpc_channel *channel)
{
    if (!channel)
        return;
    disconnect(channel);
    if (channel->queue) {
        grpc_completion_queue_shutdown(channel->queue);
        grpc_completion_queue_destroy(channel->queue);
    }
    if (channel->credentials)
        grpc_channel_credentials_release(channel->credentials);
    rpc_pin_release(channel->pin);
    free(channel);
}

static grpc_channel *
make_channel(const struct rpc_channel *channel, int patience_ms)
{
    int keepalive_wait_ms =
        channel->address_count > 1 ? KEEPALIVE_WAIT_MS : KEEPALIVE_WAIT_ALONE_MS;
    const struct {
        const char *key;
        int value;
    } numbers[] = {
        {GRPC_ARG_ENABLE_HTTP_PROXY, 0},
        {GRPC_ARG_ENABLE_RETRIES, 0},
        {GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1},
        {GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1},
        {GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, patience_ms},
        {GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, patience_ms},
        {GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS},
        {GRPC_ARG_KEEPALIVE_TIMEOUT_MS, keepalive_wait_ms},
        {GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0},
        {GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)channel->answer_max},
        /* A server encrypts at once what the window lets through, and gRPC would open it
         * to many megabytes. */
        {GRPC_ARG_HTTP2_BDP_PROBE, 0},
        {GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, WINDOW_LEN},
        {GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0},
        {GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1},
        {GRPC_ARG_ENABLE_CHANNELZ, 0},
    };
    enum {
        COUNT = sizeof(numbers) / sizeof(*numbers)
    };
    grpc_arg args[COUNT + 1];
    for (size_t i = 0; i < COUNT; i++)
        args[i] = (grpc_arg){.type = GRPC_ARG_INTEGER,
                             .key = (char *)numbers[i].key,
                             .value.integer = numbers[i].value};
    args[COUNT] = (grpc_arg){.type = GRPC_ARG_STRING,
                             .key = (char *)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG,
                             .value.string = (char *)"smalltown-master"};
    const grpc_channel_args all = {COUNT + 1, args};
    const struct st_address *address = &channel->addresses[channel->current];
    char text[ADDRESS_TEXT_MAX], target[ADDRESS_TEXT_MAX + 8];
    address_format_port(address, channel->port, text);
    snprintf(target, sizeof(target), "%s:%s", address->len == 16 ? "ipv6" : "ipv4", text);
    return grpc_channel_create(target, channel->credentials, &all);
}

/* READY, or what it was when the time was up or the attempt had failed. */
static grpc_connectivity_state
wait_ready(struct rpc_channel *channel, gpr_timespec deadline)
{
    grpc_connectivity_state state =
        grpc_channel_check_connectivity_state(channel->grpc, 1);
    while (state != GRPC_CHANNEL_READY && state != GRPC_CHANNEL_TRANSIENT_FAILURE &&
           gpr_time_cmp(gpr_now(GPR_CLOCK_MONOTONIC), deadline) < 0) {
        grpc_channel_watch_connectivity_state(channel->grpc, state, deadline,
                                              channel->queue, channel);
        grpc_completion_queue_pluck(channel->queue, channel,
                                    gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        state = grpc_channel_check_connectivity_state(channel->grpc, 1);
    }
    return state;
}

/* One try of the current address.  *out_silent where nobody said yes or no. */
static bool
try_address(struct rpc_channel *channel, uint64_t patience_ms, gpr_timespec deadline,
            bool *out_silent)
{
    gpr_timespec until = gpr_time_min(after_ms(patience_ms), deadline);
    channel->grpc = make_channel(channel, (int)patience_ms);
    grpc_connectivity_state state = wait_ready(channel, until);
    if (state == GRPC_CHANNEL_READY)
        return true;
    *out_silent = state != GRPC_CHANNEL_TRANSIENT_FAILURE;
    rpc_channel_drop(channel);
    return false;
}

static enum st_code
nobody(const struct rpc_channel *channel, struct st_err *err)
{
    char text[ADDRESS_TEXT_MAX];
    address_format_port(&channel->addresses[channel->current], channel->port, text);
    const char *others = channel->address_count > 1 ? " nor anywhere else" : "";
    if (atomic_load(&channel->pin->refused))
        return st_fail_for(err, ST_UNAVAILABLE, ST_REASON_OTHER_SERVER,
                           "the expected certificate is not at %s%s: another one is",
                           text, others);
    return st_fail_for(err, ST_UNAVAILABLE, ST_REASON_UNREACHABLE, "no answer at %s%s",
                       text, others);
}

enum st_code
rpc_channel_connect(struct rpc_channel *channel, gpr_timespec deadline,
                    struct st_err *err)
{
    if (channel->grpc &&
        grpc_channel_check_connectivity_state(channel->grpc, 0) == GRPC_CHANNEL_READY)
        return ST_OK;
    disconnect(channel);
    atomic_store(&channel->pin->refused, false);
    /* Whoever is alone gets all the time.  Otherwise each round is twice as patient, so
     * that a storm in which every master is slow still comes to an end. */
    uint64_t patience = channel->address_count > 1 ? PATIENCE_MS : INT32_MAX / 2;
    for (bool silent = true; silent; patience *= 2) {
        silent = false;
        for (size_t i = 0; i < channel->address_count; i++) {
            bool this_silent = false;
            if (gpr_time_cmp(gpr_now(GPR_CLOCK_MONOTONIC), deadline) >= 0)
                return nobody(channel, err);
            if (try_address(channel, patience, deadline, &this_silent))
                return ST_OK;
            silent = silent || this_silent;
        }
    }
    return nobody(channel, err);
}

const struct st_address *
rpc_channel_address(const struct rpc_channel *channel)
{
    return &channel->addresses[channel->current];
}
