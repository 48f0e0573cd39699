/* arguments.h - the command line of smalltown-nms. */
#ifndef NMS_ARGUMENTS_H
#define NMS_ARGUMENTS_H

#include "nms/init.h"
#include "nms/self.h"

#include <stdbool.h>

enum command {
    COMMAND_HELP,
    COMMAND_VERSION,
    COMMAND_INIT,
    COMMAND_JOIN,
    COMMAND_RUN,
    COMMAND_RECOVER,
    COMMAND_MOVE,
};

struct arguments {
    enum command command;
    struct init_config init; /* dir and address are for other commands, too */
    const char *address;     /* as it was typed */
    const char *ticket;      /* file, or NULL */
    bool certificates;       /* come on standard input */
    bool yes;                /* not only look */
    const char *date;        /* as it was typed, or NULL */
    int64_t today;           /* its midnight, UTC; 0 without one */
    size_t place_count;
    struct self_place places[REPLICA_MEMBERS_MAX];
    size_t master_count;
    struct st_address masters[ADDRESSES_MAX]; /* hosts, as `run` is told */
};

extern const char arguments_usage[];

/* ST_INVALID_ARGUMENT with one sentence. */
enum st_code arguments_read(int argc, char **argv, struct arguments *out,
                            struct st_err *err);

#endif
