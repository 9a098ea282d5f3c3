/* SPDX-License-Identifier: Apache-2.0 */
/* A look-up costs a hash, two cache lines fetched at once, and the coarse clock. There is a line of three slots for each
 * id of the capacity: with two lines to choose from hardly ever both are full. The work is the same whatever ids come. */
#include "instrumentation/resilience/dedup.h"
#include "instrumentation/context/monotonic.h"
#include "instrumentation/resilience/idempotency.h"
#include "instrumentation/resilience/siphash.h"
#include "instrumentation/resilience/table.h"
#include "instrumentation/ring/fd.h"
#include "instrumentation/ring/memory.h"
#include <errno.h>
#include <sonde/err.h>
#include <sys/mman.h>

#define CAPACITY_MAX (1u << 24)
#define MS           1000000u
#define TIME_MAX     ((UINT64_C(1) << 38) - 1) /* ms of the clock: eight years */
#define SPINS_MAX    2000u                     /* of some 50 ns */

enum { EMPTY = 0, IN_FLIGHT, DONE };
#define WHAT(state)  ((unsigned)((state) >> 62))
#define CLAIM(state) ((uint32_t)((state) >> 38) & 0xFFFFFFu)
#define UNTIL(state) ((state)&TIME_MAX)
static uint64_t state_make(unsigned what, uint32_t claim, uint64_t until) {
    return (uint64_t)what << 62 | (uint64_t)(claim & 0xFFFFFFu) << 38 | (until < TIME_MAX ? until : TIME_MAX);
}

static struct dedup {
    char name[SONDE__KIT_NAME_SIZE_MAX + 1];
    struct sonde__dedup_line *lines;
    uint32_t line_count;
    uint64_t key[2], ttl_ms, in_flight_ms;
    uint64_t (*clock)(void *user);
    void *user;
    struct sonde_series results[SONDE_IDEMPOTENCY_RESULT_COUNT], evicted;
} dedups[SONDE_DEDUPS_MAX];
static struct sonde__kit_table table = {
    .capacity = SONDE_DEDUPS_MAX, .element_size = sizeof dedups[0], .elements = dedups};

/* ---- making ---- */

struct making {
    const struct sonde_dedup_options *options;
    struct sonde__dedup_line *lines; /* NULL once taken */
    uint32_t line_count;
};

static uint64_t to_ms(uint64_t ns) {
    return ns / MS + (ns % MS != 0);
}

static void fill(void *at, const void *user) {
    struct dedup *dedup = at;
    struct making *making = *(struct making *const *)user;
    const struct sonde_dedup_options *o = making->options;
    dedup->lines = making->lines;
    dedup->line_count = making->line_count;
    making->lines = NULL;
    sonde__random_fill(dedup->key, sizeof dedup->key);
    dedup->ttl_ms = to_ms(o->ttl_ns ? o->ttl_ns : UINT64_C(600000) * MS);
    dedup->in_flight_ms = to_ms(o->in_flight_ns ? o->in_flight_ns : UINT64_C(60000) * MS);
    dedup->clock = o->clock;
    dedup->user = o->user;
    sonde__kit_series(SONDE__RESILIENCE_IDEMPOTENCY, "sonde.resilience.name", dedup->name, "sonde.idempotency.result",
                      sonde__idempotency_texts(), SONDE_IDEMPOTENCY_RESULT_COUNT, dedup->results);
    const struct sonde_attribute name = sonde_attribute_string(SONDE_KEY("sonde.resilience.name"), dedup->name);
    dedup->evicted = sonde_series_bind(sonde__resilience_instrument(SONDE__RESILIENCE_IDEMPOTENCY_EVICTED), &name, 1);
}

int sonde_dedup_create(const struct sonde_dedup_options *options, struct sonde_dedup *ret_dedup) {
    struct sonde_dedup_options o = SONDE_DEDUP_OPTIONS_INIT;
    memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    ret_dedup->index = 0;
    o.capacity = o.capacity ? o.capacity : 100000;
    if (o.capacity > CAPACITY_MAX)
        return SONDE_EINVALID;
    struct making making = {&o, NULL, o.capacity}, *user = &making;
    const size_t size = making.line_count * sizeof *making.lines;
    making.lines = sonde__pages_create(size);
    if (!making.lines)
        return -ENOMEM;
    int error = sonde__kit_find_or_make(&table, o.name, fill, &user, &ret_dedup->index);
    if (making.lines)
        (void)munmap(making.lines, size);
    return error;
}

struct sonde__dedup_line *sonde__dedup_lines(struct sonde_dedup dedup, uint32_t *ret_count) {
    const struct dedup *d = sonde__kit_get(&table, dedup.index);
    *ret_count = d ? d->line_count : 0;
    return d ? d->lines : NULL;
}
void sonde__dedup_key_set(struct sonde_dedup dedup, const uint64_t key[2]) {
    struct dedup *d = sonde__kit_get(&table, dedup.index);
    if (d)
        memcpy(d->key, key, sizeof d->key);
}

