/* SPDX-License-Identifier: Apache-2.0 */
#include "exporters/delivery/parts.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>

void sonde__delivery_init(struct sonde__delivery *delivery, const struct sonde__delivery_options *options,
                          const struct sonde_exporter_env *env, const struct sonde__transport *transport) {
    *delivery = (struct sonde__delivery){.options = *options, .env = *env, .transport = *transport};
    sonde__guard_make(&delivery->guard, env->name, options->timeout_ns, options->retry_initial_ns,
                      options->retry_max_ns, &env->seams);
    delivery->batch_size = options->batch_size;
    sonde__window_init(&delivery->window, env);
}

void sonde__delivery_insert(struct sonde__delivery *delivery, struct sonde__batch *batch, bool front) {
    batch->previous = front ? NULL : delivery->last;
    batch->next = front ? delivery->first : NULL;
    *(batch->previous ? &batch->previous->next : &delivery->first) = batch;
    *(batch->next ? &batch->next->previous : &delivery->last) = batch;
    delivery->sealed++;
}

void sonde__delivery_remove(struct sonde__delivery *delivery, struct sonde__batch *batch) {
    *(batch->previous ? &batch->previous->next : &delivery->first) = batch->next;
    *(batch->next ? &batch->next->previous : &delivery->last) = batch->previous;
    delivery->sealed--;
}

static void batch_free(struct sonde__delivery *delivery, struct sonde__batch *batch) {
    if (batch->state == SONDE__BATCH_BUSY)
        sonde_breaker_cancel(delivery->guard.breaker, &batch->permit);
    if (batch->call.retry.index)
        sonde_retry_abandon(&batch->call);
    if (batch->attached)
        delivery->transport.discard(delivery->transport.self, batch);
    if (batch->bisect && --batch->bisect->refs == 0)
        sonde_alloc_free(&delivery->env.seams.alloc, batch->bisect);
    sonde__batch_destroy(&delivery->env.seams.alloc, batch);
}

/* SONDE__FATE_COUNT: the items have gone over to other batches. */
void sonde__delivery_finish(struct sonde__delivery *delivery, struct sonde__batch *batch, enum sonde__fate fate,
                            uint64_t refused) {
    for (uint32_t i = 0; i < batch->piece_count && fate != SONDE__FATE_COUNT; i++) {
        const struct sonde__piece *piece = &batch->pieces[i];
        uint32_t taken = refused < piece->count ? (uint32_t)refused : piece->count;
        refused -= taken;
        if (taken)
            sonde__window_settle(&delivery->window, piece->position, SONDE__FATE_REFUSED, taken);
        if (piece->count > taken)
            sonde__window_settle(&delivery->window, piece->position, fate, piece->count - taken);
    }
    sonde__delivery_remove(delivery, batch);
    batch_free(delivery, batch);
}

/* Asks the breaker; once per pause. */
static bool delivery_may(struct sonde__delivery *delivery, struct sonde__batch *batch, uint64_t now_ns) {
    uint64_t wait_ns;
    if (delivery->stopping) {
        sonde__guard_insist(&delivery->guard, &batch->call, &batch->permit);
        return true;
    }
    if (sonde__guard_admits(&delivery->guard, &batch->call, &batch->permit, &wait_ns))
        return true;
    delivery->pause_until_ns = now_ns + wait_ns;
    return false;
}

static void delivery_send(struct sonde__delivery *delivery, struct sonde__batch *batch, uint64_t now_ns) {
    uint64_t timeout_ns = delivery->options.timeout_ns;
    if (delivery->stopping && timeout_ns > SONDE__STOP_TIMEOUT_NS)
        timeout_ns = SONDE__STOP_TIMEOUT_NS;
    batch->sent_ns = now_ns;
    int error = delivery->transport.send(delivery->transport.self, batch, timeout_ns);
    if (error) {
        sonde_breaker_cancel(delivery->guard.breaker, &batch->permit);
        batch->not_before_ns = now_ns + SONDE__MEMORY_PAUSE_NS;
        delivery->status.request_errors++;
        (void)snprintf(delivery->status.last_error, sizeof delivery->status.last_error, "request not started: %s",
                       sonde_strerror(error));
        return;
    }
    batch->state = SONDE__BATCH_BUSY;
    delivery->busy++;
    delivery->status.requests++;
    delivery->status.requests_in_flight = delivery->busy;
    delivery->status.retries += batch->tried;
    batch->tried = true;
}

