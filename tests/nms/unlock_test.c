/* TPM2Unlock from outside: who gets back the half of a disk key, and every way in which
 * one does not.
 *
 * What is between proof and release, a commit or a barrier, can be held, so that what
 * happens meanwhile happens at the worst moment each time.
 */
#include "tests/nms/town.h"
#include "tests/patience.h"

#include "proto/scope.h"
#include "tpm/measure.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

AUTO_DEFINE(Api__TPM2UnlockFlowResponse *, answer_freep, machine_answer_free)
AUTO_DEFINE(Api__GetNodePcrsResponse *, pcrs_freep, town_answer_free)
#define MACHINE AUTO(machine_free) struct machine
#define REFUSED(tamper, code, word) refused(town, &machine, tamper, code, word)

/* --- the commit or the barrier, held -------------------------------------------------
 */

/* The linker calls these by this name. */
void __real_replica_barrier(struct replica *replica, uint32_t timeout_ms,
                            replica_done done, void *arg);
void __wrap_replica_barrier(struct replica *replica, uint32_t timeout_ms,
                            replica_done done, void *arg);
void __real_replica_propose(struct replica *replica, const void *command, size_t len,
                            uint32_t timeout_ms, replica_done done, void *arg);
void __wrap_replica_propose(struct replica *replica, const void *command, size_t len,
                            uint32_t timeout_ms, replica_done done, void *arg);

static struct {
    atomic_bool armed;
    sem_t taken; /* the rest is here */
    replica_done done;
    void *arg;
    struct replica_result result; /* of a commit */
} held;
static atomic_bool no_majority;

static bool
has_no_majority(replica_done done, void *arg)
{
    struct st_err err = {0};
    if (!no_majority)
        return false;
    (void)st_fail_for(&err, ST_UNAVAILABLE, ST_REASON_NO_QUORUM, "no majority");
    done(arg, &err, NULL);
    return true;
}

void
__wrap_replica_barrier(struct replica *replica, uint32_t timeout_ms, replica_done done,
                       void *arg)
{
    if (has_no_majority(done, arg))
        return;
    if (!atomic_exchange(&held.armed, false)) {
        __real_replica_barrier(replica, timeout_ms, done, arg);
        return;
    }
    held.done = done;
    held.arg = arg;
    sem_post(&held.taken);
}

static void
committed(void *arg, const struct st_err *err, const struct replica_result *result)
{
    (void)arg;
    assert_int_equal(err->code, ST_OK);
    held.result = *result;
    sem_post(&held.taken);
}

/* It is committed, and only he who waits for it does not know yet. */
void
__wrap_replica_propose(struct replica *replica, const void *command, size_t len,
                       uint32_t timeout_ms, replica_done done, void *arg)
{
    if (has_no_majority(done, arg))
        return;
    if (atomic_exchange(&held.armed, false)) {
        held.done = done;
        held.arg = arg;
        done = committed;
    }
    __real_replica_propose(replica, command, len, timeout_ms, done, arg);
}

/* An unlock that is held when begin() returns; end() lets it go. */
struct attempt {
    pthread_t thread;
    struct machine *machine;
    struct rpc_channel *channel;
    Api__TPM2UnlockFlowResponse *answer;
    struct st_err err;
};

static void *
attempt_run(void *arg)
{
    struct attempt *attempt = arg;
    (void)!machine_unlock(attempt->machine, attempt->channel, NULL, &attempt->answer,
                          &attempt->err);
    return NULL;
}

static void
attempt_begin(struct attempt *attempt, struct town *town, struct machine *machine)
{
    memset(attempt, 0, sizeof(*attempt));
    attempt->machine = machine;
    attempt->channel = town_node_channel(town);
    assert_int_equal(sem_init(&held.taken, 0, 0), 0);
    held.armed = true;
    assert_int_equal(pthread_create(&attempt->thread, NULL, attempt_run, attempt), 0);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += MACHINE_TIMEOUT_MS / 1000;
    assert_int_equal(sem_timedwait(&held.taken, &until), 0);
}

