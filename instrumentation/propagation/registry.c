/* SPDX-License-Identifier: Apache-2.0 */
/* The only list of propagators, the choice among them, and the public calls that walk it. A choice is a word: a row
 * number (from 1) in each 4 bits, the first in use lowest; so it can change at any time, without a lock or a lifetime.
 */
#include "instrumentation/propagation/entry.h"
#include "instrumentation/propagation/stale.h"
#include "instrumentation/resource/environment.h"
#include "instrumentation/resource/settings.h"
#include <sonde/err.h>
#include <string.h>

static const struct sonde__propagator *const rows[] = {
    &sonde__propagator_b3,      &sonde__propagator_b3multi,     &sonde__propagator_baggage,
    &sonde__propagator_datadog, &sonde__propagator_gcloud,      &sonde__propagator_grpc_trace_bin,
    &sonde__propagator_jaeger,  &sonde__propagator_ottrace,     &sonde__propagator_w3c,
    &sonde__propagator_xray,    &sonde__propagator_xray_lambda,
};
enum { ROW_COUNT = sizeof rows / sizeof *rows, ROW_BITS = 4, CHOICES_MAX = 15 };
_Static_assert(ROW_COUNT < 1u << ROW_BITS, "a row number fits its bits");

#define CHOICE_NONE    ((uint64_t)1 << 63) /* nothing is to be used; 0 = nobody has chosen yet */
#define CHOICE_DEFAULT "tracecontext,baggage"

static _Atomic uint64_t chosen;

static const struct sonde__propagator *row_of(uint64_t choice) {
    return rows[(choice & ((1u << ROW_BITS) - 1)) - 1];
}
static bool has_rows(uint64_t choice) {
    return choice & ((1u << ROW_BITS) - 1);
}

/* ---- choosing ---- */

static bool is_space(char c) {
    return c == ' ' || c == '\t';
}

static unsigned find_row(const char *name, size_t size) {
    unsigned i = 0;
    while (i < ROW_COUNT && (strlen(rows[i]->name) != size || memcmp(rows[i]->name, name, size) != 0))
        i++;
    return i;
}

/** Reads a list of names. Unknown ones are skipped, and reported when `who` is given. Returns the choice. */
static uint64_t parse(const char *names, const char *who, bool *ret_good) {
    uint64_t choice = 0;
    unsigned shift = 0, seen = 0;
    bool none = false;
    *ret_good = true;
    while (*names) {
        size_t size = strcspn(names, ","), behind = size + (names[size] == ',');
        const char *name = names;
        names += behind;
        while (size && is_space(*name))
            name++, size--;
        while (size && is_space(name[size - 1]))
            size--;
        unsigned row = find_row(name, size);
        if (size == 4 && memcmp(name, "none", 4) == 0) {
            none = true;
        } else if (row < ROW_COUNT && !(seen >> row & 1)) {
            choice |= (uint64_t)(row + 1) << shift;
            shift += ROW_BITS;
            seen |= 1u << row;
        } else if (row == ROW_COUNT && size) {
            *ret_good = false;
            if (who)
                sonde__report("%s: no propagator %.*s, skipped", who, (int)(size > 64 ? 64 : size), name);
        }
    }
    return none || !choice ? CHOICE_NONE : choice;
}

static uint64_t parse_or_default(const char *names, const char *who, bool *ret_good) {
    bool blank = names[strspn(names, " \t,")] == '\0';
    return parse(blank ? CHOICE_DEFAULT : names, who, ret_good);
}

static __attribute__((noinline, cold)) uint64_t choose_by_environment(void) {
    bool good;
    uint64_t nobody = 0;
    (void)sonde__settings_get(); /* the hook that unknown names are reported to */
    const char *names = sonde__environment_text("OTEL_PROPAGATORS");
    uint64_t choice = parse_or_default(names ? names : "", "OTEL_PROPAGATORS", &good);
    if (atomic_compare_exchange_strong(&chosen, &nobody, choice))
        return choice;
    return nobody; /* somebody was faster */
}

