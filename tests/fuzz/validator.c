/* SPDX-License-Identifier: Apache-2.0 */
/* The validator: first byte = which message, the rest = its bytes. What it accepts, protobuf-c decodes; the prefix it
 * finds is itself valid. */
#include "instrumentation/wire/validate.h"
#include "telemetry.pb-c.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition) {
    if (!condition)
        abort();
}

static void check_span(const uint8_t *body, size_t size) {
    size_t prefix = sonde__span_valid_prefix(body, size);
    require(prefix <= size && (prefix == 0 || sonde__span_is_valid(body, prefix)));
    if (!sonde__span_is_valid(body, size))
        return;
    require(prefix == size);
    Pb__Span *span = pb__span__unpack(NULL, size, body);
    require(span != NULL && span->trace_id.len == 16 && span->span_id.len == 8);
    pb__span__free_unpacked(span, NULL);
}

static void check_log(const uint8_t *body, size_t size) {
    if (!sonde__log_is_valid(body, size))
        return;
    Pb__LogRecord *log = pb__log_record__unpack(NULL, size, body);
    require(log != NULL);
    pb__log_record__free_unpacked(log, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    switch (data[0] % 4) {
    case 0:
        check_span(data + 1, size - 1);
        break;
    case 1:
        check_log(data + 1, size - 1);
        break;
    case 2:
        (void)sonde__resource_is_valid(data + 1, size - 1);
        break;
    default:
        (void)sonde__scope_is_valid(data + 1, size - 1);
    }
    return 0;
}