/* ---- looking ---- */

static uint64_t now_ms(const struct dedup *dedup) {
    return sonde__monotonic_coarse_by(dedup->clock, dedup->user) / MS;
}

static bool is_free(uint64_t state, uint64_t now) {
    return WHAT(state) == EMPTY || UNTIL(state) <= now;
}

static enum sonde_idempotency_result judge(uint64_t state, uint32_t kept, uint32_t given) {
    if (kept && given && kept != given)
        return SONDE_IDEMPOTENCY_CONFLICT;
    return WHAT(state) == DONE ? SONDE_IDEMPOTENCY_REPLAY : SONDE_IDEMPOTENCY_IN_FLIGHT;
}

/* A known id, without the lock. FIRST: it is not in this line, or the line was being changed. */
static enum sonde_idempotency_result look_at(struct sonde__dedup_line *line, uint64_t tag, uint32_t print,
                                             uint64_t now) {
    uint32_t before = atomic_load_explicit(&line->lock, memory_order_acquire);
    for (uint32_t i = 0; i < SONDE__DEDUP_WAYS; i++) {
        if (atomic_load_explicit(&line->tags[i], memory_order_relaxed) != tag)
            continue;
        uint64_t state = atomic_load_explicit(&line->states[i], memory_order_relaxed);
        uint32_t kept = atomic_load_explicit(&line->prints[i], memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire); /* the three belong together if nobody was there meanwhile */
        if ((before & 1) || atomic_load_explicit(&line->lock, memory_order_relaxed) != before || is_free(state, now))
            return SONDE_IDEMPOTENCY_FIRST;
        return judge(state, kept, print);
    }
    return SONDE_IDEMPOTENCY_FIRST;
}
/* One after the other: the first one has most ids, and then nothing waits for the second one. (Comparing all tags at
 * once was measured slower by a tenth.) */
static enum sonde_idempotency_result look(struct sonde__dedup_line *const lines[2], uint64_t tag, uint32_t print,
                                          uint64_t now) {
    enum sonde_idempotency_result result = look_at(lines[0], tag, print, now);
    return result == SONDE_IDEMPOTENCY_FIRST ? look_at(lines[1], tag, print, now) : result;
}

/* ---- changing ---- */

