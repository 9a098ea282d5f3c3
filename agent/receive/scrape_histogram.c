/* SPDX-License-Identifier: Apache-2.0 */
/* Classic histograms: buckets, sum and count of a series come one after the other, as both formats have it, and are one
 * value here. They are kept until another series begins. Over there each bucket holds those below it, too.
 * What is no histogram (counts that fall, or are no whole numbers; no count and no +Inf) is left out. Of more than
 * SONDE__BOUNDS_MAX bounds every other one goes, as often as it takes, which makes nothing wrong. */
#include "agent/receive/scrape.h"
#include "instrumentation/ring/cells.h"
#include <math.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

static const char bound_label[] = "le";

static bool is_bound(const struct sonde__exposition_label *label) {
    return strcmp(label->name, bound_label) == 0;
}

/* The family's name: without _bucket, _sum, _count, or the _total that OpenMetrics' _created is told as. */
static size_t family_size(const char *name) {
    size_t size = strlen(name);
    while (size && name[size - 1] != '_')
        size--;
    return size ? size - 1 : 0;
}

/* Whether the sample is one of the series at hand. */
static bool is_same(const struct sonde__scrape_histogram *histogram, const struct sonde__exposition_sample *sample) {
    size_t size = family_size(sample->name), at = 0;
    if (!histogram->samples || strncmp(histogram->name, sample->name, size) != 0 || histogram->name[size])
        return false;
    for (size_t i = 0; i < sample->label_count; i++) {
        const struct sonde__exposition_label *label = &sample->labels[i], *kept = &histogram->labels[at];
        if (is_bound(label))
            continue;
        if (at++ == histogram->label_count || label->name_size != kept->name_size ||
            label->value_size != kept->value_size || memcmp(label->name, kept->name, label->name_size) != 0 ||
            memcmp(label->value, kept->value, label->value_size) != 0)
            return false;
    }
    return at == histogram->label_count;
}

static const char *keep(struct sonde__scrape_histogram *histogram, const char *text, size_t size) {
    char *kept = memcpy(histogram->text + histogram->text_size, text, size);
    kept[size] = '\0';
    histogram->text_size += size + 1;
    return kept;
}

/* All of a sample's text fits: it was in a buffer as large. */
static void begin(struct sonde__scrape_histogram *histogram, const struct sonde__exposition_sample *sample) {
    size_t size = family_size(sample->name);
    histogram->label_count = histogram->text_size = 0;
    histogram->bound_count = 0;
    histogram->samples = 0;
    histogram->has_count = histogram->has_infinity = histogram->is_bad = false;
    histogram->sum = histogram->created = 0;
    memcpy(histogram->name, sample->name, size);
    histogram->name[size] = '\0';
    (void)snprintf(histogram->help, sizeof histogram->help, "%s", sample->help);
    for (size_t i = 0; i < sample->label_count; i++) {
        const struct sonde__exposition_label *label = &sample->labels[i];
        if (!is_bound(label))
            histogram->labels[histogram->label_count++] = (struct sonde__exposition_label){
                keep(histogram, label->name, label->name_size), keep(histogram, label->value, label->value_size),
                label->name_size, label->value_size};
    }
}

static bool to_count(double value, uint64_t *ret_count) {
    if (!(value >= 0 && value < 9007199254740992.0) || value != floor(value))
        return false;
    *ret_count = (uint64_t)value;
    return true;
}

static void bucket_add(struct sonde__scrape_histogram *histogram, const struct sonde__exposition_sample *sample) {
    const struct sonde__exposition_label *label = NULL;
    double bound;
    uint64_t count;
    uint32_t at = histogram->bound_count;
    for (size_t i = 0; i < sample->label_count && !label; i++)
        if (is_bound(&sample->labels[i]))
            label = &sample->labels[i];
    bool good = label && sonde__exposition_number(label->value, label->value_size, &bound) && !isnan(bound) &&
                to_count(sample->value, &count) && !histogram->has_infinity && at < SONDE__SCRAPE_BOUNDS_MAX &&
                (!at || (bound > histogram->bounds[at - 1] && count >= histogram->below[at - 1]));
    if (!good) {
        histogram->is_bad = true;
    } else if (isinf(bound)) {
        histogram->has_infinity = true;
        histogram->is_bad |= bound < 0;
        histogram->infinity = count;
    } else {
        histogram->bounds[at] = bound;
        histogram->below[at] = count;
        histogram->bound_count++;
    }
}

static bool ends_in(const char *name, const char *suffix) {
    return strcmp(name + family_size(name), suffix) == 0;
}

static void add(struct sonde__scrape_histogram *histogram, const struct sonde__exposition_sample *sample) {
    histogram->samples++;
    if (sample->is_created) {
        histogram->created = sample->value;
    } else if (ends_in(sample->name, "_bucket")) {
        bucket_add(histogram, sample);
    } else if (ends_in(sample->name, "_sum")) {
        histogram->sum = sample->value;
    } else {
        histogram->has_count = true;
        histogram->is_bad |= !to_count(sample->value, &histogram->count);
    }
}

/* Buckets of their own, and few enough of them. False when it is no histogram. */
static bool finish(struct sonde__scrape_histogram *histogram, uint64_t counts[SONDE__BUCKETS_MAX]) {
    uint64_t total = histogram->has_infinity ? histogram->infinity : histogram->count, below = 0;
    if (histogram->is_bad || !(histogram->has_infinity || histogram->has_count) ||
        (histogram->bound_count && total < histogram->below[histogram->bound_count - 1]))
        return false;
    while (histogram->bound_count > SONDE__BOUNDS_MAX) {
        uint32_t kept = 0;
        for (uint32_t i = 1; i < histogram->bound_count; i += 2, kept++) {
            histogram->bounds[kept] = histogram->bounds[i];
            histogram->below[kept] = histogram->below[i];
        }
        histogram->bound_count = kept;
    }
    for (uint32_t i = 0; i < histogram->bound_count; i++) {
        counts[i] = histogram->below[i] - below;
        below = histogram->below[i];
    }
    counts[histogram->bound_count] = total - below;
    return true;
}

int sonde__scrape_histogram_end(struct sonde__scrape_take *take) {
    struct sonde__scrape_histogram *histogram = &take->histogram;
    uint64_t counts[SONDE__BUCKETS_MAX], samples = histogram->samples;
    if (!samples)
        return 0;
    histogram->samples = 0;
    const struct sonde__exposition_sample series = {.name = histogram->name,
                                                    .type = SONDE__EXPOSITION_HISTOGRAM,
                                                    .help = histogram->help,
                                                    .labels = histogram->labels,
                                                    .label_count = histogram->label_count,
                                                    .value = histogram->sum};
    struct sonde_series_value value = {.kind = SONDE_HISTOGRAM,
                                       .is_double = true,
                                       .float64 = histogram->sum,
                                       .start_is_unknown = true,
                                       .bounds = histogram->bounds,
                                       .counts = counts};
    if (!finish(histogram, counts)) {
        take->left_out += samples;
        return 0;
    }
    value.bound_count = histogram->bound_count;
    return sonde__scrape_set(take, &series, &value, histogram->created);
}

int sonde__scrape_histogram_sample(struct sonde__scrape_take *take, const struct sonde__exposition_sample *sample) {
    int err = 0;
    if (!is_same(&take->histogram, sample)) {
        err = sonde__scrape_histogram_end(take);
        begin(&take->histogram, sample);
    }
    add(&take->histogram, sample);
    return err;
}
