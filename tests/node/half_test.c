/* The way through an update: the local half follows what the cluster approves. */
#include "node/approvals.h"
#include "node/half.h"
#include "node/measure.h"
#include "proto/file.h"
#include "proto/scope.h"
#include "tests/node/flow.h"

#include <string.h>

enum {
    DRIVERS_PCR = 2,
    KERNEL_PCR = 11
};

static bool
is_under(const uint8_t point[TPM_AUTHORITY_LEN])
{
    struct tpm_sealed sealed;
    struct tpm_authority under;
    struct st_err err = {0};
    machine_read_sealed(&machine, ESP_SEALED, &sealed);
    enum st_code code = tpm_sealed_authority(&sealed, &under, &err);
    assert_true(code == ST_OK || code == ST_NOT_FOUND);
    return !code && !memcmp(under.point, point, TPM_AUTHORITY_LEN);
}

/* By whatever the master says now. */
static void
assert_opens(unsigned pcr, uint8_t image)
{
    if (image)
        machine_boot(&machine, pcr, image);
    else
        machine_reboot(&machine);
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_run_until_served(&machine);
    assert_true(machine_said(&machine, "unlock node=smalltown-"));
}

static void
assert_stays_shut(unsigned pcr, uint8_t image)
{
    struct tpm_sealed before, after;
    machine_read_sealed(&machine, ESP_SEALED, &before);
    machine_boot(&machine, pcr, image);
    MASTER_SCRIPT(&master, ACT_HONEST);
    assert_refuses("nor approved since");
    assert_enrolled();
    machine_read_sealed(&machine, ESP_SEALED, &after);
    assert_memory_equal(&before, &after, sizeof(before.len) + before.len);
}

/* As a node of 0.1 was left. */
static void
enrol_under_nobody(void)
{
    master.authority_count = 0;
    flow_enrol_and_adopt();
    assert_false(is_under(master.authorities[0].point));
}

static void
an_enrolment_ends_under_the_authority(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    assert_true(is_under(master.authorities[0].point));
    assert_false(machine_has(&machine, "approvals"));
    assert_opens(0, 0);
    assert_true(machine_has(&machine, "approvals"));
}

static void
an_update_before_the_first_reboot_unlocks_once_it_is_approved(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    assert_opens(4, 2);
    master.approve = APPROVE_NOTHING;
    assert_opens(4, 2);
    assert_stays_shut(4, 3);
    assert_opens(0, 0);
}

static void
without_an_approval_another_image_is_refused_and_nothing_is_lost(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    master.approve = APPROVE_NOTHING;
    assert_stays_shut(KERNEL_PCR, 2);
    assert_opens(0, 0);
    assert_false(machine_has(&machine, "approvals"));
    master.approve = APPROVE_ALL;
    assert_opens(KERNEL_PCR, 2);
}

static void
the_last_two_approvals_are_kept(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    for (uint8_t image = 2; image <= 4; image++)
        assert_opens(KERNEL_PCR, image);
    master.approve = APPROVE_NOTHING;
    assert_stays_shut(KERNEL_PCR, 2);
    assert_opens(KERNEL_PCR, 3);
    assert_opens(KERNEL_PCR, 4);
    assert_opens(0, 0); /* what it was sealed to */
}

/* Of a cluster whose sets say nothing of drivers: what was signed for one boot is kept.
 */
static void
N48_what_was_approved_without_a_driver_does_not_open_behind_one(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    assert_opens(KERNEL_PCR, 2);
    master.approve = APPROVE_NOTHING;
    assert_opens(KERNEL_PCR, 2);
    machine_boot(&machine, KERNEL_PCR, 2);
    machine_extend(&machine, DRIVERS_PCR, 1);
    MASTER_SCRIPT(&master, ACT_HONEST);
    assert_refuses("nor approved since");
    assert_stays_shut(DRIVERS_PCR, 1);
    assert_opens(KERNEL_PCR, 2);
}