static void
attempt_end(struct attempt *attempt)
{
    const struct st_err good = {0};
    held.done(held.arg, &good, &held.result);
    pthread_join(attempt->thread, NULL);
    rpc_channel_close(attempt->channel);
}

/* --- the kernel's random bytes --------------------------------------------------------
 */

ssize_t __real_getrandom(void *bytes, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *bytes, size_t len, unsigned flags);
static atomic_bool no_entropy;

ssize_t
__wrap_getrandom(void *bytes, size_t len, unsigned flags)
{
    if (!no_entropy)
        return __real_getrandom(bytes, len, flags);
    errno = ENOSYS;
    return -1;
}

/* --- what a stranger is told ---------------------------------------------------------
 */

static void
refused(struct town *town, struct machine *machine, machine_unlock_tamper tamper,
        enum st_code code, const char *word)
{
    AUTO(answer_freep) Api__TPM2UnlockFlowResponse *answer = NULL;
    struct st_err err = {0};
    enum st_code got = machine_unlock(machine, town->nodes, tamper, &answer, &err);
    assert_null(answer);
    assert_int_equal(got, err.code);
    assert_told(&err, code, word);
}

static void
unlocks(struct town *town, struct machine *machine)
{
    AUTO(answer_freep) Api__TPM2UnlockFlowResponse *answer = NULL;
    struct st_err err = {0};
    assert_ok(machine_unlock(machine, town->nodes, NULL, &answer, &err));
    const Api__TPM2UnlockResponse *unlock = answer->unlock_response;
    assert_int_equal(unlock->global_unlock_key.len, UNLOCK_KEY_LEN);
    assert_memory_equal(unlock->global_unlock_key.data, machine->global_key.bytes,
                        UNLOCK_KEY_LEN);
    assert_int_equal(unlock->role, API__NODE__STATE__WORKER);
    assert_int_equal(unlock->n_master_ips, 1);
    assert_int_equal(unlock->master_ips[0].len, 4);
    assert_memory_equal(unlock->master_ips[0].data, town->address.bytes, 4);
}

static void
a_node_gets_its_own_half_back_with_role_and_addresses(void **state)
{
    struct town *town = *state;
    MACHINE ecc, rsa;
    machine_make(&ecc, FORGE_ECC);
    machine_make(&rsa, FORGE_RSA);
    town_settle(town, &ecc, false);
    town_settle(town, &rsa, false);
    unlocks(town, &ecc);
    unlocks(town, &rsa);
    town_restart(town);
    unlocks(town, &rsa);
    unlocks(town, &ecc);
}

static uint8_t says[17]; /* where it is */
static size_t says_len;

static void
say_address(struct machine *machine, Api__TPM2UnlockRequest *request)
{
    (void)machine;
    request->address = (ProtobufCBinaryData){says_len, says};
}

static void
unlock_from(struct town *town, struct machine *machine, size_t len, const uint8_t *bytes)
{
    AUTO(answer_freep) Api__TPM2UnlockFlowResponse *answer = NULL;
    struct st_err err = {0};
    memcpy(says, bytes, len);
    says_len = len;
    assert_ok(machine_unlock(machine, town->nodes, say_address, &answer, &err));
    assert_int_equal(answer->unlock_response->global_unlock_key.len, UNLOCK_KEY_LEN);
}

static bool
is_recorded_at(struct town *town, const struct machine *machine, size_t len,
               const uint8_t *bytes)
{
    AUTO(state_node_freep) State__Node *node = NULL;
    struct st_err err = {0};
    assert_ok(state_node(town->nms->state, machine->id, &node, &err));
    return node->address.len == len && memcmp(node->address.data, bytes, len) == 0;
}

