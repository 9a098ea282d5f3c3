/* SPDX-License-Identifier: Apache-2.0 */
/* What a scraped target answers, from hostile bytes. Input: one byte that chooses the format, then the answer. What must
 * hold beside memory safety: samples have names and labels of the format, as many as the reader says and no more than the
 * limit, and a refusal has a reason and a line. What is read also goes into a store, where histograms have bounds that
 * ascend. */
#include "agent/receive/scrape.h"
#include "agent/series/series.h"
#include "tests/lib/fakes.h"
#include <math.h>
#include <sonde/err.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SAMPLES_MAX 50u
static uint64_t seen;

static void require(int condition) {
    if (!condition)
        abort();
}

static void require_name(const char *name, const char *letters) {
    require(*name && !(*name >= '0' && *name <= '9'));
    require(name[strspn(name, letters)] == '\0');
}

static int on_sample(void *user, const struct sonde__exposition_sample *sample) {
    static const char letters[] = ":_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    require(user == &seen && ++seen <= SAMPLES_MAX);
    require_name(sample->name, letters);
    require(strlen(sample->name) < SONDE__EXPOSITION_NAME_SIZE_MAX + sizeof "_total");
    require(strlen(sample->help) < SONDE__EXPOSITION_HELP_SIZE_MAX);
    require(sample->label_count <= SONDE__EXPOSITION_LABELS_MAX);
    for (size_t i = 0; i < sample->label_count; i++) {
        const struct sonde__exposition_label *label = &sample->labels[i];
        require_name(label->name, letters + 1);
        require(strlen(label->name) == label->name_size && label->value_size > 0);
        require(label->value[label->value_size] == '\0');
    }
    return 0;
}

static void require_histogram(void *user, const struct sonde_metric *metric, const struct sonde_metric_point *point) {
    uint64_t count = 0;
    double before = -INFINITY, bound;
    (void)user;
    if (metric->kind != SONDE_HISTOGRAM)
        return;
    require(point->histogram && point->histogram->bucket_count == metric->bound_count + 1);
    for (uint32_t i = 0; i < metric->bound_count; i++, before = bound) {
        memcpy(&bound, metric->bounds + i * sizeof bound, sizeof bound);
        require(isfinite(bound) && bound > before);
    }
    for (uint32_t i = 0; i <= metric->bound_count; i++)
        count += point->histogram->buckets[i];
    require(count == point->histogram->count);
}

static void store(const char *text, size_t size, bool is_openmetrics) {
    static struct fakes fakes;
    static struct sonde__exposition reader;
    static struct sonde__scrape_take take;
    static const struct sonde__scrape_config config;
    struct sonde_series_store *store;
    struct sonde_series_source *source;
    fakes_init(&fakes);
    const struct sonde_seams seams = fakes_seams(&fakes);
    require(sonde_series_store_create(&seams, &store) == 0);
    require(sonde_series_source_create(store, (struct sonde_bytes){NULL, 0}, &source) == 0);
    take = (struct sonde__scrape_take){.source = source, .config = &config};
    reader = (struct sonde__exposition){.is_openmetrics = is_openmetrics,
                                        .samples_max = SAMPLES_MAX,
                                        .sample = sonde__scrape_take_sample,
                                        .user = &take};
    if (!sonde__exposition_read(&reader, text, size))
        (void)sonde__scrape_histogram_end(&take);
    sonde_series_each(source, require_histogram, NULL);
    sonde_series_store_destroy(store);
    require(fakes.live == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct sonde__exposition reader;
    if (size < 1)
        return 0;
    char *text = malloc(size); /* exact, so that a read past it is seen */
    require(text != NULL);
    memcpy(text, data + 1, size - 1);
    seen = 0;
    reader = (struct sonde__exposition){
        .is_openmetrics = data[0] & 1, .samples_max = SAMPLES_MAX, .sample = on_sample, .user = &seen};
    int err = sonde__exposition_read(&reader, text, size - 1);
    require(reader.samples == seen);
    require(err == 0 || ((err == SONDE_EMALFORMED || err == SONDE_ETOOBIG) && reader.problem));
    require(err == 0 || reader.line > 0 || size == 1);
    store(text, size - 1, data[0] & 1);
    free(text);
    return 0;
}