/* As it was sealed before drivers counted. */
static void
a_file_that_was_sealed_to_its_image_alone_opens_and_is_sealed_anew(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    assert_opens(0, 0);
    machine_reboot(&machine);
    machine_measure(&machine);
    machine_seal_to(&machine, ESP_SEALED, 1 << 4 | 1 << 11 | 1 << 12);
    master.approve = APPROVE_NOTHING;
    assert_opens(0, 0);
    assert_int_equal(machine_mask_of(&machine, ESP_SEALED), measure_mask(false));
    assert_opens(0, 0);
}

static void
N48_an_approval_that_opens_nothing_is_said_and_not_kept(void **state)
{
    static const enum approve bad[] = {APPROVE_FORGED, APPROVE_OTHER};
    (void)state;
    flow_enrol_and_adopt();
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        master.approve = bad[i];
        assert_opens(0, 0);
        assert_true(machine_said(&machine, "what the masters approved does not open"));
        assert_false(machine_has(&machine, "approvals"));
        assert_stays_shut(KERNEL_PCR, 2);
    }
    master.approve = APPROVE_JUNK;
    assert_opens(0, 0);
    assert_false(machine_said(&machine, "warning"));
    assert_false(machine_has(&machine, "approvals"));
    assert_stays_shut(KERNEL_PCR, 2);
}

static void
a_file_of_0_1_is_carried_over(void **state)
{
    (void)state;
    enrol_under_nobody();
    assert_opens(0, 0);
    assert_false(is_under(master.authorities[0].point));
    assert_stays_shut(KERNEL_PCR, 2);
    master.authority_count = 1;
    assert_opens(0, 0);
    assert_true(is_under(master.authorities[0].point));
    assert_opens(KERNEL_PCR, 2);
    master.approve = APPROVE_NOTHING;
    assert_stays_shut(KERNEL_PCR, 3);
}

static void
a_file_of_0_1_is_carried_over_before_anything_was_approved(void **state)
{
    (void)state;
    enrol_under_nobody();
    master.authority_count = 1;
    master.approve = APPROVE_NOTHING;
    assert_opens(0, 0);
    assert_true(is_under(master.authorities[0].point));
    assert_stays_shut(KERNEL_PCR, 2);
    master.approve = APPROVE_ALL;
    assert_opens(KERNEL_PCR, 2);
}

static void
N48_a_new_file_that_does_not_open_does_not_take_the_old_ones_place(void **state)
{
    (void)state;
    enrol_under_nobody();
    master.authority_count = 1;
    master.approve = APPROVE_FORGED;
    assert_opens(0, 0);
    assert_true(machine_said(&machine, "stays as it was"));
    assert_false(is_under(master.authorities[0].point));
    assert_opens(0, 0);
}

static void
an_authority_that_is_none_changes_nothing(void **state)
{
    (void)state;
    enrol_under_nobody();
    master.authority_count = 1;
    master.authorities[0].point[63] ^= 1;
    assert_opens(0, 0);
    assert_false(is_under(master.authorities[0].point));
}

static void
a_new_authority_is_followed(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    assert_opens(KERNEL_PCR, 2);
    master_new_authority(&master);
    assert_opens(KERNEL_PCR, 2);
    assert_true(is_under(master.authorities[0].point));
    master.approve = APPROVE_NOTHING;
    assert_opens(KERNEL_PCR, 2);
    assert_stays_shut(KERNEL_PCR, 3);
}

/* The old one's word opens it, the new one's is under what it is sealed then. */
static void
a_new_authority_and_a_new_image_may_come_at_once(void **state)
{
    (void)state;
    flow_enrol_and_adopt();
    master_new_authority(&master);
    assert_opens(KERNEL_PCR, 2);
    assert_true(is_under(master.authorities[0].point));
    master.authority_count = 1;
    assert_opens(KERNEL_PCR, 3);
}

