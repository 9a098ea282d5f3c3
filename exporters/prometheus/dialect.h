/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the formats a scrape gets, and how names stand in it: what the scraper accepts (its Accept header) and what
 * the agent is configured to. The choice is that of prometheus/common, expfmt.Negotiate: the first of the scraper's
 * ranges, by q, that we have; nothing of it: text 0.0.4.
 * Source: prometheus.io/docs/instrumenting/content_negotiation, escaping_schemes. */
#ifndef SONDE_EXPORTERS_PROMETHEUS_DIALECT_H
#define SONDE_EXPORTERS_PROMETHEUS_DIALECT_H

#include <stdbool.h>
#include <stddef.h>

enum sonde_prometheus_format { SONDE_PROMETHEUS_TEXT = 0, SONDE_PROMETHEUS_OPENMETRICS, SONDE_PROMETHEUS_PROTOBUF };

/* What becomes of names that are not [a-zA-Z_:][a-zA-Z0-9_:]*, in the scrape's last step. */
enum sonde_prometheus_escaping {
    SONDE_PROMETHEUS_UNDERSCORES = 0,
    SONDE_PROMETHEUS_ALLOW_UTF8,
    SONDE_PROMETHEUS_DOTS,
    SONDE_PROMETHEUS_VALUES
};

struct sonde_prometheus_dialect {
    enum sonde_prometheus_format format;
    enum sonde_prometheus_escaping escaping;
    char content_type[128];
};

/** Chooses. accept: the header's value, several joined by commas; "" or NULL = none. */
void sonde_prometheus_negotiate(const char *accept, struct sonde_prometheus_dialect *ret_dialect);
/** Does an Accept-Encoding header's value take gzip? */
bool sonde_prometheus_takes_gzip(const char *accept_encoding);

/* How OpenTelemetry names become Prometheus names (otlptranslator's names of strategies). */
enum sonde_prometheus_strategy {
    SONDE_PROMETHEUS_UNDERSCORE_WITH_SUFFIXES = 0,
    SONDE_PROMETHEUS_UNDERSCORE_WITHOUT_SUFFIXES,
    SONDE_PROMETHEUS_UTF8_WITH_SUFFIXES,
    SONDE_PROMETHEUS_NO_TRANSLATION
};
extern const char *const sonde_prometheus_strategies[]; /* NULL-terminated, in the enum's order */

/* What the agent is configured to. Zeros but for the flags are the defaults. */
struct sonde_prometheus_settings {
    int strategy;      /* enum sonde_prometheus_strategy */
    bool scope_labels; /* otel_scope_* */
    bool target_info;
    bool exemplars; /* in formats that have them */
    bool created;   /* _created lines of OpenMetrics; protobuf tells start times anyway */
};
#define SONDE_PROMETHEUS_SETTINGS_DEFAULT                                                                              \
    ((struct sonde_prometheus_settings){.scope_labels = true, .target_info = true, .exemplars = true, .created = true})

#endif
