/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resource/settings.h"

#include "instrumentation/resource/environment.h"
#include "instrumentation/resource/report.h"
#include "instrumentation/resource/variables.h"
#include "instrumentation/ring/lock.h"
#include "instrumentation/wire/writer.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define RESOURCE_ATTRIBUTES 1u /* field of Resource. Source: opentelemetry-proto, resource/v1/resource.proto */

struct sonde__settings sonde__settings;

static struct sonde__lock lock;
static _Atomic bool resolved;

static void from_environment(void) {
    sonde__variables_read();
    sonde__sampler_from_environment();
}

/* An option that is text. Returns false when it was too long. */
static bool text_option(const char *what, const char *value, char *to, size_t size) {
    if (!value || !*value)
        return true;
    size_t length = strlen(value);
    if (length >= size) {
        sonde__report("%s: longer than %zu bytes, ignored", what, size - 1);
        return false;
    }
    memcpy(to, value, length + 1);
    return true;
}

static bool exemplar_filter_option(const char *name) {
    if (!name || !*name)
        return true;
    for (uint32_t i = 0; sonde__exemplar_filters[i]; i++)
        if (strcasecmp(name, sonde__exemplar_filters[i]) == 0) {
            sonde__settings.exemplar_filter = i;
            return true;
        }
    return false;
}

static bool from_options(const struct sonde_options *options) {
    struct sonde__settings *s = &sonde__settings;
    bool good = sonde__sampler_from_options(options);
    if (!exemplar_filter_option(options->exemplar_filter)) {
        sonde__report("exemplar_filter: no filter of that name, ignored");
        good = false;
    }
    s->disabled |= options->disabled;
    s->process_context_disabled |= options->process_context_disabled;
    good &= text_option("service_name", options->service_name, s->service_name, sizeof s->service_name);
    good &=
        text_option("service_namespace", options->service_namespace, s->service_namespace, sizeof s->service_namespace);
    good &= text_option("service_version", options->service_version, s->service_version, sizeof s->service_version);
    good &= text_option("agent_socket", options->agent_socket, s->agent_socket, sizeof s->agent_socket);
    struct sonde__writer writer;
    sonde__writer_init(&writer, s->option_attributes, sizeof s->option_attributes);
    size_t count = options->resource_attributes ? options->resource_attribute_count : 0;
    if (sonde__write_attributes(&writer, RESOURCE_ATTRIBUTES, options->resource_attributes, count,
                                SONDE_SPAN_ATTRIBUTES_MAX, SIZE_MAX) ||
        writer.full) {
        sonde__report("resource_attributes: some were left out");
        good = false;
    }
    s->option_attributes_size = (uint32_t)sonde__writer_size(&writer);
    return good;
}

/* A caller built against an older header has a shorter struct: what it does not have is zero. */
static struct sonde_options options_copy(const struct sonde_options *options) {
    struct sonde_options copy = SONDE_OPTIONS_INIT;
    if (options)
        memcpy(&copy, options, options->size && options->size < sizeof copy ? options->size : sizeof copy);
    return copy;
}

int sonde__settings_start(const struct sonde_options *options) {
    int result = -EALREADY;
    sonde__lock_take(&lock);
    if (!atomic_load_explicit(&resolved, memory_order_relaxed)) {
        struct sonde_options copy = options_copy(options);
        sonde__report_to(copy.report, copy.report_user);
        from_environment();
        result = from_options(&copy) ? 0 : SONDE_EINVALID;
        if (sonde__settings.signals_off & 1u << SONDE_SIGNAL_TRACES)
            sonde__settings.children_are_plain = false; /* no short cut: every start looks at signals_off */
        atomic_store_explicit(&resolved, true, memory_order_release);
    }
    sonde__lock_release(&lock);
    return result;
}

const struct sonde__settings *sonde__settings_get(void) {
    if (!atomic_load_explicit(&resolved, memory_order_acquire))
        (void)sonde__settings_start(NULL); /* whoever comes second gets -EALREADY and the same settings */
    return &sonde__settings;
}

void sonde__settings_turn_off(uint32_t signals) {
    (void)sonde__settings_get();
    sonde__lock_take(&lock);
    sonde__settings.signals_off |= signals;
    sonde__settings.children_are_plain = false;
    sonde__lock_release(&lock);
}
