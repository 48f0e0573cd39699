/* stranger.h - somebody who connects to a member and says what he likes: OpenSSL's TLS,
 * frames by hand.  Blocks: on a thread of its own (net_meanwhile). */
#ifndef TESTS_RAFT_STRANGER_H
#define TESTS_RAFT_STRANGER_H

#include "tests/raft/authority.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stranger;

struct stranger_config {
    const char *address;
    const char *source;          /* an IPv4 address of loopback, or NULL */
    const struct issued *issued; /* NULL: no certificate */
    int version;                 /* TLS1_2_VERSION; 0: 1.3 */
};

/* TCP only; NULL where there is none. */
struct stranger *stranger_connect(const struct stranger_config *config);
/* Begins TLS and stops halfway: the other side waits for our certificate. */
bool stranger_shake_half(struct stranger *stranger);
/* TLS as far as this side sees: a certificate is refused after that. */
bool stranger_shake(struct stranger *stranger);
void stranger_end(struct stranger *stranger);

/* Bytes as they are, past TLS and through it. */
bool stranger_put(struct stranger *stranger, const void *bytes, size_t len);
bool stranger_write(struct stranger *stranger, const void *bytes, size_t len);
/* One frame with its length. */
bool stranger_send(struct stranger *stranger, const void *bytes, size_t len);
bool stranger_say_hello(struct stranger *stranger, uint64_t id, uint64_t boot);
/* Both: Hello, and the other's Hello. */
bool stranger_greet(struct stranger *stranger, uint64_t id, uint64_t boot);
/* The next frame: its length, or -1 at the end of the connection. */
int stranger_read(struct stranger *stranger, uint8_t *out, size_t room);
/* Reads until the other side has closed; false where it has not in ten seconds. */
bool stranger_is_closed(struct stranger *stranger);
/* The same without waiting and without TLS. */
bool stranger_has_closed(struct stranger *stranger);

/* Owned by the caller (SSL_SESSION_free), or NULL: no ticket came in a second. */
void *stranger_ticket(struct stranger *stranger);

#endif