static inline uint64_t choice_get(void) {
    uint64_t choice = atomic_load_explicit(&chosen, memory_order_relaxed);
    return __builtin_expect(choice != 0, 1) ? choice : choose_by_environment();
}

int sonde_propagators_set(const char *names) {
    bool good;
    uint64_t choice = parse_or_default(names, "propagators", &good);
    atomic_store_explicit(&chosen, choice, memory_order_relaxed);
    return good ? 0 : SONDE_EINVALID;
}

void sonde_propagators_list(sonde_carrier_visit visit, void *user) {
    for (unsigned i = 0; i < ROW_COUNT; i++)
        if (!visit(user, (struct sonde_string){rows[i]->name, strlen(rows[i]->name)}))
            return;
}

/* ---- what propagators share ---- */

enum sonde_extract_reason sonde__decision_found(struct sonde_context *context, enum sonde_decision decision) {
    if (!sonde_span_context_is_valid(&context->span))
        context->span.decision = (uint8_t)decision;
    return SONDE_EXTRACT_DECISION;
}

int sonde__carrier_set(const struct sonde_carrier *carrier, enum sonde__field field, const char *text, size_t size) {
    if (!carrier->ops->set)
        return SONDE_EINVALID;
    return carrier->ops->set(carrier->self, sonde__field_names[field], (struct sonde_string){text, size});
}

void sonde__carrier_remove(const struct sonde_carrier *carrier, enum sonde__field field) {
    if (carrier->ops->remove)
        carrier->ops->remove(carrier->self, sonde__field_names[field]);
}

/* ---- out ---- */

/* A carrier that holds a context already was used before: baggage beside that is of then. Without such a context it is
 * the application's own, and stays. ids: the fields that tell, as bits. */
static bool is_used(uint64_t choice, uint32_t ids, const struct sonde_carrier *carrier) {
    struct sonde_string value;
    if (carrier->ops->array && ids & (ids - 1)) /* several: in one pass */
        return sonde__source_present(carrier, ids);
    if (carrier->ops->array && carrier->ops->get)
        return carrier->ops->get(carrier->self, sonde__field_names[__builtin_ctz(ids)], &value);
    for (; has_rows(choice); choice >>= ROW_BITS)
        if (sonde__stale_is_context(row_of(choice), carrier))
            return true;
    return false;
}

static __attribute__((noinline, cold)) void remove_stale(uint64_t choice, const struct sonde_context *context,
                                                         const struct sonde_carrier *carrier) {
    for (; has_rows(choice); choice >>= ROW_BITS) {
        if (row_of(choice)->writes & SONDE__FIELD_BIT(SONDE__FIELD_BAGGAGE) && context->baggage_length == 0)
            sonde__carrier_remove(carrier, SONDE__FIELD_BAGGAGE);
        sonde__stale_remove_prefixed(row_of(choice), context, carrier);
    }
}

static int inject(uint64_t choice, const struct sonde_context *context, const struct sonde_carrier *carrier) {
    int first_error = 0;
    bool may_be_stale = false; /* some format sends baggage that this context may not have any more */
    uint32_t ids = 0;
    for (uint64_t rest = choice; has_rows(rest); rest >>= ROW_BITS) {
        const struct sonde__propagator *row = row_of(rest);
        ids |= sonde__stale_context_field(row);
        may_be_stale |=
            row->prefix.size || (row->writes & SONDE__FIELD_BIT(SONDE__FIELD_BAGGAGE) && context->baggage_length == 0);
    }
    if (may_be_stale && ids && sonde_span_context_is_valid(&context->span) && is_used(choice, ids, carrier))
        remove_stale(choice, context, carrier);
    for (; has_rows(choice); choice >>= ROW_BITS) {
        int error = row_of(choice)->inject(context, carrier);
        if (first_error == 0)
            first_error = error;
    }
    return first_error;
}

static __attribute__((noinline)) int inject_current(uint64_t choice, const struct sonde_carrier *carrier) {
    struct sonde_context current;
    sonde_context_current(&current);
    return inject(choice, &current, carrier);
}

int sonde_inject(const struct sonde_context *context, const struct sonde_carrier *carrier) {
    uint64_t choice = choice_get();
    return context ? inject(choice, context, carrier) : inject_current(choice, carrier);
}

