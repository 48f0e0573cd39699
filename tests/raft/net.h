/* net.h - members that have a mesh and nothing else, on one loop, for the tests. */
#ifndef TESTS_RAFT_NET_H
#define TESTS_RAFT_NET_H

#include "raft/mesh.h"
#include "tests/raft/authority.h"

#include <stdbool.h>

enum {
    NET_MEMBERS_MAX = 3,
    NET_KEPT_MAX = 64,
};

struct net;

struct net_member {
    struct net *net;
    struct mesh *mesh;
    uint64_t id;
    char address[REPLICA_ADDRESS_MAX];
    struct issued issued;
    uint64_t boot;
    uint64_t boot_min; /* of others: below it they are refused */
    bool mute;         /* no start can be written down */

    /* What came, the newest last; kept as it is. */
    struct raft_message messages[NET_KEPT_MAX];
    unsigned message_count;
    unsigned heartbeats; /* AppendEntries without entries, not kept */
    unsigned notes;
    size_t note_bytes;
    uint8_t note_first;
    unsigned announced, admitted, refusals, changes;
    struct st_err refusal; /* the last one */
    uint64_t refused_by;
    uint64_t turned_away; /* strangers */
    char turned_away_last[REPLICA_ADDRESS_MAX];
    bool closed;
};

struct net {
    uv_loop_t loop;
    uv_timer_t timer;
    bool late;
    struct authority authority;
    struct cert list; /* number 1, empty */
    struct net_member members[NET_MEMBERS_MAX];
    unsigned count;
    /* Sends that called back, and with what last. */
    unsigned sent, failed;
    int status;
};

/* Members 1 ... count listen, and follow nobody. */
struct net *net_new(unsigned count);
void net_end(struct net *net);

/* Everybody follows everybody, and all are connected. */
void net_connect(struct net *net);
void net_follow(struct net *net, struct net_member *member, const uint64_t *ids,
                size_t count);

void net_open(struct net_member *member);
/* The same with what another authority issued. */
void net_open_as(struct net_member *member, const struct authority *authority,
                 const struct cert *list);
void net_close(struct net_member *member);

/* Runs the loop until the condition holds; a minute without (patience.h) is a failure. */
#define NET_UNTIL(net, condition)                                                        \
    do {                                                                                 \
        net_begin(net);                                                                  \
        while (!(condition) && !(net)->late)                                             \
            uv_run(&(net)->loop, UV_RUN_ONCE);                                           \
        if (!(condition))                                                                \
            fail_msg("not in good time: %s", #condition);                                \
    } while (0)
void net_begin(struct net *net);

/* Runs the loop while work(arg) runs on a thread of its own. */
void net_meanwhile(struct net *net, void (*work)(void *arg), void *arg);
/* The same in two steps. */
struct net_work;
struct net_work *net_work_begin(struct net *net, void (*work)(void *arg), void *arg);
void net_work_end(struct net *net, struct net_work *work);

/* From a member to another; counted in sent or failed when it calls back. */
int net_send(struct net_member *from, uint64_t to, struct raft_message message);
void net_forget(struct net_member *member); /* what it kept */

#endif
