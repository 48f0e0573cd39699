#include <wolfssl/options.h>

#include "proto/cert.h"
#include "proto/mutant.h"
#include "proto/scope.h"
#include "raft/mesh_tls.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <wolfssl/ssl.h>

enum {
    SERVER,
    CLIENT,
};

struct contexts {
    WOLFSSL_CTX *of[2];
};

struct mesh_tls {
    struct secret key; /* PKCS#8 */
    struct mesh_authority authority;
    size_t ca_len, cert_len;
    uint8_t *ca, *cert;

    pthread_mutex_t lock; /* guards what follows */
    struct mesh_crl *crl;
    struct contexts contexts;
};

static void
contexts_free(struct contexts *contexts)
{
    wolfSSL_CTX_free(contexts->of[SERVER]);
    wolfSSL_CTX_free(contexts->of[CLIENT]);
}

static int
take_in(WOLFSSL *ssl, char *out, int len, void *arg)
{
    struct mesh_session *session = arg;
    (void)ssl;
    if (!session->in_len)
        return WOLFSSL_CBIO_ERR_WANT_READ;
    size_t n = session->in_len < (size_t)len ? session->in_len : (size_t)len;
    memcpy(out, session->in, n);
    session->in += n;
    session->in_len -= n;
    return (int)n;
}

/* Whoever makes us answer without reading the answers ends his connection. */
static bool
make_room(struct mesh_session *session, size_t more)
{
    if (session->out_room - session->out_len >= more)
        return true;
    size_t room = session->out_room ? session->out_room : 4096;
    while (room - session->out_len < more)
        room *= 2;
    if (room > 2 * MESH_CIPHER_MAX)
        return false;
    uint8_t *out = realloc(session->out, room);
    if (!out)
        return false;
    session->out = out;
    session->out_room = room;
    return true;
}

static int
put_out(WOLFSSL *ssl, char *bytes, int len, void *arg)
{
    struct mesh_session *session = arg;
    (void)ssl;
    if (session->out_len > MESH_CIPHER_MAX || !make_room(session, (size_t)len))
        return WOLFSSL_CBIO_ERR_GENERAL;
    memcpy(session->out + session->out_len, bytes, (size_t)len);
    session->out_len += (size_t)len;
    return len;
}

/* ChaCha20 is the faster one where wolfSSL has no assembly.  X25519 alone: for P-256 it
 * would keep 1.6 MB of multiples for each thread. */
static bool
context_fill(WOLFSSL_CTX *ctx, const struct mesh_tls *tls, const struct mesh_crl *crl)
{
    const int good = WOLFSSL_SUCCESS, der = WOLFSSL_FILETYPE_ASN1;
    int groups[] = {WOLFSSL_ECC_X25519};
    int verify = WOLFSSL_VERIFY_PEER | WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    wolfSSL_CTX_set_verify(ctx, REFUSES(0x50e, true) ? verify : WOLFSSL_VERIFY_NONE,
                           NULL);
    wolfSSL_CTX_set_session_cache_mode(ctx, WOLFSSL_SESS_CACHE_OFF);
    wolfSSL_CTX_SetIORecv(ctx, take_in);
    wolfSSL_CTX_SetIOSend(ctx, put_out);
    return wolfSSL_CTX_set_cipher_list(ctx, "TLS13-CHACHA20-POLY1305-SHA256") == good &&
           wolfSSL_CTX_set_groups(ctx, groups, 1) == good &&
           wolfSSL_CTX_load_verify_buffer(ctx, tls->ca, (long)tls->ca_len, der) == good &&
           wolfSSL_CTX_use_certificate_buffer(ctx, tls->cert, (long)tls->cert_len, der) ==
               good &&
           wolfSSL_CTX_use_PrivateKey_buffer(ctx, tls->key.bytes, (long)tls->key.len,
                                             der) == good &&
           wolfSSL_CTX_EnableCRL(ctx, WOLFSSL_CRL_CHECKALL) == good &&
           wolfSSL_CTX_LoadCRLBuffer(ctx, crl->der, (long)crl->len, der) == good;
}

static enum st_code
contexts_make(const struct mesh_tls *tls, const struct mesh_crl *crl,
              struct contexts *out, struct st_err *err)
{
    struct contexts made = {{wolfSSL_CTX_new(wolfTLSv1_3_server_method()),
                             wolfSSL_CTX_new(wolfTLSv1_3_client_method())}};
    bool good =
        made.of[SERVER] && made.of[CLIENT] &&
        (!REFUSES(0x5341, true) || wolfSSL_CTX_no_ticket_TLSv13(made.of[SERVER]) == 0) &&
        context_fill(made.of[SERVER], tls, crl) &&
        context_fill(made.of[CLIENT], tls, crl);
    if (!good) {
        contexts_free(&made);
        return st_fail(err, ST_INVALID_ARGUMENT, "wolfSSL does not take the credentials");
    }
    *out = made;
    return ST_OK;
}

