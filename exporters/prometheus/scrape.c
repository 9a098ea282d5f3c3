/* SPDX-License-Identifier: Apache-2.0 */
/* The scrape as a machine: each step is one source, one family's copy, or one series.
 *
 *   SOURCES -> TARGETS -> [ TAKE -> MATCH -> (SIZE, of protobuf) -> WRITE ] for each family -> END -> DONE */
#include "exporters/prometheus/scrape.h"
#include "exporters/prometheus/family.h"
#include <errno.h>

#define PIECE_SIZE 32768u
#define PIECE_NS   UINT64_C(1000000)
/* Series between two looks at the clock. */
#define LOOK_EVERY 16u

enum phase { SOURCES, TARGETS, TAKE, MATCH, SIZE, WRITE, END, DONE };

/* A job and instance that was told. */
struct target {
    uint64_t hash;
    size_t at, size; /* in target_bytes */
};

struct sonde_prometheus_scrape {
    struct sonde_metric_feed feed;
    const struct sonde_alloc *alloc;
    const struct sonde_time *time;
    bool refresh, exemplars;
    enum phase phase;
    const void *source; /* in SOURCES: the last one */
    struct plan plan;
    uint32_t entry;       /* in TARGETS: number of the next one */
    size_t family_at, at; /* the family; the point in it */
    size_t metrics_size;  /* of the family, in protobuf */
    uint64_t refused;     /* label names, before the family's were written once more */
    struct family family;
    struct buffer out, targets, target_bytes, rows;
    struct sonde_prometheus_stats stats;
};

static bool is_proto(const struct sonde_prometheus_scrape *scrape) {
    return scrape->family.dialect.format == SONDE_PROMETHEUS_PROTOBUF;
}

int sonde_prometheus_scrape_create(const struct sonde_prometheus_scrape_options *options,
                                   struct sonde_prometheus_scrape **ret_scrape) {
    struct sonde_prometheus_scrape *scrape = sonde_alloc_new(options->alloc, sizeof *scrape);
    if (!scrape)
        return -ENOMEM;
    *scrape = (struct sonde_prometheus_scrape){.feed = *options->feed,
                                               .alloc = options->alloc,
                                               .time = options->time,
                                               .refresh = options->refresh,
                                               .exemplars = options->settings->exemplars &&
                                                            options->dialect->format != SONDE_PROMETHEUS_TEXT,
                                               .entry = 1};
    plan_init(&scrape->plan, options->alloc, (enum sonde_prometheus_strategy)options->settings->strategy,
              options->dialect->escaping);
    scrape->plan.is_openmetrics = options->dialect->format == SONDE_PROMETHEUS_OPENMETRICS;
    family_init(&scrape->family, options->alloc, options->dialect, options->settings, &scrape->stats);
    struct buffer *buffers[] = {&scrape->out, &scrape->targets, &scrape->target_bytes, &scrape->rows};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        buffer_init(buffers[i], options->alloc);
    scrape->feed.hold(scrape->feed.self, true);
    *ret_scrape = scrape;
    return 0;
}

void sonde_prometheus_scrape_destroy(struct sonde_prometheus_scrape *scrape) {
    if (!scrape)
        return;
    scrape->feed.hold(scrape->feed.self, false);
    plan_deinit(&scrape->plan);
    family_deinit(&scrape->family);
    struct buffer *buffers[] = {&scrape->out, &scrape->targets, &scrape->target_bytes, &scrape->rows};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        buffer_deinit(buffers[i]);
    sonde_alloc_free(scrape->alloc, scrape);
}

static bool failed(const struct sonde_prometheus_scrape *scrape) {
    return scrape->out.failed || scrape->targets.failed || scrape->target_bytes.failed || scrape->rows.failed ||
           plan_failed(&scrape->plan) || family_failed(&scrape->family);
}

/* ---- steps ---- */

static void step_source(struct sonde_prometheus_scrape *scrape) {
    const struct sonde_metric_feed *feed = &scrape->feed;
    const struct sonde_prometheus_settings *settings = &scrape->family.settings;
    struct sonde_metric metric;
    if (!feed->next_source(feed->self, &scrape->source)) {
        plan_finish(&scrape->plan, scrape->family.dialect.format == SONDE_PROMETHEUS_OPENMETRICS && settings->created);
        scrape->source = NULL;
        scrape->phase = settings->target_info ? TARGETS : TAKE;
        return;
    }
    if (scrape->refresh)
        feed->refresh(feed->self, scrape->source, scrape->exemplars);
    for (uint32_t number = 0; feed->source_metric(feed->self, scrape->source, &number, &metric);)
        plan_add(&scrape->plan, &metric);
}

