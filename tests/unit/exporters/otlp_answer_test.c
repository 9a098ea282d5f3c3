/* SPDX-License-Identifier: Apache-2.0 */
/* The table of OTLP's specification (docs/specification.md, OTLP/HTTP response), row by row. */
#include "exporters/otlp/answer.h"
#include "tests/lib/fakes.h"
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <sonde/err.h>
#include <stdlib.h>
#include <string.h>

static struct fakes fakes;

static struct sonde__outcome read_answer(struct sonde_http_response response, char text[300]) {
    struct sonde__outcome outcome;
    struct sonde_seams seams = fakes_seams(&fakes);
    response.error_text = response.error_text ? response.error_text : "";
    response.content_type = response.content_type ? response.content_type : "";
    response.retry_after = response.retry_after ? response.retry_after : "";
    response.date = response.date ? response.date : "";
    sonde__otlp_answer_read(&response, &seams.alloc, fakes.unix_ns, text, 300, &outcome);
    assert_int_equal(fakes.live, 0);
    return outcome;
}

static void every_status_has_its_answer(void **state) {
    (void)state;
    char text[300];
    for (int status = 0; status < 1000; status++) {
        enum sonde__answer wanted = status >= 200 && status < 300                       ? SONDE__ANSWER_DELIVERED
                                    : status == 429 || (status >= 502 && status <= 504) ? SONDE__ANSWER_RETRY
                                    : status == 413                                     ? SONDE__ANSWER_TOO_LARGE
                                    : status == 400 || status == 422                    ? SONDE__ANSWER_CONTENT
                                                                                        : SONDE__ANSWER_FINAL;
        struct sonde__outcome outcome = read_answer((struct sonde_http_response){.status = status}, text);
        assert_int_equal(outcome.answer, wanted);
        assert_int_equal(outcome.refused_items, 0);
        assert_int_equal(outcome.retry_after_ns, 0);
        assert_null(outcome.warning);
    }
}

static void lost_answers_are_retried_and_too_large_ones_are_final(void **state) {
    (void)state;
    char text[300];
    const int errors[] = {-ETIMEDOUT, -ECONNREFUSED, -ECONNRESET, -EHOSTUNREACH, -EPROTO, -EIO, -ENOMEM};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct sonde__outcome outcome = read_answer((struct sonde_http_response){.error = errors[i]}, text);
        assert_int_equal(outcome.answer, SONDE__ANSWER_RETRY);
        assert_true(strncmp(outcome.text, "no answer: ", 11) == 0);
    }
    assert_int_equal(read_answer((struct sonde_http_response){.error = SONDE_ETOOBIG, .status = 200}, text).answer,
                     SONDE__ANSWER_FINAL);
}

static void retry_after_counts_only_where_a_retry_is_due(void **state) {
    (void)state;
    char text[300];
    assert_int_equal(read_answer((struct sonde_http_response){.status = 429, .retry_after = "7"}, text).retry_after_ns,
                     7000000000);
    assert_int_equal(
        read_answer((struct sonde_http_response){.status = 503, .retry_after = "1000000000"}, text).retry_after_ns,
        300000000000);
    assert_int_equal(read_answer((struct sonde_http_response){.status = 400, .retry_after = "7"}, text).retry_after_ns,
                     0);
    assert_int_equal(
        read_answer((struct sonde_http_response){.status = 503, .retry_after = "later"}, text).retry_after_ns, 0);
}

#define BODY(literal) .body = (const uint8_t *)(literal), .body_size = sizeof(literal) - 1

