/* SPDX-License-Identifier: Apache-2.0 */
/* A model checker for lock-free code: runs it again and again, each time in another order of its atomic operations, until
 * there is no other. Include this before the code: <stdatomic.h>'s operations then stop in front of each access to
 * watched memory, where the scheduler says who goes on. Threads are coroutines; memory is sequentially consistent.
 *
 * The search is depth-first by re-execution. Orders that differ only in operations that do not touch the same word, or
 * only read it, are the same; sleep sets leave all but one of them out (Godefroid, Partial-Order Methods, 1996). */
#ifndef SONDE_TESTS_MODEL_SCHEDULER_H
#define SONDE_TESTS_MODEL_SCHEDULER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_THREADS_MAX 4u

struct model {
    const char *name;
    unsigned thread_count;
    void (*thread)(unsigned number);
    void (*begin)(void); /* before each run: everything as new */
    void (*step)(void);  /* after each operation: what must always hold */
    void (*end)(void);   /* after each whole run: what must hold in the end */
    const void *watched; /* accesses to these bytes are operations */
    size_t watched_size;
};

struct model_result {
    uint64_t runs, cut, operations; /* whole runs; runs that turned out to be others' equals; operations of all */
    const char *violation;          /* the first; NULL = none. The search ends with it. */
};

/** Explores all orders. runs_max: gives up then (it is not exhaustive, and says so by runs == runs_max). */
struct model_result model_explore(const struct model *model, uint64_t runs_max);
/** In step, end or a thread: a property does not hold. text: static. */
void model_violated(const char *text);
#define MODEL_CHECK(condition)                                                                                         \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            model_violated(#condition);                                                                                \
    } while (0)
/** Of the running thread; MODEL_THREADS_MAX outside of any. */
unsigned model_self(void);
/** An operation is about to be made; the code's are by the macros below. */
void model_operation(const volatile void *word, bool writes);
/** Planted bug: read-modify-writes stop between reading and writing. */
extern bool model_torn;

/* ---- instead of <stdatomic.h>'s ---- */

#undef atomic_load
#undef atomic_load_explicit
#undef atomic_store
#undef atomic_store_explicit
#undef atomic_fetch_add
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub
#undef atomic_fetch_sub_explicit
#undef atomic_compare_exchange_strong
#undef atomic_compare_exchange_weak

/* What lies there, without the _Atomic of its type. */
#define MODEL_VALUE(at) ((void)0, *(at))
#define atomic_load(at)                                                                                                \
    __extension__({                                                                                                    \
        __typeof__(at) at_ = (at);                                                                                     \
        model_operation(at_, false);                                                                                   \
        MODEL_VALUE(at_);                                                                                              \
    })
#define atomic_load_explicit(at, order) atomic_load(at)
#define atomic_store(at, value)                                                                                        \
    __extension__({                                                                                                    \
        __typeof__(at) at_ = (at);                                                                                     \
        model_operation(at_, true);                                                                                    \
        *at_ = (value);                                                                                                \
    })
#define atomic_store_explicit(at, value, order) atomic_store(at, value)
#define MODEL_MODIFY(at, expression)                                                                                   \
    __extension__({                                                                                                    \
        __typeof__(at) at_ = (at);                                                                                     \
        model_operation(at_, true);                                                                                    \
        __auto_type old_ = MODEL_VALUE(at_);                                                                           \
        if (model_torn)                                                                                                \
            model_operation(at_, true);                                                                                \
        *at_ = (expression);                                                                                           \
        old_;                                                                                                          \
    })
#define atomic_fetch_add(at, value) MODEL_MODIFY(at, old_ + (value))
#define atomic_fetch_sub(at, value) MODEL_MODIFY(at, old_ - (value))
#define atomic_compare_exchange_strong(at, expected, value)                                                            \
    __extension__({                                                                                                    \
        __typeof__(at) at_ = (at);                                                                                     \
        __typeof__(expected) expected_ = (expected);                                                                   \
        model_operation(at_, true);                                                                                    \
        __auto_type old_ = MODEL_VALUE(at_);                                                                           \
        bool same_ = old_ == *expected_;                                                                               \
        if (same_ && model_torn)                                                                                       \
            model_operation(at_, true);                                                                                \
        if (same_)                                                                                                     \
            *at_ = (value);                                                                                            \
        else                                                                                                           \
            *expected_ = old_;                                                                                         \
        same_;                                                                                                         \
    })
#define atomic_compare_exchange_weak(at, expected, value) atomic_compare_exchange_strong(at, expected, value)

#endif
