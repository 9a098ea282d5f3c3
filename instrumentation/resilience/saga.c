/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resilience/saga.h"
#include "instrumentation/context/clock.h"
#include "instrumentation/resilience/idempotency.h"
#include "instrumentation/resilience/instruments.h"
#include "instrumentation/ring/fd.h"
#include <sonde/err.h>
#include <sonde/log.h>

static const char *const outcome_texts[] = {"completed", "compensated", "failed"};
static const char *const action_texts[] = {"forward", "compensate"};

static uint64_t now_ns(const struct sonde_saga *saga) {
    uint64_t ticks;
    return saga->clock ? saga->clock(saga->user) : sonde__clock_now(&ticks);
}
/* Seconds from a time of the wall clock, which may have been set back. */
static double seconds_since(uint64_t from_ns, uint64_t to_ns) {
    return to_ns > from_ns ? (double)(to_ns - from_ns) * 1e-9 : 0;
}

/* ---- attributes ---- */

/* Those of one span, and of the log record beside it. */
struct facts {
    struct sonde_attribute all[14];
    size_t count;
};
static void add(struct facts *facts, struct sonde_attribute attribute) {
    facts->all[facts->count++] = attribute;
}
static void add_text(struct facts *facts, struct sonde_key key, const char *text) {
    if (text && *text)
        add(facts, sonde_attribute_string(key, text));
}
static void add_saga(struct facts *facts, const struct sonde_saga *saga) {
    facts->count = 0;
    add_text(facts, SONDE_KEY("sonde.saga.id"), saga->id);
    add_text(facts, SONDE_KEY("sonde.saga.type"), saga->type);
}
static void add_step(struct facts *facts, const struct sonde_saga_step *step) {
    add_text(facts, SONDE_KEY("sonde.saga.step"), step->name);
    if (step->index)
        add(facts, sonde_attribute_int64(SONDE_KEY("sonde.saga.step.index"), step->index));
    add(facts, sonde_attribute_string(SONDE_KEY("sonde.saga.action"), action_texts[step->action]));
    add(facts, sonde_attribute_int64(SONDE_KEY("sonde.saga.attempt"), step->attempt));
}

static void tell(const struct sonde_span *span, struct sonde_key event, int severity, const struct facts *facts,
                 uint64_t unix_ns) {
    struct sonde_log_record record = SONDE_LOG_RECORD_INIT;
    record.severity = severity;
    record.severity_text = severity >= SONDE_SEVERITY_ERROR  ? "ERROR"
                           : severity >= SONDE_SEVERITY_WARN ? "WARN"
                                                             : "INFO";
    record.event_name = event;
    record.body = event.text;
    record.body_size = event.length;
    record.time_unix_ns = unix_ns;
    record.context = &span->context;
    record.attributes = facts->all;
    record.attribute_count = facts->count;
    sonde_log_emit(&record);
}

/* A link with its kind, which lies beside it. Returns how many there are now: one more, when there is something to link
 * to. */
static size_t add_link(struct sonde_link *links, struct sonde_attribute *kinds, size_t count,
                       const struct sonde_span_context *to, const char *kind) {
    if (!to || !sonde_span_context_is_valid(to))
        return count;
    kinds[count] = sonde_attribute_string(SONDE_KEY("sonde.link.kind"), kind);
    links[count] = (struct sonde_link){.context = *to, .attributes = &kinds[count], .attribute_count = 1};
    return count + 1;
}

/* What a new span of the saga is a child of; NULL = the current context, be there one or not. */
static const struct sonde_context *parent_choose(const struct sonde_saga *saga, const struct sonde_context *given,
                                                 uint64_t now, struct sonde_context *scratch) {
    struct sonde_span_context current = sonde_context_current_span();
    if (given || sonde_span_context_is_valid(&current) || !sonde_span_context_is_valid(&saga->root) ||
        (now > saga->root_unix_ns && now - saga->root_unix_ns > saga->short_ns))
        return given;
    sonde_context_current(scratch); /* its baggage */
    scratch->span = saga->root;
    scratch->tracestate_length = 0;
    return scratch;
}

/* ---- the saga itself ---- */

struct mark {
    const char *name;
    struct sonde_key event;
    const char *from, *to, *outcome; /* NULL = not told */
    int severity;
    double seconds; /* negative = not told */
};

