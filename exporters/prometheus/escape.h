/* SPDX-License-Identifier: Apache-2.0 */
/* Names in UTF-8 for scrapers that take them or not. As prometheus/common, model.EscapeName: names of old are left
 * alone by every scheme. In a label's name a colon counts as a character that has to be escaped.
 * Source: prometheus.io/docs/instrumenting/escaping_schemes. */
#ifndef SONDE_EXPORTERS_PROMETHEUS_ESCAPE_H
#define SONDE_EXPORTERS_PROMETHEUS_ESCAPE_H

#include "exporters/prometheus/buffer.h"
#include "exporters/prometheus/dialect.h"

/** Is it [a-zA-Z_:][a-zA-Z0-9_:]*, for labels without the colon? */
bool escape_is_plain(const char *name, size_t size, bool is_label);
/** Appends the name as the scheme has it; what is no UTF-8 counts as U+FFFD. */
void escape_name(struct buffer *to, const char *name, size_t size, bool is_label,
                 enum sonde_prometheus_escaping escaping);
/** Escapes for HELP (quotes stay) or for a quoted string. */
void escape_text(struct buffer *to, const char *text, size_t size, bool quotes);

#endif
