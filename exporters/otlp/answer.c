/* SPDX-License-Identifier: Apache-2.0 */
#include "exporters/otlp/answer.h"
#include "exporters/otlp/otlp_answer.pb-c.h"
#include "instrumentation/resilience/retry_after.h"
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

/* protobuf-c's allocator: one run of bytes with a cap, nothing freed until the end. The messages have at most two small
 * structs and byte strings no longer than the body together; unknown fields are copied too. */
struct arena {
    uint8_t *start, *at, *end;
};
static void *arena_alloc(void *user, size_t size) {
    struct arena *arena = user;
    size_t aligned = (size + 15) & ~(size_t)15;
    if (aligned < size || aligned > (size_t)(arena->end - arena->at))
        return NULL;
    void *memory = arena->at;
    arena->at += aligned;
    return memory;
}
static void arena_free(void *user, void *memory) {
    (void)user;
    (void)memory;
}

enum sonde__answer sonde__otlp_status_answer(int status) {
    if (status >= 200 && status <= 299)
        return SONDE__ANSWER_DELIVERED;
    switch (status) {
    case 429:
    case 502:
    case 503:
    case 504:
        return SONDE__ANSWER_RETRY;
    case 413:
        return SONDE__ANSWER_TOO_LARGE;
    case 400:
    case 422:
        return SONDE__ANSWER_CONTENT;
    default:
        return SONDE__ANSWER_FINAL;
    }
}

/* Appends a backend's words to a text, as far as they fit, on one line and without what a terminal would act on. */
static void append_words(char *text, size_t text_size, const uint8_t *words, size_t size) {
    size_t length = strlen(text), cut = size < 160 ? size : 160;
    if (cut == 0 || length + 3 >= text_size)
        return;
    text[length++] = ':';
    text[length++] = ' ';
    for (size_t i = 0; i < cut && length + 1 < text_size; i++) {
        uint8_t c = words[i];
        text[length++] = (char)(c < 0x20 || c >= 0x7f ? '?' : c);
    }
    text[length] = '\0';
}

static void read_success(const struct sonde_http_response *response, ProtobufCAllocator *allocator, char *text,
                         size_t text_size, struct sonde__outcome *outcome) {
    Sonde__Otlp__ExportServiceResponse *message =
        sonde__otlp__export_service_response__unpack(allocator, response->body_size, response->body);
    if (!message) {
        (void)snprintf(text, text_size, "HTTP %d with a body that is not OTLP; taken as delivered", response->status);
        outcome->warning = text;
        return;
    }
    const Sonde__Otlp__ExportPartialSuccess *partial = message->partial_success;
    if (!partial || (partial->rejected_items <= 0 && partial->error_message.len == 0))
        return;
    if (partial->rejected_items > 0) {
        outcome->refused_items = (uint64_t)partial->rejected_items;
        (void)snprintf(text, text_size, "the backend refused a part of a request");
    } else {
        (void)snprintf(text, text_size, "HTTP %d", response->status);
        outcome->warning = text;
    }
    append_words(text, text_size, partial->error_message.data, partial->error_message.len);
}

static void read_failure(const struct sonde_http_response *response, ProtobufCAllocator *allocator, char *text,
                         size_t text_size) {
    (void)snprintf(text, text_size, "HTTP %d", response->status);
    if (strncmp(response->content_type, "text/plain", 10) == 0) {
        append_words(text, text_size, response->body, response->body_size);
        return;
    }
    if (strncmp(response->content_type, "application/x-protobuf", 22) != 0)
        return; /* a proxy's HTML page says nothing to anybody */
    Sonde__Otlp__RpcStatus *status = sonde__otlp__rpc_status__unpack(allocator, response->body_size, response->body);
    if (status)
        append_words(text, text_size, status->message.data, status->message.len);
}

static void read_error(const struct sonde_http_response *response, char *text, size_t text_size,
                       struct sonde__outcome *outcome) {
    const char *why =
        response->error_text && *response->error_text ? response->error_text : sonde_strerror(response->error);
    (void)snprintf(text, text_size, "%s", response->error == SONDE_ETOOBIG ? "the answer is too large" : "no answer");
    if (response->error != SONDE_ETOOBIG)
        append_words(text, text_size, (const uint8_t *)why, strlen(why));
    outcome->answer = response->error == SONDE_ETOOBIG ? SONDE__ANSWER_FINAL : SONDE__ANSWER_RETRY;
}

void sonde__otlp_answer_read(const struct sonde_http_response *response, const struct sonde_alloc *alloc,
                             uint64_t unix_ns, char *text, size_t text_size, struct sonde__outcome *ret_outcome) {
    struct sonde__outcome outcome = {.text = text};
    text[0] = '\0';
    if (response->error) {
        read_error(response, text, text_size, &outcome);
        *ret_outcome = outcome;
        return;
    }
    outcome.answer = sonde__otlp_status_answer(response->status);
    if (outcome.answer == SONDE__ANSWER_RETRY)
        (void)sonde__retry_after_parse(response->retry_after, response->date, unix_ns, &outcome.retry_after_ns);
    if (response->body_size == 0 || response->body_size > SONDE__OTLP_RESPONSE_SIZE_MAX) {
        if (outcome.answer != SONDE__ANSWER_DELIVERED)
            (void)snprintf(text, text_size, "HTTP %d", response->status);
        *ret_outcome = outcome;
        return;
    }
    size_t arena_size = response->body_size + 8192;
    uint8_t *memory = sonde_alloc_new(alloc, arena_size);
    struct arena arena = {memory, memory, memory ? memory + arena_size : memory};
    ProtobufCAllocator allocator = {arena_alloc, arena_free, &arena};
    if (outcome.answer != SONDE__ANSWER_DELIVERED)
        read_failure(response, &allocator, text, text_size);
    else if (memory) /* without memory a partial success goes unread; it must not be retried, and the 2xx stands */
        read_success(response, &allocator, text, text_size, &outcome);
    sonde_alloc_free(alloc, memory);
    *ret_outcome = outcome;
}