/* A short span, and a log record. ret_context may be NULL. */
static void mark_record(struct sonde_saga *saga, const struct mark *mark, const struct sonde_context *given,
                        const struct sonde_link *link, struct sonde_span_context *ret_context) {
    const uint64_t now = now_ns(saga);
    char name[32 + SONDE_SAGA_TEXT_SIZE_MAX];
    const size_t verb_size = strlen(mark->name), type_size = strlen(saga->type);
    struct sonde_context scratch;
    struct facts facts;
    struct sonde_span span;
    memcpy(name, mark->name, verb_size);
    memcpy(name + verb_size, saga->type, type_size);
    add_saga(&facts, saga);
    add_text(&facts, SONDE_KEY("sonde.saga.state.from"), mark->from);
    add_text(&facts, SONDE_KEY("sonde.saga.state.to"), mark->to);
    add_text(&facts, SONDE_KEY("sonde.saga.outcome"), mark->outcome);
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.parent = parent_choose(saga, given, now, &scratch);
    options.start_unix_ns = saga->clock ? now : 0;
    options.not_current = options.one_thread = true;
    options.attributes = facts.all;
    options.attribute_count = facts.count;
    options.links = link;
    options.link_count = link ? 1 : 0;
    sonde_span_start(&span, sonde_key_n(name, verb_size + type_size), &options);
    if (mark->outcome && mark->severity >= SONDE_SEVERITY_ERROR)
        sonde_span_set_status(&span, SONDE_STATUS_ERROR, "the saga failed");
    if (mark->seconds >= 0)
        add(&facts, sonde_attribute_double(SONDE_KEY("sonde.saga.duration"), mark->seconds));
    tell(&span, mark->event, mark->severity, &facts, options.start_unix_ns);
    if (ret_context)
        *ret_context = span.context;
    sonde_span_end_at(&span, options.start_unix_ns);
}

static void options_copy(struct sonde_saga_options *ret_options, const struct sonde_saga_options *from) {
    *ret_options = (struct sonde_saga_options)SONDE_SAGA_OPTIONS_INIT;
    if (from)
        memcpy(ret_options, from, from->size < sizeof *ret_options ? from->size : sizeof *ret_options);
}

void sonde_saga_begin(struct sonde_saga *ret_saga, const char *type, const struct sonde_saga_options *options) {
    struct sonde_saga_options o;
    uint8_t random[16];
    options_copy(&o, options);
    memset(ret_saga, 0, sizeof *ret_saga);
    ret_saga->clock = o.clock;
    ret_saga->user = o.user;
    ret_saga->short_ns = o.short_ns ? o.short_ns : SONDE__SAGA_SHORT_NS;
    sonde__saga_text(ret_saga->type, type && *type ? type : "unknown", strlen(type && *type ? type : "unknown"));
    if (o.id && *o.id) {
        sonde__saga_text(ret_saga->id, o.id, strlen(o.id));
    } else {
        sonde__random_fill(random, sizeof random);
        sonde__hex_write(random, sizeof random, ret_saga->id);
    }
    ret_saga->start_unix_ns = ret_saga->root_unix_ns = now_ns(ret_saga);
    const struct mark mark = {
        "begin saga ", SONDE_NAME("sonde.saga.begin"), NULL, "active", NULL, SONDE_SEVERITY_INFO, -1};
    mark_record(ret_saga, &mark, o.parent, NULL, &ret_saga->root);
    ret_saga->last = ret_saga->root;
    const struct sonde_attribute label = sonde_attribute_string(SONDE_KEY("sonde.saga.type"), ret_saga->type);
    sonde_instrument_add(sonde__resilience_instrument(SONDE__RESILIENCE_SAGA_STARTED), 1, &label, 1);
}

