/* SPDX-License-Identifier: Apache-2.0 */
/* Observable instruments: who is to be asked, and what becomes of what they report.
 *
 *   callback -> staged, until it returns -> shared cells, `set`        not reported in a round -> not `set`
 *
 * Staged, so that a callback that takes long, or is taken apart by a reader's deadline, shows all of its values or the
 * old ones. Sums of several sets that share a series are put into the cell at the end of the round: a total that grows
 * from nothing while somebody reads would look like a restart.
 * The lock is never held while a callback runs. What the callbacks' thread alone touches needs none: marked so. */
#include "instrumentation/context/clock.h"
#include "instrumentation/link/puller.h"
#include "instrumentation/metric/measure.h"
#include "instrumentation/ring/process.h"
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <sonde/err.h>
#include <stdlib.h>
#include <unistd.h>

struct registration {
    _Atomic uint32_t generation; /* odd: to be called. Changes when it begins and when it ends */
    bool taken;                  /* until the last call has returned */
    sonde_observe_fn callback;
    void *user;
    uint32_t *instruments; /* owned */
    size_t instrument_count;
};

/* What is known of a series that was ever reported. */
struct observed {
    uint64_t staged;     /* callbacks' thread: by the call at hand */
    uint32_t staged_in;  /* callbacks' thread: number of that call */
    uint32_t round;      /* in which it was reported last */
    uint64_t value;      /* of that round */
    uint16_t instrument; /* 0 = never reported */
    bool is_sum;         /* several sets share it, and it is a counter's: they are added up */
    bool is_set;         /* its cell says so */
};

struct sonde_observer {
    _Atomic uintptr_t thread; /* whose callback runs, 0 = none: who keeps an observer does no harm */
    struct registration *registration;
    uint32_t generation, call;
    uint32_t staged_count;
    struct {
        uint16_t series, instrument;
    } staged[SONDE_SERIES_MAX];
};

static struct sonde__lock observe_lock;
static struct registration registrations[SONDE_OBSERVABLES_MAX];
static struct observed observed[SONDE_SERIES_MAX];
static uint32_t observed_max; /* highest series number in use */
static uint32_t round_number;
static struct sonde_observer observer;
static const struct registration *_Atomic running; /* in whose callback the thread is */
static _Atomic uint32_t running_pid;               /* else it is of the parent, before fork() */
static _Atomic uint32_t returns;                   /* futex word: a callback returned */

/* ---- reporting: the callbacks' thread ---- */

static uint64_t sum_of(uint64_t a, uint64_t b, uint32_t instrument) {
    if (sonde__instrument_cell_kind(instrument) == SONDE__CELL_OBSERVED_DOUBLE)
        return sonde__bits_of(sonde__double_of(a) + sonde__double_of(b));
    return a + b;
}

/* May the callback that runs here report this? */
static bool may_report(const struct sonde_observer *to, uint32_t instrument) {
    if (to != &observer || atomic_load(&observer.thread) != (uintptr_t)pthread_self() ||
        atomic_load(&observer.registration->generation) != observer.generation)
        return false;
    for (size_t i = 0; i < observer.registration->instrument_count; i++)
        if (observer.registration->instruments[i] == instrument)
            return true;
    return false;
}

/* Do several sets of attributes share the series, and add up? */
static bool is_sum(uint32_t instrument, uint32_t series) {
    const struct sonde_view_options *view = sonde__instrument_view(instrument);
    return sonde__instrument_kind(instrument) != SONDE_OBSERVABLE_GAUGE &&
           (sonde__series_is_overflow(series) || (view && (view->keep_key_count || view->drop_key_count)));
}

static void stage(uint32_t instrument, uint32_t series, uint64_t bits) {
    struct observed *of = &observed[series];
    if (of->staged_in != observer.call) {
        observer.staged[observer.staged_count].series = (uint16_t)series;
        observer.staged[observer.staged_count++].instrument = (uint16_t)instrument;
        of->staged_in = observer.call;
        of->staged = bits;
    } else {
        of->staged = is_sum(instrument, series) ? sum_of(of->staged, bits, instrument) : bits;
    }
}

static void report(const struct sonde_observer *to, struct sonde_instrument instrument, enum sonde__cell_kind kind,
                   uint64_t bits, const struct sonde_attribute *attributes, size_t count) {
    struct sonde__thread *thread = may_report(to, instrument.index) ? sonde__thread_enter() : NULL;
    if (!thread) {
        sonde__observation_dropped();
        return;
    }
    uint32_t series =
        sonde__attributes_series(instrument.index, kind, attributes, count).index & (SONDE_SERIES_MAX - 1u);
    if (series)
        stage(instrument.index, series, bits);
    else
        sonde__observation_dropped();
    sonde__thread_leave(thread);
}