/* While the backend fails one request at a time asks whether it is back. */
static uint32_t delivery_places(const struct sonde__delivery *delivery) {
    return delivery->failing || !sonde__guard_is_closed(&delivery->guard) ? 1 : delivery->options.concurrency;
}

static void delivery_start(struct sonde__delivery *delivery, uint64_t now_ns) {
    if (now_ns < delivery->pause_until_ns)
        return;
    struct sonde__batch *next;
    for (struct sonde__batch *batch = delivery->first; batch; batch = next) {
        next = batch->next;
        if (delivery->busy >= delivery_places(delivery))
            return;
        if (batch->state != SONDE__BATCH_READY || batch->not_before_ns > now_ns)
            continue;
        if (!delivery_may(delivery, batch, now_ns))
            return;
        delivery_send(delivery, batch, now_ns);
    }
}

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static uint64_t delivery_next(const struct sonde__delivery *delivery, uint64_t now_ns) {
    uint64_t next_ns = UINT64_MAX;
    if (!sonde__delivery_is_full(delivery)) {
        for (uint32_t i = 0; i < SONDE__DELIVERY_OPEN_MAX; i++) {
            if (delivery->open[i] && delivery->open[i]->items)
                next_ns = earlier(next_ns, delivery->open[i]->opened_ns + delivery->options.batch_timeout_ns);
        }
        if (delivery->memory_until_ns > now_ns)
            next_ns = earlier(next_ns, delivery->memory_until_ns);
    }
    if (delivery->busy >= delivery_places(delivery))
        return next_ns;
    for (const struct sonde__batch *batch = delivery->first; batch; batch = batch->next) {
        if (batch->state != SONDE__BATCH_READY)
            continue;
        uint64_t at_ns =
            batch->not_before_ns > delivery->pause_until_ns ? batch->not_before_ns : delivery->pause_until_ns;
        next_ns = earlier(next_ns, at_ns);
    }
    return next_ns;
}

uint64_t sonde__delivery_run(struct sonde__delivery *delivery) {
    uint64_t now_ns = sonde__delivery_now(delivery);
    sonde__delivery_take(delivery, now_ns);
    delivery_start(delivery, now_ns);
    return earlier(delivery_next(delivery, now_ns), sonde__delivery_loss_due(delivery, now_ns));
}

void sonde__delivery_stop(struct sonde__delivery *delivery) {
    uint64_t soon_ns = sonde__delivery_now(delivery);
    delivery->stopping = true;
    delivery->pause_until_ns = delivery->memory_until_ns = 0;
    for (struct sonde__batch *batch = delivery->first; batch; batch = batch->next)
        batch->not_before_ns = earlier(batch->not_before_ns, soon_ns);
    if (delivery->env.wake)
        delivery->env.wake(delivery->env.wake_self);
}

bool sonde__delivery_is_idle(struct sonde__delivery *delivery) {
    struct sonde_record_view record;
    struct sonde_record_log *log = &delivery->env.log;
    return sonde__window_is_empty(&delivery->window) && delivery->busy == 0 &&
           !log->next(log->self, delivery->env.cursor, delivery->taken, &record);
}

void sonde__delivery_deinit(struct sonde__delivery *delivery) {
    struct sonde__batch *next;
    sonde__delivery_loss_tell(delivery);
    for (struct sonde__batch *batch = delivery->first; batch; batch = next) {
        next = batch->next;
        batch_free(delivery, batch);
    }
    for (uint32_t i = 0; i < SONDE__DELIVERY_OPEN_MAX; i++) {
        if (delivery->open[i])
            batch_free(delivery, delivery->open[i]);
        delivery->open[i] = NULL;
    }
    delivery->first = delivery->last = NULL;
    sonde__window_deinit(&delivery->window);
}
