/* Enrolment with masters that refuse, lose, lie and hang. */
#include "tests/node/flow.h"

#include "tests/patience.h"

#include <string.h>

static void
N33_nothing_but_a_last_OK_enrols(void **state)
{
    static const enum act acts[] = {
        ACT_UNAVAILABLE,     ACT_BUSY,         ACT_END_AT_OPEN,
        ACT_END_AT_FIRST,    ACT_SHORT_NONCE,  ACT_LONG_NONCE,
        ACT_WRONG_STAGE,     ACT_HUGE,         ACT_SILENT,
        ACT_OTHER_CHALLENGE, ACT_END_AT_SECOND};
    (void)state;
    machine.stream_ms = 2000;
    for (size_t i = 0; i < sizeof(acts) / sizeof(*acts); i++) {
        MASTER_SCRIPT(&master, acts[i]);
        machine_start(&machine, 0);
        flow_wait_for_calls(2);
        assert_int_equal(machine_stop(&machine), 0);
        assert_false(machine_said(&machine, "decision=ok"));
        assert_not_enrolled();
        assert_int_equal(atomic_load(&master.commits), 0);
    }
    machine.stream_ms = 0;
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_run_until_served(&machine);
    assert_enrolled();
}

static void
a_lost_OK_is_asked_for_again(void **state)
{
    (void)state;
    MASTER_SCRIPT(&master, ACT_LOSE_OK, ACT_HONEST);
    machine_run_until_served(&machine);
    assert_int_equal(atomic_load(&master.commits), 2);
    assert_enrolled();
    assert_unlocks_after_a_reboot();
}

static void
an_OK_lost_with_the_power_is_asked_for_again(void **state)
{
    (void)state;
    MASTER_SCRIPT(&master, ACT_LOSE_OK);
    machine_start(&machine, 0);
    flow_wait_for_calls(1);
    machine_kill(&machine);
    machine_reboot(&machine);
    assert_not_enrolled();
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_run_until_served(&machine);
    assert_enrolled();
    assert_unlocks_after_a_reboot();
}

static void
a_fresh_secret_takes_a_half_done_enrolment_on(void **state)
{
    (void)state;
    MASTER_SCRIPT(&master, ACT_REFUSE);
    machine_start(&machine, 0);
    flow_wait_for_calls(2);
    assert_int_equal(machine_stop(&machine), 0);
    assert_true(machine_said(&machine, "refused: the enrolment may have expired"));
    master.secret[0] ^= 1;
    machine_config_put(&machine);
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_run_until_served(&machine);
    assert_enrolled();
    assert_unlocks_after_a_reboot();
}

static void
N51_another_certificate_hears_nothing(void **state)
{
    struct master other = {0};
    (void)state;
    master_start(&other);
    machine.master = &other; /* whose port it is; the config names the first */
    machine_start(&machine, 0);
    machine_wait_for(&machine, "decision=retry");
    sleep_ms(500);
    assert_int_equal(machine_stop(&machine), 0);
    assert_int_equal(atomic_load(&other.calls), 0);
    assert_not_enrolled();
    machine.master = &master;
    flow_enrol_and_adopt();
    machine.master = &other;
    machine_start(&machine, 0);
    machine_wait_for(&machine, "decision=retry");
    sleep_ms(500);
    assert_int_equal(machine_stop(&machine), 0);
    assert_int_equal(atomic_load(&other.calls), 0);
    machine.master = &master;
    master_stop(&other);
    pthread_mutex_destroy(&other.lock);
}

static void
a_hint_is_obeyed(void **state)
{
    (void)state;
    MASTER_SCRIPT(&master, ACT_BUSY);
    double begin = flow_seconds();
    machine_start(&machine, 0);
    flow_wait_for_calls(8);
    assert_true(flow_seconds() - begin > 7 * 0.3); /* seven pauses of 0.3 s and more */
    assert_int_equal(machine_stop(&machine), 0);
}

static void
SIGTERM_does_not_wait_for_a_hint_to_pass(void **state)
{
    (void)state;
    MASTER_SCRIPT(&master, ACT_BUSY_FOR_LONG);
    machine_start(&machine, 0);
    machine_wait_for(&machine, "decision=retry");
    assert_int_equal(machine_stop(&machine), 0);
    assert_int_equal(atomic_load(&master.calls), 1);
}

static void
SIGTERM_ends_a_talk_with_a_silent_master(void **state)
{
    (void)state;
    machine.stream_ms = 10 * 60 * 1000;
    MASTER_SCRIPT(&master, ACT_SILENT);
    machine_start(&machine, 0);
    flow_wait_for_calls(1);
    assert_int_equal(machine_stop(&machine), 0);
    assert_not_enrolled();
}

static void
a_node_waits_for_a_master_that_is_not_there_yet(void **state)
{
    (void)state;
    master_stop(&master);
    machine_start(&machine, 0); /* knows port 1 only */
    machine_wait_for(&machine, "decision=retry");
    sleep_ms(300);
    assert_int_equal(machine_stop(&machine), 0);
    assert_not_enrolled();
    master_start(&master);
    machine_run_until_served(&machine);
    assert_enrolled();
}

static void
what_the_TPM_holds_above_its_EK_certificate_is_sent(void **state)
{
    (void)state;
    uint8_t vendor[CERT_MAX_LEN];
    assert_int_equal(
        swtpm_shell(
            machine.chip,
            "tpm2_createek -G rsa -c ek.ctx -u ek.pem -f pem && tpm2_flushcontext -t && "
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
            "-keyout key -subj /CN=vendor -outform der -out vendor && "
            "echo extendedKeyUsage=2.23.133.8.1 >ext && "
            "openssl x509 -inform der -in vendor -out vendor.pem && "
            "openssl x509 -new -subj /CN=EK -force_pubkey ek.pem -CA vendor.pem "
            "-CAkey key -extfile ext -outform der -out ek.der && "
            "nv() { tpm2_nvdefine -C p -a 'ppwrite|ppread|ownerread|authread|no_da|"
            "platformcreate' -s $(wc -c <$2) $1 && tpm2_nvwrite -C p -i $2 $1; } && "
            "nv 0x01c00002 ek.der && nv 0x01c00100 vendor"),
        0);
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_run_until_served(&machine);
    assert_enrolled();
    assert_int_equal(master.chain_count, 1);
    assert_int_equal(swtpm_get(machine.chip, "vendor", vendor, sizeof(vendor)),
                     master.chain_len);
    assert_memory_equal(master.chain, vendor, master.chain_len);
}

int
main(int argc, char **argv)
{
    machine_child_main(argc, argv);
    const struct CMUnitTest tests[] = {
        FLOW_TEST(N33_nothing_but_a_last_OK_enrols),
        FLOW_TEST(what_the_TPM_holds_above_its_EK_certificate_is_sent),
        FLOW_TEST(a_lost_OK_is_asked_for_again),
        FLOW_TEST(an_OK_lost_with_the_power_is_asked_for_again),
        FLOW_TEST(a_fresh_secret_takes_a_half_done_enrolment_on),
        FLOW_TEST(N51_another_certificate_hears_nothing),
        FLOW_TEST(a_hint_is_obeyed),
        FLOW_TEST(SIGTERM_does_not_wait_for_a_hint_to_pass),
        FLOW_TEST(SIGTERM_ends_a_talk_with_a_silent_master),
        FLOW_TEST(a_node_waits_for_a_master_that_is_not_there_yet),
    };
    return FLOW_MAIN(tests);
}
