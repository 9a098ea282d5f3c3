/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <sonde/err.h>
#include <sonde/resilience/saga.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/unit/instrumentation/conventional.h"

#define SECOND UINT64_C(1000000000)
static uint64_t fake_now;
static uint64_t fake_clock(void *user) {
    (void)user;
    return fake_now;
}
static struct sonde_saga begin(const char *type, const char *id) {
    struct sonde_saga_options options = SONDE_SAGA_OPTIONS_INIT;
    struct sonde_saga saga;
    options.id = id;
    options.clock = fake_clock;
    sonde_saga_begin(&saga, type, &options);
    return saga;
}
static void run(struct sonde_saga *saga, const char *name, const char *error) {
    struct sonde_saga_step step;
    sonde_saga_step_begin(saga, &step, name, NULL);
    fake_now += SECOND / 4;
    sonde_saga_step_end(saga, &step, error);
}
static int setup_all(void **state) {
    fake_now = UINT64_C(1700000000) * SECOND;
    return conventional_setup(state);
}

/* Takes the log record that stands before the next span and checks its event. */
static void event_take(const char *event, const char *key, const char *value) {
    Pb__LogRecord *log = records_log();
    assert_string_equal(log->event_name, event);
    const Pb__AnyValue *found = records_value(log->attributes, log->n_attributes, key);
    if (!found || strcmp(found->string_value, value) != 0)
        fail_msg("%s: %s is %s, not %s", event, key, found ? found->string_value : "absent", value);
    pb__log_record__free_unpacked(log, NULL);
}
static void span_links(size_t i, const uint8_t span_id[8], const char *kind) {
    assert_true(i < span_pb->n_links);
    assert_memory_equal(span_pb->links[i]->span_id.data, span_id, 8);
    const Pb__AnyValue *value =
        records_value(span_pb->links[i]->attributes, span_pb->links[i]->n_attributes, "sonde.link.kind");
    assert_non_null(value);
    assert_string_equal(value->string_value, kind);
}
static void span_is_step(const char *name, int index, const char *action, int attempt, const char *outcome) {
    span_has_text("sonde.saga.step", name);
    span_has_number("sonde.saga.step.index", index);
    span_has_text("sonde.saga.action", action);
    span_has_number("sonde.saga.attempt", attempt);
    span_has_text("sonde.saga.outcome", outcome);
}
struct ids {
    uint8_t trace[16], span[8];
};
static struct ids span_ids(void) {
    struct ids ids;
    memcpy(ids.trace, span_pb->trace_id.data, 16);
    memcpy(ids.span, span_pb->span_id.data, 8);
    return ids;
}

static void an_orchestrated_saga_is_one_trace_of_linked_steps(void **state) {
    (void)state;
    struct sonde_saga saga = begin("order", "o-1");
    run(&saga, "reserve", NULL);
    run(&saga, "charge", NULL);
    fake_now += SECOND;
    sonde_saga_end(&saga, SONDE_SAGA_COMPLETED);
    sonde_saga_end(&saga, SONDE_SAGA_FAILED); /* once */
    run(&saga, "late", NULL);

    event_take("sonde.saga.begin", "sonde.saga.id", "o-1");
    span_take("begin saga order", SONDE_SPAN_KIND_INTERNAL);
    struct ids mark = span_ids();
    span_has_text("sonde.saga.id", "o-1");
    span_has_text("sonde.saga.type", "order");
    span_has_text("sonde.saga.state.to", "active");
    span_has_not("sonde.saga.state.from");
    span_has_not("sonde.saga.step");
    event_take("sonde.saga.step", "sonde.saga.outcome", "success");
    span_take("reserve", SONDE_SPAN_KIND_CLIENT);
    struct ids reserve = span_ids();
    span_is_step("reserve", 1, "forward", 1, "success");
    assert_memory_equal(reserve.trace, mark.trace, 16);
    assert_memory_equal(span_pb->parent_span_id.data, mark.span, 8);
    span_links(0, mark.span, "next");
    assert_true(span_pb->end_time_unix_nano - span_pb->start_time_unix_nano == SECOND / 4);
    event_take("sonde.saga.step", "sonde.saga.step", "charge");
    span_take("charge", SONDE_SPAN_KIND_CLIENT);
    span_is_step("charge", 2, "forward", 1, "success");
    assert_memory_equal(span_pb->trace_id.data, mark.trace, 16);
    span_links(0, reserve.span, "next");
    event_take("sonde.saga.end", "sonde.saga.outcome", "completed");
    span_take("end saga order", SONDE_SPAN_KIND_INTERNAL);
    span_has_text("sonde.saga.outcome", "completed");
    span_has_text("sonde.saga.state.to", "completed");
    assert_int_equal(span_status(), SONDE_STATUS_UNSET);
    assert_null(records_next());

    assert_int_equal(measured("sonde.saga.started", "order", NULL).count, 1);
    assert_int_equal(measured("sonde.saga.ended", "order", "completed", NULL).count, 1);
    struct measured duration = measured("sonde.saga.duration", "order", "completed", NULL);
    assert_int_equal(duration.count, 1);
    assert_true(duration.sum > 1.49 && duration.sum < 1.51);
    assert_int_equal(measured("sonde.saga.step.duration", "charge", "forward", NULL).count, 1);
    assert_int_equal(measured("sonde.saga.started", "o-1", NULL).series, 0);
    assert_int_equal(measured("sonde.saga.step.duration", "o-1", NULL).series, 0);
}