int sonde_inject_as(const char *propagators, const struct sonde_context *context, const struct sonde_carrier *carrier) {
    bool good;
    uint64_t choice = parse(propagators, NULL, &good);
    return context ? inject(choice, context, carrier) : inject_current(choice, carrier);
}

void sonde_propagation_clear(const struct sonde_carrier *carrier) {
    for (uint64_t choice = choice_get(); has_rows(choice); choice >>= ROW_BITS) {
        const struct sonde__propagator *row = row_of(choice);
        for (uint32_t rest = row->writes; rest; rest &= rest - 1)
            sonde__carrier_remove(carrier, (enum sonde__field)__builtin_ctz(rest));
        sonde__stale_remove_canonical(row->writes & SONDE__CANONICAL_FIELDS, carrier);
        sonde__stale_remove_prefixed(row, NULL, carrier);
    }
}

/* ---- in ---- */

static bool says_little(enum sonde_extract_reason reason) {
    return reason == SONDE_EXTRACT_ABSENT || reason == SONDE_EXTRACT_BAGGAGE || reason == SONDE_EXTRACT_BAGGAGE_PART;
}

/** What the walk says in the end: a later format that found something over an earlier one; why the first that was there
 *  at all gave nothing over that there was only baggage. */
static enum sonde_extract_reason merge(enum sonde_extract_reason before, enum sonde_extract_reason reason) {
    if (sonde__reason_is_found(reason))
        return reason;
    if (sonde__reason_is_found(before) || reason == SONDE_EXTRACT_ABSENT)
        return before;
    if (reason == SONDE_EXTRACT_DECISION || (says_little(before) && !says_little(reason)))
        return reason;
    return before == SONDE_EXTRACT_ABSENT ? reason : before;
}

static enum sonde_extract_reason extract(uint64_t choice, const struct sonde_carrier *carrier,
                                         struct sonde_context *ret_context) {
    struct sonde__source source;
    uint32_t fields = 0;
    enum sonde_extract_reason reason = SONDE_EXTRACT_ABSENT;
    sonde_context_init(ret_context);
    for (uint64_t rest = choice; has_rows(rest); rest >>= ROW_BITS)
        fields |= row_of(rest)->reads;
    sonde__source_init(&source, carrier, fields);
    for (; has_rows(choice); choice >>= ROW_BITS)
        reason = merge(reason, row_of(choice)->extract(&source, ret_context));
    return reason;
}

enum sonde_extract_reason sonde_extract(const struct sonde_carrier *carrier, struct sonde_context *ret_context) {
    return extract(choice_get(), carrier, ret_context);
}

enum sonde_extract_reason sonde_extract_with(const struct sonde_carrier *carrier,
                                             const struct sonde_extract_options *options,
                                             struct sonde_context *ret_context) {
    struct sonde_extract_options copy = SONDE_EXTRACT_OPTIONS_INIT;
    bool good;
    if (options && __builtin_expect(options->size == sizeof copy, 1))
        copy = *options;
    else if (options) /* a caller built against another version: what it does not know is default */
        memcpy(&copy, options, options->size && options->size < sizeof copy ? options->size : sizeof copy);
    if (copy.ret_link)
        sonde_context_init(copy.ret_link);
    if (copy.entry == SONDE_ENTRY_IGNORE) {
        sonde_context_init(ret_context);
        return SONDE_EXTRACT_IGNORED;
    }
    uint64_t choice = copy.propagators ? parse(copy.propagators, NULL, &good) : choice_get();
    enum sonde_extract_reason reason = extract(choice, carrier, ret_context);
    if (copy.entry != SONDE_ENTRY_LINK) {
        sonde__entry_judge(ret_context, copy.entry, copy.budget);
        return reason;
    }
    if (copy.ret_link && sonde__reason_is_found(reason)) {
        ret_context->baggage_length = 0;
        ret_context->span.decision = SONDE_DECISION_NONE;
        sonde_context_copy(copy.ret_link, ret_context);
    }
    sonde_context_init(ret_context);
    return reason;
}