int sonde_saga_resume(struct sonde_saga *ret_saga, const char *type, struct sonde_string state,
                      const struct sonde_saga_options *options) {
    struct sonde_saga_options o;
    struct sonde_link link;
    struct sonde_attribute kind;
    int error = 0;
    options_copy(&o, options);
    memset(ret_saga, 0, sizeof *ret_saga);
    if (state.size)
        error = sonde__saga_load(ret_saga, state);
    else if (!o.id || !*o.id || !type || !*type)
        error = SONDE_EINVALID;
    if (!error && !state.size) {
        sonde__saga_text(ret_saga->id, o.id, strlen(o.id));
        sonde__saga_text(ret_saga->type, type, strlen(type));
        ret_saga->flags = SONDE__SAGA_PARTIAL;
    }
    if (!error && ((o.id && strcmp(o.id, ret_saga->id) != 0) || (type && strcmp(type, ret_saga->type) != 0)))
        error = SONDE_EINVALID;
    if (error) {
        memset(ret_saga, 0, sizeof *ret_saga);
        ret_saga->flags = SONDE__SAGA_ENDED; /* whose calls do nothing */
        return error;
    }
    ret_saga->clock = o.clock;
    ret_saga->user = o.user;
    if (!ret_saga->short_ns)
        ret_saga->short_ns = o.short_ns ? o.short_ns : SONDE__SAGA_SHORT_NS;
    if (ret_saga->flags & SONDE__SAGA_ENDED)
        return 0;
    const size_t links = add_link(&link, &kind, 0, &ret_saga->last, "continues");
    const char *now_is = ret_saga->is_compensating ? "compensating" : "active";
    const struct mark mark = {
        "resume saga ", SONDE_NAME("sonde.saga.resume"), now_is, now_is, NULL, SONDE_SEVERITY_INFO, -1};
    const uint64_t now = now_ns(ret_saga);
    mark_record(ret_saga, &mark, o.parent, links ? &link : NULL, &ret_saga->root);
    ret_saga->root_unix_ns = now;
    return 0;
}

/* What the saga was until it ends so; NULL = others know. */
static const char *state_before(const struct sonde_saga *saga, enum sonde_saga_outcome outcome) {
    if (saga->is_compensating)
        return "compensating";
    if (!(saga->flags & SONDE__SAGA_PARTIAL) || outcome == SONDE_SAGA_COMPLETED)
        return "active";
    return outcome == SONDE_SAGA_COMPENSATED ? "compensating" : NULL;
}

void sonde_saga_end(struct sonde_saga *saga, enum sonde_saga_outcome outcome) {
    if ((unsigned)outcome > SONDE_SAGA_FAILED || saga->flags & SONDE__SAGA_ENDED)
        return;
    static const int severities[] = {SONDE_SEVERITY_INFO, SONDE_SEVERITY_WARN, SONDE_SEVERITY_ERROR};
    struct sonde_span_context context;
    const char *before = state_before(saga, outcome);
    if (outcome == SONDE_SAGA_COMPENSATED && saga->flags & SONDE__SAGA_FORGOT)
        outcome = SONDE_SAGA_FAILED; /* a step is still done, as far as anybody knows */
    const char *text = outcome_texts[outcome];
    const double seconds = saga->start_unix_ns ? seconds_since(saga->start_unix_ns, now_ns(saga)) : -1;
    const struct mark mark = {"end saga ", SONDE_NAME("sonde.saga.end"), before, text,
                              text,        severities[outcome],          seconds};
    mark_record(saga, &mark, NULL, NULL, &context);
    saga->flags |= SONDE__SAGA_ENDED;
    const struct sonde_attribute labels[] = {sonde_attribute_string(SONDE_KEY("sonde.saga.type"), saga->type),
                                             sonde_attribute_string(SONDE_KEY("sonde.saga.outcome"), text)};
    sonde_instrument_add_in(&context, sonde__resilience_instrument(SONDE__RESILIENCE_SAGA_ENDED), 1, labels, 2);
    if (seconds >= 0)
        sonde_instrument_record_in(&context, sonde__resilience_instrument(SONDE__RESILIENCE_SAGA_DURATION), seconds,
                                   labels, 2);
}

/* ---- steps ---- */

static struct sonde_saga_done *step_of(struct sonde_saga *saga, const struct sonde_saga_step *step) {
    for (uint32_t i = saga->step_count; i > 0; i--)
        if (saga->steps[i - 1].index == step->index && strcmp(saga->steps[i - 1].name, step->name) == 0)
            return &saga->steps[i - 1];
    return NULL;
}
static struct sonde_saga_done *step_of_name(struct sonde_saga *saga, const char *name) {
    for (uint32_t i = saga->step_count; i > 0; i--)
        if (strcmp(saga->steps[i - 1].name, name) == 0)
            return &saga->steps[i - 1];
    return NULL;
}
/* The step of that name that is meant to be undone. */
static struct sonde_saga_done *step_to_undo(struct sonde_saga *saga, const char *name,
                                            const struct sonde_saga_step_options *o) {
    for (uint32_t i = saga->step_count; i > 0; i--) {
        struct sonde_saga_done *done = &saga->steps[i - 1];
        if (strcmp(done->name, name) == 0 && (!o->compensates_index || o->compensates_index == done->index) &&
            (!o->compensates || memcmp(o->compensates->span_id, done->span.span_id, sizeof done->span.span_id) == 0))
            return done;
    }
    return NULL;
}

