/* boot.h - a node proved what it booted, and the policy refuses that; or its TPM came
 * back as it was earlier.
 *
 * Where an update window is open for it the boot is captured: good for this node from
 * then on, in the records.  Else it is kept for the administrator's eyes (`stctl node
 * pcrs`, `stctl node approve`).  Only what verified under the AK of a node's record comes
 * here, and only news are written: the last boot of each node, once a minute at most, and
 * BOOT_REFUSALS_A_MINUTE of all nodes by one master.
 */
#ifndef NMS_BOOT_H
#define NMS_BOOT_H

#include "nms/nms.h"
#include "tpm/judge.h"

enum {
    BOOT_REFUSALS_A_MINUTE = 120,
};

struct boot_proof {
    char node[NODE_ID_LEN + 1];
    size_t ak_len;
    uint8_t ak[TPM_PUBLIC_MAX]; /* that the quote was judged by */
    struct tpm_pcrs pcrs;       /* what it said */
    struct tpm_clock clock;
};

/* `why` is the policy's sentence, peer rpc_call_peer().  Lends proof and peer until
 * `done` is called, once, maybe before this returns: with code 0 where the boot was
 * captured, which is to be judged again; else with what the refusal is now.  After a
 * barrier, from any thread. */
void boot_refused(struct nms *nms, const struct boot_proof *proof, const char *peer,
                  const struct st_err *why, nms_done done, void *arg);

/* The same where its TPM went back (`why` is state_clock_check()'s): no window is for
 * that, so it is kept.  Not kept is a quote of the same boot that was overtaken: the node
 * asked twice, and was answered. */
void boot_went_back(struct nms *nms, const struct boot_proof *proof, const char *peer,
                    const struct st_err *why, nms_done done, void *arg);

#endif
