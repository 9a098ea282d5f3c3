/* SPDX-License-Identifier: Apache-2.0 */
/* The samplers that have names: OTEL_TRACES_SAMPLER and its argument, and the same as options.
 * Source: OpenTelemetry specification, configuration/sdk-environment-variables.md#general-sdk-configuration. */
#include "instrumentation/resource/environment.h"
#include "instrumentation/resource/settings.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define RATE_DEFAULT         100
#define RATE_MAX             1e6
#define JAEGER_RATIO_DEFAULT 0.001 /* as Jaeger's own clients begin */

static const struct sampler_name {
    const char *name;
    enum sonde__sampler_kind kind;
    bool parent_based, jaeger;
} names[] = {
    {"always_on", SONDE__SAMPLER_ALWAYS_ON, false, false},
    {"always_off", SONDE__SAMPLER_ALWAYS_OFF, false, false},
    {"traceidratio", SONDE__SAMPLER_RATIO, false, false},
    {"parentbased_always_on", SONDE__SAMPLER_ALWAYS_ON, true, false},
    {"parentbased_always_off", SONDE__SAMPLER_ALWAYS_OFF, true, false},
    {"parentbased_traceidratio", SONDE__SAMPLER_RATIO, true, false},
    {"sonde_rate_limiting", SONDE__SAMPLER_RATE, false, false},
    {"parentbased_sonde_rate_limiting", SONDE__SAMPLER_RATE, true, false},
    /* The agent is the remote: where it says nothing, the initial rate stands. */
    {"jaeger_remote", SONDE__SAMPLER_RATIO, false, true},
    {"parentbased_jaeger_remote", SONDE__SAMPLER_RATIO, true, true},
};
static const struct sampler_name *chosen;

static bool choose(const char *name) {
    struct sonde__settings *s = &sonde__settings;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(name, names[i].name) == 0) {
            chosen = &names[i];
            s->sampler = chosen->kind;
            s->sampler_parent_based = chosen->parent_based;
            s->sampler_ratio = chosen->jaeger ? JAEGER_RATIO_DEFAULT : 1;
            s->sampler_rate = RATE_DEFAULT;
            return true;
        }
    return false;
}

void sonde__sampler_from_environment(void) {
    const char *name = sonde__environment_text("OTEL_TRACES_SAMPLER");
    (void)choose("parentbased_always_on");
    if (name && strcasecmp(name, "xray") == 0)
        sonde__report(
            "OTEL_TRACES_SAMPLER: no rules are taken from X-Ray, the agent gives rates (sonde sample); ignored");
    else if (name && !choose(name))
        sonde__report("OTEL_TRACES_SAMPLER: no sampler \"%.40s\", ignored", name);
}

/* endpoint=http://localhost:14250,pollingIntervalMs=5000,initialSamplingRate=0.25 */
static bool jaeger_argument(const char *argument) {
    static const char key[] = "initialSamplingRate=";
    bool good = true, others = false;
    for (const char *at = argument; *at; at += strcspn(at, ",")) {
        char value[64];
        at += strspn(at, ", ");
        if (!*at)
            break;
        if (strncmp(at, key, sizeof key - 1) != 0) {
            others = true;
            continue;
        }
        at += sizeof key - 1;
        (void)snprintf(value, sizeof value, "%.*s", (int)strcspn(at, ", "), at);
        good &= sonde__ratio_parse(value, &sonde__settings.sampler_ratio);
    }
    if (others)
        sonde__report_info("OTEL_TRACES_SAMPLER_ARG: only initialSamplingRate is read, the agent gives the rates");
    return good;
}

/* When it is known which sampler it is: the options may have named it, and left its argument to the environment. */
static void argument_from_environment(void) {
    const char *argument = sonde__environment_text("OTEL_TRACES_SAMPLER_ARG");
    if (!argument)
        return;
    if (chosen->jaeger) {
        if (!jaeger_argument(argument))
            sonde__report("OTEL_TRACES_SAMPLER_ARG: initialSamplingRate is not a ratio 0..1, ignored");
    } else if (chosen->kind == SONDE__SAMPLER_RATIO) {
        if (!sonde__ratio_parse(argument, &sonde__settings.sampler_ratio))
            sonde__report("OTEL_TRACES_SAMPLER_ARG: not a ratio 0..1, ignored");
    } else if (chosen->kind == SONDE__SAMPLER_RATE) {
        if (!sonde__decimal_parse(argument, RATE_MAX, &sonde__settings.sampler_rate))
            sonde__report("OTEL_TRACES_SAMPLER_ARG: not a rate 0..1000000 (spans a second), ignored");
    }
}

static bool argument_from_options(double argument) {
    struct sonde__settings *s = &sonde__settings;
    bool is_rate = s->sampler == SONDE__SAMPLER_RATE;
    if (!(argument >= 0 && argument <= (is_rate ? RATE_MAX : 1))) {
        sonde__report("sampler_arg: not a %s, ignored", is_rate ? "rate 0..1000000" : "ratio 0..1");
        return false;
    }
    if (is_rate)
        s->sampler_rate = argument;
    else
        s->sampler_ratio = argument;
    return true;
}

static bool id_generator_set(const struct sonde_id_generator *generator) {
    struct sonde_id_generator *to = &sonde__settings.id_generator;
    memset(to, 0, sizeof *to);
    if (!generator)
        return true;
    memcpy(to, generator, generator->size && generator->size < sizeof *to ? generator->size : sizeof *to);
    if (to->trace_id || to->span_id)
        return true;
    sonde__report("id_generator: it has no functions, ignored");
    return false;
}

bool sonde__sampler_from_options(const struct sonde_options *options) {
    struct sonde__settings *s = &sonde__settings;
    bool good = true;
    if (options->sampler && *options->sampler && !choose(options->sampler)) {
        sonde__report("sampler: no sampler of that name, ignored");
        good = false;
    }
    if (options->has_sampler_arg)
        good &= argument_from_options(options->sampler_arg);
    else
        argument_from_environment();
    good &= id_generator_set(options->id_generator);
    s->composed_sampler = options->composed_sampler;
    bool follows = s->composed_sampler ? sonde__sampler_follows_parents(s->composed_sampler) : s->sampler_parent_based;
    s->children_are_plain = follows && !s->id_generator.span_id;
    s->remote_is_asked = s->composed_sampler && sonde__sampler_asks_about_remote(s->composed_sampler);
    return good;
}