/* Index of the step that is forgotten for another: the oldest that needs no undoing. STEPS_MAX = all may need it. */
static uint32_t step_dispensable(const struct sonde_saga *saga) {
    uint32_t i = 0;
    while (i < saga->step_count && saga->steps[i].state != SONDE__STEP_FAILED &&
           saga->steps[i].state != SONDE__STEP_UNDONE)
        i++;
    return i;
}
static struct sonde_saga_done *step_add(struct sonde_saga *saga, const char *name, uint32_t index) {
    if (saga->step_count == SONDE_SAGA_STEPS_MAX) {
        uint32_t i = step_dispensable(saga);
        if (i == SONDE_SAGA_STEPS_MAX) {
            saga->flags |= SONDE__SAGA_FORGOT;
            i = 0;
        }
        memmove(&saga->steps[i], &saga->steps[i + 1], (SONDE_SAGA_STEPS_MAX - 1 - i) * sizeof saga->steps[0]);
        saga->step_count--;
    }
    struct sonde_saga_done *done = &saga->steps[saga->step_count++];
    memset(done, 0, sizeof *done);
    memcpy(done->name, name, sizeof done->name);
    done->index = (uint16_t)index;
    return done;
}
/* A step that another value of this saga began, so that attempts to undo it are counted here. NULL = there is no room but
 * that of steps that may need undoing. */
static struct sonde_saga_done *step_adopt(struct sonde_saga *saga, const char *name,
                                          const struct sonde_saga_step_options *o) {
    if (saga->step_count == SONDE_SAGA_STEPS_MAX && step_dispensable(saga) == SONDE_SAGA_STEPS_MAX)
        return NULL;
    struct sonde_saga_done *done =
        step_add(saga, name, o->compensates_index < UINT16_MAX ? o->compensates_index : UINT16_MAX);
    if (o->compensates)
        done->span = *o->compensates;
    return done;
}

/* The number of this attempt: as given, else the next one. */
static uint32_t attempt_count(uint8_t *made, uint32_t given) {
    const uint32_t attempt = given ? given : *made + 1u;
    *made = attempt < UINT8_MAX ? (uint8_t)attempt : UINT8_MAX;
    return given ? given : *made;
}

/* Which attempt it is at going forward, and what it links to. */
static size_t forward(struct sonde_saga *saga, struct sonde_saga_step *step, const struct sonde_saga_step_options *o,
                      struct sonde_link *links, struct sonde_attribute *kinds, struct sonde_saga_done **ret_done) {
    struct sonde_saga_done *done = step_of_name(saga, step->name);
    uint8_t state = SONDE__STEP_OPEN;
    size_t count;
    if (done && (done->state == SONDE__STEP_FAILED || done->state == SONDE__STEP_UNKNOWN)) {
        count = add_link(links, kinds, 0, &done->span, "retry_of");
        state = done->state == SONDE__STEP_UNKNOWN ? SONDE__STEP_DOUBTFUL : SONDE__STEP_OPEN;
    } else {
        saga->index += saga->index < UINT16_MAX;
        done = step_add(saga, step->name, saga->index);
        count = add_link(links, kinds, 0, &saga->last, "next");
    }
    done->state = state;
    step->index = done->index;
    step->attempt = attempt_count(&done->attempts, o->attempt);
    *ret_done = done;
    return count;
}
static size_t backward(struct sonde_saga *saga, struct sonde_saga_step *step, const struct sonde_saga_step_options *o,
                       struct sonde_link *links, struct sonde_attribute *kinds, struct sonde_saga_done **done) {
    saga->is_compensating = true;
    if (!*done)
        *done = step_adopt(saga, step->name, o);
    const struct sonde_span_context *undone = o->compensates ? o->compensates : *done ? &(*done)->span : NULL;
    size_t count = add_link(links, kinds, 0, undone, "compensates");
    step->index = o->compensates_index;
    step->attempt = o->attempt ? o->attempt : 1;
    if (!*done)
        return count;
    count = add_link(links, kinds, count, &(*done)->compensation, "retry_of");
    (*done)->state = SONDE__STEP_UNDOING;
    step->index = (*done)->index;
    step->attempt = attempt_count(&(*done)->compensations, o->attempt);
    return count;
}

