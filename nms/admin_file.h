/* admin_file.h - the way back in where every administrator's key is lost.
 *
 * Whoever owns a master's folder puts a certificate there as `admin.pem`.  The master has
 * the cluster list it as that of an administrator and takes the file away, whose ever it
 * is; a symbolic link goes, and what it points to stays as it is.  Who can write there
 * could read the halves of all nodes anyway.
 */
#ifndef NMS_ADMIN_FILE_H
#define NMS_ADMIN_FILE_H

#include "nms/nms.h"

/* What became of the file that is there; all zero where there is none. */
struct admin_file {
    uint8_t seen[SHA256_LEN]; /* of its bytes; zero: it could not be read */
    uint32_t said;            /* a bit for each st_code */
    unsigned looks;           /* until it is tried again */
    bool is_none;             /* no certificate, and never will be */
    bool listed;              /* and only its file is left */
};

/* Looks, and does it; waits for timeout_ms at most.  The carrier's thread. */
void admin_file_look(struct admin_file *file, struct nms *nms, uint32_t timeout_ms);

#endif
