/* SPDX-License-Identifier: Apache-2.0 */
/* What became of a batch. A refused one is halved until the guilty records, then the guilty items, are alone; they are
 * dropped by name and the rest is delivered. The parts of one batch share a budget of requests, and give up early when
 * the backend takes none of them: then it is not the content (a wrong path, a proxy's page), and halving would only
 * multiply the requests. */
#include "exporters/delivery/parts.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* One guilty item among n costs 2 log2(n) requests: 256 find about ten among 8,192. */
#define BISECT_REQUESTS          256u
/* Refusals without any success until the parts give up; 2^15 items have a clean half within 16 unless most are guilty.
 */
#define BISECT_REFUSALS          16u
/* The budget while the last search found nothing to deliver. */
#define BISECT_REQUESTS_HOPELESS 8u
/* A batch is never made smaller than this by a backend's 413. */
#define BATCH_SIZE_MIN           65536u

#define LOSS_REPORT_NS (UINT64_C(60) * 1000000000u)

static void report(const struct sonde__delivery *delivery, char level, const char *text) {
    if (delivery->env.report)
        delivery->env.report(delivery->env.report_self, level, text);
}

void sonde__delivery_loss_tell(struct sonde__delivery *delivery) {
    char text[400];
    if (delivery->losses_unreported == 0)
        return;
    (void)snprintf(text, sizeof text, "%llu records were dropped for good: %s (further ones are told once a minute)",
                   (unsigned long long)delivery->losses_unreported, delivery->loss_text);
    report(delivery, 'e', text);
    delivery->losses_unreported = 0;
    delivery->loss_report_ns = sonde__delivery_now(delivery);
}

uint64_t sonde__delivery_loss_due(struct sonde__delivery *delivery, uint64_t now_ns) {
    if (delivery->losses_unreported && now_ns - delivery->loss_report_ns >= LOSS_REPORT_NS)
        sonde__delivery_loss_tell(delivery);
    return delivery->losses_unreported ? delivery->loss_report_ns + LOSS_REPORT_NS : UINT64_MAX;
}

void sonde__delivery_loss(struct sonde__delivery *delivery, uint64_t items, const char *why) {
    delivery->losses_unreported += items;
    (void)snprintf(delivery->loss_text, sizeof delivery->loss_text, "%s", why);
    if (delivery->loss_report_ns == 0) /* the first is told at once */
        sonde__delivery_loss_tell(delivery);
    else
        (void)sonde__delivery_loss_due(delivery, sonde__delivery_now(delivery));
}

static void outcome_error(struct sonde__delivery *delivery, const char *text) {
    struct sonde_exporter_status *status = &delivery->status;
    status->request_errors++;
    status->last_error_unix_ns = delivery->env.seams.time.unix_ns(delivery->env.seams.time.self);
    (void)snprintf(status->last_error, sizeof status->last_error, "%s", text);
}

static uint64_t outcome_duration(const struct sonde__delivery *delivery, const struct sonde__batch *batch) {
    uint64_t now_ns = sonde__delivery_now(delivery);
    return now_ns > batch->sent_ns ? now_ns - batch->sent_ns : 0;
}

/* The backend answered as it should, whatever it thinks of this batch: pauses are over. When that closed the breaker,
 * so are those of the batches that failed before. */
static void outcome_alive(struct sonde__delivery *delivery, struct sonde__batch *batch, bool is_final) {
    delivery->pause_until_ns = 0;
    delivery->failing = false;
    if (sonde__guard_answered(&delivery->guard, &batch->call, &batch->permit, outcome_duration(delivery, batch),
                              is_final))
        for (struct sonde__batch *other = delivery->first; other; other = other->next)
            other->not_before_ns = 0;
}

static void outcome_recovered(struct sonde__delivery *delivery) {
    delivery->refusing = delivery->hopeless = false;
    if (delivery->told) {
        char text[100];
        (void)snprintf(text, sizeof text, "delivering again after %llu failed requests",
                       (unsigned long long)delivery->failures);
        report(delivery, 'i', text);
    }
    delivery->told = false;
    delivery->failures = 0;
}

static void outcome_delivered(struct sonde__delivery *delivery, struct sonde__batch *batch,
                              const struct sonde__outcome *outcome) {
    outcome_alive(delivery, batch, false);
    delivery->status.last_success_unix_ns = delivery->env.seams.time.unix_ns(delivery->env.seams.time.self);
    outcome_recovered(delivery);
    if (batch->bisect)
        batch->bisect->delivered = true;
    uint64_t refused = outcome->refused_items < batch->items ? outcome->refused_items : batch->items;
    if (refused) {
        outcome_error(delivery, outcome->text);
        sonde__delivery_loss(delivery, refused, outcome->text);
    } else if (outcome->warning && !delivery->warned) {
        char text[400];
        (void)snprintf(text, sizeof text, "the backend took a request with a warning (told once): %s",
                       outcome->warning);
        report(delivery, 'w', text);
        delivery->warned = true;
    }
    sonde__delivery_finish(delivery, batch, SONDE__FATE_DELIVERED, refused);
}

/* Told how long: that long, and a little more, so that all who were told the same don't come back together. */
static uint64_t outcome_pushback(struct sonde__delivery *delivery, uint64_t retry_after_ns) {
    uint64_t random = delivery->env.seams.random.next(delivery->env.seams.random.self);
    return retry_after_ns ? retry_after_ns + random % (delivery->options.retry_initial_ns / 2 + 1) : 0;
}