/* The saga is in the baggage from here on, if the span is current (not when the thread has no room for it). */
static void carry(const struct sonde_saga *saga, const struct sonde_saga_step *step) {
    struct sonde_span_context current = sonde_context_current_span();
    if (sonde_span_context_is_valid(&current) && memcmp(current.span_id, step->span.context.span_id, 8) == 0)
        (void)sonde_saga_put(saga, step, NULL); /* baggage that is full: the saga ends here for its telemetry */
}

static void step_start(struct sonde_saga *saga, struct sonde_saga_step *step, struct sonde_saga_done *undone,
                       const struct sonde_saga_step_options *o) {
    struct sonde_saga_done *done = undone;
    struct sonde_attribute kinds[2];
    struct sonde_link links[2];
    struct sonde_context scratch;
    struct facts facts;
    char hash[SONDE__KEY_HASH_SIZE];
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    if (step->action == SONDE_SAGA_FORWARD)
        options.link_count = forward(saga, step, o, links, kinds, &done);
    else
        options.link_count = backward(saga, step, o, links, kinds, &done);
    add_saga(&facts, saga);
    add_step(&facts, step);
    add_text(&facts, SONDE_KEY("sonde.saga.state.from"), o->state_from);
    add_text(&facts, SONDE_KEY("sonde.saga.state.to"), o->state_to);
    if (o->idempotency_key.size) {
        sonde__idempotency_key_hash(o->idempotency_key, hash);
        add(&facts, sonde_attribute_string_n(SONDE_KEY("sonde.saga.idempotency.key"), hash, sizeof hash));
    }
    step->start_unix_ns = now_ns(saga);
    options.kind = o->kind ? o->kind : SONDE_SPAN_KIND_CLIENT;
    options.scope = o->scope;
    options.parent = parent_choose(saga, o->parent, step->start_unix_ns, &scratch);
    options.start_unix_ns = saga->clock ? step->start_unix_ns : 0;
    options.not_current = o->not_current;
    options.one_thread = o->one_thread;
    options.links = links;
    options.attributes = facts.all;
    options.attribute_count = facts.count;
    sonde_span_start(&step->span, sonde_key_cstr(step->name), &options);
    step->is_open = true;
    if (step->action == SONDE_SAGA_FORWARD)
        done->span = step->span.context;
    else if (done)
        done->compensation = step->span.context;
    saga->last = step->span.context;
    if (!o->not_current)
        carry(saga, step);
}

static bool step_init(const struct sonde_saga *saga, struct sonde_saga_step *ret_step,
                      const struct sonde_saga_step_options *from, struct sonde_saga_step_options *ret_options) {
    memset(ret_step, 0, sizeof *ret_step);
    *ret_options = (struct sonde_saga_step_options)SONDE_SAGA_STEP_OPTIONS_INIT;
    if (from)
        memcpy(ret_options, from, from->size < sizeof *ret_options ? from->size : sizeof *ret_options);
    return !(saga->flags & SONDE__SAGA_ENDED);
}

void sonde_saga_step_begin(struct sonde_saga *saga, struct sonde_saga_step *ret_step, const char *name,
                           const struct sonde_saga_step_options *options) {
    struct sonde_saga_step_options o;
    if (!step_init(saga, ret_step, options, &o))
        return;
    sonde__saga_text(ret_step->name, name && *name ? name : "unknown", strlen(name && *name ? name : "unknown"));
    ret_step->action = o.action == SONDE_SAGA_COMPENSATE ? SONDE_SAGA_COMPENSATE : SONDE_SAGA_FORWARD;
    step_start(saga, ret_step, ret_step->action == SONDE_SAGA_FORWARD ? NULL : step_to_undo(saga, ret_step->name, &o),
               &o);
}

