/* recover: make sure that nobody else is there, then a group of one, and a first command
 * that says so to the records.
 *
 * What was cut off between the two is a group of one whose records name the others still:
 * nobody would ever revoke them, and they might meet again without it.  So member.pb says
 * from before until after that the folder is not to be run; the same command again
 * finishes it.
 */
#include "nms/issue.h"
#include "nms/nms.h"
#include "nms/offline.h"
#include "nms/recover.h"
#include "proto/mutant.h"
#include "proto/secret.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    COMMIT_MS = 30000,
    KNOCK_MS = 2000,
    /* So many masters may have come to the group after the folder's last entry. */
    STRANGERS_MAX = 64,
    DAY_S = 86400,
    TIME_TEXT_MAX = 32,
};

/* What becomes of the others. */
struct farewell {
    struct crl crl;
    uint64_t crl_number, next_member;
};

/* Whether somebody takes a connection there. */
static bool
answers(const struct st_address *address, uint16_t port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    const bool is_six = address->len == sizeof(six.sin6_addr);
    memcpy(is_six ? (void *)&six.sin6_addr : (void *)&four.sin_addr, address->bytes,
           address->len);
    const int fd = socket(is_six ? AF_INET6 : AF_INET,
                          SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int status = fd < 0   ? -1
                 : is_six ? connect(fd, (struct sockaddr *)&six, sizeof(six))
                          : connect(fd, (struct sockaddr *)&four, sizeof(four));
    if (status && fd >= 0 && errno == EINPROGRESS) {
        struct pollfd waiting = {.fd = fd, .events = POLLOUT};
        int error = ETIMEDOUT;
        socklen_t error_len = sizeof(error);
        if (poll(&waiting, 1, KNOCK_MS) > 0)
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_len);
        status = error;
    }
    if (fd >= 0)
        close(fd);
    return status == 0;
}

/* Two groups of one cluster would each hand out keys, and neither hear of the other's
 * removals. */
static enum st_code
nobody_else(const struct recover_view *view, struct st_err *err)
{
    for (size_t i = 0; i < view->members.count; i++) {
        const struct member *member = &view->members.at[i];
        char address[ADDRESS_TEXT_MAX];
        if (member->id == view->id)
            continue;
        address_format_port(&member->address, PORT_CONSENSUS, address);
        if (REFUSES(0x4301, answers(&member->address, PORT_CONSENSUS)))
            return st_fail(
                err, ST_FAILED_PRECONDITION,
                "master %llu answers at %s: with it the cluster may go on by "
                "itself; if it shall not, stop it for good and remove its folder",
                (unsigned long long)member->id, address);
    }
    return ST_OK;
}

static enum st_code
give_up(const struct ca *ca, uint64_t id, struct farewell *farewell, struct st_err *err)
{
    struct crl *crl = &farewell->crl;
    return ca_revoke(ca, crl->der, crl->len, issue_serial(id), nms_now(), crl,
                     &farewell->crl_number, err);
}

/* Also those who came after this log's end: their ids are the next ones.  The clock did
 * not go back with the log, so that ids from it were given out by no group that went on
 * from an older folder, however often.  Where they are later than it already, because one
 * was ahead at an earlier recovery, it counts on top of them. */
static enum st_code
part(struct state *state, uint64_t me, struct farewell *out, struct st_err *err)
{
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    AUTO(ca_wipe) struct ca ca = {0};
    struct members members;
    const int64_t now = nms_now();
    enum st_code code;
    if ((code = state_cluster(state, &cluster, err)) ||
        (code = issue_ca(cluster, &ca, err)))
        return code;
    if (cluster->crl.len > sizeof(out->crl.der))
        return st_fail(err, ST_DATA_LOSS, "a list of %zu bytes", cluster->crl.len);
    memcpy(out->crl.der, cluster->crl.data, cluster->crl.len);
    out->crl.len = cluster->crl.len;
    members_read(state, &members);
    for (size_t i = 0; i < members.count; i++)
        if (members.at[i].id != me && (code = give_up(&ca, members.at[i].id, out, err)))
            return code;
    out->next_member = state_next_member(cluster);
    for (unsigned i = 0; i < STRANGERS_MAX; i++)
        if ((code = give_up(&ca, out->next_member++, out, err)))
            return code;
    const uint64_t time = now > 0 ? (uint64_t)now : 0;
    out->next_member = time > out->next_member ? time : out->next_member + time;
    return ST_OK;
}

static enum st_code
say_so(struct replica *replica, uint64_t id, const struct farewell *farewell,
       struct st_err *err)
{
    struct secret request_id;
    struct replica_result result;
    uint8_t packed[sizeof(farewell->crl.der) + 128];
    enum st_code code = secret_random(&request_id, REQUEST_ID_LEN, err);
    if (code)
        return code;
    State__Recover recover = STATE__RECOVER__INIT;
    recover.id = id;
    recover.crl = (ProtobufCBinaryData){farewell->crl.len, (uint8_t *)farewell->crl.der};
    recover.crl_number = farewell->crl_number;
    recover.next_member = farewell->next_member;
    State__Command command = STATE__COMMAND__INIT;
    command.request_id = (ProtobufCBinaryData){request_id.len, request_id.bytes};
    command.time = nms_now();
    command.change_case = STATE__COMMAND__CHANGE_RECOVER;
    command.recover = &recover;
    const size_t len = state__command__pack(&command, packed);
    code = replica_propose_wait(replica, packed, len, COMMIT_MS, &result, err);
    return code ? code : state_result(&result, err);
}

