/* SPDX-License-Identifier: Apache-2.0 */
/* Views: what becomes of instruments that a service does not own: another name, fewer attributes, other buckets,
 * fewer series, or nothing at all. A view works on instruments made after it, so add views first thing.
 * One instrument has one stream here: of several views that match, the first added counts (the specification would
 * make a stream for each).
 * Source: OpenTelemetry specification, metrics/sdk.md#view. */
#ifndef SONDE_VIEW_H
#define SONDE_VIEW_H

#include <sonde/metric.h>

SONDE_BEGIN

enum sonde_aggregation {
    SONDE_AGGREGATION_DEFAULT = 0,
    SONDE_AGGREGATION_DROP,             /* the instrument becomes a no-op */
    SONDE_AGGREGATION_EXPLICIT_BUCKETS, /* of a histogram; bounds, or the specification's when there are none */
    SONDE_AGGREGATION_EXPONENTIAL,      /* of a histogram; advised buckets are not used */
};

/** Which of the measurements that the exemplar filter lets through are kept as exemplars until the agent exported.
 *  Source: metrics/sdk.md#exemplarreservoir. */
enum sonde_reservoir {
    SONDE_RESERVOIR_DEFAULT = 0,     /* ALIGNED for explicit buckets; else SIMPLE, of 20 for exponential ones, of 1 */
    SONDE_RESERVOIR_NONE,            /* no exemplars */
    SONDE_RESERVOIR_SIMPLE,          /* SimpleFixedSizeExemplarReservoir: reservoir_size of all, each as likely */
    SONDE_RESERVOIR_ALIGNED_BUCKETS, /* AlignedHistogramBucketExemplarReservoir: one of each bucket, each as likely; of
                                        histograms with explicit buckets, others have SIMPLE */
};

/** Which instruments, and what of them; zero or NULL = any, or as it is. All strings NUL-terminated and borrowed.
 *  Set up with SONDE_VIEW_OPTIONS_INIT.
 *  instrument_name  may hold '*' (any number of characters) and '?' (one); case ignored.
 *  name             new name; only when instrument_name is one name, without '*' and '?'.
 *  keep_keys        attributes with other keys are left out, and those of drop_keys too. What is left out is not
 *                   counted as dropped; series that become the same are one. Exemplars of measurements with attributes
 *                   per call keep it, as much as fits 192 encoded bytes.
 *  series_max       series before the overflow series, at most SONDE_SERIES_PER_INSTRUMENT_MAX.
 *  reservoir        of a series' exemplars.
 *  reservoir_size   slots of SONDE_RESERVOIR_SIMPLE, at most SONDE_RESERVOIR_SIZE_MAX; 0 = its default. */
struct sonde_view_options {
    size_t size;
    const char *instrument_name;
    enum sonde_instrument_kind instrument_kind;
    const char *instrument_unit;
    bool has_scope;
    uint32_t scope;
    const char *name;
    const char *description;
    const char *const *keep_keys;
    size_t keep_key_count;
    const char *const *drop_keys;
    size_t drop_key_count;
    enum sonde_aggregation aggregation;
    const double *bounds;
    size_t bound_count;
    uint32_t series_max;
    enum sonde_reservoir reservoir;
    uint32_t reservoir_size;
};
#ifdef __cplusplus
#define SONDE_VIEW_OPTIONS_INIT                                                                                        \
    { sizeof(struct sonde_view_options), nullptr, SONDE_CAST(enum sonde_instrument_kind, 0), nullptr, false, 0,        \
      nullptr, nullptr, nullptr, 0, nullptr, 0, SONDE_AGGREGATION_DEFAULT, nullptr, 0, 0, SONDE_RESERVOIR_DEFAULT, 0 }
#else
#define SONDE_VIEW_OPTIONS_INIT { .size = sizeof(struct sonde_view_options) }
#endif

/** Adds a view.
 *  Returns 0, SONDE_EINVALID (no criterion, or an option that is not accepted), SONDE_EFULL (SONDE_VIEWS_MAX), -ENOMEM.
 *  Takes a lock; any thread. */
SONDE_API int sonde_view_add(const struct sonde_view_options *options);

SONDE_END

#endif