/* Notes a job and instance; false when they were there already. */
static bool target_note(struct sonde_prometheus_scrape *scrape, struct sonde_bytes resource) {
    struct buffer *bytes = &scrape->target_bytes;
    struct target target = {.at = bytes->size};
    const struct target *targets = (const struct target *)(const void *)scrape->targets.data;
    const struct sonde_metric identity = {.resource = resource};
    labels_base(&scrape->family.labels, &identity, bytes);
    if (bytes->failed)
        return false;
    target.size = bytes->size - target.at;
    target.hash = label_hash(bytes->data + target.at, target.size, 0);
    for (size_t i = 0; i < scrape->targets.size / sizeof target; i++) {
        if (targets[i].hash == target.hash && targets[i].size == target.size &&
            memcmp(bytes->data + targets[i].at, bytes->data + target.at, target.size) == 0) {
            bytes->size = target.at;
            return false;
        }
    }
    buffer_put(&scrape->targets, &target, sizeof target);
    return true;
}

static void targets_end(struct sonde_prometheus_scrape *scrape) {
    if (is_proto(scrape) && scrape->rows.size)
        family_proto_target(&scrape->family, &scrape->rows, &scrape->out);
    buffer_deinit(&scrape->rows);
    buffer_deinit(&scrape->targets);
    buffer_deinit(&scrape->target_bytes);
    scrape->phase = TAKE;
}

/* One row per job and instance: of several resources that share them, the first. */
static void step_target(struct sonde_prometheus_scrape *scrape) {
    const void *previous = scrape->source;
    const struct plan_entry *entry;
    size_t count = scrape->plan.entries.size / sizeof *entry;
    struct sonde_metric metric;
    do
        entry = scrape->entry <= count ? plan_entry(&scrape->plan, scrape->entry++) : NULL;
    while (entry && entry->source == previous);
    if (!entry) {
        targets_end(scrape);
        return;
    }
    if (!scrape->feed.find(scrape->feed.self, entry->source, entry->id, &metric))
        return; /* another metric of the source may be there */
    scrape->source = entry->source;
    if (!target_note(scrape, metric.resource) || !labels_target(&scrape->family.labels, metric.resource))
        return;
    if (is_proto(scrape)) {
        family_proto_target_row(&scrape->family, &scrape->rows);
        return;
    }
    if (!scrape->rows.size) {
        family_text_target_head(&scrape->family, &scrape->out);
        buffer_char(&scrape->rows, '1'); /* the head is written */
    }
    family_text_target(&scrape->family, &scrape->out);
}

static void step_take(struct sonde_prometheus_scrape *scrape) {
    struct family *family = &scrape->family;
    if (scrape->family_at == plan_count(&scrape->plan)) {
        scrape->phase = END;
        return;
    }
    const struct plan_family *planned = plan_at(&scrape->plan, scrape->family_at);
    label_names_trim(&family->labels.names);
    label_names_trim(&family->others.names);
    family_name(family, &scrape->plan, planned);
    scrape->at = scrape->metrics_size = 0;
    if (!planned->is_left_out)
        snapshot_take(&family->snapshot, &scrape->feed, &scrape->plan, planned, &family->labels, scrape->exemplars);
    if (planned->is_left_out || !snapshot_count(&family->snapshot))
        scrape->family_at++;
    else
        scrape->phase = MATCH;
}

static bool same_labels(void *user, const struct snapshot_point *a, const struct snapshot_point *b) {
    struct family *family = user;
    family->label_text.size = family->other_text.size = 0;
    snapshot_labels(&family->snapshot, a, &family->others);
    labels_write_text(&family->others, &family->other_text);
    snapshot_labels(&family->snapshot, b, &family->labels);
    labels_write_text(&family->labels, &family->label_text);
    return family->label_text.size == family->other_text.size && !family_failed(family) &&
           (!family->label_text.size ||
            memcmp(family->label_text.data, family->other_text.data, family->label_text.size) == 0);
}

