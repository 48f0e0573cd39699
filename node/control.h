/* control.h - the control volume: the records of a master, which answers an unlock before
 * its own disk was unlocked.
 *
 * A volume as in disk.h, under an ext4, mounted at --master-data.  Its key is sealed by
 * the TPM alone, in the file `control`, to the PCRs of measure_control_mask(): the first
 * master makes it before there is a cluster to measure.  From the first unlock on it also
 * opens under what the cluster approved (half.h), and with a second key that follows from
 * the data volume (disk_child_key()): who has the data, by the masters or by the recovery
 * key, has the records.
 *
 * Its id in the volume's token is made of its key, so that a volume of another machine is
 * known as one:
 *
 *     "smalltown-" | hex of the first 16 bytes of SHA-256("smalltown control v1" | key)
 */
#ifndef NODE_CONTROL_H
#define NODE_CONTROL_H

#include "node/approvals.h"
#include "node/node.h"

/* What is there; control_observe() looks and changes nothing. */
struct control_facts {
    bool plain; /* records lie in the folder, and that is no control volume */
    enum start_file control, pending;
    enum start_volume volume;
    struct st_err why; /* the first thing that could not be read */
};
void control_observe(const struct node *node, struct control_facts *out);

enum control_row {
    CONTROL_REFUSED,
    CONTROL_LEFT, /* plain, as it was before this version */
    CONTROL_FREE, /* nobody's; or its making was cut, and it holds nothing */
    CONTROL_OPENS
};
struct control_verdict {
    enum control_row row;
    const char *sentence; /* REFUSED: why, and what to do about it */
};
/* Pure. */
struct control_verdict control_decide(const struct control_facts *facts);

/* Whose records lie on one that is mounted. */
enum control_owner {
    CONTROL_OF_NOBODY,
    CONTROL_OF_A_MEMBER, /* of which cluster is not there yet */
    CONTROL_OF_OURS,     /* the one whose certificate node->config has */
    CONTROL_OF_OTHERS
};
enum control_owner control_owner(const struct node *node);

/* At the start, before anybody is asked anything: opens and mounts what is there, by the
 * TPM.  What does not open is said, node->control_state says so, and the machine goes on
 * as a node.  The ESP is open.  ST_CANCELLED where the daemon is to stop. */
enum st_code control_open(struct node *node, struct st_err *err);

/* Before a machine that is no node yet makes or runs a cluster on one that is open: it
 * was made here.  ST_FAILED_PRECONDITION. */
enum st_code control_check_new(const struct node *node, struct st_err *err);
/* Makes and mounts one where there is none; does nothing where one is mounted, or records
 * lie in the clear.  Cut anywhere, it goes on where it was.  Forks: before rpc_init(), or
 * in the keeper, where the ESP is open without its lock. */
enum st_code control_make(const struct node *node, struct st_err *err);

/* Once the data volume is open and before the cap: opens what is shut, and runs the
 * master; makes the second key, and seals the first under the authority.  One that the
 * second key does not open gets neither, and no new master's records, unless what this
 * machine boots has made it, for this cluster.  What does not work out is said. */
void control_follow(struct node *node, struct tpm *tpm, const struct secret *disk_key,
                    const struct approvals *said);
/* The second key of one that was free at control_follow(), once the masters joined it. */
void control_joined(const struct node *node);

/* For smalltown-node recover: whether there is one that the TPM does not open; and what
 * opens it again, with a recovery key that opens the data volume. */
bool control_is_lost(const struct node *node);
enum st_code control_recover(const struct node *node, const struct secret *recovery,
                             struct st_err *err);

/* What the files of this share. */
void control_id(const struct secret *key, char out[NODE_ID_LEN + 1]);
/* Somebody who booted something else on the machine may have had the TPM seal it. */
enum st_code control_made_elsewhere(const struct node *node, struct st_err *err);
/* The TPM's word for the key: by the PCRs of then, or by an approval that is kept.
 * ST_FAILED_PRECONDITION where it was made elsewhere. */
enum st_code control_key(const struct node *node, struct tpm *tpm, struct secret *out,
                         struct st_err *err);
/* A new key in the place of the old one, by the second one. */
enum st_code control_rekey(const struct node *node, struct tpm *tpm,
                           const struct secret *second, struct secret *out,
                           struct st_err *err);

#endif