static bool lock(struct sonde__dedup_line *line) {
    for (uint32_t i = 0; i < SPINS_MAX; i++) {
        uint32_t word = atomic_load_explicit(&line->lock, memory_order_relaxed);
        if (!(word & 1) && atomic_compare_exchange_weak_explicit(&line->lock, &word, word + 1, memory_order_acquire,
                                                                 memory_order_relaxed)) {
            atomic_thread_fence(memory_order_release); /* who sees a change sees that the lock was taken */
            return true;
        }
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
    return false;
}
static void unlock(struct sonde__dedup_line *line) {
    uint32_t word = atomic_load_explicit(&line->lock, memory_order_relaxed); /* nobody else changes it now */
    atomic_store_explicit(&line->lock, word + 1, memory_order_release);
}

/* Both, always in the order of memory. */
static bool lock_two(struct sonde__dedup_line *a, struct sonde__dedup_line *b) {
    struct sonde__dedup_line *first = a < b ? a : b, *second = a < b ? b : a;
    if (!lock(first))
        return false;
    if (first == second || lock(second))
        return true;
    unlock(first);
    return false;
}
static void unlock_two(struct sonde__dedup_line *a, struct sonde__dedup_line *b) {
    unlock(a);
    if (a != b)
        unlock(b);
}

struct slot {
    struct sonde__dedup_line *line;
    uint32_t i;
    uint64_t state;
};

/* The slot that goes first: free ones, then done ones, then those in flight; the oldest of each. */
static uint64_t worth(uint64_t state, uint64_t now) {
    if (is_free(state, now))
        return 0;
    return WHAT(state) == DONE ? UNTIL(state) : TIME_MAX + UNTIL(state);
}
static struct slot choose(struct sonde__dedup_line *const lines[2], uint64_t now) {
    struct slot best[2];
    uint32_t free_count[2] = {0, 0};
    for (int k = 0; k < 2; k++) {
        for (uint32_t i = 0; i < SONDE__DEDUP_WAYS; i++) {
            uint64_t state = atomic_load_explicit(&lines[k]->states[i], memory_order_relaxed);
            free_count[k] += is_free(state, now);
            if (i == 0 || worth(state, now) < worth(best[k].state, now))
                best[k] = (struct slot){lines[k], i, state};
        }
    }
    if (free_count[0] || free_count[1])
        return best[free_count[1] > free_count[0]];
    return best[worth(best[1].state, now) < worth(best[0].state, now)];
}

/* Under both locks: where the id lies, expired or not; or where it shall. */
static struct slot find(struct sonde__dedup_line *const lines[2], uint64_t tag, uint64_t now, bool *ret_is_known) {
    for (int k = 0; k < 2; k++)
        for (uint32_t i = 0; i < SONDE__DEDUP_WAYS; i++) {
            uint64_t state = atomic_load_explicit(&lines[k]->states[i], memory_order_acquire);
            if (WHAT(state) != EMPTY && atomic_load_explicit(&lines[k]->tags[i], memory_order_relaxed) == tag) {
                *ret_is_known = true;
                return (struct slot){lines[k], i, state};
            }
        }
    *ret_is_known = false;
    return choose(lines, now);
}

/* The rare way: an id that is not known, or whose line was being changed. */
static enum sonde_idempotency_result take(struct dedup *dedup, struct sonde__dedup_line *const lines[2], uint64_t tag,
                                          uint32_t print, struct sonde_dedup_ticket *ret_ticket) {
    const uint64_t now = now_ms(dedup);
    enum sonde_idempotency_result result = SONDE_IDEMPOTENCY_FIRST;
    struct slot slot;
    bool is_known, is_taken = false;
    if (!lock_two(lines[0], lines[1]))
        return SONDE_IDEMPOTENCY_IN_FLIGHT;
    while (!is_taken) { /* again when a done or forget came between, of which there is one at most for each slot */
        slot = find(lines, tag, now, &is_known);
        if (is_known && !is_free(slot.state, now)) {
            result = judge(slot.state, atomic_load_explicit(&slot.line->prints[slot.i], memory_order_relaxed), print);
            break;
        }
        is_taken = atomic_compare_exchange_strong(&slot.line->states[slot.i], &slot.state,
                                                  state_make(EMPTY, CLAIM(slot.state) + 1, 0));
    }
    if (is_taken) {
        uint32_t claim = (CLAIM(slot.state) + 1) & 0xFFFFFFu;
        if (!is_free(slot.state, now))
            sonde_counter_add(dedup->evicted, 1);
        atomic_store_explicit(&slot.line->tags[slot.i], tag, memory_order_relaxed);
        atomic_store_explicit(&slot.line->prints[slot.i], print, memory_order_relaxed);
        atomic_store_explicit(&slot.line->states[slot.i], state_make(IN_FLIGHT, claim, now + dedup->in_flight_ms),
                              memory_order_release);
        ret_ticket->line = (uint32_t)(slot.line - dedup->lines);
        ret_ticket->slot = slot.i;
        ret_ticket->claim = claim;
    }
    unlock_two(lines[0], lines[1]);
    return result;
}

enum sonde_idempotency_result sonde_dedup_begin(struct sonde_dedup dedup, struct sonde_string id, uint64_t fingerprint,
                                                struct sonde_dedup_ticket *ret_ticket) {
    struct dedup *d = sonde__kit_get(&table, dedup.index);
    uint64_t hash[2];
    *ret_ticket = (struct sonde_dedup_ticket){.dedup.index = 0};
    if (!d)
        return SONDE_IDEMPOTENCY_FIRST;
    sonde__siphash(d->key, id.data, id.size, hash);
    const struct sonde__dedup_place place = sonde__dedup_place(hash, d->line_count);
    struct sonde__dedup_line *const lines[2] = {&d->lines[place.lines[0]], &d->lines[place.lines[1]]};
    __builtin_prefetch(lines[0]);
    __builtin_prefetch(lines[1]);
    uint32_t print = (uint32_t)fingerprint;
    print = fingerprint && !print ? 1 : print;
    const uint64_t now = now_ms(d);
    enum sonde_idempotency_result result = look(lines, place.tag, print, now);
    if (result == SONDE_IDEMPOTENCY_FIRST)
        result = take(d, lines, place.tag, print, ret_ticket);
    if (result == SONDE_IDEMPOTENCY_FIRST)
        ret_ticket->dedup = dedup;
    sonde_counter_add(d->results[result], 1);
    return result;
}

/* In flight by this ticket becomes something else. */
static bool move(const struct sonde_dedup_ticket *ticket, unsigned what) {
    struct dedup *d = sonde__kit_get(&table, ticket->dedup.index);
    if (!d)
        return true;
    if (ticket->line >= d->line_count || ticket->slot >= SONDE__DEDUP_WAYS)
        return false;
    _Atomic uint64_t *word = &d->lines[ticket->line].states[ticket->slot];
    uint64_t state = atomic_load_explicit(word, memory_order_relaxed);
    if (WHAT(state) != IN_FLIGHT || CLAIM(state) != ticket->claim)
        return false;
    uint64_t until = what == DONE ? now_ms(d) + d->ttl_ms : 0;
    return atomic_compare_exchange_strong(word, &state, state_make(what, ticket->claim, until));
}

bool sonde_dedup_done(const struct sonde_dedup_ticket *ticket) {
    return move(ticket, DONE);
}
bool sonde_dedup_forget(const struct sonde_dedup_ticket *ticket) {
    return move(ticket, EMPTY);
}