/* ---- credentials ---- */

static void
begin_library(void)
{
    if (wolfSSL_Init() != WOLFSSL_SUCCESS)
        abort();
}

/* The key is PKCS#8: its last 32 bytes are the seed (RFC 8410, 7). */
static enum st_code
key_fits(const struct secret *key, const struct mesh_member *member, struct st_err *err)
{
    SECRET seed = {0};
    uint8_t public_key[ED25519_PUBLIC_LEN];
    enum st_code code = ST_OK;
    if (key->len < ED25519_SEED_LEN)
        return st_fail(err, ST_INVALID_ARGUMENT, "a key of %zu bytes", key->len);
    if ((code = secret_set(&seed, key->bytes + key->len - ED25519_SEED_LEN,
                           ED25519_SEED_LEN, err)) ||
        (code = key_public(&seed, public_key, err)))
        return code;
    if (memcmp(public_key, member->public_key, sizeof(public_key)) != 0)
        return st_fail(err, ST_INVALID_ARGUMENT, "the key is not the certificate's");
    return ST_OK;
}

static enum st_code
credentials_check(struct mesh_tls *tls, uint64_t id, struct st_err *err)
{
    struct mesh_member member;
    enum st_code code;
    if ((code = mesh_authority_read(tls->ca, tls->ca_len, &tls->authority, err)) ||
        (code =
             mesh_member_read(tls->cert, tls->cert_len, &tls->authority, &member, err)))
        return code;
    if (member.id != id)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "the certificate is of member %llu, this is %llu",
                       (unsigned long long)member.id, (unsigned long long)id);
    return key_fits(&tls->key, &member, err);
}

static void *
copy_of(const void *bytes, size_t len)
{
    void *copy = malloc(len + 1);
    if (copy && len)
        memcpy(copy, bytes, len);
    return copy;
}

void
mesh_tls_free(struct mesh_tls *tls)
{
    if (!tls)
        return;
    contexts_free(&tls->contexts);
    pthread_mutex_destroy(&tls->lock);
    free(tls->crl);
    free(tls->ca);
    free(tls->cert);
    secret_wipe(&tls->key);
    free(tls);
}
AUTO_DEFINE(struct mesh_tls *, mesh_tls_freep, mesh_tls_free)

enum st_code
mesh_tls_new(const struct replica_credentials *credentials, uint64_t id,
             struct mesh_tls **out, struct st_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, begin_library);
    AUTO(mesh_tls_freep) struct mesh_tls *tls = calloc(1, sizeof(*tls));
    if (!tls)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory");
    pthread_mutex_init(&tls->lock, NULL);
    tls->key = *credentials->key;
    tls->ca_len = credentials->ca_len;
    tls->cert_len = credentials->cert_len;
    tls->ca = copy_of(credentials->ca, credentials->ca_len);
    tls->cert = copy_of(credentials->cert, credentials->cert_len);
    if (!tls->ca || !tls->cert)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory");
    enum st_code code;
    if ((code = credentials_check(tls, id, err)) ||
        (code = mesh_crl_read(credentials->crl, credentials->crl_len, &tls->authority,
                              &tls->crl, err)) ||
        (code = contexts_make(tls, tls->crl, &tls->contexts, err)))
        return code;
    *out = TAKE(tls);
    return ST_OK;
}

/* ---- the list ---- */

static enum st_code
number_check(const struct mesh_crl *fresh, const struct mesh_crl *current,
             struct st_err *err)
{
    if (REFUSES(0x53a, fresh->number <= current->number))
        return st_fail(
            err, ST_FAILED_PRECONDITION, "the list has number %llu, the current one %llu",
            (unsigned long long)fresh->number, (unsigned long long)current->number);
    return ST_OK;
}

enum st_code
mesh_tls_set_crl(struct mesh_tls *tls, const void *der, size_t len, struct st_err *err)
{
    AUTO(st_freep) struct mesh_crl *crl = NULL;
    struct contexts contexts, before;
    enum st_code code = mesh_crl_read(der, len, &tls->authority, &crl, err);
    if (code || (code = contexts_make(tls, crl, &contexts, err)))
        return code;
    pthread_mutex_lock(&tls->lock);
    before = contexts;
    code = number_check(crl, tls->crl, err);
    if (!code) {
        struct mesh_crl *old = tls->crl;
        tls->crl = crl;
        crl = old;
        before = tls->contexts;
        tls->contexts = contexts;
    }
    pthread_mutex_unlock(&tls->lock);
    contexts_free(&before); /* sessions keep theirs */
    return code;
}

