/* flow.h - a master and a machine, and what is expected of them.
 */
#ifndef TESTS_NODE_FLOW_H
#define TESTS_NODE_FLOW_H

#include "tests/node/machine.h"

extern struct master master;
extern struct machine machine;

int flow_set_up(void **state);
int flow_tear_down(void **state);

double flow_seconds(void);
/* Since the last script. */
void flow_wait_for_calls(unsigned count);
/* Leaves the machine rebooted, its daemon not started. */
void flow_enrol_and_adopt(void);

void assert_enrolled(void);
/* With an enrolment that is half done. */
void assert_not_enrolled(void);
void assert_unlocks_after_a_reboot(void);
/* A start of the daemon ends with 1, and these are among its words. */
void assert_refuses(const char *words);
/* In this boot, PCR 12 of which was capped; in the next one it does. */
void assert_unlocks_no_more(void);

/* The main() of a test that uses this. */
#define FLOW_TEST(name) cmocka_unit_test_setup_teardown(name, flow_set_up, flow_tear_down)
#define FLOW_MAIN(tests)                                                                 \
    ({                                                                                   \
        rpc_init(NULL);                                                                  \
        int failed_ = cmocka_run_group_tests(tests, NULL, NULL);                         \
        rpc_shutdown();                                                                  \
        failed_;                                                                         \
    })

#endif