void sonde_observer_set_double(struct sonde_observer *to, struct sonde_instrument instrument, double value,
                               const struct sonde_attribute *attributes, size_t attribute_count) {
    if (!instrument.index)
        return;
    enum sonde__cell_kind kind = sonde__instrument_cell_kind(instrument.index);
    if (kind != SONDE__CELL_OBSERVED_DOUBLE || !isfinite(value) ||
        (value < 0 && sonde__instrument_kind(instrument.index) == SONDE_OBSERVABLE_COUNTER))
        sonde__observation_dropped();
    else
        report(to, instrument, kind, sonde__bits_of(value), attributes, attribute_count);
}

void sonde_observer_set(struct sonde_observer *to, struct sonde_instrument instrument, int64_t value,
                        const struct sonde_attribute *attributes, size_t attribute_count) {
    if (!instrument.index)
        return;
    enum sonde__cell_kind kind = sonde__instrument_cell_kind(instrument.index);
    if (kind == SONDE__CELL_OBSERVED_DOUBLE)
        sonde_observer_set_double(to, instrument, (double)value, attributes, attribute_count);
    else if (kind != SONDE__CELL_OBSERVED_INT64 ||
             (value < 0 && sonde__instrument_kind(instrument.index) == SONDE_OBSERVABLE_COUNTER))
        sonde__observation_dropped();
    else
        report(to, instrument, kind, (uint64_t)value, attributes, attribute_count);
}

/* ---- rounds: the callbacks' thread, under the lock ---- */

static void show(uint32_t series) {
    observed[series].is_set = true;
    sonde__shared_set(series, observed[series].value);
}

/* Takes over what a call reported. */
static void commit(void) {
    for (uint32_t i = 0; i < observer.staged_count; i++) {
        uint32_t series = observer.staged[i].series;
        struct observed *of = &observed[series];
        if (series > observed_max)
            observed_max = series;
        of->instrument = observer.staged[i].instrument;
        of->is_sum = is_sum(of->instrument, series);
        of->value =
            of->is_sum && of->round == round_number ? sum_of(of->value, of->staged, of->instrument) : of->staged;
        of->round = round_number;
        if (!of->is_sum)
            show(series);
    }
}

/* The end of a round: sums are whole now, and what nobody reported goes. */
static void finish(void) {
    for (uint32_t series = 1; series <= observed_max; series++) {
        struct observed *of = &observed[series];
        if (of->instrument && of->round == round_number) {
            if (of->is_sum)
                show(series);
        } else if (of->is_set) {
            of->is_set = false;
            sonde__shared_unset(series);
        }
    }
}

static void call(struct registration *registration) {
    sonde__lock_take(&observe_lock);
    uint32_t generation = atomic_load(&registration->generation);
    sonde_observe_fn callback = registration->callback;
    void *user = registration->user;
    bool wanted = generation % 2u == 1 && !sonde__puller_is_stopped();
    if (wanted) {
        atomic_store(&running_pid, (uint32_t)getpid());
        atomic_store(&running, registration);
    }
    sonde__lock_release(&observe_lock);
    if (!wanted)
        return;
    observer.registration = registration;
    observer.generation = generation;
    observer.call++;
    observer.staged_count = 0;
    atomic_store(&observer.thread, (uintptr_t)pthread_self());
    callback(&observer, user);
    atomic_store(&observer.thread, 0);
    sonde__lock_take(&observe_lock);
    if (atomic_load(&registration->generation) == generation) /* it was not ended meanwhile */
        commit();
    atomic_store(&running, NULL);
    sonde__lock_release(&observe_lock);
    atomic_fetch_add(&returns, 1);
    sonde__futex_wake(&returns, INT_MAX);
}

static void round_run(void) {
    uint64_t ticks;
    round_number++;
    for (uint32_t i = 0; i < SONDE_OBSERVABLES_MAX; i++)
        if (atomic_load(&registrations[i].generation) % 2u)
            call(&registrations[i]);
    sonde__lock_take(&observe_lock);
    finish();
    sonde__lock_release(&observe_lock);
    sonde__series_observed(sonde__clock_now(&ticks));
}

/* ---- registrations: any thread ---- */

/* Callbacks may use what main() and destructors of static objects let go of. */
#define EXIT_WAIT_MS 250u
static void at_exit(void) {
    if (sonde__process_is_current() && sonde__registry.pid == (uint32_t)getpid())
        sonde__puller_stop(EXIT_WAIT_MS);
}

