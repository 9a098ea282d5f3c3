/* SPDX-License-Identifier: Apache-2.0 */
/* A token bucket in one word: the time at which it will be full again (the generic cell rate algorithm). Taking a token
 * moves that time on by one interval; there is none when it lies too far ahead. In any stretch of time of length W at
 * most burst + W / interval tokens go out. No lock: who loses the race for the word tries again, and somebody has won.
 */
#ifndef SONDE_CONTEXT_RATE_H
#define SONDE_CONTEXT_RATE_H

#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SONDE__RATE_MAX     1e6
/* A clock that was set back by more than this (and the bucket) makes the bucket full, else nothing would go out until
 * it is there again. */
#define SONDE__RATE_BACK_NS UINT64_C(2000000000)

struct sonde__rate {
    uint64_t interval_ns,
        slack_ns; /* slack: how far ahead the word may be when a token is taken; burst - 1 intervals */
};

/** per_second above 0; burst 0 = a second's worth, at least 1. False: there is never a token, or it cannot be counted.
 */
static inline bool sonde__rate_set(struct sonde__rate *rate, double per_second, uint32_t burst) {
    *rate = (struct sonde__rate){0};
    if (!(per_second > 0) || per_second > SONDE__RATE_MAX)
        return false;
    double interval = ceil(1e9 / per_second), tokens = burst ? burst : per_second > 1 ? floor(per_second) : 1;
    if (interval * tokens > 1e18)
        return false;
    rate->interval_ns = (uint64_t)interval;
    rate->slack_ns = (uint64_t)(tokens - 1) * rate->interval_ns;
    return true;
}

static inline bool sonde__rate_take(const struct sonde__rate *rate, _Atomic uint64_t *word, uint64_t now_ns) {
    uint64_t full_ns = atomic_load_explicit(word, memory_order_relaxed), from_ns;
    do {
        bool set_back = full_ns > now_ns && full_ns - now_ns > rate->slack_ns + rate->interval_ns + SONDE__RATE_BACK_NS;
        from_ns = full_ns > now_ns && !set_back ? full_ns : now_ns;
        if (from_ns - now_ns > rate->slack_ns)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(word, &full_ns, from_ns + rate->interval_ns, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

/** How long until there is a token, as things are now; 0 = there is one. */
static inline uint64_t sonde__rate_wait(const struct sonde__rate *rate, const _Atomic uint64_t *word, uint64_t now_ns) {
    uint64_t full_ns = atomic_load_explicit(word, memory_order_relaxed), token_ns = now_ns + rate->slack_ns;
    return full_ns > token_ns ? full_ns - token_ns : 0;
}

#endif
