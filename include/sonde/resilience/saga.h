/* SPDX-License-Identifier: Apache-2.0 */
/* Sagas: business transactions of several steps in several services, which are undone step by step when one fails.
 *
 * Orchestration: one service leads.
 *   struct sonde_saga saga;
 *   struct sonde_saga_step step;
 *   sonde_saga_begin(&saga, "order", NULL);
 *   sonde_saga_step_begin(&saga, &step, "reserve", NULL);        // a client span; baggage for the peer is current
 *   error = reserve();
 *   sonde_saga_step_end(&saga, &step, error);                    // NULL, or what went wrong ("out_of_stock")
 *   ...                                                          // a timeout: sonde_saga_step_end_unknown()
 *   if (!error)
 *       sonde_saga_end(&saga, SONDE_SAGA_COMPLETED);
 *   else {
 *       while (sonde_saga_compensate(&saga, &step, NULL)) {      // the last step that is not undone yet
 *           bad = undo(step.name);
 *           sonde_saga_step_end(&saga, &step, bad);
 *           if (bad) break;
 *       }
 *       sonde_saga_end(&saga, bad ? SONDE_SAGA_FAILED : SONDE_SAGA_COMPENSATED);
 *   }
 * Between two steps the saga may be written down with sonde_saga_save(), and gone on with by sonde_saga_resume() in
 * another process, days later.
 *
 * Choreography: nobody leads; the saga goes on with the messages.
 *   sonde_extract(&carrier, &context);
 *   if (sonde_saga_join_as(&saga, &context, "order") == 0) {
 *       sonde_saga_step_begin(&saga, &step, "charge", &options); // kind CONSUMER
 *       ... send the next message                                // injected: the saga and this step
 *       sonde_saga_step_end(&saga, &step, NULL);
 *   }
 *
 * What travels: three members of baggage, at most SONDE_SAGA_BAGGAGE_SIZE_MAX bytes together:
 *   saga.id    as given or made     saga.type   as given
 *   saga.step  INDEX.START.TRACEPARENT: of the step before; decimal; when the saga began in milliseconds since 1970; as
 *              W3C has it
 * They stand in a step's context from its begin to its end, and go with every message sent in between;
 * sonde_saga_remove() takes them off for a peer that should not see them.
 *
 * What a collector can rely on (the contract):
 *   Every span of a saga has sonde.saga.id and sonde.saga.type.
 *   A step's span has also sonde.saga.step (its name), sonde.saga.step.index (1 = the first; of a compensation the index
 *     of the step it undoes, absent where that is not known), sonde.saga.action (forward, compensate), sonde.saga.attempt
 *     (1 = the first) and, set at its end, sonde.saga.outcome (success, failure; of a forward step also unknown: it may
 *     have taken effect, and counts as failed until another attempt succeeds); and if given sonde.saga.state.from, .to, sonde.saga.idempotency.key
 *     (hashed). A failed one has status ERROR and error.type; a compensation that succeeds has no error.
 *   A step's span links to the span before it, with sonde.link.kind: next (the step before; of the first:
 *     the mark that it began), retry_of (the failed attempt), compensates (the step it undoes). The mark of a resumption
 *     links to the last step as `continues`.
 *   Spans without sonde.saga.step are short marks of the saga itself; their sonde.saga.state.to says of what: `active`
 *     without a state.from: it began; the same as state.from (`active`, `compensating`): it was resumed; `completed`,
 *     `compensated`, `failed`: it ended, and sonde.saga.outcome says the same. There is no state.from when a participant
 *     that undid nothing itself says that it failed: others may have undone steps.
 *   Spans may not be sampled. The same attributes, and sonde.saga.duration (seconds) at the end, are in log records, in
 *     the context of the span: events sonde.saga.begin, sonde.saga.resume, sonde.saga.step (at a step's end, with
 *     duration) and sonde.saga.end. One who reads both takes id, index, action and attempt for the key of a step; without
 *     an index the span's id.
 *   Metrics have the type, never the id: sonde.saga.started; .ended (sonde.saga.outcome); .duration (outcome);
 *     .step.duration (step, action); .compensation (step, outcome: of each attempt to undo one).
 *
 * Traces: a step is a child of what is current, or of options.parent. Where nothing is, it is a child of the mark that the
 * saga began or was resumed (a participant: of the context it joined by) as long as that is younger than short_ns; else
 * a root. So a short saga is one trace, and a long one begins another each time it is resumed.
 * All is a value in the caller's memory: one thread at a time, no allocation but for series seen first. Nothing blocks. */
#ifndef SONDE_RESILIENCE_SAGA_H
#define SONDE_RESILIENCE_SAGA_H

#include <sonde/baggage.h>
#include <sonde/trace.h>

SONDE_BEGIN

/** Ids, types and names of steps: 1..63 bytes; ids and types visible ASCII, names UTF-8. Longer ones are cut. */
#define SONDE_SAGA_TEXT_SIZE_MAX    63u
/** Steps that a saga remembers, to undo them and to link to them. Of more, those that need no undoing (failed, undone) are
 *  forgotten first, then the oldest: a saga that forgot one of these can no longer end as compensated, see there. */