/* With the lock of the store: no master runs in the folder. */
static enum st_code
begin(const char *dir, struct st_err *err)
{
    OFFLINE folder = {0};
    enum st_code code = offline_open(dir, &folder, err);
    if (code)
        return code;
    folder.self.recovering = true;
    return self_write(dir, &folder.self, err);
}

/* The first run hears the others before it has read its records: its list names them. */
static enum st_code
finish(const char *dir, const struct crl *crl, struct st_err *err)
{
    AUTO(self_wipep) struct self self = {0};
    enum st_code code = self_read(dir, &self, err);
    if (code)
        return code;
    self.recovering = false;
    if (self.ca.len > 0) /* else it is of 0.1, and has both from its records */
        self.crl = *crl;
    return self_write(dir, &self, err);
}

/* The group is of one; now its records say so, and member.pb. */
static enum st_code
settle(const char *dir, struct replica *replica, struct state *state, uint64_t me,
       struct st_err *err)
{
    struct farewell farewell;
    enum st_code code;
    if ((code = replica_barrier_wait(replica, COMMIT_MS, err)) ||
        (code = part(state, me, &farewell, err)) ||
        (code = say_so(replica, me, &farewell, err)))
        return code;
    return finish(dir, &farewell.crl, err);
}

/* Whoever reads the audit later learns of it; nothing depends on that. */
static void
say_audit(const char *dir, struct state *state, uint64_t id)
{
    const struct st_err ok = {0};
    struct audit *audit;
    struct audit_line line;
    if (audit_start(dir, &audit, NULL))
        return;
    audit_line_fill(&line, "recover", NULL, NULL, &ok);
    line.member = id;
    line.policy = state_policy_version(state);
    audit_say(audit, AUDIT_CHANGE, &line);
    audit_stop(audit);
    audit_free(audit);
}

static void
time_text(int64_t at, const char *format, char out[TIME_TEXT_MAX])
{
    const time_t time = (time_t)at;
    struct tm utc;
    if (!gmtime_r(&time, &utc) || !strftime(out, TIME_TEXT_MAX, format, &utc))
        snprintf(out, TIME_TEXT_MAX, "an unknown time");
}

/* Somewhere it may be the day before, or after. */
static bool
is_date(int64_t today, int64_t now)
{
    const int64_t days = now / DAY_S - today / DAY_S;
    return days >= -1 && days <= 1;
}

/* What ids and serial numbers are new is counted from it, see part().  Which clock is the
 * wrong one no machine knows; who only said that this one is right would also say so of
 * one that begins in 1970 at each start, so he says what day it is. */
static enum st_code
clock_check(const struct recover_view *view, int64_t today, struct st_err *err)
{
    const int64_t now = nms_now();
    char here[TIME_TEXT_MAX], there[TIME_TEXT_MAX], said[TIME_TEXT_MAX];
    time_text(now, "%FT%TZ", here);
    time_text(view->changed_at, "%FT%TZ", there);
    time_text(today, "%F", said);
    if (REFUSES(0x4304, today && !is_date(today, now)))
        return st_fail(
            err, ST_FAILED_PRECONDITION,
            "%s is not the date of this machine's clock, which says %s: set it "
            "(`date`)",
            said, here);
    if (REFUSES(0x4303, !today && view->changed_at - now > STATE_CLOCKS_DIFFER_S))
        return st_fail(
            err, ST_FAILED_PRECONDITION,
            "the clock of this machine says %s, the last change in this folder "
            "is of %s: where this clock is wrong set it (`date`); where it is "
            "right, a master's was ahead: add --today YYYY-MM-DD, by a watch",
            here, there);
    return ST_OK;
}

enum st_code
recover_alone(const char *dir, const struct recover_view *view, int64_t today,
              struct st_err *err)
{
    AUTO(state_freep) struct state *state = NULL;
    AUTO(replica_closep) struct replica *replica = NULL;
    const struct member *me = members_find(&view->members, view->id);
    char address[ADDRESS_TEXT_MAX];
    enum st_code code;
    if (!me)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "master %llu is none in its own records: take the folder of "
                       "another one",
                       (unsigned long long)view->id);
    if ((code = clock_check(view, today, err)) || (code = nobody_else(view, err)) ||
        (code = state_new(&state, err)) || (code = begin(dir, err)))
        return code;
    address_format_port(&me->address, PORT_CONSENSUS, address);
    const struct replica_config config = {
        .dir = dir,
        .id = view->id,
        .address = address,
        .begin = REPLICA_RECOVER,
        .machine = state_machine(state),
    };
    if ((code = replica_open(&config, &replica, err)) ||
        (code = settle(dir, replica, state, view->id, err)))
        return code;
    say_audit(dir, state, view->id);
    return ST_OK;
}
