/* SPDX-License-Identifier: Apache-2.0 */
/* What a backend answers, from hostile bytes. Input: two bytes of status, one that chooses the content type, one of
 * length and so many of Retry-After, then the body. What must hold beside memory safety: the answer follows from the
 * status alone, no more is refused than was told, what people read is one line of printable text, and memory is taken
 * as the header says and given back. */
#include "exporters/otlp/answer.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition) {
    if (!condition)
        abort();
}

static size_t taken, most;
static void *resize(void *user, void *memory, size_t size) {
    (void)user;
    if (size == 0) {
        require(memory != NULL && taken > 0);
        taken--;
        free(memory);
        return NULL;
    }
    require(memory == NULL && size <= most);
    taken++;
    return malloc(size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const types[] = {"application/x-protobuf", "text/plain; charset=utf-8", "text/html", ""};
    if (size < 4 || (size_t)data[3] + 4 > size)
        return 0;
    char hint[256];
    memcpy(hint, data + 4, data[3]);
    hint[data[3]] = '\0';
    struct sonde_http_response response = {.error_text = "",
                                           .status = (data[0] << 8 | data[1]) % 1000,
                                           .content_type = types[data[2] % 4],
                                           .retry_after = hint,
                                           .date = ""};
    response.body_size = size - 4 - data[3];
    uint8_t *body = malloc(response.body_size ? response.body_size : 1); /* exact, so that a read past it is seen */
    require(body != NULL);
    memcpy(body, data + size - response.body_size, response.body_size);
    response.body = body;
    struct sonde_alloc alloc = {resize, NULL};
    struct sonde__outcome outcome;
    char text[256];
    memset(text, 'x', sizeof text);
    most = response.body_size + 8192;
    sonde__otlp_answer_read(&response, &alloc, UINT64_C(1700000000000000000), text, sizeof text, &outcome);
    require(taken == 0);
    require(outcome.answer == sonde__otlp_status_answer(response.status));
    const char *end = memchr(text, '\0', sizeof text);
    require(end != NULL);
    for (const char *at = text; at < end; at++)
        require(*at >= 0x20 && *at < 0x7f);
    require(outcome.refused_items == 0 || outcome.answer == SONDE__ANSWER_DELIVERED);
    require(outcome.refused_items <= INT64_MAX);
    free(body);
    return 0;
}