static void partial_success_is_read(void **state) {
    (void)state;
    char text[300];
    struct sonde__outcome outcome =
        read_answer((struct sonde_http_response){.status = 200, BODY("\x0a\x08\x08\x03\x12\x04oops")}, text);
    assert_int_equal(outcome.answer, SONDE__ANSWER_DELIVERED);
    assert_int_equal(outcome.refused_items, 3);
    assert_string_equal(outcome.text, "the backend refused a part of a request: oops");
    /* rejected 0 with a message: a warning */
    outcome = read_answer((struct sonde_http_response){.status = 200, BODY("\x0a\x06\x12\x04hm\x1b!")}, text);
    assert_int_equal(outcome.refused_items, 0);
    assert_string_equal(outcome.warning, "HTTP 200: hm?!");
    /* set but empty, and unset: full success */
    outcome = read_answer((struct sonde_http_response){.status = 200, BODY("\x0a\x00")}, text);
    assert_true(outcome.answer == SONDE__ANSWER_DELIVERED && !outcome.warning && !outcome.refused_items);
    /* a negative count is no count */
    outcome = read_answer(
        (struct sonde_http_response){.status = 200, BODY("\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")},
        text);
    assert_true(outcome.answer == SONDE__ANSWER_DELIVERED && outcome.refused_items == 0);
    /* unknown fields are passed over */
    outcome = read_answer((struct sonde_http_response){.status = 202, BODY("\x0a\x02\x08\x02\x52\x01x")}, text);
    assert_int_equal(outcome.refused_items, 2);
}

static void success_with_rubbish_is_delivered_with_a_warning(void **state) {
    (void)state;
    char text[300];
    struct sonde__outcome outcome =
        read_answer((struct sonde_http_response){.status = 200, BODY("<html>it works</html>")}, text);
    assert_int_equal(outcome.answer, SONDE__ANSWER_DELIVERED);
    assert_int_equal(outcome.refused_items, 0);
    assert_non_null(outcome.warning);
    size_t size = 4u << 20; /* the largest there is, all unknown fields */
    uint8_t *body = malloc(size);
    assert_non_null(body);
    memset(body, 0x78, size);
    outcome = read_answer((struct sonde_http_response){.status = 200, .body = body, .body_size = size}, text);
    assert_int_equal(outcome.answer, SONDE__ANSWER_DELIVERED);
    free(body);
}

static void words_of_a_failure_are_kept_short_and_clean(void **state) {
    (void)state;
    char text[300];
    (void)read_answer((struct sonde_http_response){.status = 400,
                                                   .content_type = "application/x-protobuf",
                                                   BODY("\x08\x03\x12\x07"
                                                        "bad\nid\x7f")},
                      text);
    assert_string_equal(text, "HTTP 400: bad?id?");
    (void)read_answer(
        (struct sonde_http_response){.status = 503, .content_type = "text/plain; charset=utf-8", BODY("busy")}, text);
    assert_string_equal(text, "HTTP 503: busy");
    (void)read_answer((struct sonde_http_response){.status = 502, .content_type = "text/html", BODY("<html>")}, text);
    assert_string_equal(text, "HTTP 502");
    (void)read_answer(
        (struct sonde_http_response){.status = 400, .content_type = "application/x-protobuf", BODY("\xff\xff\xff")},
        text);
    assert_string_equal(text, "HTTP 400");
    char longer[5000];
    memset(longer, 'x', sizeof longer);
    (void)read_answer(
        (struct sonde_http_response){
            .status = 500, .content_type = "text/plain", .body = (const uint8_t *)longer, .body_size = sizeof longer},
        text);
    assert_true(strlen(text) < 200);
}

static void out_of_memory_changes_no_answer(void **state) {
    (void)state;
    char text[300];
    fakes.allocations_until_failure = 0;
    for (int status = 100; status < 600; status++) {
        struct sonde__outcome outcome = read_answer(
            (struct sonde_http_response){.status = status, .content_type = "application/x-protobuf", BODY("\x0a\x00")},
            text);
        assert_int_equal(outcome.answer, sonde__otlp_status_answer(status));
    }
    fakes.allocations_until_failure = -1;
}

int main(void) {
    fakes_init(&fakes);
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_status_has_its_answer),
                                       cmocka_unit_test(lost_answers_are_retried_and_too_large_ones_are_final),
                                       cmocka_unit_test(retry_after_counts_only_where_a_retry_is_due),
                                       cmocka_unit_test(partial_success_is_read),
                                       cmocka_unit_test(success_with_rubbish_is_delivered_with_a_warning),
                                       cmocka_unit_test(words_of_a_failure_are_kept_short_and_clean),
                                       cmocka_unit_test(out_of_memory_changes_no_answer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
