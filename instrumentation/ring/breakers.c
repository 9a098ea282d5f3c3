/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/ring/breakers.h"
#include "instrumentation/ring/process.h"
#include <pthread.h>
#include <unistd.h>

#define CELL_WORDS (SONDE__BREAKER_CELL_SIZE / sizeof(uint64_t))

static struct sonde__breaker_place nowhere; /* no breaker yet; or no page that is wiped, then the place for good */
struct sonde__breaker_place *_Atomic sonde__breaker_place = &nowhere;

/* Under the registry's lock. A child has them as they were at its fork. */
static uint8_t *private_memory; /* NULL = no breaker yet */
static uint8_t *last;           /* where the cells are, or were before a fork */
static uint32_t made;
static void (*told_forked)(uint8_t *cells, uint32_t count);
static uint32_t snapshots; /* forks under way whose child finds its cells in private memory */

static _Atomic uint64_t *words_of(uint8_t *cells) {
    return (_Atomic uint64_t *)(void *)cells;
}

static void copy(uint8_t *to, uint8_t *from, uint32_t count) {
    for (size_t i = 0; i < count * CELL_WORDS; i++)
        atomic_store_explicit(&words_of(to)[i], atomic_load_explicit(&words_of(from)[i], memory_order_relaxed),
                              memory_order_relaxed);
}

/* Copies and re-points. The first word of a cell is its state: one that changed after it was copied is brought behind,
 * unless somebody changed the new one meanwhile. */
static void move(struct sonde__breaker_place *place, uint8_t *to) {
    uint64_t before[SONDE_BREAKERS_MAX];
    uint8_t *from = last;
    copy(to, from, made);
    for (uint32_t i = 0; i < made; i++)
        before[i] = atomic_load_explicit(&words_of(to)[i * CELL_WORDS], memory_order_relaxed);
    atomic_store_explicit(&place->cells, to, memory_order_seq_cst);
    for (uint32_t i = 0; i < made; i++) {
        uint64_t now = atomic_load(&words_of(from)[i * CELL_WORDS]), seen = before[i];
        if (now != seen)
            (void)atomic_compare_exchange_strong(&words_of(to)[i * CELL_WORDS], &seen, now);
    }
    last = to;
}

/* What the child of this fork shall find: its parent goes on in shared memory. */
static void fork_prepare(void) {
    sonde__lock_take(&sonde__registry.lock);
    const struct sonde__breaker_place *place = atomic_load(&sonde__breaker_place);
    if (atomic_load(&place->count) && last != private_memory)
        copy(private_memory, last, made);
    snapshots++;
    sonde__lock_release(&sonde__registry.lock);
}
static void fork_parent(void) {
    sonde__lock_take(&sonde__registry.lock);
    snapshots--;
    sonde__lock_release(&sonde__registry.lock);
}

static uint8_t *memory_of_process(void) {
    struct sonde__registry *r = &sonde__registry;
    return sonde__process_is_current() && r->pid == (uint32_t)getpid() ? r->process.base : NULL;
}

/* The first breaker. */
static void begin(uint8_t *private_cells) {
    struct sonde__breaker_place *place = sonde__pages_create(SONDE__PAGE);
    uint8_t *memory = memory_of_process();
    private_memory = private_cells;
    last = place && memory ? memory + SONDE__BREAKERS_AT : private_cells;
    (void)pthread_atfork(fork_prepare, fork_parent, NULL); /* refused: a child copies what its parent has by then */
    if (!place)
        place = &nowhere; /* private cells are a child's own anyway */
    atomic_store_explicit(&place->cells, last, memory_order_release);
    atomic_store_explicit(&sonde__breaker_place, place, memory_order_release);
}

/* In a forked child: the cells are its own private ones now. */
static void settle(struct sonde__breaker_place *place) {
    if (atomic_load(&place->cells))
        return;
    if (!snapshots && last != private_memory) /* forked behind our back */
        copy(private_memory, last, made);
    snapshots = 0;
    last = private_memory;
    told_forked(last, made);
    atomic_store_explicit(&place->cells, last, memory_order_release);
    atomic_store_explicit(&place->count, made, memory_order_release);
}

uint8_t *sonde__breakers_lock(uint8_t *private_cells, void (*forked)(uint8_t *cells, uint32_t count)) {
    sonde__lock_take(&sonde__registry.lock);
    told_forked = forked;
    if (!private_memory)
        begin(private_cells);
    settle(atomic_load(&sonde__breaker_place));
    return last;
}

void sonde__breakers_publish(uint32_t count) {
    made = count;
    uint8_t *memory = memory_of_process();
    if (memory && last == memory + SONDE__BREAKERS_AT)
        atomic_store_explicit(&((struct sonde__process *)(void *)memory)->breakers, count, memory_order_release);
    atomic_store_explicit(&atomic_load(&sonde__breaker_place)->count, count, memory_order_release);
}

void sonde__breakers_unlock(void) {
    sonde__lock_release(&sonde__registry.lock);
}

void sonde__breakers_carry(uint8_t *memory) {
    struct sonde__breaker_place *place = atomic_load(&sonde__breaker_place);
    if (!private_memory || place == &nowhere)
        return;
    settle(place);
    uint8_t *to = memory ? memory + SONDE__BREAKERS_AT : private_memory;
    if (to == last)
        return;
    move(place, to);
    if (memory)
        atomic_store_explicit(&((struct sonde__process *)(void *)memory)->breakers, made, memory_order_release);
}
