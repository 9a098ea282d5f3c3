/* SPDX-License-Identifier: Apache-2.0 */
/* The descriptor log: what scopes, instruments and series are, each told once. */
#include "instrumentation/ring/process.h"

#include <sonde/err.h>
#include <string.h>

static struct sonde__lock lock;
/* Ours, not the shared words: a forked child carries over what was described when it was made, while its parent goes
 * on describing in the same memory. */
static uint64_t described_size;
static uint32_t described_series;

static void publish(struct sonde__process *page) {
    atomic_store_explicit(&page->series_count, described_series, memory_order_release);
    atomic_store_explicit(&page->descriptors_head, described_size, memory_order_release);
}

int sonde__descriptor_append(enum sonde__descriptor_type type, uint32_t index, const void *body, uint32_t body_size,
                             const void *extra, uint32_t extra_size) {
    if (body_size > SONDE__DESCRIPTORS_SIZE || extra_size > SONDE__DESCRIPTORS_SIZE)
        return SONDE_EFULL;
    const uint64_t size = (sizeof(struct sonde__descriptor) + body_size + extra_size + 7u) & ~(uint64_t)7u;
    struct sonde__process *page = sonde__process_get(); /* before the lock: it may begin the process */
    int error = 0;
    sonde__lock_take(&lock);
    if (page)
        page = atomic_load_explicit(&sonde__process_page, memory_order_acquire);
    if (!page) {
        error = SONDE_EDISABLED;
    } else if (size > SONDE__DESCRIPTORS_SIZE - described_size) {
        error = SONDE_EFULL;
    } else {
        uint8_t *at = (uint8_t *)page + SONDE__DESCRIPTORS_AT + described_size;
        struct sonde__descriptor head = {.size = (uint32_t)size,
                                         .type = (uint16_t)type,
                                         .index = (uint16_t)index,
                                         .body_size = body_size,
                                         .extra_size = extra_size};
        memcpy(at, &head, sizeof head);
        if (body_size)
            memcpy(at + sizeof head, body, body_size);
        if (extra_size)
            memcpy(at + sizeof head + body_size, extra, extra_size);
        described_size += size;
        described_series += type == SONDE__DESCRIPTOR_SERIES;
        publish(page);
    }
    sonde__lock_release(&lock);
    return error;
}

void sonde__descriptors_carry(const uint8_t *previous) {
    sonde__lock_take(&lock);
    struct sonde__process *page = (struct sonde__process *)sonde__registry.process.base;
    if (previous && described_size)
        memcpy((uint8_t *)page + SONDE__DESCRIPTORS_AT, previous + SONDE__DESCRIPTORS_AT, described_size);
    else
        described_size = described_series = 0;
    publish(page);
    /* still under the lock: the next append must go to the new page */
    atomic_store_explicit(&sonde__process_page, page, memory_order_release);
    sonde__lock_release(&lock);
}
