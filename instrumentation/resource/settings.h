/* SPDX-License-Identifier: Apache-2.0 */
/* What the process is set to: options of sonde_start(), else OTEL_* and SONDE_* variables, else defaults.
 * Resolved once, at the first use of the library; never changes after that, not even in a forked child.
 * Empty variables are unset; a bad value is ignored and reported (sonde__report()).
 * Source: OpenTelemetry specification, configuration/sdk-environment-variables.md, configuration/common.md. */
#ifndef SONDE_RESOURCE_SETTINGS_H
#define SONDE_RESOURCE_SETTINGS_H

#include <sonde/options.h>
#include <stdatomic.h>

/* What decides for a span without a parent; with sampler_parent_based a span with one follows its parent. */
enum sonde__sampler_kind { SONDE__SAMPLER_ALWAYS_ON = 0, SONDE__SAMPLER_ALWAYS_OFF, SONDE__SAMPLER_RATIO, SONDE__SAMPLER_RATE };

/* Which measurements are offered to a series' reservoir. Source: metrics/sdk.md#exemplarfilter. */
enum sonde__exemplar_filter {
    SONDE__EXEMPLARS_TRACE_BASED = 0, /* those under a sampled span */
    SONDE__EXEMPLARS_ALWAYS_ON,
    SONDE__EXEMPLARS_ALWAYS_OFF,
};
extern const char *const sonde__exemplar_filters[] __attribute__((visibility("hidden"))); /* their names, NULL-terminated */

#define SONDE__SOCKET_PATH_MAX 108u /* sizeof sun_path, the NUL included */

/* Limits are never above the compile-time ones of sonde/limits.h; SIZE_MAX = no limit. */
struct sonde__settings {
    bool disabled;
    bool process_context_disabled;
    uint32_t signals_off;           /* 1 << enum sonde_signal: nothing of these is recorded */
    uint32_t report_level;          /* enum sonde__level */
    uint32_t histogram_aggregation; /* of histograms without a view or advice: 0 exponential, 1 explicit */
    bool sampler_parent_based;
    enum sonde__sampler_kind sampler; /* default: parent-based, always on */
    double sampler_ratio;             /* 0..1, used by SONDE__SAMPLER_RATIO; default 1 */
    double sampler_rate;              /* spans a second, used by SONDE__SAMPLER_RATE */
    const struct sonde_sampler *composed_sampler; /* instead of all that; NULL = not given */
    struct sonde_id_generator id_generator;       /* functions are NULL where the library draws ids */
    bool children_are_plain;  /* a span below one of this thread's does as its parent and has an id of ours */
    bool remote_is_asked;     /* what is below a remote parent is for the composed sampler to decide */
    uint32_t exemplar_filter; /* enum sonde__exemplar_filter */

    /* of spans, events and links: characters of a string (a bad byte sequence is one), bytes of a byte value */
    size_t attribute_value_length_limit;
    size_t span_attribute_count_limit;
    size_t span_event_count_limit;
    size_t span_link_count_limit;
    size_t event_attribute_count_limit;
    size_t link_attribute_count_limit;
    size_t log_attribute_value_length_limit; /* likewise */
    size_t log_attribute_count_limit;
    size_t general_value_length_limit, general_count_limit; /* already in those above */

    char agent_socket[SONDE__SOCKET_PATH_MAX]; /* empty = the standard places */
    char service_name[256];                    /* empty = not given here */
    char service_namespace[256];
    char service_version[256];
    char resource_attributes[4096]; /* OTEL_RESOURCE_ATTRIBUTES as found, NUL-terminated */
    /* Attributes of sonde_start(): encoded Resource.attributes fields, one behind the other. */
    uint32_t option_attributes_size;
    uint8_t option_attributes[SONDE_RESOURCE_SIZE_MAX];
};

/* The settings themselves: valid once sonde__settings_get() returned, so anywhere between sonde__thread_enter() and
 * sonde__thread_leave(). Read-only to everyone but settings.c. */
extern struct sonde__settings sonde__settings __attribute__((visibility("hidden")));

/** The settings, resolved from the environment if nobody did before. Never NULL. Any thread; takes a lock at first. */
const struct sonde__settings *sonde__settings_get(void);

/** Resolves the settings from options and environment. Only the first call of a process (this or _get) counts.
 *  Returns 0, SONDE_EINVALID (something was bad and reported, the rest is applied), -EALREADY. */
int sonde__settings_start(const struct sonde_options *options);

/** Turns signals off (1 << enum sonde_signal), whatever the environment says. Before the library's first use. */
void sonde__settings_turn_off(uint32_t signals);

/* sampler_name.c: the samplers that have names. Under the settings' lock. */
void sonde__sampler_from_environment(void);
bool sonde__sampler_from_options(const struct sonde_options *options); /* false: something was bad, and reported */
/* trace/compose.c: what a composed sampler leaves to parents. */
bool sonde__sampler_follows_parents(const struct sonde_sampler *sampler);
bool sonde__sampler_asks_about_remote(const struct sonde_sampler *sampler);

/** Tells the user's hook, if there is one, at most 10 times a second. format as printf. Any thread. */
void sonde__report(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** The same for what is as it should be, but not as somebody may expect. */
void sonde__report_info(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