/* The instruments that are to be asked for, in *ret_kept: no-ops left out. */
static int instruments_copy(const struct sonde_instrument *instruments, size_t count, uint32_t **ret_copy,
                            size_t *ret_kept) {
    uint32_t *copy = malloc(count * sizeof *copy);
    size_t kept = 0;
    if (!copy)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        enum sonde__cell_kind kind = sonde__instrument_cell_kind(instruments[i].index);
        if (kind != SONDE__CELL_OBSERVED_INT64 && kind != SONDE__CELL_OBSERVED_DOUBLE && instruments[i].index) {
            free(copy);
            return SONDE_EINVALID;
        }
        if (instruments[i].index)
            copy[kept++] = instruments[i].index;
    }
    *ret_copy = copy;
    *ret_kept = kept;
    return 0;
}

/* Under the lock: tells the agent whether it is of use to ask. */
static void count_tell(void) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < SONDE_OBSERVABLES_MAX; i++)
        count += atomic_load(&registrations[i].generation) % 2u;
    sonde__process_callbacks_set(count);
}

/* Takes `wanted` over unless it returns SONDE_EFULL. */
static int registration_add(const struct registration *wanted, struct sonde_observable *ret_observable) {
    static bool exit_known;
    int err = SONDE_EFULL;
    sonde__lock_take(&observe_lock);
    /* Now, so that it comes before the destructors of what is there already. Refused: callbacks run on to the end. */
    if (!exit_known)
        exit_known = atexit(at_exit) == 0;
    sonde__puller_round_set(round_run);
    for (uint32_t i = 0; i < SONDE_OBSERVABLES_MAX && err; i++) {
        struct registration *to = &registrations[i];
        if (to->taken)
            continue;
        uint32_t generation = atomic_load(&to->generation) + 1u;
        to->callback = wanted->callback;
        to->user = wanted->user;
        to->instruments = wanted->instruments;
        to->instrument_count = wanted->instrument_count;
        to->taken = true;
        atomic_store(&to->generation, generation);
        *ret_observable = (struct sonde_observable){i + 1u, generation};
        count_tell();
        err = 0;
    }
    sonde__lock_release(&observe_lock);
    return err;
}

int sonde_observable_register(sonde_observe_fn callback, void *user, const struct sonde_instrument *instruments,
                              size_t instrument_count, struct sonde_observable *ret_observable) {
    struct registration wanted = {.callback = callback, .user = user};
    *ret_observable = (struct sonde_observable){0};
    if (!callback || !instruments || !instrument_count || instrument_count > SONDE_INSTRUMENTS_MAX)
        return SONDE_EINVALID;
    struct sonde__thread *thread = sonde__thread_enter();
    if (!thread)
        return SONDE_EDISABLED;
    int err = instruments_copy(instruments, instrument_count, &wanted.instruments, &wanted.instrument_count);
    if (!err && wanted.instrument_count)
        err = registration_add(&wanted, ret_observable);
    if (!ret_observable->index)
        free(wanted.instruments);
    sonde__thread_leave(thread);
    return err;
}

static bool is_served(uint32_t instrument) {
    for (uint32_t i = 0; i < SONDE_OBSERVABLES_MAX; i++)
        for (size_t k = 0; atomic_load(&registrations[i].generation) % 2u && k < registrations[i].instrument_count; k++)
            if (registrations[i].instruments[k] == instrument)
                return true;
    return false;
}

/* Under the lock: series that no callback can report any more. Of the others the next round knows. */
static void unserved_unset(const struct registration *ended) {
    for (size_t k = 0; k < ended->instrument_count; k++) {
        uint32_t instrument = ended->instruments[k];
        for (uint32_t series = is_served(instrument) ? SONDE_SERIES_MAX : 1; series <= observed_max; series++) {
            if (observed[series].instrument != instrument || !observed[series].is_set)
                continue;
            observed[series].is_set = false;
            sonde__shared_unset(series);
        }
    }
}

void sonde_observable_unregister(struct sonde_observable observable) {
    if (!observable.index || observable.index > SONDE_OBSERVABLES_MAX || observable.generation % 2u == 0)
        return;
    struct registration *registration = &registrations[observable.index - 1u];
    uint32_t generation = observable.generation;
    sonde__lock_take(&observe_lock);
    if (atomic_compare_exchange_strong(&registration->generation, &generation, observable.generation + 1u)) {
        count_tell();
        while (atomic_load(&running) == registration && atomic_load(&running_pid) == (uint32_t)getpid() &&
               !sonde__puller_is_self()) {
            uint32_t seen = atomic_load(&returns);
            sonde__lock_release(&observe_lock);
            sonde__futex_wait(&returns, seen, UINT32_MAX);
            sonde__lock_take(&observe_lock);
        }
        unserved_unset(registration);
        free(registration->instruments);
        registration->instruments = NULL;
        registration->instrument_count = 0;
        registration->taken = false;
    }
    sonde__lock_release(&observe_lock);
}
