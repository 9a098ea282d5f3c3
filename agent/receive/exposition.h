/* SPDX-License-Identifier: Apache-2.0 */
/* Reads what a scraped target answers: Prometheus text 0.0.4 and OpenMetrics 1.0 text. The bytes are nobody's promise:
 * every length and count has a limit, and a whole answer is refused at its first line that is wrong. One sample at a
 * time is handed on; nothing is allocated.
 * Exemplars and time stamps are checked and passed over. Quoted (UTF-8) names are not asked for, and refused.
 * Source: prometheus.io/docs/instrumenting/exposition_formats; prometheus.io/docs/specs/om/open_metrics_spec. */
#ifndef SONDE_AGENT_RECEIVE_EXPOSITION_H
#define SONDE_AGENT_RECEIVE_EXPOSITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SONDE__EXPOSITION_LABELS_MAX    64u
#define SONDE__EXPOSITION_TEXT_SIZE_MAX 16384u /* names and values of one sample */
#define SONDE__EXPOSITION_NAME_SIZE_MAX 256u
#define SONDE__EXPOSITION_HELP_SIZE_MAX 512u /* more of a HELP is cut off */

enum sonde__exposition_type {
    SONDE__EXPOSITION_UNKNOWN = 0,
    SONDE__EXPOSITION_COUNTER,
    SONDE__EXPOSITION_GAUGE,
    SONDE__EXPOSITION_HISTOGRAM,
    SONDE__EXPOSITION_SUMMARY,
    SONDE__EXPOSITION_GAUGE_HISTOGRAM,
    SONDE__EXPOSITION_INFO,
    SONDE__EXPOSITION_STATE_SET,
};

/** Both NUL-terminated; a value may hold anything else. */
struct sonde__exposition_label {
    const char *name, *value;
    size_t name_size, value_size;
};

/** One line. Everything is borrowed until the call returns. */
struct sonde__exposition_sample {
    const char *name;                 /* whole, "http_requests_total"; NUL-terminated */
    enum sonde__exposition_type type; /* of its family; UNKNOWN when there is none */
    const char *help;                 /* of its family, "" when there is none */
    const struct sonde__exposition_label *labels;
    size_t label_count; /* without those that are empty: they are as good as absent */
    double value;
    bool is_created; /* OpenMetrics: when the counter name (the family's, with _total) began, Unix seconds */
};

/** Where samples go. Returns 0, or what ends the reading. */
typedef int (*sonde__exposition_fn)(void *user, const struct sonde__exposition_sample *sample);

struct sonde__exposition {
    /* set by the caller; the rest zero */
    bool is_openmetrics;
    uint64_t samples_max;
    sonde__exposition_fn sample;
    void *user;
    /* what came */
    uint64_t samples;    /* read, so far */
    uint32_t line;       /* where it was refused */
    const char *problem; /* why, static; NULL = it was not */
    /* working memory */
    char family[SONDE__EXPOSITION_NAME_SIZE_MAX];
    size_t family_size;
    enum sonde__exposition_type type;
    char help[SONDE__EXPOSITION_HELP_SIZE_MAX];
    bool ended; /* # EOF */
    struct sonde__exposition_label labels[SONDE__EXPOSITION_LABELS_MAX];
    size_t label_count;
    char text[SONDE__EXPOSITION_TEXT_SIZE_MAX];
    size_t text_size;
};

/** Reads a whole answer. text: borrowed, need not end in NUL.
 *  Returns 0; SONDE_EMALFORMED, SONDE_ETOOBIG (a limit), with problem and line set; or what `sample` returned. */
int sonde__exposition_read(struct sonde__exposition *reader, const char *text, size_t size);

/** Reads a number of the formats: decimal, +Inf, -Inf, NaN; no spaces around. False when it is none. */
bool sonde__exposition_number(const char *text, size_t size, double *ret_value);

#endif
