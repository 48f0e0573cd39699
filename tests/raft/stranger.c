#include "tests/raft/stranger.h"
#include "tests/patience.h"
#include "raft/peer.pb-c.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PATIENCE_MS = 10000,
};

struct stranger {
    int socket;
    SSL_CTX *context;
    SSL *ssl;
    SSL_SESSION *ticket;
};

static int
on_ticket(SSL *ssl, SSL_SESSION *session)
{
    struct stranger *stranger = SSL_get_app_data(ssl);
    SSL_SESSION_free(stranger->ticket);
    stranger->ticket = session;
    return 1;
}

static int
connect_to(const char *address, const char *source)
{
    char host[64];
    unsigned port;
    if (sscanf(address, "%63[^:]:%u", host, &port) != 2)
        return -1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, host, &to.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in from = {.sin_family = AF_INET};
    if (source && (inet_pton(AF_INET, source, &from.sin_addr) != 1 ||
                   bind(fd, (const struct sockaddr *)&from, sizeof(from))))
        abort();
    const long ms = patience_ms(PATIENCE_MS);
    struct timeval patience = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(fd, (const struct sockaddr *)&to, sizeof(to))) {
        close(fd);
        return -1;
    }
    return fd;
}

static void
show(SSL *ssl, const struct issued *issued)
{
    const unsigned char *at = issued->key.bytes;
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &at, (long)issued->key.len);
    SSL_use_certificate_ASN1(ssl, issued->cert.der, (int)issued->cert.len);
    SSL_use_PrivateKey(ssl, key);
    EVP_PKEY_free(key);
}

struct stranger *
stranger_connect(const struct stranger_config *config)
{
    struct stranger *stranger = calloc(1, sizeof(*stranger));
    if (!stranger)
        abort();
    stranger->socket = connect_to(config->address, config->source);
    if (stranger->socket < 0) {
        free(stranger);
        return NULL;
    }
    stranger->context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(stranger->context, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(stranger->context, on_ticket);
    stranger->ssl = SSL_new(stranger->context);
    SSL_set_app_data(stranger->ssl, stranger);
    SSL_set_fd(stranger->ssl, stranger->socket);
    int version = config->version ? config->version : TLS1_3_VERSION;
    SSL_set_min_proto_version(stranger->ssl, version);
    SSL_set_max_proto_version(stranger->ssl, version);
    if (config->issued)
        show(stranger->ssl, config->issued);
    return stranger;
}

/* The hello of TLS leaves, the answer is there, and is not looked at yet. */
bool
stranger_shake_half(struct stranger *stranger)
{
    BIO *nothing = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(nothing, -1);
    BIO *in = SSL_get_rbio(stranger->ssl);
    BIO_up_ref(in);
    SSL_set0_rbio(stranger->ssl, nothing);
    SSL_connect(stranger->ssl);
    SSL_set0_rbio(stranger->ssl, in);
    struct pollfd answer = {.fd = stranger->socket, .events = POLLIN};
    return poll(&answer, 1, (int)patience_ms(PATIENCE_MS)) == 1;
}

bool
stranger_shake(struct stranger *stranger)
{
    return SSL_connect(stranger->ssl) == 1;
}

void
stranger_end(struct stranger *stranger)
{
    if (!stranger)
        return;
    SSL_SESSION_free(stranger->ticket);
    SSL_free(stranger->ssl);
    SSL_CTX_free(stranger->context);
    close(stranger->socket);
    free(stranger);
}

bool
stranger_put(struct stranger *stranger, const void *bytes, size_t len)
{
    return send(stranger->socket, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
}

bool
stranger_write(struct stranger *stranger, const void *bytes, size_t len)
{
    return SSL_write(stranger->ssl, bytes, (int)len) == (int)len;
}

bool
stranger_send(struct stranger *stranger, const void *bytes, size_t len)
{
    uint8_t length[4] = {(uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16),
                         (uint8_t)(len >> 24)};
    return stranger_write(stranger, length, 4) &&
           (!len || stranger_write(stranger, bytes, len));
}

bool
stranger_say_hello(struct stranger *stranger, uint64_t id, uint64_t boot)
{
    uint8_t nonce[16] = {(uint8_t)id}, bytes[256];
    char address[] = "127.0.0.1:1";
    Peer__Hello hello = PEER__HELLO__INIT;
    hello.format = 1;
    hello.id = id;
    hello.boot = boot;
    hello.address = (ProtobufCBinaryData){strlen(address), (uint8_t *)address};
    hello.nonce = (ProtobufCBinaryData){sizeof(nonce), nonce};
    Peer__Frame frame = PEER__FRAME__INIT;
    frame.kind_case = PEER__FRAME__KIND_HELLO;
    frame.hello = &hello;
    return stranger_send(stranger, bytes, peer__frame__pack(&frame, bytes));
}

static bool
read_all(struct stranger *stranger, uint8_t *out, size_t len)
{
    for (size_t got = 0; got < len;) {
        int n = SSL_read(stranger->ssl, out + got, (int)(len - got));
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    return true;
}

int
stranger_read(struct stranger *stranger, uint8_t *out, size_t room)
{
    uint8_t length[4];
    if (!read_all(stranger, length, 4))
        return -1;
    size_t len = length[0] | length[1] << 8 | length[2] << 16 | (size_t)length[3] << 24;
    return len <= room && read_all(stranger, out, len) ? (int)len : -1;
}

bool
stranger_greet(struct stranger *stranger, uint64_t id, uint64_t boot)
{
    uint8_t bytes[1024];
    return stranger_say_hello(stranger, id, boot) &&
           stranger_read(stranger, bytes, sizeof(bytes)) > 0 && bytes[0] == 0x0a;
}

static bool
end_comes(int socket)
{
    uint8_t bytes[1024];
    ssize_t n;
    while ((n = recv(socket, bytes, sizeof(bytes), 0)) > 0)
        ;
    return n == 0 || errno != EAGAIN;
}

bool
stranger_is_closed(struct stranger *stranger)
{
    return end_comes(stranger->socket);
}

bool
stranger_has_closed(struct stranger *stranger)
{
    uint8_t byte;
    ssize_t n = recv(stranger->socket, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    return n == 0 || (n < 0 && errno != EAGAIN);
}

void *
stranger_ticket(struct stranger *stranger)
{
    uint8_t bytes[16];
    struct timeval patience = {.tv_sec = 1};
    setsockopt(stranger->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    (void)SSL_read(stranger->ssl, bytes, sizeof(bytes));
    SSL_SESSION *ticket = stranger->ticket;
    stranger->ticket = NULL;
    return ticket;
}
