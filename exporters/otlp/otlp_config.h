/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of the otlp_http exporter, as its option rows fill it. */
#ifndef SONDE_EXPORTERS_OTLP_CONFIG_H
#define SONDE_EXPORTERS_OTLP_CONFIG_H

#include "exporters/exporter.h"

#define SONDE__OTLP_URL_SIZE_MAX 2048u

struct sonde__otlp_http_config {
    char *endpoint, *traces_endpoint, *logs_endpoint, *metrics_endpoint;
    struct sonde_string_map headers;
    uint64_t timeout_ns;
    int compression; /* 0 none, 1 gzip */
    int64_t compression_level;
    char *ca_file, *cert_file, *key_file;
    bool insecure_skip_verify;
    uint64_t retry_initial_ns, retry_max_ns;
    uint64_t batch_size, batch_size_max, batch_timeout_ns;
    int64_t batch_items;
    int64_t concurrency;
    struct sonde_string_list signals; /* none = all */
    int temporality;                  /* enum sonde_temporality */
};

/** Where each signal goes. */
struct sonde__otlp_urls {
    char url[SONDE_SIGNAL_COUNT][SONDE__OTLP_URL_SIZE_MAX];
};

extern const struct sonde_option sonde__otlp_http_options[];

/** Checks what rows cannot and makes the URLs.
 *  text  filled with a sentence that names the key, on an error; never holds a header's value or a password.
 *  Returns 0, SONDE_EINVALID. */
int sonde__otlp_http_check(const struct sonde__otlp_http_config *config, struct sonde__otlp_urls *ret_urls, char *text,
                           size_t text_size);
/** (sonde_exporter_ops.temporality_of) */
enum sonde_temporality sonde__otlp_http_temporality(const void *config);
/** The signals asked for as bits, 0 when a name is unknown. (sonde_exporter_ops.signals_of) */
uint32_t sonde__otlp_http_signals(const void *config);

#endif
