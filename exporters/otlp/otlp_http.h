/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of the otlp_http exporter, as its option rows fill it. */
#ifndef SONDE_EXPORTERS_OTLP_HTTP_H
#define SONDE_EXPORTERS_OTLP_HTTP_H

#include "exporters/exporter.h"

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
};

extern const struct sonde_exporter_ops sonde_exporter_otlp_http;

#endif