static void
a_node_that_unlocks_elsewhere_is_called_there_from_now_on(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    const uint8_t there[] = {198, 51, 100, 7};
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    unlocks(town, &machine); /* a release that does not say where it is */
    assert_true(is_recorded_at(town, &machine, machine.ip_len, machine.ip));
    unlock_from(town, &machine, sizeof(there), there);
    for (long ms = patience_ms(60000);
         !is_recorded_at(town, &machine, sizeof(there), there); ms -= 20) {
        assert_true(ms > 0);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    unlock_from(town, &machine, sizeof(there), there);
    town_restart(town);
    assert_true(is_recorded_at(town, &machine, sizeof(there), there));
}

static void
N30_a_node_that_says_that_it_is_nowhere_has_its_key_and_stays(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    static const struct {
        size_t len;
        uint8_t bytes[17];
    } nowhere[] = {
        {3, {10, 0, 0}},     {17, {10}},      {4, {0}},
        {4, {224, 0, 0, 1}}, {16, {0xff, 2}}, {16, {[10] = 0xff, 0xff, 10, 0, 0, 1}},
    };
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    for (size_t i = 0; i < sizeof(nowhere) / sizeof(*nowhere); i++)
        unlock_from(town, &machine, nowhere[i].len, nowhere[i].bytes);
    assert_true(is_recorded_at(town, &machine, machine.ip_len, machine.ip));
}

/* Nor does one whose quote proves nothing, or who is not adopted. */
static void
N41_who_gets_no_key_moves_nobody(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    const uint8_t there[] = {198, 51, 100, 7};
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, true);
    memcpy(says, there, sizeof(there));
    says_len = sizeof(there);
    refused(town, &machine, say_address, ST_FAILED_PRECONDITION, "not-adopted");
    /* What was proposed before this one is applied. */
    struct st_err err = {0};
    assert_ok(town_adopt(town, machine.id, API__NODE__STATE__WORKER, &err));
    assert_true(is_recorded_at(town, &machine, machine.ip_len, machine.ip));
}

static void
N05_without_entropy_there_is_no_nonce(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    no_entropy = true;
    REFUSED(NULL, ST_UNAVAILABLE, "no-quorum");
    no_entropy = false;
    unlocks(town, &machine);
}

/* --- the proof ------------------------------------------------------------------------
 */

static void
quote_over_another_nonce(struct machine *machine, Api__TPM2UnlockRequest *request)
{
    machine->nonce[31] ^= 1;
    machine_quote(machine, machine->nonce);
    request->quote.data = machine->quote.bytes;
    request->quote_signature.data = machine->signature.bytes;
    request->quote_signature.len = machine->signature.len;
}

static void
change_pcr(struct machine *machine, Api__TPM2UnlockRequest *request)
{
    (void)request;
    machine->pcr_items[11].data = machine->pcrs.digest[10];
}

static void
spoil_signature(struct machine *machine, Api__TPM2UnlockRequest *request)
{
    (void)machine;
    request->quote_signature.data[request->quote_signature.len - 1] ^= 1;
}

static void
N04_N10_N28_a_quote_that_proves_nothing_is_refused(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    REFUSED(quote_over_another_nonce, ST_PERMISSION_DENIED, "refused");
    REFUSED(change_pcr, ST_PERMISSION_DENIED, "refused");
    REFUSED(spoil_signature, ST_PERMISSION_DENIED, "refused");
    unlocks(town, &machine);
}

static size_t pcr_count, pcr_len;

static void
split_pcrs(struct machine *machine, Api__TPM2UnlockRequest *request)
{
    machine->pcr_items[16] = machine->pcr_items[0];
    machine->pcr_items[5].len = pcr_len;
    request->n_pcrs = pcr_count;
}

static void
N09_other_than_16_pcrs_of_32_bytes_are_malformed(void **state)
{
    struct town *town = *state;
    const size_t cases[][2] = {{15, 32}, {17, 32}, {0, 32}, {16, 0}, {16, 31}};
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        pcr_count = cases[i][0];
        pcr_len = cases[i][1];
        REFUSED(split_pcrs, ST_INVALID_ARGUMENT, "malformed");
    }
}

static void
cut_quote(struct machine *machine, Api__TPM2UnlockRequest *request)
{
    (void)machine;
    request->quote.len--;
}

static void
drop_quote(struct machine *machine, Api__TPM2UnlockRequest *request)
{
    (void)machine;
    request->quote.len = 0;
}

