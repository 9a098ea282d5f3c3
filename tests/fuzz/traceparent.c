/* SPDX-License-Identifier: Apache-2.0 */
/* traceparent and tracestate from hostile bytes. Input: values separated by newlines, the first a traceparent, the
 * others tracestate headers. What must hold beside memory safety: a context that is accepted is written and read again
 * as the same; a list that is kept is valid, within its limits, and unchanged by being read again. */
#include "instrumentation/propagation/tracestate.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition) {
    if (!condition)
        abort();
}

static void check_traceparent(const char *text, size_t size) {
    struct sonde_span_context context, back;
    if (sonde_traceparent_read(text, size, &context) != SONDE_EXTRACT_OK)
        return;
    char written[SONDE_TRACEPARENT_SIZE];
    require(sonde_traceparent_write(&context, written));
    require(sonde_traceparent_read(written, sizeof written, &back) == SONDE_EXTRACT_OK);
    require(memcmp(&context, &back, sizeof back) == 0);
}

static void check_list(const struct sonde_context *context) {
    struct sonde_context back;
    back.tracestate_length = 0;
    require(context->tracestate_length <= SONDE_TRACESTATE_SIZE_MAX);
    require(sonde_tracestate_append(&back, context->tracestate, context->tracestate_length));
    require(back.tracestate_length == context->tracestate_length);
    require(memcmp(back.tracestate, context->tracestate, back.tracestate_length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data, *end = text + size;
    struct sonde_context context;
    struct sonde__tracestate_reader reader;
    memset(&context, 0, sizeof context);
    sonde__tracestate_reader_init(&reader, &context);
    for (int value = 0; text < end; value++) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));
        size_t line = line_end ? (size_t)(line_end - text) : (size_t)(end - text);
        /* A copy of the exact size, so that the sanitizer sees a read past the value. */
        char *copy = malloc(line ? line : 1);
        require(copy != NULL);
        memcpy(copy, text, line);
        if (value == 0)
            check_traceparent(copy, line);
        else
            require(sonde__tracestate_reader_feed(&reader, copy, line) == !reader.failed);
        free(copy);
        text = line_end ? line_end + 1 : end;
    }
    require(!reader.failed || context.tracestate_length == 0);
    check_list(&context);
    struct sonde_string found;
    if (sonde_tracestate_get(&context, "a", 1, &found))
        require(sonde_tracestate_set(&context, "zz", 2, found.data, found.size) == 0);
    sonde_tracestate_remove(&context, "a", 1);
    sonde__tracestate_shorten(&context, size % SONDE_TRACESTATE_SIZE_MAX);
    check_list(&context);
    return 0;
}
