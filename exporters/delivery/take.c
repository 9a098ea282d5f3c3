/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the cursor into batches. A request has one signal and one user, while the log has them mixed: a few batches
 * are open at once. The oldest is sealed when another is needed. */
#include "exporters/delivery/items.h"
#include "exporters/delivery/parts.h"
#include <errno.h>
#include <sonde/err.h>

bool sonde__delivery_is_full(const struct sonde__delivery *delivery) {
    /* Two more than can be sent: one to follow at once, one that waits out a pause of its own. */
    return delivery->sealed >= delivery->options.concurrency + 2;
}

static void take_seal(struct sonde__delivery *delivery, uint32_t index) {
    struct sonde__batch *batch = delivery->open[index];
    delivery->open[index] = NULL;
    if (batch->items == 0) { /* made, but there was no memory to fill it: no empty requests */
        sonde__batch_destroy(&delivery->env.seams.alloc, batch);
        return;
    }
    batch->state = SONDE__BATCH_READY;
    sonde__delivery_insert(delivery, batch, false);
}

/* The open batch for a signal and user, made when there is none. Returns its index or -ENOMEM. */
static int take_find(struct sonde__delivery *delivery, const struct sonde_record_view *record, uint64_t now_ns) {
    uint32_t free_index = SONDE__DELIVERY_OPEN_MAX, oldest = 0;
    for (uint32_t i = 0; i < SONDE__DELIVERY_OPEN_MAX; i++) {
        const struct sonde__batch *batch = delivery->open[i];
        if (!batch) {
            free_index = free_index < i ? free_index : i;
            continue;
        }
        if (batch->signal == record->signal && batch->uid == record->uid)
            return (int)i;
        if (!delivery->open[oldest] || batch->opened_ns < delivery->open[oldest]->opened_ns)
            oldest = i;
    }
    struct sonde__batch *batch = sonde__batch_create(&delivery->env.seams.alloc, record->signal, record->uid);
    if (!batch)
        return -ENOMEM;
    batch->opened_ns = now_ns;
    if (free_index == SONDE__DELIVERY_OPEN_MAX) {
        take_seal(delivery, oldest);
        free_index = oldest;
    }
    delivery->open[free_index] = batch;
    return (int)free_index;
}

/* Drops what cannot be cut into pieces that fit: one item over the limit, or bytes without items. */
static void take_drop(struct sonde__delivery *delivery, size_t size, uint32_t count) {
    struct sonde__delivery_rest *rest = &delivery->rest;
    rest->data.data += size;
    rest->data.size -= size;
    rest->count -= count;
    sonde__window_settle(&delivery->window, rest->position, SONDE__FATE_TOO_BIG, count);
    sonde__delivery_loss(delivery, count, "larger than a request may be");
}

/* How much of the rest fits into an empty batch. Returns false when something had to be dropped instead. */
static bool take_measure(struct sonde__delivery *delivery, size_t overhead, size_t *ret_size, uint32_t *ret_count) {
    struct sonde__delivery_rest *rest = &delivery->rest;
    size_t room = delivery->options.batch_size_max > overhead ? delivery->options.batch_size_max - overhead : 0;
    if (rest->data.size <= room) {
        *ret_size = rest->data.size;
        *ret_count = rest->count;
        return true;
    }
    if (sonde__items_cut(rest->data, rest->count, room, ret_size, ret_count) != 0) {
        take_drop(delivery, rest->data.size, rest->count);
        return false;
    }
    if (*ret_count == 0) {
        size_t item = sonde__item_size(rest->data);
        bool last = item == rest->data.size || rest->count == 1;
        take_drop(delivery, last ? rest->data.size : item, last ? rest->count : 1);
        return false;
    }
    if (*ret_count == rest->count) /* bytes behind the last item that are none: they go with nobody */
        rest->data.size = *ret_size;
    return true;
}

/* Puts the rest (at first: all) of one record into batches. Returns 0, -ENOMEM (later again), SONDE_EFULL (seal first).
 */
static int take_rest(struct sonde__delivery *delivery, uint64_t now_ns) {
    struct sonde__delivery_rest *rest = &delivery->rest;
    while (rest->count > 0) {
        if (sonde__delivery_is_full(delivery))
            return SONDE_EFULL;
        size_t size;
        uint32_t count;
        size_t overhead = rest->record.resource.size + rest->record.scope.size + rest->record.schema_url.size + 64;
        if (!take_measure(delivery, overhead, &size, &count))
            continue;
        int index = take_find(delivery, &rest->record, now_ns);
        if (index < 0)
            return index;
        struct sonde__batch *batch = delivery->open[index];
        if (batch->items &&
            batch->size + sonde__batch_growth(batch, &rest->record, size) > delivery->options.batch_size_max) {
            take_seal(delivery, (uint32_t)index);
            continue;
        }
        struct sonde_bytes data = {rest->data.data, size};
        int error = sonde__batch_add(&delivery->env.seams.alloc, batch, &rest->record, data, count, rest->position);
        if (error == SONDE_EFULL) {
            take_seal(delivery, (uint32_t)index);
            continue;
        }
        if (error)
            return error;
        rest->data.data += size;
        rest->data.size -= size;
        rest->count -= count;
        if (batch->size >= delivery->batch_size || batch->items >= delivery->options.batch_items)
            take_seal(delivery, (uint32_t)index);
    }
    return 0;
}

static void take_seal_old(struct sonde__delivery *delivery, uint64_t now_ns) {
    for (uint32_t i = 0; i < SONDE__DELIVERY_OPEN_MAX; i++) {
        struct sonde__batch *batch = delivery->open[i];
        if (!batch || sonde__delivery_is_full(delivery))
            continue;
        if (batch->items && (delivery->stopping || now_ns - batch->opened_ns >= delivery->options.batch_timeout_ns))
            take_seal(delivery, i);
    }
}

void sonde__delivery_take(struct sonde__delivery *delivery, uint64_t now_ns) {
    struct sonde_record_view record;
    struct sonde_record_log *log = &delivery->env.log;
    int error = now_ns < delivery->memory_until_ns ? -ENOMEM : take_rest(delivery, now_ns);
    while (!error && !sonde__delivery_is_full(delivery) &&
           log->next(log->self, delivery->env.cursor, delivery->taken, &record)) {
        error = sonde__window_reserve(&delivery->window);
        if (error)
            break;
        delivery->taken = record.sequence;
        uint64_t position = sonde__window_add(&delivery->window, &record);
        delivery->rest = (struct sonde__delivery_rest){record, record.data, record.count, position};
        error = take_rest(delivery, now_ns);
    }
    if (error == -ENOMEM && now_ns >= delivery->memory_until_ns)
        delivery->memory_until_ns = now_ns + SONDE__MEMORY_PAUSE_NS;
    take_seal_old(delivery, now_ns);
}