static void
cut_signature(struct machine *machine, Api__TPM2UnlockRequest *request)
{
    (void)machine;
    request->quote_signature.len--;
}

static void
N14_a_quote_that_is_cut_is_malformed_for_a_node_and_for_nobody(void **state)
{
    struct town *town = *state;
    MACHINE node, machine;
    machine_make(&node, FORGE_ECC);
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &node, false);
    for (int i = 0; i < 2; i++) {
        struct machine *asks = i ? &machine : &node;
        refused(town, asks, cut_quote, ST_INVALID_ARGUMENT, "malformed");
        refused(town, asks, drop_quote, ST_INVALID_ARGUMENT, "malformed");
        refused(town, asks, cut_signature, ST_INVALID_ARGUMENT, "malformed");
    }
}

static const char *said_id;

static void
call_itself(struct machine *machine, Api__TPM2UnlockRequest *request)
{
    (void)machine;
    request->node_id = (char *)said_id;
}

static void
N35_an_id_that_is_none_is_malformed(void **state)
{
    struct town *town = *state;
    const char *bad[] = {"", "..", "smalltown-", "a\nunlock node=x decision=OK",
                         "smalltown-0000000000000000000000000000000g"};
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        said_id = bad[i];
        REFUSED(call_itself, ST_INVALID_ARGUMENT, "malformed");
    }
}

static void
N41_a_node_cannot_speak_for_another(void **state)
{
    struct town *town = *state;
    MACHINE machine, other;
    machine_make(&machine, FORGE_ECC);
    machine_make(&other, FORGE_ECC);
    town_settle(town, &machine, false);
    town_settle(town, &other, false);
    said_id = other.id;
    REFUSED(call_itself, ST_PERMISSION_DENIED, "refused");
    unlocks(town, &other);
}

/* What the operator reads while `tamper` is refused. */
static void
logged_refusal(struct town *town, struct machine *machine, machine_unlock_tamper tamper,
               char out[4096])
{
    char path[128];
    snprintf(path, sizeof(path), "%s/log", town->dir);
    int log = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600), was = dup(STDERR_FILENO);
    assert_true(log >= 0 && was >= 0);
    dup2(log, STDERR_FILENO);
    struct st_err err = {0};
    Api__TPM2UnlockFlowResponse *answer = NULL;
    enum st_code code = machine_unlock(machine, town->nodes, tamper, &answer, &err);
    dup2(was, STDERR_FILENO);
    ssize_t len = pread(log, out, 4095, 0);
    close(log);
    close(was);
    assert_code(code, ST_PERMISSION_DENIED);
    assert_told(&err, ST_PERMISSION_DENIED, "refused");
    assert_true(len > 0);
    out[len] = 0;
}

static void
N42_only_the_operator_learns_that_no_node_has_an_id(void **state)
{
    struct town *town = *state;
    MACHINE node, nobody;
    char unknown[4096], forged[4096];
    machine_make(&node, FORGE_ECC);
    machine_make(&nobody, FORGE_ECC);
    town_settle(town, &node, false);
    logged_refusal(town, &nobody, NULL, unknown);
    logged_refusal(town, &node, spoil_signature, forged);
    assert_non_null(strstr(unknown, "reason=\"no node has this id\""));
    assert_null(strstr(forged, "no node has this id"));
    assert_non_null(strstr(forged, node.id));
}

/* Its own TPM says that it is not for us, or not any more. */
static void
N48_N42_only_the_operator_learns_what_PCR_12_lacks(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    char said[4096];
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    machine_cap(&machine);
    logged_refusal(town, &machine, NULL, said);
    assert_non_null(strstr(said, machine.id));
    assert_non_null(strstr(said, "reason=\"PCR 12 is capped: "));
    memset(machine.pcrs.digest[MEASURE_PCR], 0, SHA256_LEN);
    logged_refusal(town, &machine, NULL, said);
    assert_non_null(strstr(said, "reason=\"PCR 12 is empty: "));
    machine_measure(&machine, &town->admin.cert);
    logged_refusal(town, &machine, NULL, said);
    assert_non_null(strstr(said, "reason=\"PCR 12 is of another enrolment.pb"));
    AUTO(pcrs_freep) Api__GetNodePcrsResponse *shown = town_node_pcrs(town, machine.id);
    assert_int_equal(shown->n_refused, 0);
    machine_measure(&machine, &town->nms->masters_cert);
    unlocks(town, &machine);
}