static void a_failed_step_is_compensated_backwards(void **state) {
    (void)state;
    struct sonde_saga saga = begin("refund", "r-1");
    struct sonde_saga_step step;
    char undone[4 * SONDE_SAGA_TEXT_SIZE_MAX] = "";
    run(&saga, "reserve", NULL);
    run(&saga, "charge", NULL);
    run(&saga, "ship", "no_courier");
    bool failed_once = false;
    while (sonde_saga_compensate(&saga, &step, NULL)) {
        size_t used = strlen(undone);
        (void)snprintf(undone + used, sizeof undone - used, "%s;", step.name);
        bool is_bad = strcmp(step.name, "charge") == 0 && !failed_once;
        failed_once |= is_bad;
        sonde_saga_step_end(&saga, &step, is_bad ? "timeout" : NULL);
    }
    sonde_saga_end(&saga, SONDE_SAGA_COMPENSATED);
    assert_string_equal(undone, "charge;charge;reserve;");

    struct ids mark, reserve, charge, attempt;
    event_take("sonde.saga.begin", "sonde.saga.type", "refund");
    span_take("begin saga refund", SONDE_SPAN_KIND_INTERNAL);
    mark = span_ids();
    event_take("sonde.saga.step", "sonde.saga.step", "reserve");
    span_take("reserve", SONDE_SPAN_KIND_CLIENT);
    reserve = span_ids();
    event_take("sonde.saga.step", "sonde.saga.step", "charge");
    span_take("charge", SONDE_SPAN_KIND_CLIENT);
    charge = span_ids();
    event_take("sonde.saga.step", "error.type", "no_courier");
    span_take("ship", SONDE_SPAN_KIND_CLIENT);
    span_is_step("ship", 3, "forward", 1, "failure");
    span_has_text("error.type", "no_courier");
    assert_int_equal(span_status(), SONDE_STATUS_ERROR);
    event_take("sonde.saga.step", "sonde.saga.outcome", "failure");
    span_take("charge", SONDE_SPAN_KIND_CLIENT);
    attempt = span_ids();
    span_is_step("charge", 2, "compensate", 1, "failure");
    span_links(0, charge.span, "compensates");
    assert_int_equal(span_pb->n_links, 1);
    event_take("sonde.saga.step", "sonde.saga.action", "compensate");
    span_take("charge", SONDE_SPAN_KIND_CLIENT);
    span_is_step("charge", 2, "compensate", 2, "success");
    span_links(0, charge.span, "compensates");
    span_links(1, attempt.span, "retry_of");
    assert_int_equal(span_status(), SONDE_STATUS_UNSET); /* it is no error */
    event_take("sonde.saga.step", "sonde.saga.step", "reserve");
    span_take("reserve", SONDE_SPAN_KIND_CLIENT);
    span_is_step("reserve", 1, "compensate", 1, "success");
    span_links(0, reserve.span, "compensates");
    assert_memory_equal(span_pb->trace_id.data, mark.trace, 16);
    event_take("sonde.saga.end", "sonde.saga.state.from", "compensating");
    span_take("end saga refund", SONDE_SPAN_KIND_INTERNAL);
    assert_int_equal(span_status(), SONDE_STATUS_UNSET);
    assert_int_equal(measured("sonde.saga.compensation", "refund", "charge", "failure", NULL).count, 1);
    assert_int_equal(measured("sonde.saga.compensation", "refund", "charge", "success", NULL).count, 1);
    assert_int_equal(measured("sonde.saga.compensation", "ship", NULL).count, 0);
}

static void a_step_that_failed_is_tried_again_as_the_same_step(void **state) {
    (void)state;
    struct sonde_saga saga = begin("order", "o-2");
    (void)records_skip();
    run(&saga, "charge", "timeout");
    run(&saga, "charge", NULL);
    run(&saga, "charge", NULL); /* after a success: another step */
    event_take("sonde.saga.step", "error.type", "timeout");
    span_take("charge", SONDE_SPAN_KIND_CLIENT);
    struct ids failed = span_ids();
    event_take("sonde.saga.step", "sonde.saga.outcome", "success");
    span_take("charge", SONDE_SPAN_KIND_CLIENT);
    span_is_step("charge", 1, "forward", 2, "success");
    span_links(0, failed.span, "retry_of");
    event_take("sonde.saga.step", "sonde.saga.outcome", "success");
    span_take("charge", SONDE_SPAN_KIND_CLIENT);
    span_is_step("charge", 2, "forward", 1, "success");
}

/* ---- choreography ---- */

static struct envelope message;

