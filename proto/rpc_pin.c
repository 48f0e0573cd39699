/* The pin: after the handshake, and before the first byte of a call, the server's
 * certificate is compared with the one we know.  The handshake itself has proved that the
 * server holds the certificate's key.  OpenSSL's own chain check is off, because it would
 * look at the dates: a machine without a clock could never unlock. */
#include "proto/rpc_pin.h"

#include "proto/mutant.h"
#include "proto/rpc_tls.h"
#include "proto/scope.h"

#include <grpc/support/alloc.h>
#include <grpc/support/string_util.h>
#include <stdlib.h>
#include <string.h>

struct verifier {
    grpc_tls_certificate_verifier_external external;
    struct rpc_pin *pin;
};

static bool
is_pinned(const struct rpc_pin *pin, const char *pem)
{
    uint8_t *der = NULL;
    size_t len = 0;
    if (!pem || rpc_pem_to_der(pem, strlen(pem), &der, &len, NULL))
        return false;
    bool same = !REFUSES(0x51a, len != pin->len || memcmp(der, pin->der, len) != 0);
    free(der);
    return same;
}

static int
verify(void *user_data, grpc_tls_custom_verification_check_request *request,
       grpc_tls_on_custom_verification_check_done_cb callback, void *callback_arg,
       grpc_status_code *status, char **details)
{
    (void)callback;
    (void)callback_arg;
    struct verifier *verifier = user_data;
    *status = GRPC_STATUS_OK;
    if (!is_pinned(verifier->pin, request->peer_info.peer_cert)) {
        atomic_store(&verifier->pin->refused, true);
        *status = GRPC_STATUS_UNAUTHENTICATED;
        *details = gpr_strdup("not the pinned certificate");
    }
    return 1;
}

static void
cancel(void *user_data, grpc_tls_custom_verification_check_request *request)
{
    (void)user_data;
    (void)request;
}

static void
destruct(void *user_data)
{
    struct verifier *verifier = user_data;
    rpc_pin_release(verifier->pin);
    free(verifier);
}

void
rpc_pin_release(struct rpc_pin *pin)
{
    if (pin && atomic_fetch_sub(&pin->references, 1) == 1)
        free(pin);
}

static grpc_tls_certificate_verifier *
make_verifier(struct rpc_pin *pin)
{
    struct verifier *verifier = calloc(1, sizeof(*verifier));
    if (!verifier)
        return NULL;
    atomic_fetch_add(&pin->references, 1);
    verifier->pin = pin;
    verifier->external = (grpc_tls_certificate_verifier_external){
        .user_data = verifier, .verify = verify, .cancel = cancel, .destruct = destruct};
    return grpc_tls_certificate_verifier_external_create(&verifier->external);
}

static grpc_tls_identity_pairs *
make_identity(const struct rpc_channel_config *config, struct st_err *err)
{
    AUTO(pem_pair_wipe) struct pem_pair pair = {0};
    if (pem_pair_make(config->cert, config->seed, &pair, err))
        return NULL;
    grpc_tls_identity_pairs *pairs = grpc_tls_identity_pairs_create();
    grpc_tls_identity_pairs_add_pair(pairs, pair.key, pair.cert);
    return pairs;
}

static enum st_code
make_credentials(const struct rpc_channel_config *config, struct rpc_pin *pin,
                 grpc_channel_credentials **out, struct st_err *err)
{
    AUTO(st_freep) char *pem = NULL;
    grpc_tls_identity_pairs *identity = NULL;
    enum st_code code =
        cert_to_pem(config->server_cert, config->server_cert_len, &pem, err);
    if (code)
        return st_wrap(err, "the server's certificate");
    if (config->cert && !(identity = make_identity(config, err)))
        return st_wrap(err, "our own certificate");
    grpc_tls_certificate_verifier *verifier = make_verifier(pin);
    if (!verifier) {
        if (identity)
            grpc_tls_identity_pairs_destroy(identity);
        return st_fail(err, ST_INTERNAL, "out of memory");
    }
    grpc_tls_certificate_provider *provider =
        grpc_tls_certificate_provider_static_data_create(pem, identity);
    grpc_tls_credentials_options *options = grpc_tls_credentials_options_create();
    grpc_tls_credentials_options_set_certificate_provider(options, provider);
    grpc_tls_credentials_options_watch_root_certs(options);
    if (config->cert)
        grpc_tls_credentials_options_watch_identity_key_cert_pairs(options);
    grpc_tls_credentials_options_set_verify_server_cert(options, 0);
    grpc_tls_credentials_options_set_check_call_host(options, 0);
    grpc_tls_credentials_options_set_certificate_verifier(options, verifier);
    *out = grpc_tls_credentials_create(options);
    grpc_tls_certificate_verifier_release(verifier);
    grpc_tls_certificate_provider_release(provider);
    return *out ? ST_OK : st_fail(err, ST_INTERNAL, "gRPC refuses the certificates");
}

enum st_code
rpc_pin_new(const struct rpc_channel_config *config, struct rpc_pin **out,
            grpc_channel_credentials **out_credentials, struct st_err *err)
{
    if (!config->server_cert_len || config->server_cert_len > CERT_MAX_LEN)
        return st_fail(err, ST_INVALID_ARGUMENT, "a server certificate of %zu bytes",
                       config->server_cert_len);
    struct rpc_pin *pin = calloc(1, sizeof(*pin) + config->server_cert_len);
    if (!pin)
        return st_fail(err, ST_INTERNAL, "out of memory");
    atomic_init(&pin->references, 1);
    pin->len = config->server_cert_len;
    memcpy(pin->der, config->server_cert, pin->len);
    enum st_code code = make_credentials(config, pin, out_credentials, err);
    if (code)
        rpc_pin_release(pin);
    else
        *out = pin;
    return code;
}
