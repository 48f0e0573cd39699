/* How the rest of a master reads the records: one, or all of a kind, as copies. */
#include "nms/digest.h"
#include "nms/state_internal.h"

#include <string.h>

/* A copy of the record of this key, ST_NOT_FOUND with `what` and `name`. */
static enum st_code
state_get(struct state *state, const char *key, const ProtobufCMessageDescriptor *type,
          const char *what, const char *name, void *out, struct st_err *err)
{
    READING(state);
    const struct record *record = records_find(&state->records, key);
    if (!record)
        return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND, "no %s %s", what,
                           name);
    *(void **)out = record_unpack(record, type);
    return ST_OK;
}

enum st_code
state_cluster(struct state *state, State__Cluster **out, struct st_err *err)
{
    return state_get(state, "cluster", &state__cluster__descriptor, "cluster", "yet", out,
                     err);
}

enum st_code
state_node(struct state *state, const char *id, State__Node **out, struct st_err *err)
{
    char key[STATE_KEY_MAX];
    enum st_code code = node_id_check(id, err);
    if (code)
        return code;
    key_of_node(id, key);
    return state_get(state, key, &state__node__descriptor, "node", id, out, err);
}

enum st_code
state_member(struct state *state, uint64_t id, State__Member **out, struct st_err *err)
{
    char key[STATE_KEY_MAX];
    key_of_member(id, key);
    return state_get(state, key, &state__member__descriptor, "master",
                     strchr(key, '/') + 1, out, err);
}

enum st_code
state_member_of_node(struct state *state, const char *node_id, State__Member **out,
                     struct st_err *err)
{
    READING(state);
    State__Member *member = member_of_node(state, node_id);
    if (!member)
        return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND, "%s is no master",
                           node_id);
    *out = member;
    return ST_OK;
}

uint64_t
masters_number(const struct state *state)
{
    State__Cluster *cluster = cluster_of(state);
    if (!cluster)
        return 0;
    const uint64_t number = cluster->masters_number;
    record_free_unpacked(cluster);
    return number;
}

uint64_t
state_masters_number(struct state *state)
{
    READING(state);
    return masters_number(state);
}

size_t
state_masters(struct state *state, struct st_address out[REPLICA_MEMBERS_MAX],
              uint64_t *out_number)
{
    const struct record *record;
    size_t count = 0;
    READING(state);
    size_t at = records_begin(&state->records, "member/");
    while (count < REPLICA_MEMBERS_MAX &&
           (record = records_next(&state->records, "member/", &at))) {
        State__Member *member = record_unpack(record, &state__member__descriptor);
        /* A record's address was checked when the record came in. */
        if (member->phase == STATE__PHASE__VOTER &&
            !address_unpack(&member->address, &out[count], NULL))
            count++;
        record_free_unpacked(member);
    }
    if (out_number)
        *out_number = masters_number(state);
    return count;
}

State__AdminRole
state_admin_role(struct state *state, const uint8_t fingerprint[SHA256_LEN])
{
    READING(state);
    return listed_role(state, fingerprint);
}

enum st_code
state_each(struct state *state, const char *prefix,
           const ProtobufCMessageDescriptor *type, state_each_fn each, void *arg,
           struct st_err *err)
{
    READING(state);
    const struct record *record;
    size_t at = records_begin(&state->records, prefix);
    while ((record = records_next(&state->records, prefix, &at))) {
        void *message = record_unpack(record, type);
        enum st_code code = each(arg, message, record, err);
        record_free_unpacked(message);
        if (code)
            return code;
    }
    return ST_OK;
}

struct node_visit {
    enum st_code (*each)(void *arg, const State__Node *node, int64_t seen,
                         struct st_err *err);
    void *arg;
};

static enum st_code
visit_node(void *arg, const void *message, const struct record *record,
           struct st_err *err)
{
    const struct node_visit *visit = arg;
    int64_t seen = __atomic_load_n(&record->seen, __ATOMIC_RELAXED);
    return visit->each(visit->arg, message, seen, err);
}

