/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/view/metrics.h"
#include "agent/net/gzip_stream.h"
#include "exporters/prometheus/scrape.h"
#include <errno.h>
#include <string.h>

struct scrape {
    struct sonde_daemon *daemon;
    struct sonde_prometheus_dialect dialect;
    struct sonde_prometheus_scrape *scrape;
    struct sonde__gzip_stream *gzip; /* NULL = as it is */
};

static int next(void *self, const char **ret_data, size_t *ret_size, bool *ret_done) {
    struct scrape *scrape = self;
    const char *text;
    size_t size;
    int error = sonde_prometheus_scrape_next(scrape->scrape, &text, &size, ret_done);
    if (!error && scrape->gzip)
        return sonde__gzip_stream_put(scrape->gzip, text, size, *ret_done, ret_data, ret_size);
    *ret_data = text;
    *ret_size = size;
    return error;
}

static void count(struct sonde_daemon *daemon, const struct scrape *scrape, bool is_whole) {
    struct sonde_prometheus_stats stats;
    struct sonde__scraping *scraping = &daemon->scraping;
    scraping->scrapes[is_whole ? SONDE__SCRAPE_DONE : SONDE__SCRAPE_BROKEN]++;
    if (!is_whole)
        return;
    sonde_prometheus_scrape_stats(scrape->scrape, &stats);
    scraping->left_out[SONDE__LEFT_OUT_TYPE] = stats.type_conflicts;
    scraping->left_out[SONDE__LEFT_OUT_NAME] = stats.names_refused;
    scraping->left_out[SONDE__LEFT_OUT_BUCKETS] = stats.points_refused;
}

static void end(void *self, bool is_whole) {
    struct scrape *scrape = self;
    struct sonde_daemon *daemon = scrape->daemon;
    if (is_whole)
        sonde_prometheus_scrape_taken(scrape->scrape);
    if (scrape->scrape)
        count(daemon, scrape, is_whole);
    daemon->scraping.open--;
    sonde_prometheus_scrape_destroy(scrape->scrape);
    sonde__gzip_stream_destroy(scrape->gzip);
    sonde_alloc_free(&daemon->seams->alloc, scrape);
}

static int begin(struct sonde_daemon *daemon, const struct sonde_http_asked *asked, struct scrape **ret_scrape) {
    const struct sonde_alloc *alloc = &daemon->seams->alloc;
    struct scrape *scrape = sonde_alloc_new(alloc, sizeof *scrape);
    if (!scrape)
        return -ENOMEM;
    *scrape = (struct scrape){.daemon = daemon};
    daemon->scraping.open++;
    sonde_prometheus_negotiate(asked->accept, &scrape->dialect);
    sonde_series_expire_dead(daemon->series);
    const struct sonde_metric_feed feed = sonde_series_feed(daemon->series);
    const struct sonde_prometheus_scrape_options options = {.feed = &feed,
                                                            .alloc = alloc,
                                                            .time = &daemon->seams->time,
                                                            .dialect = &scrape->dialect,
                                                            .settings = &daemon->config->agent.prometheus,
                                                            .refresh = true};
    int error = sonde_prometheus_scrape_create(&options, &scrape->scrape);
    if (!error && sonde_prometheus_takes_gzip(asked->accept_encoding))
        error = sonde__gzip_stream_create(alloc, &scrape->gzip);
    if (error)
        end(scrape, false);
    else
        *ret_scrape = scrape;
    return error;
}

void sonde__metrics_answer(struct sonde_daemon *daemon, const struct sonde_http_asked *asked,
                           struct sonde_http_answer *ret_answer) {
    struct scrape *scrape;
    if (asked->head_only) { /* no values are taken for nobody to see, and none are missed */
        sonde_prometheus_negotiate(asked->accept, &daemon->scraping.asked);
        ret_answer->status = 200;
        ret_answer->content_type = daemon->scraping.asked.content_type;
        ret_answer->content_encoding = sonde_prometheus_takes_gzip(asked->accept_encoding) ? "gzip" : NULL;
        ret_answer->would_stream = true;
        return;
    }
    if (daemon->scraping.open < SONDE__SCRAPES_MAX && begin(daemon, asked, &scrape) == 0) {
        ret_answer->status = 200;
        ret_answer->content_type = scrape->dialect.content_type;
        ret_answer->content_encoding = scrape->gzip ? "gzip" : NULL;
        ret_answer->stream = (struct sonde_http_stream){next, end, scrape};
        return;
    }
    static const char text[] = "Too many scrapes at a time, or no memory for one.\n";
    daemon->scraping.scrapes[SONDE__SCRAPE_REFUSED]++;
    ret_answer->status = 503;
    ret_answer->retry_after_seconds = 1;
    ret_answer->body = sonde_alloc_new(&daemon->seams->alloc, sizeof text);
    if (ret_answer->body) {
        memcpy(ret_answer->body, text, sizeof text);
        ret_answer->body_size = sizeof text - 1;
    }
}
