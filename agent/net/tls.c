/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/tls.h"
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sonde/err.h>
#include <stdio.h>

struct sonde__tls {
    const struct sonde_alloc *alloc;
    SSL_CTX *context;
    SSL *ssl; /* owns both BIOs */
    BIO *in, *out;
};

static const char *reason(void) {
    unsigned long code = ERR_peek_last_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    return text ? text : "unknown reason";
}

static int fail(char *text, size_t size, const char *what, const char *file) {
    (void)snprintf(text, size, "%s %s: %s", what, file, reason());
    return SONDE_EINVALID;
}

/** A key with a pass phrase cannot be used; without this OpenSSL would ask for it on the terminal. */
static int no_passphrase(char *text, int size, int writing, void *user) {
    (void)text;
    (void)size;
    (void)writing;
    (void)user;
    return 0;
}

static int context_fill(struct sonde__tls *tls, const struct sonde_tls_options *options, char *text, size_t size) {
    SSL_CTX *context = tls->context;
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    (void)SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, options->insecure_skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (options->ca_file && *options->ca_file) {
        if (SSL_CTX_load_verify_locations(context, options->ca_file, NULL) != 1)
            return fail(text, size, "tls.ca_file", options->ca_file);
    } else if (SSL_CTX_set_default_verify_paths(context) != 1) {
        return fail(text, size, "the system's authorities", "");
    }
    if (!options->cert_file || !*options->cert_file)
        return 0;
    if (SSL_CTX_use_certificate_chain_file(context, options->cert_file) != 1)
        return fail(text, size, "tls.cert_file", options->cert_file);
    if (SSL_CTX_use_PrivateKey_file(context, options->key_file, SSL_FILETYPE_PEM) != 1)
        return fail(text, size, "tls.key_file", options->key_file);
    return 0;
}

static bool name_set(SSL *ssl, const char *name) {
    struct in6_addr any;
    if (inet_pton(AF_INET, name, &any) == 1 || inet_pton(AF_INET6, name, &any) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

int sonde__tls_create(const struct sonde_tls_options *options, const char *server_name, const struct sonde_alloc *alloc,
                      struct sonde__tls **ret_tls, char *error_text, size_t error_text_size) {
    struct sonde__tls *tls = sonde_alloc_new(alloc, sizeof *tls);
    if (!tls)
        return -ENOMEM;
    ERR_clear_error();
    *tls = (struct sonde__tls){.alloc = alloc, .context = SSL_CTX_new(TLS_client_method())};
    int error = tls->context ? context_fill(tls, options, error_text, error_text_size) : -ENOMEM;
    if (!error) {
        tls->ssl = SSL_new(tls->context);
        tls->in = BIO_new(BIO_s_mem());
        tls->out = BIO_new(BIO_s_mem());
        if (!tls->ssl || !tls->in || !tls->out) {
            BIO_free(tls->in);
            BIO_free(tls->out);
            error = -ENOMEM;
        } else {
            SSL_set_bio(tls->ssl, tls->in, tls->out);
            SSL_set_connect_state(tls->ssl);
            error = name_set(tls->ssl, server_name) ? 0 : SONDE_EINVALID;
        }
    }
    if (error) {
        sonde__tls_destroy(tls);
        return error;
    }
    *ret_tls = tls;
    return 0;
}

void sonde__tls_destroy(struct sonde__tls *tls) {
    if (!tls)
        return;
    SSL_free(tls->ssl);
    SSL_CTX_free(tls->context);
    sonde_alloc_free(tls->alloc, tls);
}

/** What a result of OpenSSL's means here: 0 = more must come in. */
static int result_of(struct sonde__tls *tls, int result) {
    int why = SSL_get_error(tls->ssl, result);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : SONDE_EINVALID;
}

int sonde__tls_shake(struct sonde__tls *tls) {
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    return result == 1 ? 1 : result_of(tls, result);
}

int sonde__tls_take(struct sonde__tls *tls, const char *data, size_t size) {
    return size <= INT_MAX && BIO_write(tls->in, data, (int)size) == (int)size ? 0 : -ENOMEM;
}

size_t sonde__tls_give(struct sonde__tls *tls, char *data, size_t size) {
    int count = BIO_read(tls->out, data, size < INT_MAX ? (int)size : INT_MAX);
    return count > 0 ? (size_t)count : 0;
}

int sonde__tls_read(struct sonde__tls *tls, char *data, int size) {
    ERR_clear_error();
    int count = SSL_read(tls->ssl, data, size);
    return count > 0 ? count : result_of(tls, count);
}

int sonde__tls_write(struct sonde__tls *tls, const char *data, size_t size) {
    ERR_clear_error();
    return size <= INT_MAX && SSL_write(tls->ssl, data, (int)size) == (int)size ? 0 : -ENOMEM;
}

void sonde__tls_problem(struct sonde__tls *tls, char *text, size_t size) {
    long verified = SSL_get_verify_result(tls->ssl);
    (void)snprintf(text, size, "%s", verified != X509_V_OK ? X509_verify_cert_error_string(verified) : reason());
}