static void
an_unlock_that_is_killed_on_the_way_leaves_a_file_that_opens(void **state)
{
    static const enum node_step steps[] = {HALF_SEALED_ANEW, HALF_APPROVAL_KEPT};
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++)
        for (int power = 0; power < 2; power++) {
            enrol_under_nobody();
            master.authority_count = 1;
            machine_start(&machine, steps[i]);
            assert_int_equal(machine_wait(&machine), 128 + 9);
            assert_true(is_under(master.authorities[0].point));
            if (power)
                machine_reboot(&machine);
            machine_run_until_served(&machine);
            assert_opens(KERNEL_PCR, 2);
            flow_tear_down(state);
            flow_set_up(state);
        }
}

static void
a_damaged_file_of_approvals_costs_the_approvals_alone(void **state)
{
    AUTO(st_freep) uint8_t *file = NULL;
    char path[MACHINE_PATH];
    struct st_err err = {0};
    size_t len;
    (void)state;
    flow_enrol_and_adopt();
    assert_opens(KERNEL_PCR, 2);
    machine_path(&machine, "approvals", path);
    assert_ok(file_read(path, 4096, &file, &len, &err));
    file[len / 2] ^= 1;
    assert_ok(file_write(path, 0600, file, len, &err));
    master.approve = APPROVE_NOTHING;
    assert_opens(0, 0);
    assert_stays_shut(KERNEL_PCR, 2);
    assert_true(machine_said(&machine, "approvals is damaged"));
    master.approve = APPROVE_ALL;
    assert_opens(KERNEL_PCR, 2);
    master.approve = APPROVE_NOTHING;
    assert_opens(KERNEL_PCR, 2);
}

static void
what_is_damaged_is_called_so_without_a_sentence_too(void **state)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    AUTO(esp_closep) struct esp *esp = NULL;
    SECRET out = {0};
    enum half_maker maker;
    struct st_err err = {0};
    struct node node = {.efivars = "/nowhere"};
    (void)state;
    assert_ok(tpm_open(swtpm_tcti(machine.chip), &tpm, &err));
    assert_ok(esp_open(machine.esp, &esp, &err));
    node.esp = esp;
    assert_ok(esp_write(esp, ESP_SEALED, "junk", 4, &err));
    assert_code(half_unseal(&node, tpm, ESP_SEALED, UNLOCK_KEY_LEN, &out, &maker, &err),
                ST_DATA_LOSS);
    assert_int_equal(
        half_unseal(&node, tpm, ESP_SEALED, UNLOCK_KEY_LEN, &out, &maker, NULL),
        ST_DATA_LOSS);
}

int
main(int argc, char **argv)
{
    machine_child_main(argc, argv);
    const struct CMUnitTest tests[] = {
        FLOW_TEST(an_enrolment_ends_under_the_authority),
        FLOW_TEST(an_update_before_the_first_reboot_unlocks_once_it_is_approved),
        FLOW_TEST(without_an_approval_another_image_is_refused_and_nothing_is_lost),
        FLOW_TEST(the_last_two_approvals_are_kept),
        FLOW_TEST(N48_what_was_approved_without_a_driver_does_not_open_behind_one),
        FLOW_TEST(a_file_that_was_sealed_to_its_image_alone_opens_and_is_sealed_anew),
        FLOW_TEST(N48_an_approval_that_opens_nothing_is_said_and_not_kept),
        FLOW_TEST(a_file_of_0_1_is_carried_over),
        FLOW_TEST(a_file_of_0_1_is_carried_over_before_anything_was_approved),
        FLOW_TEST(N48_a_new_file_that_does_not_open_does_not_take_the_old_ones_place),
        FLOW_TEST(an_authority_that_is_none_changes_nothing),
        FLOW_TEST(a_new_authority_is_followed),
        FLOW_TEST(a_new_authority_and_a_new_image_may_come_at_once),
        FLOW_TEST(an_unlock_that_is_killed_on_the_way_leaves_a_file_that_opens),
        FLOW_TEST(a_damaged_file_of_approvals_costs_the_approvals_alone),
        FLOW_TEST(what_is_damaged_is_called_so_without_a_sentence_too),
    };
    return FLOW_MAIN(tests);
}
