/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/trace/sampler.h"
#include "instrumentation/context/rate.h"
#include "instrumentation/ring/steering.h"
#include "instrumentation/ring/thread.h"
#include <math.h>
#include <sonde/propagation.h>
#include <string.h>

#define THRESHOLD_DIGITS 14   /* 56 bits */
#define OT_VALUE_MAX     256u /* tracestate-handling.md */

uint64_t sonde__sampler_threshold(double ratio, int precision) {
    int exponent;
    if (!(ratio > 0))
        return SONDE__THRESHOLD_MAX;
    uint64_t kept = (uint64_t)llround(ratio * (double)SONDE__THRESHOLD_MAX);
    if (kept >= SONDE__THRESHOLD_MAX)
        return 0;
    uint64_t threshold = SONDE__THRESHOLD_MAX - (kept ? kept : 1);
    /* Leading f digits carry no precision: small ratios get more digits. */
    (void)frexp(ratio, &exponent);
    int digits = precision + (exponent < 0 ? -exponent / 4 : 0);
    if (digits > 12)
        digits = 12;
    uint64_t unit = (uint64_t)1 << (4 * (THRESHOLD_DIGITS - digits));
    uint64_t rounded = (threshold + unit / 2) / unit * unit;
    return rounded < SONDE__THRESHOLD_MAX ? rounded : threshold;
}

unsigned sonde__sampler_threshold_text(uint64_t threshold, char ret_text[14]) {
    unsigned length = 0;
    do { /* trailing zeros are left out, but one digit stays */
        ret_text[length++] = "0123456789abcdef"[(threshold >> 52) & 15];
        threshold = (threshold << 4) & (SONDE__THRESHOLD_MAX - 1);
    } while (threshold);
    return length;
}

/* 1..14 lower-case hex digits, as a fraction: padded with zeros on the right. */
static bool read_hex(const char *text, size_t size, uint64_t *ret_value) {
    uint64_t value = 0;
    if (size < 1 || size > THRESHOLD_DIGITS)
        return false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        value = value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *ret_value = value << (4 * (THRESHOLD_DIGITS - size));
    return true;
}

/* Next "key:value" of an ot value; false at its end. */
static bool next_sub(struct sonde_string *rest, struct sonde_string *ret_sub) {
    if (!rest->size)
        return false;
    const char *end = memchr(rest->data, ';', rest->size);
    ret_sub->data = rest->data;
    ret_sub->size = end ? (size_t)(end - rest->data) : rest->size;
    size_t used = ret_sub->size + (end ? 1 : 0);
    rest->data += used;
    rest->size -= used;
    return true;
}

static bool is_sub(struct sonde_string sub, const char *key) {
    return sub.size >= 3 && memcmp(sub.data, key, 3) == 0;
}

void sonde__ot_read(const struct sonde_context *context, struct sonde__ot *ret_ot) {
    struct sonde_string value, sub;
    uint64_t number = 0;
    memset(ret_ot, 0, sizeof *ret_ot);
    memcpy(&number, context->span.trace_id + 8, sizeof number);
    ret_ot->randomness = __builtin_bswap64(number) & (SONDE__THRESHOLD_MAX - 1);
    if (!context->tracestate_length || !sonde_tracestate_get(context, "ot", 2, &value))
        return;
    while (next_sub(&value, &sub)) {
        if (is_sub(sub, "th:") && !ret_ot->has_th && !ret_ot->bad_th) {
            ret_ot->has_th = read_hex(sub.data + 3, sub.size - 3, &ret_ot->threshold);
            ret_ot->bad_th = !ret_ot->has_th;
        } else if (is_sub(sub, "rv:") && !ret_ot->has_rv) {
            ret_ot->has_rv = sub.size == 3 + THRESHOLD_DIGITS && read_hex(sub.data + 3, THRESHOLD_DIGITS, &number);
            ret_ot->bad_rv |= !ret_ot->has_rv;
            if (ret_ot->has_rv)
                ret_ot->randomness = number;
        }
    }
}

/* Rewrites the ot member: th first (none when th_size is 0), then all it had but th. An empty one is removed. */
static void write_th(struct sonde_context *context, const char *th, size_t th_size) {
    char value[OT_VALUE_MAX + 32];
    struct sonde_string old, sub;
    size_t size = 0;
    if (th_size) {
        memcpy(value, "th:", 3);
        memcpy(value + 3, th, th_size);
        size = 3 + th_size;
    }
    if (sonde_tracestate_get(context, "ot", 2, &old)) {
        while (next_sub(&old, &sub)) {
            if (is_sub(sub, "th:") || !sub.size || size + 1 + sub.size > OT_VALUE_MAX)
                continue;
            if (size)
                value[size++] = ';';
            memcpy(value + size, sub.data, sub.size);
            size += sub.size;
        }
    }
    if (!size || sonde_tracestate_set(context, "ot", 2, value, size) != 0)
        sonde_tracestate_remove(context, "ot", 2); /* better none than a wrong one */
}