/* --- the record, as of now ------------------------------------------------------------
 */

static void
N40_who_is_only_registered_is_refused_until_adopted(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    struct st_err err = {0};
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, true);
    REFUSED(NULL, ST_FAILED_PRECONDITION, "not-adopted");
    assert_ok(town_adopt(town, machine.id, API__NODE__STATE__WORKER, &err));
    unlocks(town, &machine);
}

static void
N40_a_removed_node_is_refused_also_after_a_restart(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    struct st_err err = {0};
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    unlocks(town, &machine);
    assert_ok(town_remove(town, machine.id, &err));
    REFUSED(NULL, ST_PERMISSION_DENIED, "refused");
    town_restart(town);
    REFUSED(NULL, ST_PERMISSION_DENIED, "refused");
}

static void
N40_a_node_removed_after_its_proof_is_refused(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    struct attempt attempt;
    struct st_err err = {0};
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    attempt_begin(&attempt, town, &machine);
    assert_ok(town_remove(town, machine.id, &err));
    attempt_end(&attempt);
    assert_null(attempt.answer);
    assert_told(&attempt.err, ST_PERMISSION_DENIED, "refused");
}

static void
N41_a_record_of_another_tpm_by_now_is_not_for_this_one(void **state)
{
    struct town *town = *state;
    MACHINE machine, heir;
    struct attempt attempt;
    struct st_err err = {0};
    machine_make(&machine, FORGE_ECC);
    machine_make(&heir, FORGE_ECC);
    town_settle(town, &machine, false);
    attempt_begin(&attempt, town, &machine);
    /* The same id key, in another machine. */
    heir.id_seed = machine.id_seed;
    heir.id_cert = machine.id_cert;
    strcpy(heir.id, machine.id);
    assert_ok(town_remove(town, machine.id, &err));
    char name[NAME_MAX_LEN + 1];
    snprintf(name, sizeof(name), "for-%s", machine.id);
    assert_ok(town_remove_enrolment(town, name, &err));
    town_settle(town, &heir, false);
    attempt_end(&attempt);
    assert_null(attempt.answer);
    assert_told(&attempt.err, ST_PERMISSION_DENIED, "refused");
    unlocks(town, &heir);
}

static void
N40_a_node_enrolled_anew_after_its_proof_waits_to_be_adopted(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    struct attempt attempt;
    struct st_err err = {0};
    char name[NAME_MAX_LEN + 1];
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    attempt_begin(&attempt, town, &machine);
    assert_ok(town_remove(town, machine.id, &err));
    snprintf(name, sizeof(name), "for-%s", machine.id);
    assert_ok(town_remove_enrolment(town, name, &err));
    town_settle(town, &machine, true); /* the same TPM and the same keys */
    attempt_end(&attempt);
    assert_null(attempt.answer);
    assert_told(&attempt.err, ST_FAILED_PRECONDITION, "not-adopted");
}

static void
N43_without_a_majority_there_is_no_key(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    AUTO(answer_freep) Api__TPM2UnlockFlowResponse *answer = NULL;
    struct st_err told = {0};
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    no_majority = true;
    enum st_code code = machine_unlock(&machine, town->nodes, NULL, &answer, &told);
    no_majority = false;
    assert_null(answer);
    assert_int_equal(code, told.code);
    assert_told(&told, ST_UNAVAILABLE, "no-quorum");
    assert_true(told.retry_ms > 0);
    unlocks(town, &machine);
}

/* --- the TPM that went back -----------------------------------------------------------
 */

