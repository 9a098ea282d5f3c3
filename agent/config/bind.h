/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes to config structs, row by row. */
#ifndef SONDE_AGENT_CONFIG_BIND_H
#define SONDE_AGENT_CONFIG_BIND_H

#include "agent/config/config.h"
#include "agent/config/value.h"

struct sonde__binder {
    const struct sonde_config_sources *sources;
    struct sonde_alloc alloc;
    struct sonde_config_error *error;
};

/** Rows that fill one struct, and others that fill another; at most 64 in all. */
struct sonde__binding {
    const struct sonde_option *rows; /* NULL = none */
    void *config;
    const struct sonde_option *more_rows; /* NULL = none; all have a default, none a dot */
    void *more_config;
};

/** Fills error (line and column of node, or 0) and returns code. */
int sonde__bind_fail(struct sonde__binder *binder, const struct sonde__node *node, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/** Sets every default of the rows. */
int sonde__bind_defaults(struct sonde__binder *binder, const struct sonde_option *rows, void *config);
/** Sets what the map says (NULL or a null scalar: nothing); checks unknown keys, and that keys without a default were
 *  given. A row "tls.ca_file" is the key ca_file in the map tls, or the key tls.ca_file. what: "exporter
 * otlp_http/backup", for messages. */
int sonde__bind_map(struct sonde__binder *binder, const char *what, const struct sonde__node *map,
                    const struct sonde__binding *binding);
void sonde__bind_clear(const struct sonde_alloc *alloc, const struct sonde_option *rows, void *config);

/** Replaces ${env:NAME}, ${env:NAME:-default} and ${file:PATH}; $${ is a plain ${.
 *  ret_text: owned (alloc). Returns 0, SONDE_EINVALID (error filled at node), -ENOMEM. */
int sonde__bind_expand(struct sonde__binder *binder, const struct sonde__node *node, char **ret_text);

/** The name nearest to text among count names, or NULL when none is near. */
const char *sonde__nearest(const char *text, const char *const *names, size_t count);

#endif
