/* SPDX-License-Identifier: Apache-2.0 */
/* Circuit breakers: calls to something that fails are refused for a while, and tried again with care.
 *
 *   struct sonde_breaker_permit permit;
 *   if (sonde_breaker_admit(breaker, &permit) == SONDE_REJECTED)
 *       return fallback();                                         // permit.retry_after_ns says when to try again
 *   error = call(peer);
 *   sonde_breaker_report(breaker, &permit, error ? SONDE_OUTCOME_FAILURE : SONDE_OUTCOME_SUCCESS, duration_ns);
 *
 *   CLOSED --a threshold is reached--> OPEN --wait is over--> HALF_OPEN --probes are good--> CLOSED
 *                                        ^--a probe round fails, or takes too long--'
 *
 * Nothing here sleeps, blocks, or takes a lock, but for sonde_breaker_create(). Works without an agent; with one, it
 * reads the state where it lies (telemetry: sonde.circuit_breaker.*). Each change of state is also a log record in the
 * context of the call that caused it. A forked child goes on with the states at its fork.
 *
 * The rules are Resilience4j's where it has one, but for these:
 *   late results       (of calls admitted before the last change of state) decide nothing; there they count in what is now.
 *   each state         counts from nothing; there OPEN still shows the window that opened it.
 *   OPEN               is over with its wait, not after it, so that who comes back after retry_after_ns is admitted. Who
 *                      asks then makes it HALF_OPEN; there is no timer.
 *   too long HALF_OPEN is found by the next call; there a timer opens the breaker.
 *   METRICS_ONLY       may be set to OPEN by hand. */
#ifndef SONDE_RESILIENCE_BREAKER_H
#define SONDE_RESILIENCE_BREAKER_H

#include <sonde/trace.h>

SONDE_BEGIN

enum sonde_breaker_state {
    SONDE_BREAKER_CLOSED = 0,
    SONDE_BREAKER_OPEN,
    SONDE_BREAKER_HALF_OPEN,
    SONDE_BREAKER_FORCED_OPEN,  /* rejects all until told otherwise */
    SONDE_BREAKER_DISABLED,     /* admits all, counts nothing */
    SONDE_BREAKER_METRICS_ONLY, /* admits all, counts; tells once that it would have opened */
    SONDE_BREAKER_STATE_COUNT,
};

/** Why a state changed. */
enum sonde_breaker_reason {
    SONDE_BREAKER_MANUAL = 0,
    SONDE_BREAKER_FAILURE_RATE,
    SONDE_BREAKER_SLOW_CALL_RATE,
    SONDE_BREAKER_CONSECUTIVE_FAILURES,
    SONDE_BREAKER_WAIT_ELAPSED,
    SONDE_BREAKER_PROBE_FAILED,
    SONDE_BREAKER_PROBE_SUCCEEDED,
    SONDE_BREAKER_PROBE_TIMEOUT, /* half-open for too long, for example since a probe was never reported */
    SONDE_BREAKER_FOREIGN,       /* another library's breaker: sonde_breaker_observe() */
    SONDE_BREAKER_REASON_COUNT,
};

enum sonde_outcome {
    SONDE_OUTCOME_SUCCESS = 0,
    SONDE_OUTCOME_FAILURE,
    SONDE_OUTCOME_IGNORED, /* says nothing about the peer (the caller's own mistake); a probe's permit comes back */
};

/** A handle, by value. index 0 = none: it admits everything and reports nothing. */
struct sonde_breaker {
    uint32_t index;
};

/** A change of state, as the hook gets it. Strings are borrowed.
 *  failure_ratio, slow_ratio  of the window, 0..1; negative below the minimum of calls.
 *  epoch                      of the state that began: one more with each change of this breaker (29 bits, then from 0).
 *                             Of two changes that arrive out of order it tells the later one. */
struct sonde_breaker_change {
    size_t size;
    struct sonde_breaker breaker;
    const char *name;
    enum sonde_breaker_state from, to;
    enum sonde_breaker_reason reason;
    uint32_t calls;
    double failure_ratio, slow_ratio;
    uint64_t wait_ns; /* of OPEN */
    uint32_t epoch;
};

/** Set up with SONDE_BREAKER_OPTIONS_INIT; a zero means the default in brackets.
 *  size                   sizeof(struct sonde_breaker_options).
 *  name                   1..127 bytes of UTF-8, NUL-terminated, borrowed: the label of its series.
 *  window_calls           the last so many calls count [100]; 1..1024.
 *  window_seconds         not 0: calls of the last so many seconds count instead; 1..60.
 *  minimum_calls          fewer decide nothing [100]; but a full count window does.
 *  failure_rate           0..1: opens when failures/calls reaches it [0.5]; over 1 = never.
 *  slow_call_rate         likewise of slow calls [1.0]; over 1 = never.
 *  slow_call_ns           longer calls are slow [60 s].
 *  consecutive_failures   opens after so many failures in a row, whatever the minimum [0 = off]. When it is set, the first
 *                         failed probe of HALF_OPEN opens again, whatever the other probes say.
 *  probes                 calls admitted when half-open [10]; 1..1024. min(probes, minimum_calls) results decide.
 *  wait_ns                in OPEN [60 s].     wait_factor, wait_max_ns  each further OPEN without a CLOSED in between
 *                         waits so many times longer [1.0], up to this [1 h]. FORCED_OPEN counts as one of them, an
 *                         OPEN with a wait of its own does not.
 *  half_open_max_ns       longer in HALF_OPEN opens again, when the next call asks. [wait_ns, and only once all permits are
 *                         taken: a probe that never reports does no harm, and where calls are few the round goes on.]
 *  state                  at the start: CLOSED, DISABLED, METRICS_ONLY or FORCED_OPEN.
 *  classify               NULL, or what an error is worth (sonde_breaker_report_error()). error: the caller's; result: as
 *                         handed in.
 *  on_change              NULL, or called after each change, on changes only, by the thread whose call (admit, report,
 *                         state_set) changed the state: keep it short. It may use breakers. Threads may be in it at the
 *                         same time, and an older change may arrive after a newer one: order them by epoch.
 *  clock                  NULL, or monotonic ns (for tests).
 *  user                   of the three functions; kept. */