bool
mesh_tls_revoked(struct mesh_tls *tls, const struct mesh_member *member)
{
    pthread_mutex_lock(&tls->lock);
    bool revoked = mesh_crl_names(tls->crl, member);
    pthread_mutex_unlock(&tls->lock);
    return revoked;
}

/* ---- one connection ---- */

const char mesh_removed[] =
    "its certificate is revoked: it was removed from the group, and its folder may go";

static enum st_code
tls_fail(struct mesh_session *session, int status, const char *what, struct st_err *err)
{
    char text[WOLFSSL_MAX_ERROR_SZ];
    int error = wolfSSL_get_error(session->ssl, status);
    WOLFSSL_ALERT_HISTORY alerts;
    if (wolfSSL_get_alert_history(session->ssl, &alerts) == WOLFSSL_SUCCESS &&
        alerts.last_rx.code == certificate_revoked) {
        session->dismissed = true;
        return st_fail(err, ST_PERMISSION_DENIED, "%s", mesh_removed);
    }
    wolfSSL_ERR_error_string((unsigned long)error, text);
    return st_fail(err, ST_UNAUTHENTICATED, "%s: %s (%d)", what, text, error);
}

enum st_code
mesh_session_begin(struct mesh_session *session, struct mesh_tls *tls, bool dialled,
                   struct st_err *err)
{
    pthread_mutex_lock(&tls->lock);
    WOLFSSL *ssl = wolfSSL_new(tls->contexts.of[dialled ? CLIENT : SERVER]);
    pthread_mutex_unlock(&tls->lock);
    if (!ssl)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory for a connection");
    wolfSSL_SetIOReadCtx(ssl, session);
    wolfSSL_SetIOWriteCtx(ssl, session);
    session->ssl = ssl;
    return ST_OK;
}

void
mesh_session_end(struct mesh_session *session)
{
    wolfSSL_free(session->ssl);
    free(session->out);
    *session = (struct mesh_session){0};
}

static enum mesh_step
step_of(struct mesh_session *session, int status, const char *what, struct st_err *err)
{
    if (wolfSSL_get_error(session->ssl, status) == WOLFSSL_ERROR_WANT_READ)
        return MESH_WANT;
    (void)!tls_fail(session, status, what, err);
    return MESH_FAILED;
}

enum mesh_step
mesh_session_handshake(struct mesh_session *session, struct st_err *err)
{
    int status = wolfSSL_SSL_do_handshake(session->ssl);
    return status == WOLFSSL_SUCCESS ? MESH_DONE
                                     : step_of(session, status, "handshake", err);
}

enum st_code
mesh_session_peer(struct mesh_session *session, struct mesh_tls *tls,
                  struct mesh_member *out, struct st_err *err)
{
    WOLFSSL_X509_CHAIN *chain = wolfSSL_get_peer_chain(session->ssl);
    struct mesh_member member;
    if (!chain || wolfSSL_get_chain_count(chain) < 1)
        return st_fail(err, ST_PERMISSION_DENIED, "no certificate");
    int len = wolfSSL_get_chain_length(chain, 0);
    enum st_code code = mesh_member_read(wolfSSL_get_chain_cert(chain, 0), (size_t)len,
                                         NULL, &member, err);
    if (code)
        return code;
    /* The list may have come while the handshake was under way. */
    if (REFUSES(0x5344, mesh_tls_revoked(tls, &member)))
        return st_fail(err, ST_PERMISSION_DENIED,
                       "the certificate of member %llu is revoked",
                       (unsigned long long)member.id);
    *out = member;
    return ST_OK;
}

enum mesh_step
mesh_session_read(struct mesh_session *session, void *out, size_t len, size_t *out_len,
                  struct st_err *err)
{
    int status = wolfSSL_read(session->ssl, out, (int)len);
    if (status <= 0)
        return step_of(session, status, "read", err);
    *out_len = (size_t)status;
    return MESH_DONE;
}

enum st_code
mesh_session_write(struct mesh_session *session, const void *bytes, size_t len,
                   struct st_err *err)
{
    int status = wolfSSL_write(session->ssl, bytes, (int)len);
    return status == (int)len ? ST_OK : tls_fail(session, status, "write", err);
}