/* The parent decided. Its th goes on when it fits the decision; one that does not would falsify counts. */
static struct sonde__intent follow_parent(struct sonde__sampling *sampling) {
    struct sonde_context *context = sampling->context;
    const struct sonde__ot *ot = &sampling->ot;
    bool sampled = context->span.flags & SONDE_TRACE_FLAG_SAMPLED;
    if (ot->bad_th || (ot->has_th && (ot->randomness >= ot->threshold) != sampled))
        write_th(context, NULL, 0);
    return (struct sonde__intent){.threshold = sampled ? 0 : SONDE__THRESHOLD_MAX, .kept = true};
}

static struct sonde__intent intent_of_will(bool sampled) {
    return (struct sonde__intent){.threshold = sampled ? 0 : SONDE__THRESHOLD_MAX};
}

bool sonde__intent_carried(struct sonde__sampling *sampling, bool by_threshold, struct sonde__intent *ret_intent) {
    const struct sonde_span_context *span = &sampling->context->span;
    uint64_t parent;
    memcpy(&parent, span->span_id, 8);
    switch (span->decision) {
    case SONDE_DECISION_DEBUG: /* kept by will, not by chance: a threshold would falsify counts */
        *ret_intent = intent_of_will(true);
        return true;
    case SONDE_DECISION_DEFER: /* the parent left it to us */
        return false;
    case SONDE_DECISION_DENY:
    case SONDE_DECISION_ACCEPT:
        if (parent)
            break;
        *ret_intent = intent_of_will(span->decision == SONDE_DECISION_ACCEPT);
        return true;
    default:
        break;
    }
    if (!parent)
        return false;
    if (!by_threshold)
        *ret_intent = follow_parent(sampling);
    else if (sampling->ot.has_th)
        *ret_intent = (struct sonde__intent){.threshold = sampling->ot.threshold, .reliable = true};
    else
        *ret_intent = intent_of_will(span->flags & SONDE_TRACE_FLAG_SAMPLED);
    return true;
}

bool sonde__intent_steered(struct sonde__intent *ret_intent) {
    uint64_t word = sonde__steering_sampling();
    if (SONDE__LIKELY(!(word & SONDE__STEERING_SAMPLES)))
        return false;
    uint64_t threshold = word & ~SONDE__STEERING_SAMPLES;
    *ret_intent = (struct sonde__intent){
        .threshold = threshold < SONDE__THRESHOLD_MAX ? threshold : SONDE__THRESHOLD_MAX, .reliable = true};
    return true;
}

/* The samplers that have names. */
static struct sonde__intent named_intent(const struct sonde__settings *settings, struct sonde__sampling *sampling) {
    static _Atomic uint64_t next_ns;
    struct sonde__intent intent;
    struct sonde__rate rate;
    if (settings->sampler_parent_based && sonde__intent_carried(sampling, false, &intent))
        return intent;
    if (sonde__intent_steered(&intent))
        return intent;
    switch (settings->sampler) {
    case SONDE__SAMPLER_RATIO:
        return (struct sonde__intent){.threshold = sonde__sampler_threshold(settings->sampler_ratio, 4),
                                      .reliable = true};
    case SONDE__SAMPLER_RATE:
        return intent_of_will(sonde__rate_set(&rate, settings->sampler_rate, 0) &&
                              sonde__rate_take(&rate, &next_ns, sonde__sampling_now(sampling)));
    default: /* no probability: nothing to say about counts */
        return intent_of_will(settings->sampler == SONDE__SAMPLER_ALWAYS_ON);
    }
}

/* Whether a parent's sampled flag is all there is to go by: no tracestate, no decision beside it. */
static inline bool flag_decides(const struct sonde__settings *settings, const struct sonde_context *context) {
    uint64_t parent;
    memcpy(&parent, context->span.span_id, sizeof parent);
    return settings->sampler_parent_based && !settings->composed_sampler && parent && !context->tracestate_length &&
           context->span.decision == SONDE_DECISION_NONE;
}

bool sonde__sampler_decide(const struct sonde__settings *settings, struct sonde__sampling *sampling) {
    struct sonde_context *context = sampling->context;
    if (SONDE__LIKELY(flag_decides(settings, context)))
        return context->span.flags & SONDE_TRACE_FLAG_SAMPLED;
    char text[THRESHOLD_DIGITS];
    sonde__ot_read(context, &sampling->ot);
    struct sonde__intent intent = settings->composed_sampler
                                      ? sonde__composed_intent(settings->composed_sampler, sampling)
                                      : named_intent(settings, sampling);
    const struct sonde__ot *ot = &sampling->ot;
    bool sampled = sonde__intent_samples(sampling, &intent), had = ot->has_th || ot->bad_th;
    if (intent.kept)
        return sampled;
    if (!sampled || !intent.reliable) {
        if (had)
            write_th(context, NULL, 0);
    } else if (!ot->has_th || ot->threshold != intent.threshold) {
        write_th(context, text, sonde__sampler_threshold_text(intent.threshold, text));
    }
    return sampled;
}