static enum st_code
approve(struct town *town, struct machine *machine, Api__GetNodePcrsResponse *shown,
        struct st_err *err)
{
    Api__ApproveBootRequest request = API__APPROVE_BOOT_REQUEST__INIT;
    Api__ApproveBootResponse *answer;
    request.node_id = machine->id;
    request.pcrs = shown->refused;
    request.n_pcrs = shown->n_refused;
    request.clock = shown->refused_clock;
    enum st_code code = town_call(town->admins, "ApproveBoot", &request.base,
                                  &api__approve_boot_response__descriptor, &answer, err);
    if (!code)
        town_answer_free(answer);
    return code;
}

static void
N15_a_TPM_that_went_back_gets_no_key_until_it_is_approved(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    char said[4096];
    struct st_err err = {0};
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    for (int i = 0; i < 4; i++) { /* power cuts: the clock goes back, the count on */
        machine.clock.reset_count++;
        machine.clock.clock_ms -= 1000;
        unlocks(town, &machine);
    }
    machine.clock.reset_count -= 2;
    machine.clock.clock_ms += 900000;
    logged_refusal(town, &machine, NULL, said);
    assert_non_null(strstr(said,
                           "its TPM went back: 2 resets fewer than when it was last "
                           "accepted\""));
    town_restart(town);
    REFUSED(NULL, ST_PERMISSION_DENIED, "refused");

    AUTO(pcrs_freep) Api__GetNodePcrsResponse *shown = town_node_pcrs(town, machine.id);
    assert_string_equal(
        shown->refused_why,
        "its TPM went back: 2 resets fewer than when it was last accepted");
    shown->refused_clock->clock_ms++;
    assert_code(approve(town, &machine, shown, &err), ST_ABORTED);
    REFUSED(NULL, ST_PERMISSION_DENIED, "refused");
    shown->refused_clock->clock_ms--;
    assert_ok(approve(town, &machine, shown, &err));
    unlocks(town, &machine);
    machine.clock.reset_count--;
    REFUSED(NULL, ST_PERMISSION_DENIED, "refused");
}

/* It was sent to a master that was busy, and the node asked another one meanwhile. */
static void
N15_an_overtaken_quote_is_refused_and_not_kept(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    machine.clock.clock_ms += 2000;
    unlocks(town, &machine);
    machine.clock.clock_ms -= 1;
    REFUSED(NULL, ST_PERMISSION_DENIED, "refused");
    AUTO(pcrs_freep) Api__GetNodePcrsResponse *shown = town_node_pcrs(town, machine.id);
    assert_int_equal(shown->n_refused, 0);
    machine.clock.clock_ms += 1;
    unlocks(town, &machine);
    /* But not one that is further behind than any stream lasts. */
    machine.clock.clock_ms -= NMS_UNLOCK_MS + 1;
    REFUSED(NULL, ST_PERMISSION_DENIED, "refused");
    AUTO(pcrs_freep) Api__GetNodePcrsResponse *later = town_node_pcrs(town, machine.id);
    assert_int_equal(later->n_refused, TPM_PCR_COUNT);
    assert_non_null(strstr(later->refused_why, "the same boot, and its clock is 30 s"));
}

static void
N15_an_enrolment_is_where_the_counting_begins(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    struct st_err err = {0};
    char name[NAME_MAX_LEN + 1];
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    machine.clock.reset_count--;
    REFUSED(NULL, ST_PERMISSION_DENIED, "refused");
    snprintf(name, sizeof(name), "for-%s", machine.id);
    assert_ok(town_remove(town, machine.id, &err));
    assert_ok(town_remove_enrolment(town, name, &err));
    town_settle(town, &machine, false);
    unlocks(town, &machine);
}

/* Quoted, and then the machine slept, woke up, asked again and was answered. */
static void
N49_after_a_suspend_a_quote_of_before_it_is_refused(void **state)
{
    struct town *town = *state;
    MACHINE machine;
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    machine.clock.restart_count++;
    unlocks(town, &machine);
    machine.clock.restart_count--;
    machine.clock.clock_ms += 1000;
    REFUSED(NULL, ST_PERMISSION_DENIED, "refused");
    machine.clock.restart_count++;
    unlocks(town, &machine);
}

