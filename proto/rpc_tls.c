/* The library's start, and the certificates of the server side. */
#include "proto/rpc_tls.h"

#include "proto/rpc_accept.h"
#include "proto/rpc_internal.h"
#include "proto/scope.h"

#include <grpc/support/log.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void (*log_line)(const char *line);

/* A stranger can make gRPC complain as often as he likes (a broken handshake, a reset
 * connection): those files are not heard. */
static void
forward_log(gpr_log_func_args *args)
{
    static const char *const noisy[] = {"tsi/",       "handshaker", "chttp2/",
                                        "tcp_server", "endpoint",   "secur",
                                        "tcp_posix",  "tcp_client"};
    for (size_t i = 0; i < sizeof(noisy) / sizeof(*noisy); i++)
        if (strstr(args->file, noisy[i]))
            return;
    if (log_line && args->severity >= GPR_LOG_SEVERITY_ERROR)
        log_line(args->message);
}

void
rpc_init(void (*log)(const char *line))
{
    /* This suite needs an RSA certificate and ours are Ed25519: so nothing of TLS 1.2 is
     * left, and the suites of 1.3 are not in this list. gRPC 1.51 has no other switch. */
    setenv("GRPC_SSL_CIPHER_SUITES", "ECDHE-RSA-AES256-GCM-SHA384", 1);
    /* Every thread of gRPC's would keep an arena of its own. */
    mallopt(M_ARENA_MAX, 2);
    rpc_accept_prepare();
    log_line = log;
    gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
    gpr_set_log_function(forward_log);
    grpc_init();
}

void
rpc_shutdown(void)
{
    grpc_shutdown_blocking();
}

void
pem_pair_wipe(struct pem_pair *pair)
{
    explicit_bzero(pair->key, sizeof(pair->key));
    free(pair->cert);
    pair->cert = NULL;
}

enum st_code
pem_pair_make(const struct cert *cert, const struct secret *seed, struct pem_pair *out,
              struct st_err *err)
{
    SECRET key = {0};
    char *text = NULL;
    enum st_code code = key_to_pem(seed, &key, err);
    if (!code)
        code = cert_to_pem(cert->der, cert->len, &text, err);
    if (code)
        return code;
    memset(out, 0, sizeof(*out));
    memcpy(out->key, key.bytes, key.len);
    out->cert = text;
    return ST_OK;
}

grpc_server_credentials *
rpc_tls_server(const struct rpc_server_config *config, struct st_err *err)
{
    AUTO(pem_pair_wipe) struct pem_pair pair = {0};
    if (pem_pair_make(config->cert, config->seed, &pair, err))
        return NULL;
    grpc_ssl_pem_key_cert_pair keys = {.private_key = pair.key, .cert_chain = pair.cert};
    /* No roots: whoever holds whatever certificate is heard, and judged by `admit`. */
    grpc_ssl_server_certificate_config *certificates =
        grpc_ssl_server_certificate_config_create(NULL, &keys, 1);
    grpc_ssl_server_credentials_options *options =
        grpc_ssl_server_credentials_create_options_using_config(
            config->want_client_cert
                ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_BUT_DONT_VERIFY
                : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
            certificates);
    grpc_server_credentials *credentials =
        options ? grpc_ssl_server_credentials_create_with_options(options) : NULL;
    if (!credentials)
        (void)!st_fail(err, ST_INTERNAL, "gRPC refuses the server's certificate");
    return credentials;
}

enum st_code
rpc_tls_client_cert(grpc_call *call, uint8_t **out, size_t *out_len, struct st_err *err)
{
    grpc_auth_context *context = grpc_call_auth_context(call);
    grpc_auth_property_iterator found = grpc_auth_context_find_properties_by_name(
        context, GRPC_X509_PEM_CERT_PROPERTY_NAME);
    const grpc_auth_property *pem = grpc_auth_property_iterator_next(&found);
    enum st_code code;
    if (!pem || rpc_pem_to_der(pem->value, pem->value_length, out, out_len, NULL))
        code = st_fail_for(err, ST_UNAUTHENTICATED, ST_REASON_REFUSED,
                           "no client certificate");
    else
        code = ST_OK;
    grpc_auth_context_release(context);
    return code;
}