/* Another process: knows the message only. */
static void *participant(void *unused) {
    struct sonde_context context;
    struct sonde_saga saga;
    struct sonde_saga_step step;
    struct sonde_saga_step_options options = SONDE_SAGA_STEP_OPTIONS_INIT;
    struct sonde_carrier carrier = sonde_http_carrier(&message.headers);
    (void)sonde_extract(&carrier, &context);
    assert_int_equal(sonde_saga_join(&saga, &context), 0);
    saga.clock = fake_clock;
    assert_string_equal(saga.id, "c 1/x");
    assert_string_equal(saga.type, "order");
    assert_int_equal(saga.index, 1);
    assert_true(saga.start_unix_ns == UINT64_C(1700000000) * SECOND);
    options.kind = SONDE_SPAN_KIND_CONSUMER;
    options.parent = &context;
    options.state_from = "reserved";
    options.state_to = "charged";
    options.idempotency_key = sonde_text("abc");
    sonde_saga_step_begin(&saga, &step, "charge", &options);
    carrier = envelope_open(&message); /* its own message */
    assert_int_equal(sonde_inject(NULL, &carrier), 0);
    sonde_saga_step_end(&saga, &step, NULL);
    event_take("sonde.saga.step", "sonde.saga.id", "c 1/x");
    span_take("charge", SONDE_SPAN_KIND_CONSUMER);
    return unused;
}
static void a_choreographed_saga_goes_on_with_its_messages(void **state) {
    (void)state;
    struct sonde_saga saga = begin("order", "c 1/x");
    struct sonde_saga_step step;
    struct sonde_saga_step_options options = SONDE_SAGA_STEP_OPTIONS_INIT;
    pthread_t thread;
    options.kind = SONDE_SPAN_KIND_PRODUCER;
    sonde_saga_step_begin(&saga, &step, "reserve", &options);
    struct sonde_carrier carrier = envelope_open(&message);
    assert_int_equal(sonde_inject(NULL, &carrier), 0);
    sonde_saga_step_end(&saga, &step, NULL);
    struct sonde_baggage_entry entry;
    assert_false(sonde_baggage_find(NULL, sonde_text("saga.id"), &entry)); /* gone with the step */
    (void)records_skip();
    assert_int_equal(pthread_create(&thread, NULL, participant, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    span_is_step("charge", 2, "forward", 1, "success");
    span_has_text("sonde.saga.id", "c 1/x");
    span_has_text("sonde.saga.type", "order");
    span_has_text("sonde.saga.state.from", "reserved");
    span_has_text("sonde.saga.state.to", "charged");
    span_has_text("sonde.saga.idempotency.key", "ba7816bf8f01cfea");
    span_links(0, step.span.context.span_id, "next");

    /* Its message brings the saga back, one step further, and the last one ends it. */
    struct sonde_context context;
    carrier = sonde_http_carrier(&message.headers);
    (void)sonde_extract(&carrier, &context);
    assert_int_equal(sonde_saga_join(&saga, &context), 0);
    saga.clock = fake_clock;
    assert_int_equal(saga.index, 2);
    assert_memory_equal(saga.last.span_id, span_pb->span_id.data, 8);
    fake_now += 3 * SECOND;
    sonde_saga_end(&saga, SONDE_SAGA_COMPLETED);
    event_take("sonde.saga.end", "sonde.saga.id", "c 1/x");
    span_take("end saga order", SONDE_SPAN_KIND_INTERNAL);
    assert_memory_equal(span_pb->trace_id.data, saga.root.trace_id, 16); /* young: still one trace */
    sonde_saga_remove(&context);
    assert_int_equal(sonde_saga_join(&saga, &context), SONDE_ENOTFOUND);
    assert_int_equal(context.baggage_length, 0);
}

static void a_participant_undoes_its_own_step(void **state) {
    (void)state;
    struct sonde_saga saga = begin("order", "c-2");
    struct sonde_saga_step step;
    struct sonde_saga_step_options options = SONDE_SAGA_STEP_OPTIONS_INIT;
    struct sonde_span_context kept = {.trace_id = {1}, .span_id = {2}};
    (void)records_skip();
    options.action = SONDE_SAGA_COMPENSATE;
    options.compensates = &kept;
    sonde_saga_step_begin(&saga, &step, "charge", &options);
    sonde_saga_step_end(&saga, &step, NULL);
    event_take("sonde.saga.step", "sonde.saga.action", "compensate");
    span_take("charge", SONDE_SPAN_KIND_CLIENT);
    span_links(0, kept.span_id, "compensates");
    span_has_not("sonde.saga.step.index"); /* that of the saga's last step would be another's */
    span_has_number("sonde.saga.attempt", 1);
    assert_true(saga.is_compensating);
    assert_int_equal(measured("sonde.saga.compensation", "order", "charge", "success", NULL).count, 1);
}

static void undo(struct sonde_saga *saga, const char *name, const struct sonde_saga_step_options *options,
                 const char *error) {
    struct sonde_saga_step step;
    sonde_saga_step_begin(saga, &step, name, options);
    sonde_saga_step_end(saga, &step, error);
    event_take("sonde.saga.step", "sonde.saga.action", "compensate");
    span_take(name, SONDE_SPAN_KIND_CLIENT);
}
/* Puts a saga into a message and takes it out again, as a participant does. */
static struct sonde_saga joined(const struct sonde_saga *saga) {
    struct sonde_context context;
    struct sonde_saga mine;
    sonde_context_init(&context);
    assert_int_equal(sonde_saga_put(saga, NULL, &context), 0);
    assert_int_equal(sonde_saga_join(&mine, &context), 0);
    mine.clock = fake_clock;
    return mine;
}
static void a_participant_tells_which_step_it_undoes_and_how_often_it_tried(void **state) {
    (void)state;
    struct sonde_saga saga = begin("order", "c-3"), mine;
    struct sonde_saga_step_options options = SONDE_SAGA_STEP_OPTIONS_INIT;
    struct sonde_span_context attempt;
    run(&saga, "reserve", NULL);
    struct sonde_span_context kept = saga.last;
    run(&saga, "charge", NULL);
    run(&saga, "ship", "no_courier");
    mine = joined(&saga);
    (void)records_skip();
    options.action = SONDE_SAGA_COMPENSATE;
    options.compensates = &kept;
    options.compensates_index = 1;
    undo(&mine, "reserve", &options, "timeout");
    span_is_step("reserve", 1, "compensate", 1, "failure");
    span_links(0, kept.span_id, "compensates");
    attempt = mine.last;
    undo(&mine, "reserve", &options, "timeout");
    span_is_step("reserve", 1, "compensate", 2, "failure");
    span_links(1, attempt.span_id, "retry_of");
    mine = joined(&saga); /* the message again, in a process that knows of two attempts */
    options.attempt = 3;
    undo(&mine, "reserve", &options, "timeout");
    span_is_step("reserve", 1, "compensate", 3, "failure");
    struct sonde_saga_step step;
    assert_true(sonde_saga_compensate(&mine, &step, NULL)); /* goes on from there */
    assert_string_equal(step.name, "reserve");
    assert_int_equal(step.index, 1);
    assert_int_equal(step.attempt, 4);
    sonde_saga_step_end(&mine, &step, NULL);
    assert_false(sonde_saga_compensate(&mine, &step, NULL));
    (void)records_skip();
    options.attempt = 0;
    options.compensates_index = 2; /* another step of that name: a count of its own */
    undo(&mine, "reserve", &options, NULL);
    span_is_step("reserve", 2, "compensate", 1, "success");
}

static void a_saga_is_joined_as_the_expected_type_only(void **state) {
    (void)state;
    struct sonde_context context;
    struct sonde_saga saga;
    sonde_context_init(&context);
    assert_int_equal(sonde_saga_join_as(&saga, &context, "order"), SONDE_ENOTFOUND);
    assert_int_equal(sonde_baggage_set(&context, sonde_text("saga.id"), sonde_text("j-1"), sonde_text("")), 0);
    assert_int_equal(sonde_saga_join_as(&saga, &context, "order"), SONDE_EINVALID); /* of no type */
    assert_int_equal(sonde_baggage_set(&context, sonde_text("saga.type"), sonde_text("stranger"), sonde_text("")), 0);
    assert_int_equal(sonde_saga_join_as(&saga, &context, "order"), SONDE_EINVALID);
    run(&saga, "charge", NULL); /* does nothing */
    sonde_saga_end(&saga, SONDE_SAGA_FAILED);
    assert_null(records_next());
    assert_int_equal(measured("sonde.saga.ended", "stranger", NULL).series, 0);
    assert_int_equal(sonde_saga_join_as(&saga, &context, NULL), 0);
    assert_string_equal(saga.type, "stranger");
    assert_int_equal(sonde_baggage_set(&context, sonde_text("saga.type"), sonde_text("order"), sonde_text("")), 0);
    assert_int_equal(sonde_saga_join_as(&saga, &context, "order"), 0);
    assert_string_equal(saga.id, "j-1");
}

static void end_take(const char *from, const char *to) {
    event_take("sonde.saga.end", "sonde.saga.outcome", to);
    span_take("end saga order", SONDE_SPAN_KIND_INTERNAL);
    span_has_text("sonde.saga.state.to", to);
    if (from)
        span_has_text("sonde.saga.state.from", from);
    else
        span_has_not("sonde.saga.state.from");
}
static void a_participant_does_not_say_what_it_cannot_know(void **state) {
    (void)state;
    struct sonde_saga saga = begin("order", "c-4"), mine;
    struct sonde_saga_step_options options = SONDE_SAGA_STEP_OPTIONS_INIT;
    char text[SONDE_SAGA_STATE_SIZE_MAX];
    (void)records_skip();
    mine = joined(&saga);
    sonde_saga_end(&mine, SONDE_SAGA_COMPLETED);
    end_take("active", "completed");
    mine = joined(&saga);
    sonde_saga_end(&mine, SONDE_SAGA_COMPENSATED); /* so others undid what they did */
    end_take("compensating", "compensated");
    mine = joined(&saga);
    struct sonde_string kept = {text, sonde_saga_save(&mine, text, sizeof text)};
    sonde_saga_end(&mine, SONDE_SAGA_FAILED);
    end_take(NULL, "failed");
    assert_int_equal(sonde_saga_resume(&mine, NULL, kept, NULL), 0); /* still a participant */
    (void)records_skip();
    sonde_saga_end(&mine, SONDE_SAGA_FAILED);
    end_take(NULL, "failed");
    mine = joined(&saga);
    options.action = SONDE_SAGA_COMPENSATE;
    undo(&mine, "charge", &options, "timeout");
    sonde_saga_end(&mine, SONDE_SAGA_FAILED);
    end_take("compensating", "failed");
    sonde_saga_end(&saga, SONDE_SAGA_FAILED); /* who leads knows */
    end_take("active", "failed");
}

static void bad_baggage_costs_no_more_than_the_link(void **state) {
    (void)state;
    static const char *const steps[] = {
        "", ".", "1.2", "x.1.y", "99999999999999999999.1.", "1.1.00-00-00-00", "1.184467440737095516199."};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct sonde_context context;
        struct sonde_saga saga;
        sonde_context_init(&context);
        assert_int_equal(sonde_saga_join(&saga, &context), SONDE_ENOTFOUND);
        assert_int_equal(sonde_baggage_set(&context, sonde_text("saga.id"), sonde_text("x"), sonde_text("")), 0);
        assert_int_equal(sonde_baggage_set(&context, sonde_text("saga.step"), sonde_text(steps[i]), sonde_text("")), 0);
        assert_int_equal(sonde_saga_join(&saga, &context), 0);
        assert_string_equal(saga.type, "unknown");
        assert_false(sonde_span_context_is_valid(&saga.last));
        run(&saga, "step", NULL);
        (void)records_skip();
    }
}

static void what_travels_is_bounded(void **state) {
    (void)state;
    char text[200] = "";
    memset(text, '\x01', sizeof text - 1); /* three bytes each, when sent */
    struct sonde_saga saga = begin(text, text);
    assert_int_equal(strlen(saga.id), SONDE_SAGA_TEXT_SIZE_MAX);
    saga.index = UINT16_MAX;
    struct sonde_context context;
    sonde_context_init(&context);
    assert_int_equal(sonde_saga_put(&saga, NULL, &context), 0);
    assert_in_range(context.baggage_length, 400, SONDE_SAGA_BAGGAGE_SIZE_MAX);
    (void)records_skip();
}

/* ---- steps that are forgotten, and such that may have been done ---- */

/* Undoes all it can. Returns of how many steps. */
static int undo_all(struct sonde_saga *saga) {
    struct sonde_saga_step step;
    int count = 0;
    for (; sonde_saga_compensate(saga, &step, NULL); count++)
        sonde_saga_step_end(saga, &step, NULL);
    return count;
}
static void run_many(struct sonde_saga *saga, int from, int to, const char *error) {
    char name[16];
    for (int i = from; i < to; i++) {
        (void)snprintf(name, sizeof name, "step %d", i);
        run(saga, name, error);
    }
}
static void a_saga_that_forgot_a_step_does_not_end_as_compensated(void **state) {
    (void)state;
    enum { MAX = SONDE_SAGA_STEPS_MAX };
    char text[SONDE_SAGA_STATE_SIZE_MAX];
    struct sonde_saga saga = begin("order", "f-1");
    const uint64_t failed = measured("sonde.saga.ended", "order", "failed", NULL).count,
                   compensated = measured("sonde.saga.ended", "order", "compensated", NULL).count;
    run_many(&saga, 0, MAX + 1, NULL);
    assert_int_equal(undo_all(&saga), MAX);
    size_t size = sonde_saga_save(&saga, text, sizeof text);
    (void)records_skip();
    sonde_saga_end(&saga, SONDE_SAGA_COMPENSATED);
    end_take("compensating", "failed");
    assert_int_equal(span_status(), SONDE_STATUS_ERROR);
    assert_int_equal(measured("sonde.saga.ended", "order", "failed", NULL).count, failed + 1);
    assert_int_equal(measured("sonde.saga.ended", "order", "compensated", NULL).count, compensated);
    assert_int_equal(sonde_saga_resume(&saga, NULL, (struct sonde_string){text, size}, NULL), 0);
    (void)records_skip();
    sonde_saga_end(&saga, SONDE_SAGA_COMPENSATED); /* nor when it was written down in between */
    end_take("compensating", "failed");

    saga = begin("order", "f-2"); /* those that failed or are undone already make room */
    run_many(&saga, 0, 10, NULL);
    run_many(&saga, 10, 16, "no");
    run_many(&saga, 16, 22, NULL);
    assert_int_equal(undo_all(&saga), 16);
    run_many(&saga, 30, 34, NULL);
    assert_int_equal(undo_all(&saga), 4);
    (void)records_skip();
    sonde_saga_end(&saga, SONDE_SAGA_COMPENSATED);
    end_take("compensating", "compensated");
    saga = begin("order", "f-3");
    run_many(&saga, 0, MAX + 1, NULL);
    (void)records_skip();
    sonde_saga_end(&saga, SONDE_SAGA_COMPLETED); /* there is nothing to undo */
    end_take("active", "completed");
}

static void run_unknown(struct sonde_saga *saga, const char *name, const char *error) {
    struct sonde_saga_step step;
    sonde_saga_step_begin(saga, &step, name, NULL);
    sonde_saga_step_end_unknown(saga, &step, error);
    sonde_saga_step_end(saga, &step, NULL); /* it is over */
}
static void a_step_that_may_have_been_done_is_undone_too(void **state) {
    (void)state;
    struct sonde_saga saga = begin("order", "u-1");
    (void)records_skip();
    run_unknown(&saga, "charge", "timeout");
    event_take("sonde.saga.step", "sonde.saga.outcome", "unknown");
    span_take("charge", SONDE_SPAN_KIND_CLIENT);
    span_is_step("charge", 1, "forward", 1, "unknown");
    span_has_text("error.type", "timeout");
    assert_int_equal(span_status(), SONDE_STATUS_ERROR);
    run(&saga, "charge", "declined"); /* the first attempt may have been carried out all the same */
    event_take("sonde.saga.step", "sonde.saga.outcome", "failure");
    span_take("charge", SONDE_SPAN_KIND_CLIENT);
    span_is_step("charge", 1, "forward", 2, "failure");
    run(&saga, "ship", "no_courier");
    (void)records_skip();
    assert_int_equal(undo_all(&saga), 1);
    event_take("sonde.saga.step", "sonde.saga.action", "compensate");
    span_take("charge", SONDE_SPAN_KIND_CLIENT);
    span_is_step("charge", 1, "compensate", 1, "success");

    saga = begin("order", "u-2");
    run_unknown(&saga, "charge", NULL);
    run(&saga, "charge", NULL); /* settled, and one step */
    assert_int_equal(saga.index, 1);
    assert_int_equal(undo_all(&saga), 1);

    saga = begin("order", "u-3"); /* an undoing that may have failed failed */
    struct sonde_saga_step step;
    run(&saga, "charge", NULL);
    (void)records_skip();
    assert_true(sonde_saga_compensate(&saga, &step, NULL));
    sonde_saga_step_end_unknown(&saga, &step, NULL);
    event_take("sonde.saga.step", "sonde.saga.outcome", "failure");
    span_take("charge", SONDE_SPAN_KIND_CLIENT);
    span_has_text("error.type", "_OTHER");
    assert_int_equal(undo_all(&saga), 1);
}

static void a_step_that_is_under_way_when_the_process_goes_is_undone_too(void **state) {
    (void)state;
    char text[SONDE_SAGA_STATE_SIZE_MAX];
    struct sonde_saga_step step;
    for (int attempts = 1; attempts <= 2; attempts++) {
        struct sonde_saga saga = begin("order", "u-4");
        if (attempts == 2)
            run_unknown(&saga, "charge", "timeout");
        sonde_saga_step_begin(&saga, &step, "charge", NULL);
        size_t size = sonde_saga_save(&saga, text, sizeof text);
        sonde_saga_step_end(&saga, &step, "killed");
        assert_int_equal(sonde_saga_resume(&saga, NULL, (struct sonde_string){text, size}, NULL), 0);
        run(&saga, "charge", "declined");
        (void)records_skip();
        assert_int_equal(undo_all(&saga), 1);
        event_take("sonde.saga.step", "sonde.saga.action", "compensate");
        span_take("charge", SONDE_SPAN_KIND_CLIENT);
        span_is_step("charge", 1, "compensate", 1, "success");
    }
}

/* ---- a saga that outlives its process ---- */

static void a_resumed_saga_goes_on_where_it_was(void **state) {
    (void)state;
    char text[SONDE_SAGA_STATE_SIZE_MAX];
    struct sonde_saga saga = begin("order", "day long");
    run(&saga, "reserve stock", NULL);
    run(&saga, "charge", "timeout");
    size_t size = sonde_saga_save(&saga, text, sizeof text);
    struct sonde_span_context begun = saga.root, charge = saga.last;
    (void)records_skip();
    memset(&saga, 0xA5, sizeof saga);

    fake_now += 86400 * SECOND;
    struct sonde_saga_options options = SONDE_SAGA_OPTIONS_INIT;
    options.clock = fake_clock;
    options.id = "day long";
    assert_int_equal(sonde_saga_resume(&saga, "order", (struct sonde_string){text, size}, &options), 0);
    event_take("sonde.saga.resume", "sonde.saga.state.from", "active");
    span_take("resume saga order", SONDE_SPAN_KIND_INTERNAL);
    struct ids mark = span_ids();
    assert_memory_not_equal(mark.trace, begun.trace_id, 16); /* a trace of its own */
    assert_int_equal(span_pb->parent_span_id.len, 0);
    span_links(0, charge.span_id, "continues");

    run(&saga, "charge", NULL);
    event_take("sonde.saga.step", "sonde.saga.step", "charge");
    span_take("charge", SONDE_SPAN_KIND_CLIENT);
    span_is_step("charge", 2, "forward", 2, "success");
    span_links(0, charge.span_id, "retry_of");
    assert_memory_equal(span_pb->trace_id.data, mark.trace, 16);

    struct sonde_saga_step step;
    assert_true(sonde_saga_compensate(&saga, &step, NULL));
    sonde_saga_step_end(&saga, &step, NULL);
    assert_true(sonde_saga_compensate(&saga, &step, NULL));
    assert_string_equal(step.name, "reserve stock");
    sonde_saga_step_end(&saga, &step, NULL);
    sonde_saga_end(&saga, SONDE_SAGA_COMPENSATED);
    (void)records_skip();
    struct measured duration = measured("sonde.saga.duration", "order", "compensated", NULL);
    assert_true(duration.sum > 86400 && duration.sum < 86402);

    size = sonde_saga_save(&saga, text, sizeof text); /* ended, and stays so */
    assert_int_equal(sonde_saga_resume(&saga, NULL, (struct sonde_string){text, size}, NULL), 0);
    run(&saga, "more", NULL);
    sonde_saga_end(&saga, SONDE_SAGA_FAILED);
    assert_null(records_next());
}

static void a_short_saga_stays_in_its_trace_when_resumed(void **state) {
    (void)state;
    char text[SONDE_SAGA_STATE_SIZE_MAX];
    struct sonde_saga saga = begin("order", "o-3");
    struct sonde_span_context root = saga.root;
    size_t size = sonde_saga_save(&saga, text, sizeof text);
    (void)records_skip();
    fake_now += 59 * SECOND;
    struct sonde_saga_options options = SONDE_SAGA_OPTIONS_INIT;
    options.clock = fake_clock;
    assert_int_equal(sonde_saga_resume(&saga, NULL, (struct sonde_string){text, size}, &options), 0);
    event_take("sonde.saga.resume", "sonde.saga.id", "o-3");
    span_take("resume saga order", SONDE_SPAN_KIND_INTERNAL);
    assert_memory_equal(span_pb->trace_id.data, root.trace_id, 16);
}

static void a_saga_is_resumed_by_its_id_alone(void **state) {
    (void)state;
    struct sonde_saga_options options = SONDE_SAGA_OPTIONS_INIT;
    struct sonde_saga saga;
    const struct sonde_string nothing = {"", 0};
    options.id = "lost";
    assert_int_equal(sonde_saga_resume(&saga, "order", nothing, &options), 0);
    event_take("sonde.saga.resume", "sonde.saga.id", "lost");
    span_take("resume saga order", SONDE_SPAN_KIND_INTERNAL);
    assert_int_equal(span_pb->n_links, 0);
    sonde_saga_end(&saga, SONDE_SAGA_FAILED);
    event_take("sonde.saga.end", "sonde.saga.outcome", "failed");
    span_take("end saga order", SONDE_SPAN_KIND_INTERNAL);
    assert_int_equal(span_status(), SONDE_STATUS_ERROR);
    assert_int_equal(sonde_saga_resume(&saga, NULL, nothing, &options), SONDE_EINVALID);
    assert_int_equal(sonde_saga_resume(&saga, "order", nothing, NULL), SONDE_EINVALID);
    sonde_saga_end(&saga, SONDE_SAGA_FAILED);
    assert_null(records_next());
}

static void the_largest_saga_fits_its_state(void **state) {
    (void)state;
    char name[SONDE_SAGA_TEXT_SIZE_MAX + 1] = "", id[SONDE_SAGA_TEXT_SIZE_MAX + 1] = "";
    memset(id, '%', sizeof id - 1);
    struct sonde_saga saga = begin(id, id), back;
    for (int i = 0; i < (int)SONDE_SAGA_STEPS_MAX; i++) {
        for (size_t at = 0; at < SONDE_SAGA_TEXT_SIZE_MAX; at += 3) { /* 21 characters of three bytes */
            name[at] = '\xE4';
            name[at + 1] = '\xB8';
            name[at + 2] = (char)(0x80 + i);
        }
        run(&saga, name, NULL);
        (void)records_skip();
    }
    assert_int_equal(undo_all(&saga), SONDE_SAGA_STEPS_MAX);
    for (uint32_t i = 0; i < SONDE_SAGA_STEPS_MAX; i++) {
        saga.steps[i].index = UINT16_MAX;
        saga.steps[i].attempts = saga.steps[i].compensations = UINT8_MAX;
        saga.steps[i].span.is_remote = saga.steps[i].compensation.is_remote = 1;
    }
    saga.index = UINT16_MAX;
    saga.start_unix_ns = saga.short_ns = saga.root_unix_ns = UINT64_MAX / 1000000 * 1000000;
    saga.flags = 7;
    const size_t size = sonde_saga_save(&saga, NULL, 0);
    assert_in_range(size, 5121, SONDE_SAGA_STATE_SIZE_MAX); /* so the room of 5120 that there was once was too little */
    char *text = malloc(size);
    memset(text, 'Z', size);
    assert_int_equal(sonde_saga_save(&saga, text, size - 1), size);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(text[i], 'Z'); /* nothing is written */
    assert_int_equal(sonde_saga_save(&saga, text, size), size);
    assert_int_equal(sonde_saga_resume(&back, id, (struct sonde_string){text, size}, NULL), 0);
    assert_string_equal(back.id, id);
    assert_memory_equal(back.steps, saga.steps, sizeof saga.steps);
    assert_int_equal(back.flags, saga.flags);
    assert_true(back.start_unix_ns == saga.start_unix_ns && back.short_ns == saga.short_ns);
    free(text);
    (void)records_skip();
}

static void every_cut_or_changed_state_is_refused_or_read(void **state) {
    (void)state;
    char text[SONDE_SAGA_STATE_SIZE_MAX], copy[SONDE_SAGA_STATE_SIZE_MAX];
    char name[SONDE_SAGA_TEXT_SIZE_MAX + 1] = "";
    struct sonde_saga saga = begin("order", "id"), back;
    memset(name, '\xC3', sizeof name - 1);
    for (int i = 0; i < 20; i++) {
        name[0] = (char)('a' + i);
        run(&saga, name, NULL);
    }
    struct sonde_saga_step step;
    while (sonde_saga_compensate(&saga, &step, NULL))
        sonde_saga_step_end(&saga, &step, NULL);
    size_t size = sonde_saga_save(&saga, text, sizeof text);
    assert_in_range(size, 3000, sizeof text); /* about the largest there is */
    assert_int_equal(sonde_saga_save(&saga, copy, 10), size);
    assert_int_equal(sonde_saga_resume(&back, NULL, (struct sonde_string){text, size}, NULL), 0);
    for (int i = 0; i < (int)SONDE_SAGA_STEPS_MAX; i++) /* they are another process's now */
        saga.steps[i].span.is_remote = saga.steps[i].compensation.is_remote = 1;
    assert_memory_equal(back.steps, saga.steps, sizeof saga.steps);
    assert_int_equal(back.step_count, SONDE_SAGA_STEPS_MAX);
    assert_int_equal(back.index, 20);
    for (size_t cut = 1; cut < size; cut += 13) { /* in memory of just that size */
        char *part = malloc(cut);
        memcpy(part, text, cut);
        (void)sonde_saga_resume(&back, NULL, (struct sonde_string){part, cut}, NULL);
        free(part);
    }
    for (size_t at = 0; at < size; at += 7) {
        memcpy(copy, text, size);
        copy[at] = (char)(copy[at] ^ 0x15);
        (void)sonde_saga_resume(&back, NULL, (struct sonde_string){copy, size}, NULL);
    }
    assert_int_equal(sonde_saga_resume(&back, NULL, sonde_text("2 a b"), NULL), SONDE_EMALFORMED);
    assert_int_equal(sonde_saga_resume(&back, "other", (struct sonde_string){text, size}, NULL), SONDE_EINVALID);
    (void)records_skip();
}

static void steps_are_children_of_what_is_current(void **state) {
    (void)state;
    struct sonde_saga saga = begin("order", "o-4");
    struct sonde_span span;
    fake_now += 3600 * SECOND;
    sonde_span_start(&span, SONDE_NAME("handler"), NULL);
    (void)records_skip();
    run(&saga, "reserve", NULL);
    event_take("sonde.saga.step", "sonde.saga.step", "reserve");
    span_take("reserve", SONDE_SPAN_KIND_CLIENT);
    assert_memory_equal(span_pb->parent_span_id.data, span.context.span_id, 8);
    sonde_span_end(&span);
    (void)records_skip();
    run(&saga, "charge", NULL); /* nothing is current, and the saga is long */
    event_take("sonde.saga.step", "sonde.saga.step", "charge");
    span_take("charge", SONDE_SPAN_KIND_CLIENT);
    assert_int_equal(span_pb->parent_span_id.len, 0);
}

/* In a process of its own, whose library is off: nothing is recorded, and the saga works. */
static int disabled_main(void) {
    char text[SONDE_SAGA_STATE_SIZE_MAX];
    struct sonde_saga_step step;
    struct sonde_saga saga;
    sonde_saga_begin(&saga, "order", NULL);
    sonde_saga_step_begin(&saga, &step, "reserve", NULL);
    sonde_saga_step_end(&saga, &step, NULL);
    struct sonde_string state = {text, sonde_saga_save(&saga, text, sizeof text)};
    if (strlen(saga.id) != 32 || sonde_saga_resume(&saga, "order", state, NULL) ||
        !sonde_saga_compensate(&saga, &step, NULL) || strcmp(step.name, "reserve") != 0)
        return 1;
    sonde_saga_step_end(&saga, &step, NULL);
    bool is_more = sonde_saga_compensate(&saga, &step, NULL);
    sonde_saga_end(&saga, SONDE_SAGA_COMPENSATED);
    return is_more || records_next() ? 2 : 0;
}
static void a_saga_works_when_the_library_is_disabled(void **state) {
    (void)state;
    int status;
    if (getenv("SONDE_TEST_VALGRIND")) /* /proc/self/exe is valgrind's own */
        skip();
    pid_t pid = fork();
    if (pid == 0) {
        setenv("OTEL_SDK_DISABLED", "true", 1);
        execl("/proc/self/exe", "saga_test", "disabled", (char *)NULL);
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_all, conventional_teardown)

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "disabled") == 0)
        return disabled_main();
    const struct CMUnitTest tests[] = {
        TEST(an_orchestrated_saga_is_one_trace_of_linked_steps),
        TEST(a_failed_step_is_compensated_backwards),
        TEST(a_step_that_failed_is_tried_again_as_the_same_step),
        TEST(a_choreographed_saga_goes_on_with_its_messages),
        TEST(a_participant_undoes_its_own_step),
        TEST(a_participant_tells_which_step_it_undoes_and_how_often_it_tried),
        TEST(a_participant_does_not_say_what_it_cannot_know),
        TEST(a_saga_is_joined_as_the_expected_type_only),
        TEST(a_step_that_may_have_been_done_is_undone_too),
        TEST(a_step_that_is_under_way_when_the_process_goes_is_undone_too),
        TEST(the_largest_saga_fits_its_state),
        TEST(bad_baggage_costs_no_more_than_the_link),
        TEST(what_travels_is_bounded),
        TEST(a_resumed_saga_goes_on_where_it_was),
        TEST(a_short_saga_stays_in_its_trace_when_resumed),
        TEST(a_saga_is_resumed_by_its_id_alone),
        TEST(every_cut_or_changed_state_is_refused_or_read),
        TEST(steps_are_children_of_what_is_current),
        TEST(a_saga_that_forgot_a_step_does_not_end_as_compensated),
        TEST(a_saga_works_when_the_library_is_disabled),
    };
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
