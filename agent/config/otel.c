/* SPDX-License-Identifier: Apache-2.0 */
/* The variables become the YAML that they stand for: one reader for both. */
#include "agent/config/otel.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdlib.h>
#include <string.h>

#define DOCUMENT_SIZE_MAX (64u << 10)
#define PREFIX            "OTEL_EXPORTER_OTLP_"

static const char *value_of(struct sonde__binder *binder, const char *name) {
    const char *value = binder->sources->env(binder->sources->self, name);
    return value && value[0] ? value : NULL; /* empty is as unset (specification, environment variables) */
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/** Writes a YAML single-quoted scalar; percent: decode %XX (baggage octets in headers). ${ must not be a reference. */
static void put_quoted(FILE *out, const char *text, size_t size, bool percent) {
    fputc('\'', out);
    for (size_t i = 0; i < size; i++) {
        int c = (unsigned char)text[i];
        if (percent && c == '%' && i + 2 < size && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
            c = hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]);
            i += 2;
        }
        if (c == '\'')
            fputc('\'', out);
        if (c == '$' && i + 1 < size && text[i + 1] == '{')
            fputc('$', out);
        fputc(c, out);
    }
    fputs("'", out);
}

static void put_key(struct sonde__binder *binder, FILE *out, const char *key, const char *name) {
    const char *value = value_of(binder, name);
    if (!value)
        return;
    fprintf(out, "%s: ", key);
    put_quoted(out, value, strlen(value), false);
    fputc('\n', out);
}

/* A name that may be written in any case. */
static void put_name(struct sonde__binder *binder, FILE *out, const char *key, const char *name) {
    const char *value = value_of(binder, name);
    char lower[64];
    size_t size = 0;
    if (!value)
        return;
    for (; value[size] && size < sizeof lower - 1; size++)
        lower[size] = (char)(value[size] >= 'A' && value[size] <= 'Z' ? value[size] + ('a' - 'A') : value[size]);
    fprintf(out, "%s: ", key);
    put_quoted(out, lower, size, false);
    fputc('\n', out);
}

static void put_headers(FILE *out, const char *text) {
    fputs("headers:\n", out);
    while (*text) {
        size_t size = strcspn(text, ",");
        const char *equals = memchr(text, '=', size), *key = text;
        text += size + (text[size] == ',');
        if (!equals)
            continue;
        size_t key_size = (size_t)(equals - key), value_size = size - key_size - 1;
        for (; key_size && *key == ' '; key++)
            key_size--;
        while (key_size && key[key_size - 1] == ' ')
            key_size--;
        const char *value = equals + 1;
        for (; value_size && *value == ' '; value++)
            value_size--;
        while (value_size && value[value_size - 1] == ' ')
            value_size--;
        if (!key_size)
            continue;
        fputs("  ", out);
        put_quoted(out, key, key_size, true);
        fputs(": ", out);
        put_quoted(out, value, value_size, true);
        fputc('\n', out);
    }
}

static void put_timeout(FILE *out, const char *text) {
    bool milliseconds = text[strspn(text, "0123456789")] == '\0'; /* the specification's unit; with one it is ours */
    fputs("timeout: ", out);
    if (milliseconds)
        fprintf(out, "%sms", text);
    else
        put_quoted(out, text, strlen(text), false);
    fputc('\n', out);
}

static void put_document(struct sonde__binder *binder, FILE *out) {
    const char *headers = value_of(binder, PREFIX "HEADERS"), *timeout = value_of(binder, PREFIX "TIMEOUT");
    bool base = value_of(binder, PREFIX "ENDPOINT") != NULL;
    put_key(binder, out, "endpoint", PREFIX "ENDPOINT");
    put_key(binder, out, "traces_endpoint", PREFIX "TRACES_ENDPOINT");
    put_key(binder, out, "logs_endpoint", PREFIX "LOGS_ENDPOINT");
    put_key(binder, out, "metrics_endpoint", PREFIX "METRICS_ENDPOINT");
    if (!base) /* only the signals that have an endpoint; the base is asked for, and not used */
        fprintf(out, "endpoint: 'http://localhost:4318'\nsignals: [%s%s%s]\n",
                value_of(binder, PREFIX "TRACES_ENDPOINT") ? "traces," : "",
                value_of(binder, PREFIX "LOGS_ENDPOINT") ? "logs," : "",
                value_of(binder, PREFIX "METRICS_ENDPOINT") ? "metrics," : "");
    if (headers)
        put_headers(out, headers);
    if (timeout)
        put_timeout(out, timeout);
    put_name(binder, out, "compression", PREFIX "COMPRESSION");
    put_name(binder, out, "temporality", PREFIX "METRICS_TEMPORALITY_PREFERENCE");
    fputs("tls:\n", out);
    put_key(binder, out, "  ca_file", PREFIX "CERTIFICATE");
    put_key(binder, out, "  cert_file", PREFIX "CLIENT_CERTIFICATE");
    put_key(binder, out, "  key_file", PREFIX "CLIENT_KEY");
}

static void forget_positions(struct sonde__tree *tree) { /* lines of a document that nobody wrote mean nothing */
    for (struct sonde__node *node = tree->all; node; node = node->all_next)
        node->line = node->column = 0;
}

int sonde__otel_exporter(struct sonde__binder *binder, struct sonde__tree *ret_tree) {
    static const char *const endpoints[] = {PREFIX "ENDPOINT", PREFIX "TRACES_ENDPOINT", PREFIX "LOGS_ENDPOINT",
                                            PREFIX "METRICS_ENDPOINT"};
    const char *protocol = value_of(binder, PREFIX "PROTOCOL");
    size_t i = 0;
    while (i < sizeof endpoints / sizeof endpoints[0] && !value_of(binder, endpoints[i]))
        i++;
    if (i == sizeof endpoints / sizeof endpoints[0])
        return 0;
    if (protocol && strcmp(protocol, "http/protobuf") != 0)
        return sonde__bind_fail(binder, NULL, SONDE_EINVALID,
                                PREFIX "PROTOCOL is \"%.60s\"; accepted: http/protobuf (port 4318 as a rule)",
                                protocol);
    char *document = sonde_alloc_new(&binder->alloc, DOCUMENT_SIZE_MAX);
    if (!document)
        return -ENOMEM;
    FILE *out = fmemopen(document, DOCUMENT_SIZE_MAX, "w");
    if (!out) {
        sonde_alloc_free(&binder->alloc, document);
        return -ENOMEM;
    }
    put_document(binder, out);
    long size = ftell(out);
    bool full = ferror(out) || fflush(out) != 0 || size < 0 || size + 1 >= (long)DOCUMENT_SIZE_MAX;
    (void)fclose(out);
    int error =
        full ? sonde__bind_fail(binder, NULL, SONDE_ETOOBIG, PREFIX "* are longer than %u bytes", DOCUMENT_SIZE_MAX)
             : sonde__tree_read(document, (size_t)size, &binder->alloc, ret_tree, binder->error);
    sonde_alloc_free(&binder->alloc, document);
    if (error && error != -ENOMEM && !full)
        error = sonde__bind_fail(binder, NULL, error, PREFIX "* hold characters that are not accepted");
    if (!error)
        forget_positions(ret_tree);
    return error;
}
