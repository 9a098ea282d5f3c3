/* SPDX-License-Identifier: Apache-2.0 */
/* What composed samplers decide. The depth is bounded where they are made (compose.c). */
#include "instrumentation/trace/composed.h"
#include <string.h>

#define DROP ((struct sonde__intent){.threshold = SONDE__THRESHOLD_MAX})

static struct sonde__intent with_root(const struct sonde_sampler *sampler, struct sonde__sampling *sampling,
                                      bool by_threshold) {
    struct sonde__intent intent;
    const struct sonde_span_context *span = &sampling->context->span;
    const uint8_t *id = span->span_id;
    static const uint8_t none[8];
    if (sampler->kind == SONDE__COMPOSED_PARENT_BASED && memcmp(id, none, 8) != 0 &&
        span->decision != SONDE_DECISION_DEBUG && span->decision != SONDE_DECISION_DEFER) {
        unsigned which = (span->flags & SONDE_TRACE_FLAG_SAMPLED ? SONDE__PARENT_SAMPLED : 0u) |
                         (span->is_remote ? SONDE__PARENT_IS_REMOTE : 0u);
        if (sampler->parents[which])
            return sonde__composed_intent(sampler->parents[which], sampling);
    }
    if (sonde__intent_carried(sampling, by_threshold, &intent))
        return intent;
    return sonde__composed_intent(sampler->inner, sampling);
}

static struct sonde__intent by_rules(const struct sonde_sampler *sampler, struct sonde__sampling *sampling) {
    for (size_t i = 0; i < sampler->rule_count; i++)
        if (sonde__rule_holds(&sampler->rules[i], sampling))
            return sonde__composed_intent(sampler->rules[i].sampler, sampling);
    return DROP;
}

static void add(struct sonde__sampling *sampling, const struct sonde_attribute *attributes, size_t count) {
    if (!count || sampling->added_count == SONDE_SAMPLER_DEPTH_MAX)
        return;
    sampling->added[sampling->added_count].attributes = attributes;
    sampling->added[sampling->added_count++].count = count;
}

/* What `inner` would sample, as long as there are tokens. Whether it would is settled here: a dropped one takes none. */
static struct sonde__intent by_rate(const struct sonde_sampler *sampler, struct sonde__sampling *sampling) {
    struct sonde__intent intent = {.threshold = 0};
    if (sampler->inner)
        intent = sonde__composed_intent(sampler->inner, sampling);
    if (!sonde__intent_samples(sampling, &intent) || !sampler->has_rate ||
        !sonde__rate_take(&sampler->rate, (_Atomic uint64_t *)(uintptr_t)&sampler->next_ns,
                          sonde__sampling_now(sampling)))
        return DROP;
    return (struct sonde__intent){.threshold = 0};
}

static struct sonde__intent by_user(const struct sonde_sampler *sampler, struct sonde__sampling *sampling) {
    const struct sonde_span_options *options = sampling->options;
    struct sonde_context *context = sampling->context;
    const struct sonde_span_context span = context->span;
    struct sonde_sampling_request request = {.size = sizeof request, .name = sampling->name, .context = context};
    struct sonde_sampling_result result = {.size = sizeof result};
    request.kind = SONDE_SPAN_KIND_INTERNAL;
    request.randomness = sampling->ot.randomness;
    if (options) {
        request.kind = options->kind ? options->kind : SONDE_SPAN_KIND_INTERNAL;
        request.scope = options->scope;
        request.attributes = options->attributes;
        request.attribute_count = options->attributes ? options->attribute_count : 0;
        request.links = options->links;
        request.link_count = options->links ? options->link_count : 0;
    }
    sampler->decide(sampler->user, &request, &result);
    context->span = span;
    if (context->tracestate_length > SONDE_TRACESTATE_SIZE_MAX)
        context->tracestate_length = 0;
    sonde__ot_read(context, &sampling->ot); /* it may have been changed all the same */
    if (result.attributes)
        add(sampling, result.attributes, result.attribute_count);
    if (result.decision == SONDE_SAMPLING_THRESHOLD && result.threshold < SONDE__THRESHOLD_MAX)
        return (struct sonde__intent){.threshold = result.threshold, .reliable = true};
    return result.decision == SONDE_SAMPLING_SAMPLE ? (struct sonde__intent){.threshold = 0} : DROP;
}

struct sonde__intent sonde__composed_intent(const struct sonde_sampler *sampler, struct sonde__sampling *sampling) {
    struct sonde__intent intent;
    switch (sampler->kind) {
    case SONDE__COMPOSED_ALWAYS_ON:
        return (struct sonde__intent){.threshold = 0, .reliable = true};
    case SONDE__COMPOSED_PROBABILITY:
        return (struct sonde__intent){.threshold = sampler->threshold, .reliable = true};
    case SONDE__COMPOSED_REMOTE:
        return sonde__intent_steered(&intent) ? intent : sonde__composed_intent(sampler->inner, sampling);
    case SONDE__COMPOSED_PARENT_THRESHOLD:
        return with_root(sampler, sampling, true);
    case SONDE__COMPOSED_PARENT_BASED:
        return with_root(sampler, sampling, false);
    case SONDE__COMPOSED_RULES:
        return by_rules(sampler, sampling);
    case SONDE__COMPOSED_ANNOTATING:
        add(sampling, sampler->attributes, sampler->attribute_count);
        return sonde__composed_intent(sampler->inner, sampling);
    case SONDE__COMPOSED_RATE:
        return by_rate(sampler, sampling);
    case SONDE__COMPOSED_CUSTOM:
        return by_user(sampler, sampling);
    case SONDE__COMPOSED_ALWAYS_OFF:
        break;
    }
    return DROP;
}

bool sonde__composed_wants_baggage(const struct sonde_sampler *sampler) {
    return sampler && sampler->wants_baggage;
}