struct sonde_breaker_options {
    size_t size;
    const char *name;
    uint32_t window_calls, window_seconds, minimum_calls;
    double failure_rate, slow_call_rate;
    uint64_t slow_call_ns;
    uint32_t consecutive_failures, probes;
    uint64_t wait_ns;
    double wait_factor;
    uint64_t wait_max_ns, half_open_max_ns;
    enum sonde_breaker_state state;
    enum sonde_outcome (*classify)(void *user, int error, const void *result);
    void (*on_change)(void *user, const struct sonde_breaker_change *change);
    uint64_t (*clock)(void *user);
    void *user;
};
#ifdef __cplusplus
#define SONDE_BREAKER_OPTIONS_INIT                                                                                     \
    {                                                                                                                  \
        sizeof(struct sonde_breaker_options), nullptr, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, SONDE_BREAKER_CLOSED,       \
            nullptr, nullptr, nullptr, nullptr                                                                         \
    }
#else
#define SONDE_BREAKER_OPTIONS_INIT                                                                                     \
    { .size = sizeof(struct sonde_breaker_options) }
#endif

/** Makes a breaker, or finds the one of that name (whose options stay).
 *  ret_breaker  always written; the handle 0 on failure.
 *  Returns 0, SONDE_EINVALID (also for a name of sonde_breaker_observe(): that one would protect nothing), SONDE_EFULL
 *  (SONDE_BREAKERS_MAX). Takes a lock: once, not per call. */
SONDE_API int sonde_breaker_create(const struct sonde_breaker_options *options, struct sonde_breaker *ret_breaker);

enum sonde_admission {
    SONDE_ADMITTED = 0,
    SONDE_ADMITTED_PROBE, /* one of the few of HALF_OPEN: its result decides */
    SONDE_REJECTED,
};

/** What admit gives and report takes; a value.
 *  retry_after_ns  of a rejection: when an attempt may be admitted, as far as it is known; 0 = no telling. */
struct sonde_breaker_permit {
    uint32_t epoch;
    uint8_t admission; /* enum sonde_admission */
    uint8_t state;     /* enum sonde_breaker_state at admission */
    uint16_t reserved;
    uint64_t retry_after_ns;
};

/* Hot path: any thread, no lock, no allocation; no clock while CLOSED with a count window. */

/** Asks for a call. When it is not rejected, report or cancel must follow, once, from any thread. */
SONDE_API_HOT enum sonde_admission sonde_breaker_admit(struct sonde_breaker breaker,
                                                       struct sonde_breaker_permit *ret_permit);
/** Tells what came of it. What was admitted before the last change of state counts in the totals only, and decides
 *  nothing. Of a rejected permit: nothing. */
SONDE_API_HOT void sonde_breaker_report(struct sonde_breaker breaker, const struct sonde_breaker_permit *permit,
                                        enum sonde_outcome outcome, uint64_t duration_ns);
/** The same by the breaker's classify (without one: error 0 is a success). */
SONDE_API void sonde_breaker_report_error(struct sonde_breaker breaker, const struct sonde_breaker_permit *permit,
                                          int error, const void *result, uint64_t duration_ns);
/** The call was not made after all: the permit comes back. Once, and not after a report: a probe's permit that comes back
 *  twice lets one probe too many into its round (never more than that, and no later round). */
SONDE_API void sonde_breaker_cancel(struct sonde_breaker breaker, const struct sonde_breaker_permit *permit);

/** The state as telemetry shows it. An OPEN whose wait is over stays OPEN until somebody asks for a call. */
SONDE_API enum sonde_breaker_state sonde_breaker_state_get(struct sonde_breaker breaker);
/** Sets CLOSED (counting from nothing), FORCED_OPEN, DISABLED or METRICS_ONLY; OPEN for wait_ns (0 = as configured).
 *  Returns 0, SONDE_EINVALID (HALF_OPEN, or no such breaker). */
SONDE_API int sonde_breaker_state_set(struct sonde_breaker breaker, enum sonde_breaker_state state, uint64_t wait_ns);

/** Puts sonde.circuit_breaker.name and .state on the span of a guarded call. */
SONDE_API void sonde_breaker_describe(struct sonde_breaker breaker, const struct sonde_breaker_permit *permit,
                                      struct sonde_span *span);
/** Records a rejected call as a span of its own: status ERROR, error.type=circuit_breaker_open. */
SONDE_API void sonde_breaker_rejection_record(struct sonde_breaker breaker, const struct sonde_breaker_permit *permit);

/** Publishes the state of another library's breaker under a name; the first call makes it, in that state, without a change
 *  to tell of. It has states, times in them and transitions (reason "foreign"), and no calls: those nobody counts here.
 *  Returns 0, SONDE_EINVALID (also for a name of sonde_breaker_create()), SONDE_EFULL. Finds by name, without a lock once
 *  it is known. */
SONDE_API int sonde_breaker_observe(const char *name, enum sonde_breaker_state state);

SONDE_END

#endif
