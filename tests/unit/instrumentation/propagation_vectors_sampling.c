/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors of probability sampling: what the tracestate member ot says, thresholds of ratios, and decisions. */
#include "instrumentation/trace/sampler.h"
#include "tests/unit/instrumentation/propagation_vectors.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sonde_context context;

__attribute__((format(printf, 1, 2))) static void result_format(const char *format, ...) {
    char text[128];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    result_text(text);
}

static void ot_set(const struct sonde_string *rv, const struct sonde_string *th) {
    char value[64] = "";
    int size =
        snprintf(value, sizeof value, "%s%.*s%s%.*s", rv ? "rv:" : "", rv ? (int)rv->size : 0, rv ? rv->data : "",
                 th ? (rv ? ";th:" : "th:") : "", th ? (int)th->size : 0, th ? th->data : "");
    if (sonde_tracestate_set(&context, "ot", 2, value, (size_t)size) != 0)
        result_text("(refused)");
}

/** Whether a parent-based sampler passes th on. */
static bool th_is_kept(void) {
    static const struct sonde__settings settings = {.sampler_parent_based = true};
    struct sonde_string value;
    static struct sonde_context copy;
    sonde_context_copy(&copy, &context);
    struct sonde__sampling sampling = {.context = &copy};
    (void)sonde__sampler_decide(&settings, &sampling);
    return sonde_tracestate_get(&copy, "ot", 2, &value) && memmem(value.data, value.size, "th:", 3);
}

static void run_extract(const struct row *row) {
    struct sonde_http_header headers[PAIRS_MAX];
    struct sonde__ot ot;
    for (size_t i = 0; i < row->count; i++)
        headers[i] = (struct sonde_http_header){row->pairs[i].name, row->pairs[i].value};
    struct sonde_http_headers list = {.headers = headers, .count = row->count};
    struct sonde_carrier carrier = sonde_http_carrier(&list);
    (void)sonde_extract(&carrier, &context);
    sonde__ot_read(&context, &ot);
    bool sampled = context.span.flags & SONDE_TRACE_FLAG_SAMPLED, passes = ot.randomness >= ot.threshold;
    result_format("R=%014" PRIx64, ot.randomness);
    if (!ot.has_th) {
        result_text(";T=none;adjusted=unknown");
        result_text(ot.bad_th ? ";bad=th" : ot.bad_rv ? ";bad=rv" : "");
        return;
    }
    result_format(";T=%014" PRIx64 ";r_ge_t=%d;adjusted=", ot.threshold, passes);
    if (sampled != passes)
        result_text("unknown");
    else
        result_format("%g", sampled ? (double)SONDE__THRESHOLD_MAX / (double)(SONDE__THRESHOLD_MAX - ot.threshold) : 0);
    result_text(th_is_kept() ? ";th=keep" : ";th=erase");
}

static double number(const struct sonde_string *text) {
    char copy[64] = "";
    (void)snprintf(copy, sizeof copy, "%.*s", text ? (int)text->size : 0, text ? text->data : "");
    return strtod(copy, NULL);
}

static void run_encode(const struct row *row) {
    char digits[14];
    uint64_t threshold = sonde__sampler_threshold(number(row_find(row, "p")), (int)number(row_find(row, "precision")));
    result_text("th=");
    result_add(digits, sonde__sampler_threshold_text(threshold, digits));
}

static void run_decide(const struct row *row) {
    struct sonde__ot ot;
    sonde_context_init(&context);
    row_unhex(row_find(row, "trace_id"), context.span.trace_id, 16);
    ot_set(row_find(row, "rv"), row_find(row, "th"));
    sonde__ot_read(&context, &ot);
    result_format("sample=%d", ot.has_th && ot.randomness >= ot.threshold);
}

const struct format sampling_formats[] = {
    {"ot-decide", run_decide},
    {"ot-encode", run_encode},
    {"ot-extract", run_extract},
    {NULL, NULL},
};