/* --- the stream -----------------------------------------------------------------------
 */

static void
N33_a_stream_that_ends_before_the_request_is_malformed(void **state)
{
    struct town *town = *state;
    AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
    ProtobufCMessage *message;
    struct st_err err = {0};
    assert_ok(
        rpc_stream_open(town->nodes, UNLOCK_PATH, MACHINE_TIMEOUT_MS, &stream, &err));
    assert_ok(rpc_stream_receive(stream, &api__tpm2_unlock_flow_response__descriptor,
                                 &message, &err));
    protobuf_c_message_free_unpacked(message, &secret_allocator);
    assert_code(rpc_stream_finish(stream, &err), ST_INVALID_ARGUMENT);
    assert_told(&err, ST_INVALID_ARGUMENT, "malformed");
}

static void
N33_a_message_without_a_request_is_malformed(void **state)
{
    struct town *town = *state;
    const Api__TPM2UnlockFlowRequeset nothing = API__TPM2_UNLOCK_FLOW_REQUESET__INIT;
    AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
    ProtobufCMessage *message;
    struct st_err err = {0};
    assert_ok(
        rpc_stream_open(town->nodes, UNLOCK_PATH, MACHINE_TIMEOUT_MS, &stream, &err));
    assert_ok(rpc_stream_receive(stream, &api__tpm2_unlock_flow_response__descriptor,
                                 &message, &err));
    protobuf_c_message_free_unpacked(message, &secret_allocator);
    assert_ok(rpc_stream_send(stream, &nothing.base, &err));
    assert_code(rpc_stream_finish(stream, &err), ST_INVALID_ARGUMENT);
    assert_told(&err, ST_INVALID_ARGUMENT, "malformed");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TOWN_TEST(a_node_gets_its_own_half_back_with_role_and_addresses),
        TOWN_TEST(a_node_that_unlocks_elsewhere_is_called_there_from_now_on),
        TOWN_TEST(N30_a_node_that_says_that_it_is_nowhere_has_its_key_and_stays),
        TOWN_TEST(N41_who_gets_no_key_moves_nobody),
        TOWN_TEST(N05_without_entropy_there_is_no_nonce),
        TOWN_TEST(N04_N10_N28_a_quote_that_proves_nothing_is_refused),
        TOWN_TEST(N09_other_than_16_pcrs_of_32_bytes_are_malformed),
        TOWN_TEST(N14_a_quote_that_is_cut_is_malformed_for_a_node_and_for_nobody),
        TOWN_TEST(N35_an_id_that_is_none_is_malformed),
        TOWN_TEST(N41_a_node_cannot_speak_for_another),
        TOWN_TEST(N42_only_the_operator_learns_that_no_node_has_an_id),
        TOWN_TEST(N48_N42_only_the_operator_learns_what_PCR_12_lacks),
        TOWN_TEST(N40_who_is_only_registered_is_refused_until_adopted),
        TOWN_TEST(N40_a_removed_node_is_refused_also_after_a_restart),
        TOWN_TEST(N40_a_node_removed_after_its_proof_is_refused),
        TOWN_TEST(N41_a_record_of_another_tpm_by_now_is_not_for_this_one),
        TOWN_TEST(N40_a_node_enrolled_anew_after_its_proof_waits_to_be_adopted),
        TOWN_TEST(N43_without_a_majority_there_is_no_key),
        TOWN_TEST(N15_a_TPM_that_went_back_gets_no_key_until_it_is_approved),
        TOWN_TEST(N15_an_overtaken_quote_is_refused_and_not_kept),
        TOWN_TEST(N15_an_enrolment_is_where_the_counting_begins),
        TOWN_TEST(N49_after_a_suspend_a_quote_of_before_it_is_refused),
        TOWN_TEST(N33_a_stream_that_ends_before_the_request_is_malformed),
        TOWN_TEST(N33_a_message_without_a_request_is_malformed),
    };
    return cmocka_run_group_tests(tests, town_group_setup, town_group_teardown);
}
