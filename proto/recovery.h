/* recovery.h - the key that opens a volume when its TPM, or all masters, are gone.
 *
 * It is made when the volume is formatted: 200 random bits, and it is its own text, for
 * people to write down and to type,
 *
 *     7K2MQT-0D4VX1-ZZ8H3R-9WA5NB-C6JYEP-GF2S47-1M8TKC-QXVD0H
 *
 * in groups of 32 symbols (Crockford's: 0-9 and A-Z without I L O U), each of five
 * symbols and one that checks them and the place of the group.  Whatever one slip of the
 * finger makes of a group (another symbol, two neighbours exchanged), and two groups
 * exchanged, is noticed and named.  The text, with its dashes, is the passphrase of a key
 * slot of the volume: cryptsetup alone opens it.
 *
 * For an administrator it is sealed (hpke.h, info "smalltown recovery v1") to the public
 * half of his recovery key, bound to its node and volume:
 *
 *     "smalltown recovery v1\n" | node id (42) | UUID of the volume (36) |
 *     public key (32)  -- the aad up to here --  | sealed text (55 and 48)
 *
 * Whoever holds it can read of which node, volume and administrator it is; the text is
 * the administrator's alone.  The masters keep it and cannot open it.
 * Every function here may be called from any thread.
 */
#ifndef PROTO_RECOVERY_H
#define PROTO_RECOVERY_H

#include "proto/hpke.h"
#include "proto/ident.h"

enum {
    RECOVERY_GROUPS = 8,
    RECOVERY_GROUP_LEN = 6,
    RECOVERY_TEXT_LEN = RECOVERY_GROUPS * (RECOVERY_GROUP_LEN + 1) - 1,
    RECOVERY_UUID_LEN = 36,
    RECOVERY_SEALED_LEN = 22 + NODE_ID_LEN + RECOVERY_UUID_LEN + HPKE_KEY_LEN +
                          RECOVERY_TEXT_LEN + HPKE_OVERHEAD,
    RECOVERY_PEM_MAX = 256
};

/* A fresh one; out->len is RECOVERY_TEXT_LEN, no NUL is counted (but one follows). */
enum st_code recovery_make(struct secret *out, struct st_err *err);
/* What a person typed, in either case, with or without dashes and spaces, O for 0, I and
 * L for 1.  ST_INVALID_ARGUMENT: "group 3 is mistyped", and what else can be. */
enum st_code recovery_read(const char *typed, struct secret *out, struct st_err *err);

/* Where a sealed key belongs. */
struct recovery_place {
    char node_id[NODE_ID_LEN + 1];
    char uuid[RECOVERY_UUID_LEN + 1]; /* as LUKS2 writes it: lower-case hex and dashes */
    uint8_t recipient[HPKE_KEY_LEN];  /* the public key that it is sealed to */
};

enum st_code recovery_seal(const struct secret *key, const struct recovery_place *place,
                           uint8_t out[RECOVERY_SEALED_LEN], struct st_err *err);
/* ST_INVALID_ARGUMENT for what recovery_seal() does not write; whether it opens is not
 * known by that. */
enum st_code recovery_look(const void *sealed, size_t len, struct recovery_place *out,
                           struct st_err *err);
/* ST_PERMISSION_DENIED where it is for another key, or was changed anywhere. */
enum st_code recovery_open(const void *sealed, size_t len,
                           const struct secret *private_key, struct secret *out,
                           struct st_err *err);

/* The administrator's recovery key in PEM (RFC 8410), as OpenSSL reads and writes it:
 * PKCS#8 and SubjectPublicKeyInfo of an X25519 key.  ST_INVALID_ARGUMENT. */
enum st_code recovery_private_to_pem(const struct secret *private_key,
                                     struct secret *out_pem, struct st_err *err);
enum st_code recovery_private_from_pem(const char *pem, struct secret *out,
                                       struct st_err *err);
enum st_code recovery_public_to_pem(const uint8_t public_key[HPKE_KEY_LEN],
                                    char out_pem[RECOVERY_PEM_MAX], struct st_err *err);
enum st_code recovery_public_from_pem(const char *pem, uint8_t out[HPKE_KEY_LEN],
                                      struct st_err *err);

#endif