bool sonde_saga_compensate(struct sonde_saga *saga, struct sonde_saga_step *ret_step,
                           const struct sonde_saga_step_options *options) {
    struct sonde_saga_step_options o;
    if (!step_init(saga, ret_step, options, &o))
        return false;
    for (uint32_t i = saga->step_count; i > 0; i--) {
        struct sonde_saga_done *done = &saga->steps[i - 1];
        if (done->state != SONDE__STEP_SUCCEEDED && done->state != SONDE__STEP_UNDO_FAILED &&
            done->state != SONDE__STEP_UNKNOWN)
            continue;
        memcpy(ret_step->name, done->name, sizeof done->name);
        ret_step->action = SONDE_SAGA_COMPENSATE;
        step_start(saga, ret_step, done, &o);
        return true;
    }
    return false;
}

static void step_measure(const struct sonde_saga *saga, const struct sonde_saga_step *step, const char *outcome,
                         double seconds) {
    const struct sonde_span_context *context = &step->span.context;
    struct sonde_attribute labels[3] = {
        sonde_attribute_string(SONDE_KEY("sonde.saga.type"), saga->type),
        sonde_attribute_string(SONDE_KEY("sonde.saga.step"), step->name),
        sonde_attribute_string(SONDE_KEY("sonde.saga.action"), action_texts[step->action])};
    sonde_instrument_record_in(context, sonde__resilience_instrument(SONDE__RESILIENCE_SAGA_STEP_DURATION), seconds,
                               labels, 3);
    if (step->action != SONDE_SAGA_COMPENSATE)
        return;
    labels[2] = sonde_attribute_string(SONDE_KEY("sonde.saga.outcome"), outcome);
    sonde_instrument_add_in(context, sonde__resilience_instrument(SONDE__RESILIENCE_SAGA_COMPENSATION), 1, labels, 3);
}

/* What became of a step that was under way. */
static uint8_t state_after(uint8_t state, bool is_undo, bool is_bad, bool is_unknown) {
    if (is_undo)
        return is_bad ? SONDE__STEP_UNDO_FAILED : SONDE__STEP_UNDONE;
    if (!is_bad)
        return SONDE__STEP_SUCCEEDED;
    return is_unknown || state == SONDE__STEP_DOUBTFUL ? SONDE__STEP_UNKNOWN : SONDE__STEP_FAILED;
}

static void step_finish(struct sonde_saga *saga, struct sonde_saga_step *step, const char *error_type,
                        bool is_unknown) {
    if (!step->is_open)
        return;
    const bool is_bad = error_type && *error_type, is_undo = step->action == SONDE_SAGA_COMPENSATE;
    const char *outcome = !is_bad ? "success" : is_unknown && !is_undo ? "unknown" : "failure";
    const uint64_t now = now_ns(saga);
    const double seconds = seconds_since(step->start_unix_ns, now);
    struct sonde_saga_done *done = step_of(saga, step); /* NULL: forgotten, or of another participant */
    struct facts facts;
    step->is_open = false;
    if (done)
        done->state = state_after(done->state, is_undo, is_bad, is_unknown);
    sonde_span_set_cstr(&step->span, SONDE_KEY("sonde.saga.outcome"), outcome);
    if (is_bad) {
        sonde_span_set_cstr(&step->span, SONDE_KEY("error.type"), error_type);
        sonde_span_set_status(&step->span, SONDE_STATUS_ERROR, NULL);
    }
    add_saga(&facts, saga);
    add_step(&facts, step);
    add_text(&facts, SONDE_KEY("sonde.saga.outcome"), outcome);
    add_text(&facts, SONDE_KEY("error.type"), is_bad ? error_type : NULL);
    add(&facts, sonde_attribute_double(SONDE_KEY("sonde.saga.duration"), seconds));
    tell(&step->span, SONDE_NAME("sonde.saga.step"),
         !is_bad   ? SONDE_SEVERITY_INFO
         : is_undo ? SONDE_SEVERITY_ERROR
                   : SONDE_SEVERITY_WARN,
         &facts, saga->clock ? now : 0);
    step_measure(saga, step, outcome, seconds);
    sonde_span_end_at(&step->span, saga->clock ? now : 0);
}

void sonde_saga_step_end(struct sonde_saga *saga, struct sonde_saga_step *step, const char *error_type) {
    step_finish(saga, step, error_type, false);
}
void sonde_saga_step_end_unknown(struct sonde_saga *saga, struct sonde_saga_step *step, const char *error_type) {
    step_finish(saga, step, error_type && *error_type ? error_type : "_OTHER", true);
}
