/* SPDX-License-Identifier: Apache-2.0 */
/* Carriers that the other targets leave out, and reads that look in more than one place, with all formats at once.
 * Input: a byte that chooses, then lines "name: value", or a URL; what stands behind a NUL is the message's body. What
 * must hold beside memory safety: extraction never fails the caller and finds a context only where it says so; what is
 * injected over whatever was there is what is read back, or the message is refused; and no value holds a line end. */
#include <sonde/carrier/cloudevents.h>
#include <sonde/carrier/http.h>
#include <sonde/carrier/json.h>
#include <sonde/carrier/redis_streams.h>
#include <sonde/carrier/sqs.h>
#include <sonde/carrier/websocket.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINES_MAX = 24, ROOM = LINES_MAX + 32 };
static const char all[] = "tracecontext,baggage,b3,b3multi,jaeger,xray,gcloud,datadog,ottrace,grpc-trace-bin";
static struct sonde_context context, back, link;
static struct sonde_http_header headers[ROOM];
static char room[65536];

static void require(int condition) {
    if (!condition)
        abort();
}

static size_t split(const char *text, size_t size) {
    size_t count = 0;
    for (const char *end = text + size; text < end && count < LINES_MAX; count++) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text)), *stop = line_end ? line_end : end;
        const char *colon = memchr(text, ':', (size_t)(stop - text)), *value = colon ? colon + 1 : stop;
        headers[count] = (struct sonde_http_header){{text, (size_t)((colon ? colon : stop) - text)},
                                                    {value, (size_t)(stop - value)}};
        text = line_end ? line_end + 1 : end;
    }
    return count;
}

static void check_reason(enum sonde_extract_reason reason, const struct sonde_context *found) {
    bool said = reason == SONDE_EXTRACT_OK || reason == SONDE_EXTRACT_TRACESTATE ||
                reason == SONDE_EXTRACT_TAGS_MALFORMED || reason == SONDE_EXTRACT_TAGS_LENGTH;
    require(said == sonde_span_context_is_valid(&found->span));
    require(found->tracestate_length <= SONDE_TRACESTATE_SIZE_MAX && found->baggage_length <= SONDE_BAGGAGE_SIZE_MAX);
}

/** Through a carrier that can be written: what came out goes in again, over what is there. */
static void check_again(const struct sonde_carrier *carrier) {
    check_reason(sonde_extract(carrier, &context), &context);
    int error = sonde_inject(&context, carrier);
    check_reason(sonde_extract(carrier, &back), &back);
    if (error == 0 && sonde_span_context_is_valid(&context.span))
        require(memcmp(back.span.span_id, context.span.span_id, 8) == 0);
    sonde_propagation_clear(carrier);
    (void)sonde_extract(carrier, &back);
    require(!sonde_span_context_is_valid(&back.span));
}

static void check_http(size_t count) {
    struct sonde_http_headers list = {headers, count, ROOM, room, sizeof room, 0};
    struct sonde_carrier carrier = sonde_http_carrier(&list);
    check_again(&carrier);
    require(!memchr(room, '\n', list.text_used) && !memchr(room, '\r', list.text_used));
}

static void check_redis(size_t count) {
    static const char *argv[3 + 2 * ROOM];
    static size_t argvlen[3 + 2 * ROOM];
    for (size_t i = 0; i < count; i++) {
        argv[3 + 2 * i] = headers[i].name.data;
        argvlen[3 + 2 * i] = headers[i].name.size;
        argv[4 + 2 * i] = headers[i].value.data;
        argvlen[4 + 2 * i] = headers[i].value.size;
    }
    struct sonde_redis_fields fields = {argv, argvlen, 3, 3 + 2 * count, 3 + 2 * ROOM, room, sizeof room, 0};
    struct sonde_carrier carrier = sonde_redis_carrier(&fields);
    check_again(&carrier);
    require(fields.count >= 3 && (fields.count - 3) % 2 == 0);
}

static void check_sqs(size_t count, const char *body, size_t size) {
    static struct sonde_sqs_message message;
    static struct sonde_pair pairs[ROOM];
    memset(&message, 0, sizeof message);
    for (size_t i = 0; i < count; i++)
        pairs[i] = (struct sonde_pair){headers[i].name, headers[i].value};
    message.attributes = (struct sonde_pairs){pairs, count, ROOM, room, sizeof room, 0};
    if (count)
        message.trace_header = headers[count - 1].value;
    check_reason(sonde_sqs_extract(&message, body, size, &back), &back);
    struct sonde_carrier carrier = sonde_sqs_carrier(&message);
    (void)sonde_inject(&back, &carrier);
    require(message.attributes.count <= (count > SONDE_SQS_ATTRIBUTES_MAX ? count : SONDE_SQS_ATTRIBUTES_MAX));
}

static void check_event(size_t count, const char *body, size_t size) {
    static struct sonde_json json;
    static struct sonde_cloudevents binary;
    struct sonde_http_headers list = {.headers = headers, .count = count};
    struct sonde_carrier message = sonde_http_carrier(&list), event;
    sonde_json_read(&json, body, size, SONDE_JSON_TOP);
    event = sonde_json_carrier(&json);
    check_reason(sonde_cloudevents_extract(&message, &event, &back, &link), &back);
    memset(&binary, 0, offsetof(struct sonde_cloudevents, decoded));
    binary.message = message;
    event = sonde_cloudevents_carrier(&binary);
    check_reason(sonde_cloudevents_extract(&message, &event, &back, &link), &back);
    require(memcmp(&back.span, &link.span, 24) != 0 || !sonde_span_context_is_valid(&back.span));
}

static void check_handshake(size_t count, const char *url, size_t size) {
    struct sonde_http_headers list = {.headers = headers, .count = count};
    struct sonde_carrier carrier = sonde_http_carrier(&list);
    check_reason(sonde_websocket_extract(&carrier, url, size, &back), &back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool chosen;
    if (!chosen)
        chosen = sonde_propagators_set(all) == 0;
    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1, *end = (const char *)data + size;
    const char *nul = memchr(text, '\0', (size_t)(end - text)), *body = nul ? nul + 1 : end;
    size_t count = split(text, (size_t)((nul ? nul : end) - text)), body_size = (size_t)(end - body);
    switch (data[0] % 5) {
    case 0:
        check_handshake(count, body, body_size);
        break;
    case 1:
        check_http(count);
        break;
    case 2:
        check_redis(count);
        break;
    case 3:
        check_sqs(count, body, body_size);
        break;
    default:
        check_event(count, body, body_size);
    }
    return 0;
}
