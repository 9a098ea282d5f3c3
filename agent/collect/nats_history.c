/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/nats_history.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>

struct point {
    uint64_t last_seq, last_unix_ns, polled_unix_ns;
};
struct sonde__nats_past {
    struct sonde__nats_past *next; /* of the same hash */
    uint64_t hash;
    uint32_t round, first, count;
    struct point points[SONDE__NATS_POINTS_MAX]; /* a ring, from `first` */
    size_t account_size, name_size;
    char text[]; /* both names */
};

int sonde__nats_history_init(struct sonde__nats_history *history, const struct sonde_alloc *alloc, size_t streams_max) {
    size_t size = 64;
    while (size < streams_max && size < 4096)
        size *= 2;
    *history = (struct sonde__nats_history){.alloc = alloc, .size = size, .max = streams_max};
    history->streams = sonde_alloc_new(alloc, size * sizeof *history->streams);
    if (!history->streams)
        return -ENOMEM;
    memset(history->streams, 0, size * sizeof *history->streams);
    return 0;
}

/** Forgets what has not been seen in the last round; all = everything. */
static void forget(struct sonde__nats_history *history, bool all) {
    for (size_t i = 0; i < history->size && history->streams; i++)
        for (struct sonde__nats_past **at = &history->streams[i]; *at;) {
            struct sonde__nats_past *past = *at;
            if (!all && past->round == history->round) {
                at = &past->next;
                continue;
            }
            *at = past->next;
            history->count--;
            sonde_alloc_free(history->alloc, past);
        }
}

void sonde__nats_history_deinit(struct sonde__nats_history *history) {
    forget(history, true);
    if (history->streams)
        sonde_alloc_free(history->alloc, history->streams);
    history->streams = NULL;
}

void sonde__nats_history_begin(struct sonde__nats_history *history) {
    forget(history, false);
    history->round++;
}

static uint64_t hash_add(uint64_t hash, struct sonde_string text) { /* FNV-1a */
    for (size_t i = 0; i < text.size; i++)
        hash = (hash ^ (uint8_t)text.data[i]) * UINT64_C(1099511628211);
    return (hash ^ 0xff) * UINT64_C(1099511628211);
}

static struct sonde__nats_past *find(struct sonde__nats_history *history, struct sonde_string account,
                                     struct sonde_string name) {
    uint64_t hash = hash_add(hash_add(UINT64_C(14695981039346656037), account), name);
    struct sonde__nats_past **at = &history->streams[hash & (history->size - 1)], *past = *at;
    while (past && (past->hash != hash || past->account_size != account.size || past->name_size != name.size ||
                    memcmp(past->text, account.data, account.size) != 0 ||
                    memcmp(past->text + account.size, name.data, name.size) != 0))
        past = past->next;
    if (past || history->count == history->max)
        return past;
    past = sonde_alloc_new(history->alloc, sizeof *past + account.size + name.size);
    if (!past)
        return NULL;
    memset(past, 0, sizeof *past);
    past->hash = hash;
    past->account_size = account.size;
    past->name_size = name.size;
    memcpy(past->text, account.data, account.size);
    memcpy(past->text + account.size, name.data, name.size);
    past->next = *at;
    *at = past;
    history->count++;
    return past;
}

static const struct point *point_at(const struct sonde__nats_past *past, uint32_t index) {
    return &past->points[(past->first + index) % SONDE__NATS_POINTS_MAX];
}

struct sonde__nats_past *sonde__nats_history_take(struct sonde__nats_history *history, struct sonde_string account,
                                                  struct sonde_string name, uint64_t last_seq, uint64_t last_unix_ns,
                                                  uint64_t now_unix_ns) {
    struct sonde__nats_past *past = find(history, account, name);
    if (!past)
        return NULL;
    const struct point point = {last_seq, last_unix_ns, now_unix_ns};
    const struct point *last = past->count ? point_at(past, past->count - 1) : NULL;
    past->round = history->round;
    if (last && (last_seq < last->last_seq || now_unix_ns < last->polled_unix_ns))
        past->count = 0; /* made anew, or the clock went back: what was known is of no use */
    else if (last && last_seq == last->last_seq)
        past->count--; /* nothing was written: the later poll says so, too */
    if (past->count == SONDE__NATS_POINTS_MAX) {
        past->first = (past->first + 1) % SONDE__NATS_POINTS_MAX;
        past->count--;
    }
    past->points[(past->first + past->count++) % SONDE__NATS_POINTS_MAX] = point;
    return past;
}

uint64_t sonde__nats_written_unix_ns(const struct sonde__nats_past *past, uint64_t seq, const char **ret_estimate) {
    uint32_t i = 0;
    while (i < past->count && point_at(past, i)->last_seq < seq)
        i++;
    if (i == past->count)
        return 0;
    const struct point *right = point_at(past, i), *left = i ? point_at(past, i - 1) : NULL;
    *ret_estimate = right->last_seq == seq ? "exact" : left ? "interpolated" : "floor";
    if (!left || right->last_seq == seq || left->polled_unix_ns >= right->last_unix_ns)
        return right->last_unix_ns;
    double share = (double)(seq - left->last_seq) / (double)(right->last_seq - left->last_seq);
    return left->polled_unix_ns + (uint64_t)(share * (double)(right->last_unix_ns - left->polled_unix_ns));
}
