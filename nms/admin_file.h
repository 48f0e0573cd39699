/* admin_file.h - the way back in where every administrator's key is lost.
 *
 * Whoever owns a master's folder puts a certificate there as `admin.pem`.  The master has
 * the cluster list it as that of an administrator and removes the file.  Who can write
 * there could read the halves of all nodes anyway.
 */
#ifndef NMS_ADMIN_FILE_H
#define NMS_ADMIN_FILE_H

#include "nms/nms.h"

/* What became of the file that was there last, so that it is said once. */
struct admin_file {
    uint8_t seen[SHA256_LEN]; /* of its bytes */
    bool done;                /* nothing is to be tried again with it */
};

/* Looks, and does it; waits for timeout_ms at most.  The carrier's thread. */
void admin_file_look(struct admin_file *file, struct nms *nms, uint32_t timeout_ms);

#endif