static void outcome_retry(struct sonde__delivery *delivery, struct sonde__batch *batch,
                          const struct sonde__outcome *outcome) {
    uint64_t now_ns = sonde__delivery_now(delivery), pushback_ns = outcome_pushback(delivery, outcome->retry_after_ns);
    uint64_t wait_ns = sonde__guard_failed(&delivery->guard, &batch->call, &batch->permit,
                                           outcome_duration(delivery, batch), pushback_ns);
    outcome_error(delivery, outcome->text);
    delivery->failures++;
    if (delivery->stopping) /* one request, and a short pause for all */
        pushback_ns = wait_ns = SONDE__STOP_PAUSE_NS;
    batch->not_before_ns = now_ns + wait_ns;
    if (pushback_ns && delivery->pause_until_ns < now_ns + pushback_ns)
        delivery->pause_until_ns = now_ns + pushback_ns;
    if (!delivery->told) {
        char text[400];
        (void)snprintf(text, sizeof text, "%s: retrying in %llu ms", outcome->text,
                       (unsigned long long)(wait_ns / 1000000u));
        report(delivery, 'w', text);
    }
    delivery->failing = delivery->told = true;
    sonde__delivery_remove(delivery, batch);
    sonde__delivery_insert(delivery, batch, false); /* behind the others: it may be the only one that fails */
}

static void outcome_reject(struct sonde__delivery *delivery, struct sonde__batch *batch, const char *why) {
    sonde__delivery_loss(delivery, batch->items, why);
    sonde__delivery_finish(delivery, batch, SONDE__FATE_REJECTED, 0);
}

static struct sonde__bisect *outcome_bisect(struct sonde__delivery *delivery, struct sonde__batch *batch) {
    if (!batch->bisect) {
        batch->bisect = sonde_alloc_new(&delivery->env.seams.alloc, sizeof *batch->bisect);
        if (batch->bisect)
            *batch->bisect = (struct sonde__bisect){
                .refs = 1, .requests_left = delivery->hopeless ? BISECT_REQUESTS_HOPELESS : BISECT_REQUESTS};
    }
    return batch->bisect;
}

static void outcome_split(struct sonde__delivery *delivery, struct sonde__batch *batch,
                          const struct sonde__outcome *outcome) {
    struct sonde__bisect *bisect = outcome_bisect(delivery, batch);
    struct sonde__batch *left = NULL, *right = NULL;
    int error = -ENOMEM;
    if (bisect) {
        bool found_nothing = !bisect->delivered && bisect->refused + 1 >= BISECT_REFUSALS;
        if (found_nothing)
            delivery->hopeless = true;
        if (found_nothing || bisect->requests_left < 2) {
            outcome_reject(delivery, batch, outcome->text);
            return;
        }
        error = sonde__batch_split(&delivery->env.seams.alloc, batch, &left, &right);
    }
    if (error == -ENOMEM) { /* sent, and refused, once more when there is memory */
        batch->not_before_ns = sonde__delivery_now(delivery) + SONDE__MEMORY_PAUSE_NS;
        return;
    }
    bisect->refused++;
    if (error) {
        outcome_reject(delivery, batch, outcome->text);
        return;
    }
    bisect->requests_left -= 2;
    bisect->refs += 2;
    left->bisect = right->bisect = bisect;
    left->state = right->state = SONDE__BATCH_READY;
    sonde__delivery_insert(delivery, right, true); /* depth first: the number of parts stays small */
    sonde__delivery_insert(delivery, left, true);
    sonde__delivery_finish(delivery, batch, SONDE__FATE_COUNT, 0);
}

static void outcome_too_large(struct sonde__delivery *delivery, const struct sonde__batch *batch) {
    size_t half = batch->size / 2 > BATCH_SIZE_MIN ? batch->size / 2 : BATCH_SIZE_MIN;
    if (delivery->batch_size > half)
        delivery->batch_size = half;
}

void sonde__delivery_done(struct sonde__delivery *delivery, struct sonde__batch *batch,
                          const struct sonde__outcome *outcome) {
    delivery->busy--;
    batch->state = SONDE__BATCH_READY;
    delivery->status.bytes_sent += outcome->bytes_sent;
    delivery->status.bytes_uncompressed += outcome->bytes_uncompressed;
    switch (outcome->answer) {
    case SONDE__ANSWER_DELIVERED:
        outcome_delivered(delivery, batch, outcome);
        break;
    case SONDE__ANSWER_RETRY:
        outcome_retry(delivery, batch, outcome);
        break;
    case SONDE__ANSWER_NO_MEMORY:
        sonde_breaker_cancel(delivery->guard.breaker, &batch->permit);
        batch->not_before_ns = sonde__delivery_now(delivery) + SONDE__MEMORY_PAUSE_NS;
        break;
    case SONDE__ANSWER_TOO_LARGE:
        outcome_too_large(delivery, batch);
        /* fall through */
    case SONDE__ANSWER_CONTENT:
        outcome_alive(delivery, batch, true);
        outcome_error(delivery, outcome->text);
        outcome_split(delivery, batch, outcome);
        break;
    case SONDE__ANSWER_FINAL:
        outcome_alive(delivery, batch, true);
        delivery->refusing = true;
        outcome_error(delivery, outcome->text);
        outcome_reject(delivery, batch, outcome->text);
        break;
    }
    delivery->status.requests_in_flight = delivery->busy;
    delivery->status.failing = delivery->failing || delivery->refusing || delivery->hopeless;
    if (delivery->env.wake)
        delivery->env.wake(delivery->env.wake_self);
}
