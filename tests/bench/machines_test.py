"""A trace of a boot is read as what it is."""
import os
import sys
import unittest

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(SOURCE, "tools", "vm"))
import machines  # pylint: disable=wrong-import-position

TRACE = """# tracer: nop
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
       swapper/0-1       [000] .....     1.500000: tpm_begins: (tpm_transmit+0x0/0x5)
       swapper/0-1       [000] .....     1.900000: tpm_ends: (tpm_pcr_extend+0x1/0x2 <- tpm_transmit)
            init-1       [000] .....     2.000000: sched_process_exec: filename=/init pid=1
  smalltown-node-200     [000] .....     3.000000: sched_process_exec: filename=/sbin/smalltown-node pid=200
  smalltown-node-201     [000] .....     3.100000: tpm_begins: (tpm_transmit+0x0/0x5)
  smalltown-node-201     [000] .....     3.300000: tpm_ends: (tpm_common_write+0x1/0x2 <- tpm_transmit)
   smalltown-nms-202     [000] ..s1.     3.350000: inet_sock_set_state: sport=7834 dport=7834 oldstate=TCP_CLOSE newstate=TCP_SYN_SENT
 grpc_global_tim-203     [000] .....     3.500000: inet_sock_set_state: sport=0 dport=7833 oldstate=TCP_CLOSE newstate=TCP_SYN_SENT
  smalltown-node-201     [000] .....     3.900000: tpm_begins: (tpm_transmit+0x0/0x5)
  smalltown-node-201     [000] .....     4.000000: tpm_ends: (tpm_common_write+0x1/0x2 <- tpm_transmit)
  smalltown-node-201     [000] .....     4.250000: tcp_rcv_space_adjust: sport=40000 dport=7833
  smalltown-node-201     [000] .....     4.300000: tpm_begins: (tpm_transmit+0x0/0x5)
  smalltown-node-201     [000] .....     4.400000: tpm_ends: (tpm_common_write+0x1/0x2 <- tpm_transmit)
  smalltown-node-201     [000] .....     5.500000: tcp_rcv_space_adjust: sport=40000 dport=7833
"""


class Phases(unittest.TestCase):
    def test_each_second_is_in_one_phase(self):
        found = machines.phases(machines.events(TRACE), -1.25, 5.0, 5.5)
        wanted = (1.25, 2.0, 1.0, 0.3, 0.4, 0.65, 0.65, 0.5)
        self.assertEqual(tuple(found), machines.PHASES)
        for phase, seconds in zip(machines.PHASES, wanted):
            self.assertAlmostEqual(found[phase], seconds, msg=phase)
        self.assertAlmostEqual(sum(found.values()), 5.5 + 1.25)

    def test_what_the_TPM_does_outside_is_not_counted(self):
        found = machines.events(TRACE)
        self.assertAlmostEqual(machines.tpm_time(found, 0, 2), 0.4)
        self.assertAlmostEqual(machines.tpm_time(found, 3.2, 3.95), 0.15)
        self.assertEqual(machines.tpm_time(found, 2, 3), 0)
        self.assertEqual(machines.tpm_commands(found, 4.35), 2)
        self.assertEqual(machines.tpm_commands(found, 5), 3)


if __name__ == "__main__":
    unittest.main()
