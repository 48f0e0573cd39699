/* node.h - the daemon of one machine: what all its flows stand on.
 *
 *     main.c      options, then run.c
 *     run.c       looks (facts.c), decides (start.c), and does that one row
 *     enrol.c     the durable steps of an enrolment; register.c its talk with a master
 *     unlock.c    the way back to the disk key after a reboot
 *     recover.c   the recovery key: when it is made, and when it is needed
 *     service.c   what this node serves
 *     masters.c   where the masters are, and how that changes
 *     bootstrap.c the first master of a new cluster
 *     crypttab.c  keys of further volumes
 *     control.c   the volume that a master keeps its records on
 *     keeper.c    the process that runs smalltown-nms, where this machine is a master
 *
 * One thread does everything, but that a thread of gRPC's writes down where the masters
 * are (masters.h); those for signals and crypttab stand beside it.
 */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include "node/config.h"
#include "node/crypttab.h"
#include "node/disk.h"
#include "node/esp.h"
#include "node/keeper.h"
#include "tpm/device.h"

/* What was made durable, in the order of an enrolment, see enrol.c; of an unlock, which
 * has the two of the half alone; and of what control_*.c makes. */
enum node_step {
    ENROL_MEASURED = 1,
    ENROL_KEYS_MADE,
    ENROL_PENDING_SEALED,
    ENROL_HALF_SEALED,
    ENROL_FORMAT_BEGUN,
    ENROL_FORMATTED,
    ENROL_RECOVERABLE,
    ENROL_COMMITTED, /* a master said OK */
    ENROL_IDENTITY_WRITTEN,
    ENROL_VOLUME_ENROLLED,
    ENROL_CONFIG_WRITTEN,
    ENROL_PENDING_ERASED,
    HALF_SEALED_ANEW, /* half_follow() */
    HALF_APPROVAL_KEPT,
    ENROL_CAPPED,
    ENROL_GIVEN_UP,     /* a volume that is not gone on with is blank again */
    CONTROL_KEY_SEALED, /* control_make.c, */
    CONTROL_FORMATTED,
    CONTROL_FILLED,
    CONTROL_ENROLLED,
    CONTROL_COMMITTED,
    CONTROL_SECOND_BEGUN, /* control_joined() */
    CONTROL_SEALED_ANEW,  /* half_follow(), */
    CONTROL_RESEALED,     /* and control_rekey() */
    CONTROL_REKEYED
};

enum control_state {
    CONTROL_IS_NONE, /* --control-volume was not given */
    CONTROL_IS_FREE, /* this machine is no master, or its join was cut */
    CONTROL_IS_SHUT, /* that was said */
    CONTROL_IS_OPEN,
    CONTROL_IS_DOUBTED, /* open, and not known for this machine's own: that was said */
    CONTROL_IS_PLAIN    /* the records lie in the clear */
};

struct node {
    const char *tcti;
    struct st_address address;       /* where masters reach this node */
    const char *volume;              /* NULL: none */
    enum disk_encryption encryption; /* of a volume that is formatted */
    /* Where a person is shown a recovery key that is sealed to no administrator; NULL:
     * nowhere, and then only `no_recovery` permits to format. */
    const char *recovery_terminal;
    bool no_recovery;
    enum tpm_ak_type ak;
    const char *control, *control_folder; /* control.h: the volume, NULL: none; and where
                                             it is mounted */

    uint16_t master_port, node_port;
    uint32_t stream_ms; /* for one talk with a master */
    uint32_t retry_first_ms, retry_max_ms;
    const char *efivars;                 /* measure_secure_boot() */
    void (*passed)(enum node_step step); /* for tests; may be NULL */
    struct keeper *keeper;               /* NULL: this machine cannot be a master */
    bool lacks_nms;                      /* there is no keeper for that reason */
    struct crypttab *crypttab;           /* NULL: it has no further volumes */

    struct esp *esp;
    struct node_config config;
    enum control_state control_state;
    struct secret control_second; /* of a control volume that is made yet; len 0: none */
    bool rpc_begun;
};

static inline void
node_passed(const struct node *node, enum node_step step)
{
    if (node->passed)
        node->passed(step);
}

/* The rest of a node is the caller's to fill in: TCTI, address, volume, esp, config. */
#define NODE_DEFAULTS                                                                    \
    .master_port = PORT_NODE_MANAGEMENT, .node_port = PORT_NODE, .stream_ms = 60000,     \
    .retry_first_ms = 1000, .retry_max_ms = 30000,                                       \
    .efivars = "/sys/firmware/efi/efivars"

#endif
