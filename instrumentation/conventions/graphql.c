/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/conventions/conventions.h"
#include <sonde/conventions/graphql.h>
#include <sonde/propagation.h>

#define DOCUMENT_SIZE_MAX 4096u

static bool is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Behind the string that begins at `at`: "..." with escapes, or a block of three quotes. */
static const char *string_end(const char *at, const char *end) {
    if (end - at >= 3 && at[1] == '"' && at[2] == '"') {
        for (at += 3; end - at >= 3; at++) {
            if (at[0] == '\\' && end - at >= 4 && memcmp(at + 1, "\"\"\"", 3) == 0)
                at += 3;
            else if (memcmp(at, "\"\"\"", 3) == 0)
                return at + 3;
        }
        return end;
    }
    for (at++; at < end && *at != '"' && *at != '\n'; at++)
        if (*at == '\\' && at + 1 < end)
            at++;
    return at < end ? at + 1 : end;
}

/* Behind a number: sign, digits, fraction, exponent. */
static const char *number_end(const char *at, const char *end) {
    for (at++; at < end && (is_digit(*at) || *at == '.' || *at == 'e' || *at == 'E' ||
                            ((*at == '+' || *at == '-') && (at[-1] == 'e' || at[-1] == 'E')));
         at++)
        ;
    return at;
}

/* A document without its literals and comments, which may hold what nobody is to see.
 * Source: GraphQL specification, 2.1 (source text), 2.9 (input values). */
static struct sonde_string redact(struct sonde_string document, char *buffer) {
    const char *at = document.data, *end = at + document.size;
    size_t size = 0;
    while (at < end && size < DOCUMENT_SIZE_MAX - 4) {
        char previous = at > document.data ? at[-1] : ' ';
        if (*at == '"') {
            memcpy(buffer + size, "\"*\"", 3);
            size += 3;
            at = string_end(at, end);
        } else if (*at == '#') {
            while (at < end && *at != '\n')
                at++;
        } else if ((is_digit(*at) || (*at == '-' && at + 1 < end && is_digit(at[1]))) && !is_name_char(previous)) {
            buffer[size++] = '0';
            at = number_end(at, end);
        } else {
            buffer[size++] = *at++;
        }
    }
    return (struct sonde_string){buffer, size};
}

static bool type_is_known(struct sonde_string type) {
    return (type.size == 5 && memcmp(type.data, "query", 5) == 0) ||
           (type.size == 8 && memcmp(type.data, "mutation", 8) == 0) ||
           (type.size == 12 && memcmp(type.data, "subscription", 12) == 0);
}

void sonde_graphql_start(struct sonde_graphql *operation, const struct sonde_carrier *extensions) {
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde_context remote;
    char buffer[DOCUMENT_SIZE_MAX];
    if (operation->size < sizeof *operation)
        return;
    sonde__operation_begin(operation->internal, operation->start_unix_ns);
    options.kind = SONDE_SPAN_KIND_SERVER;
    options.parent = operation->parent;
    if (!options.parent &&
        extensions) { /* the connection's context is the current one: of use when this one has none */
        (void)sonde_extract(extensions, &remote);
        if (sonde_span_context_is_valid(&remote.span))
            options.parent = &remote;
    }
    options.start_unix_ns = operation->start_unix_ns;
    options.scope = sonde__convention_scope(operation->scope);
    options.not_current = operation->not_current;
    bool known = type_is_known(operation->type);
    struct sonde_string name = known ? operation->type : (struct sonde_string){"GraphQL Operation", 17};
    sonde_span_start(&operation->span, sonde_key_n(name.data, name.size), &options);
    if (known)
        sonde__set_text(&operation->span, SONDE_KEY("graphql.operation.type"), operation->type);
    sonde__set_text(&operation->span, SONDE_KEY("graphql.operation.name"), operation->name);
    if (operation->document.size && operation->span.slot)
        sonde__set_text(&operation->span, SONDE_KEY("graphql.document"), redact(operation->document, buffer));
}

void sonde_graphql_end(struct sonde_graphql *operation) {
    if (!sonde__operation_finish(operation->internal))
        return;
    if (operation->error_type && *operation->error_type)
        sonde__set_error(&operation->span, sonde__text_of(operation->error_type));
    sonde_span_end(&operation->span);
}