#define SONDE_SAGA_STEPS_MAX        16u
#define SONDE_SAGA_BAGGAGE_SIZE_MAX 500u
/** Room that sonde_saga_save() needs at most; some 100 bytes a step are usual. */
#define SONDE_SAGA_STATE_SIZE_MAX   6144u

enum sonde_saga_outcome {
    SONDE_SAGA_COMPLETED = 0, /* all steps are done */
    SONDE_SAGA_COMPENSATED, /* all that was done is undone. Recorded as failed when the saga forgot a step that may have
                               * been done: then nobody undid it */
    SONDE_SAGA_FAILED,      /* neither: somebody must look at it */
};
enum sonde_saga_action { SONDE_SAGA_FORWARD = 0, SONDE_SAGA_COMPENSATE };

/** A step that was begun, as the saga remembers it. */
struct sonde_saga_done {
    struct sonde_span_context span;         /* of its last forward attempt */
    struct sonde_span_context compensation; /* of the last attempt to undo it; invalid = none yet */
    uint16_t index;
    uint8_t attempts, compensations; /* made so far; saturate */
    uint8_t state;
    char name[SONDE_SAGA_TEXT_SIZE_MAX + 1u];
};

/** A saga: a value. Only id, type, index and is_compensating are to be read. */
struct sonde_saga {
    char id[SONDE_SAGA_TEXT_SIZE_MAX + 1u], type[SONDE_SAGA_TEXT_SIZE_MAX + 1u];
    uint64_t start_unix_ns, short_ns, root_unix_ns;
    uint32_t index; /* of the last step; 0 = none yet */
    uint32_t flags;
    bool is_compensating;
    uint8_t step_count;
    struct sonde_span_context root; /* parent of steps where nothing is current */
    struct sonde_span_context last; /* of the last step; of the begin at first */
    uint64_t (*clock)(void *user);
    void *user;
    struct sonde_saga_done steps[SONDE_SAGA_STEPS_MAX]; /* the oldest first */
};

/** Set up with SONDE_SAGA_OPTIONS_INIT; zero = the default in brackets.
 *  id        NUL-terminated, borrowed; NULL = 32 random hex digits (of which a system call is made).
 *  short_ns  a saga younger than this stays in one trace [60 s]. After a resumption as begun with.
 *  parent    borrowed; NULL = the current context. Of the mark that the saga began or was resumed.
 *  clock     NULL, or wall clock in ns since 1970 (for tests); kept with the value.    user  of it. */
struct sonde_saga_options {
    size_t size;
    const char *id;
    uint64_t short_ns;
    const struct sonde_context *parent;
    uint64_t (*clock)(void *user);
    void *user;
};
#ifdef __cplusplus
#define SONDE_SAGA_OPTIONS_INIT                                                                                        \
    { sizeof(struct sonde_saga_options), nullptr, 0, nullptr, nullptr, nullptr }
#else
#define SONDE_SAGA_OPTIONS_INIT                                                                                        \
    { .size = sizeof(struct sonde_saga_options) }
#endif

/** Begins a saga of a type ("order"; NUL-terminated, borrowed; one of few: it labels metrics). Counted as started.
 *  ret_saga  always written. options borrowed; may be NULL. No errors. */
SONDE_API void sonde_saga_begin(struct sonde_saga *ret_saga, const char *type,
                                const struct sonde_saga_options *options);

/** Takes part in a saga that came with a message or request. Id and type are what the sender wrote, and the type labels
 *  metrics: where senders are not trusted, and where one type is meant, sonde_saga_join_as().
 *  ret_saga  always written; after an error its calls do nothing.
 *  context   what was extracted; NULL = the current one.
 *  Returns 0, SONDE_ENOTFOUND (no saga in it). A saga.step that is missing or bad costs the link and the index only. */
SONDE_API int sonde_saga_join(struct sonde_saga *ret_saga, const struct sonde_context *context);
/** The same, of one type: NUL-terminated, borrowed; NULL = any. So no series is made for what a stranger wrote.
 *  Returns also SONDE_EINVALID (a saga of another type). A service of several types asks for one after the other. */
SONDE_API int sonde_saga_join_as(struct sonde_saga *ret_saga, const struct sonde_context *context, const char *type);

/** Writes a saga down: ASCII without NUL and line ends, for a column beside the business record. Between steps: one that
 *  is under way is written as one that may have taken effect (sonde_saga_step_end_unknown()), a compensation as failed.
 *  Returns the bytes it takes; nothing is written when they are more than size. */
SONDE_API size_t sonde_saga_save(const struct sonde_saga *saga, char *ret_text, size_t size);