static void step_match(struct sonde_prometheus_scrape *scrape) {
    struct family *family = &scrape->family;
    struct snapshot *snapshot = &family->snapshot;
    if (scrape->at == snapshot_count(snapshot)) {
        scrape->at = 0;
        scrape->refused = family->labels.refused;
        scrape->stats.families++;
        scrape->phase = is_proto(scrape) ? SIZE : WRITE;
        if (scrape->phase == WRITE)
            family_text_head(family, snapshot->dotted.data, snapshot->dotted.size, &scrape->out);
        return;
    }
    struct snapshot_point *point = snapshot_point(snapshot, scrape->at);
    snapshot_labels(snapshot, point, &family->labels);
    if (is_proto(scrape))
        point->labels_size = (uint32_t)labels_proto_size(&family->labels);
    uint64_t hash = labels_hash(&family->labels), refused = family->labels.refused;
    snapshot_match(snapshot, scrape->at++, hash, same_labels, family);
    family->labels.refused = refused;
}

static void step_size(struct sonde_prometheus_scrape *scrape) {
    struct family *family = &scrape->family;
    if (scrape->at == snapshot_count(&family->snapshot)) {
        family_proto_head(family, scrape->metrics_size, &scrape->out);
        scrape->at = 0;
        scrape->phase = WRITE;
        return;
    }
    const struct snapshot_point *point = snapshot_point(&family->snapshot, scrape->at++);
    uint64_t refused = scrape->stats.points_refused;
    if (!point->is_follower)
        scrape->metrics_size += family_proto_size(family, point);
    scrape->stats.points_refused = refused; /* they are counted as they are written */
}

static void step_write(struct sonde_prometheus_scrape *scrape) {
    struct family *family = &scrape->family;
    if (scrape->at == snapshot_count(&family->snapshot)) {
        family->labels.refused = scrape->refused;
        scrape->family_at++;
        scrape->phase = TAKE;
        return;
    }
    const struct snapshot_point *point = snapshot_point(&family->snapshot, scrape->at++);
    if (point->is_follower)
        return;
    scrape->stats.series++;
    if (is_proto(scrape))
        family_proto_series(family, point, &scrape->out);
    else
        family_text_series(family, point, &scrape->out);
}

static void step(struct sonde_prometheus_scrape *scrape) {
    static void (*const steps[])(struct sonde_prometheus_scrape *) = {
        [SOURCES] = step_source, [TARGETS] = step_target, [TAKE] = step_take,
        [MATCH] = step_match,    [SIZE] = step_size,      [WRITE] = step_write};
    if (scrape->phase < END) {
        steps[scrape->phase](scrape);
        return;
    }
    if (scrape->family.dialect.format == SONDE_PROMETHEUS_OPENMETRICS)
        buffer_text(&scrape->out, "# EOF\n");
    scrape->phase = DONE;
}

int sonde_prometheus_scrape_next(struct sonde_prometheus_scrape *scrape, const char **ret_text, size_t *ret_size,
                                 bool *ret_done) {
    const struct sonde_time *time = scrape->time;
    uint64_t until_ns = time ? time->monotonic_ns(time->self) + PIECE_NS : 0;
    scrape->out.size = 0;
    for (unsigned i = 1; scrape->phase != DONE && scrape->out.size < PIECE_SIZE && !failed(scrape); i++) {
        bool is_large = scrape->phase <= TAKE || i % LOOK_EVERY == 0;
        step(scrape);
        if (time && is_large && time->monotonic_ns(time->self) >= until_ns)
            break;
    }
    if (failed(scrape))
        return -ENOMEM;
    *ret_text = scrape->out.data;
    *ret_size = scrape->out.size;
    *ret_done = scrape->phase == DONE;
    return 0;
}

void sonde_prometheus_scrape_taken(struct sonde_prometheus_scrape *scrape) {
    const void *previous = NULL;
    size_t count = scrape->plan.entries.size / sizeof(struct plan_entry);
    for (uint32_t i = 1; scrape->exemplars && i <= count; i++) {
        const struct plan_entry *entry = plan_entry(&scrape->plan, i);
        if (entry->source != previous)
            scrape->feed.exemplars_shown(scrape->feed.self, entry->source);
        previous = entry->source;
    }
}

void sonde_prometheus_scrape_stats(const struct sonde_prometheus_scrape *scrape,
                                   struct sonde_prometheus_stats *ret_stats) {
    *ret_stats = scrape->stats;
    ret_stats->type_conflicts += scrape->plan.conflicts;
    ret_stats->names_refused += scrape->plan.refused + scrape->family.labels.refused;
}