enum st_code
state_each_node(struct state *state,
                enum st_code (*each)(void *arg, const State__Node *node, int64_t seen,
                                     struct st_err *err),
                void *arg, struct st_err *err)
{
    struct node_visit visit = {each, arg};
    return state_each(state, "node/", &state__node__descriptor, visit_node, &visit, err);
}

/* state_each_KIND(): the records below "KIND/", each as its message. */
#define EACH(kind, Message)                                                              \
    struct kind##_visit {                                                                \
        enum st_code (*each)(void *arg, const Message *kind, struct st_err *err);        \
        void *arg;                                                                       \
    };                                                                                   \
    static enum st_code visit_##kind(void *arg, const void *message,                     \
                                     const struct record *record, struct st_err *err)    \
    {                                                                                    \
        (void)record;                                                                    \
        const struct kind##_visit *visit = arg;                                          \
        return visit->each(visit->arg, message, err);                                    \
    }                                                                                    \
    enum st_code state_each_##kind(                                                      \
        struct state *state,                                                             \
        enum st_code (*each)(void *arg, const Message *kind, struct st_err *err),        \
        void *arg, struct st_err *err)                                                   \
    {                                                                                    \
        struct kind##_visit visit = {each, arg};                                         \
        return state_each(state, #kind "/", &state__##kind##__descriptor, visit_##kind,  \
                          &visit, err);                                                  \
    }

EACH(enrolment, State__Enrolment)
EACH(ticket, State__Ticket)
EACH(member, State__Member)
EACH(admin, State__Admin)

struct counting {
    int64_t now;
    uint64_t masters_number;
    struct state_counts counts;
};

static enum st_code
count_node(void *arg, const State__Node *node, int64_t seen, struct st_err *err)
{
    (void)seen;
    (void)err;
    struct counting *counting = arg;
    counting->counts.nodes++;
    counting->counts.waiting += node->role == STATE__ROLE__REGISTERED;
    counting->counts.outdated += state_is_outdated(node, counting->masters_number);
    return ST_OK;
}

static enum st_code
count_enrolment(void *arg, const State__Enrolment *enrolment, struct st_err *err)
{
    (void)err;
    struct counting *counting = arg;
    counting->counts.enrolments +=
        enrolment->uses_left > 0 && enrolment->expires_at > counting->now;
    return ST_OK;
}

enum st_code
state_count(struct state *state, int64_t now, struct state_counts *out,
            struct st_err *err)
{
    struct counting counting = {.now = now,
                                .masters_number = state_masters_number(state)};
    enum st_code code;
    if ((code = state_each_node(state, count_node, &counting, err)) ||
        (code = state_each_enrolment(state, count_enrolment, &counting, err)))
        return code;
    *out = counting.counts;
    return ST_OK;
}

int64_t
state_changed_at(struct state *state)
{
    int64_t newest = 0;
    const struct record *record;
    READING(state);
    size_t at = records_begin(&state->records, "request/");
    while ((record = records_next(&state->records, "request/", &at))) {
        State__Request *request = record_unpack(record, &state__request__descriptor);
        newest = request->time > newest ? request->time : newest;
        record_free_unpacked(request);
    }
    return newest;
}

enum st_code
state_digest(struct state *state, uint8_t out[SHA256_LEN], struct st_err *err)
{
    uint8_t chain[2][SHA256_LEN] = {0}; /* of everything before, of one record */
    READING(state);
    const struct record *record;
    size_t at = 0;
    while ((record = records_next(&state->records, "", &at))) {
        enum st_code code;
        if ((code = digest_labelled(record_key(record), record_value(record), record->len,
                                    chain[1], err)) ||
            (code = digest_labelled("records", chain, sizeof(chain), chain[0], err)))
            return code;
    }
    memcpy(out, chain[0], SHA256_LEN);
    return ST_OK;
}

void
state_cluster_free(State__Cluster *cluster)
{
    record_free_unpacked(cluster);
}

void
state_node_free(State__Node *node)
{
    record_free_unpacked(node);
}

void
state_member_free(State__Member *member)
{
    record_free_unpacked(member);
}