/** Goes on with a saga, in this or another process: records a mark, linked to the last span.
 *  ret_saga  always written.
 *  type      as begun with; NULL = as saved.
 *  state     of sonde_saga_save(); without it (size 0) options->id and type are needed, and the saga goes on without
 *            links and without steps to undo.
 *  options   borrowed; may be NULL. An id must be that of the state.
 *  Returns 0, SONDE_EINVALID (no id or type, or not those of the state), SONDE_EMALFORMED. */
SONDE_API int sonde_saga_resume(struct sonde_saga *ret_saga, const char *type, struct sonde_string state,
                                const struct sonde_saga_options *options);

/** Ends it, once; all further calls but save do nothing. */
SONDE_API void sonde_saga_end(struct sonde_saga *saga, enum sonde_saga_outcome outcome);

/** Set up with SONDE_SAGA_STEP_OPTIONS_INIT. All borrowed; may be NULL or empty.
 *  kind            CLIENT by default; CONSUMER for a participant.
 *  state_from, state_to   of the business state machine ("created", "reserved"), NUL-terminated.
 *  idempotency_key        with which the step is asked for; hashed.
 *  attempt         1 = the first; 0 = counted by the saga, which goes on from what was given. To be given when a message
 *                  is handled again: a saga that was joined anew counts from 1.
 *  action          COMPENSATE with sonde_saga_step_begin(): undoes the remembered step of that name (and of the context
 *                  and index below, if given), else one that others began or that was forgotten.
 *  compensates     of a participant that undoes its own step: the context of that step, which it has kept.
 *  compensates_index   and its index; 0 = not known.
 *  parent, scope, not_current, one_thread   as of a span. When not_current, sonde_saga_put() the baggage yourself. */
struct sonde_saga_step_options {
    size_t size;
    enum sonde_span_kind kind;
    enum sonde_saga_action action;
    uint32_t attempt, scope;
    const char *state_from, *state_to;
    struct sonde_string idempotency_key;
    const struct sonde_span_context *compensates;
    const struct sonde_context *parent;
    bool not_current, one_thread;
    uint32_t compensates_index;
};
#ifdef __cplusplus
#define SONDE_SAGA_STEP_OPTIONS_INIT                                                                                   \
    {                                                                                                                  \
        sizeof(struct sonde_saga_step_options), SONDE_SPAN_KIND_CLIENT, SONDE_SAGA_FORWARD, 0, 0, nullptr, nullptr,    \
            {nullptr, 0}, nullptr, nullptr, false, false, 0                                                            \
    }
#else
#define SONDE_SAGA_STEP_OPTIONS_INIT                                                                                   \
    { .size = sizeof(struct sonde_saga_step_options), .kind = SONDE_SPAN_KIND_CLIENT }
#endif

/** A step under way: a value. span is the user's to set attributes on; the rest to read. */
struct sonde_saga_step {
    struct sonde_span span; /* a slot of 0 after the end */
    enum sonde_saga_action action;
    uint32_t index, attempt; /* index: 0 = not known */
    uint64_t start_unix_ns;
    char name[SONDE_SAGA_TEXT_SIZE_MAX + 1u];
    bool is_open;
};

/** Begins a step: its span, current unless told otherwise, with the saga in its baggage. A name whose last attempt
 *  failed is another attempt of that step. Several steps of a saga may be under way at once, begun one after the other.
 *  ret_step  always written. */
SONDE_API void sonde_saga_step_begin(struct sonde_saga *saga, struct sonde_saga_step *ret_step, const char *name,
                                     const struct sonde_saga_step_options *options);
/** Begins to undo the last step that succeeded or may have, and is not undone, or whose undoing failed (its next attempt
 *  then). To undo what may not have been done has to be harmless. Steps under way are passed over: they end before.
 *  Returns false when there is none (*ret_step is then not open). */
SONDE_API bool sonde_saga_compensate(struct sonde_saga *saga, struct sonde_saga_step *ret_step,
                                     const struct sonde_saga_step_options *options);
/** Ends a step and measures it. error_type: NULL = success; else a failure ("timeout", "out_of_stock"; one of few). A
 *  second call does nothing. */
SONDE_API void sonde_saga_step_end(struct sonde_saga *saga, struct sonde_saga_step *step, const char *error_type);
/** Ends a step of which nobody knows whether it took effect ("timeout", a connection lost after the request was sent): it
 *  failed, and is undone like one that succeeded. Another attempt of it that succeeds settles the matter, one that fails
 *  does not. Of a compensation the same as sonde_saga_step_end(). error_type: NULL = "_OTHER". */
SONDE_API void sonde_saga_step_end_unknown(struct sonde_saga *saga, struct sonde_saga_step *step,
                                           const char *error_type);

/** Puts the saga into a context's baggage, behind the step (NULL: behind the saga's last); takes it out.
 *  context  NULL = the current one.
 *  Returns as sonde_baggage_set(); what was there is then as it was, or is in part replaced. */
SONDE_API int sonde_saga_put(const struct sonde_saga *saga, const struct sonde_saga_step *step,
                             struct sonde_context *context);
SONDE_API void sonde_saga_remove(struct sonde_context *context);

SONDE_END

#endif
