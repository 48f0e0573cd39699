/* conf.h - libraft's bytes of a configuration, read back.
 *
 *   u8 1 | u64 count | count times: u64 id, address with its NUL, u8 role | padding
 *
 * libraft writes them (raft_configuration_encode) and does not let anybody read.
 */
#ifndef RAFT_CONF_H
#define RAFT_CONF_H

#include <raft.h>

/* Owns: *out is ended with raft_configuration_close(), also after a failure.
 * RAFT_MALFORMED, RAFT_NOMEM and what raft_configuration_add() says. */
int conf_decode(const void *bytes, size_t len, struct raft_configuration *out);

#endif
