/* recovery.h - the administrator's recovery key in files. */
#ifndef TOOLS_RECOVERY_H
#define TOOLS_RECOVERY_H

#include "proto/recovery.h"

/* recovery.pem.  ST_INVALID_ARGUMENT, also for a key that nothing can be sealed for. */
enum st_code recovery_read_public(const char *path, uint8_t out[HPKE_KEY_LEN],
                                  struct st_err *err);

#endif
