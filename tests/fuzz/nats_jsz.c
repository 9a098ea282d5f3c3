/* SPDX-License-Identifier: Apache-2.0 */
/* A NATS server's answers from any bytes: names lie inside their bounds, numbers are whole or unknown. */
#include "agent/collect/nats_jsz.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition) {
    if (!condition)
        abort();
}
static void bounded(struct sonde_string text) {
    require(text.size < SONDE__NATS_NAME_SIZE_MAX && (text.data || !text.size));
    for (size_t i = 0; i < text.size; i++)
        require(*(const volatile char *)&text.data[i] || 1);
}
static void number(uint64_t value) {
    require(value == SONDE__NATS_UNKNOWN || value <= UINT64_C(1) << 53);
}

static bool on_stream(void *user, const struct sonde__nats_stream *stream) {
    (void)user;
    bounded(stream->account);
    bounded(stream->name);
    bounded(stream->leader);
    require(stream->name.size > 0);
    number(stream->messages);
    number(stream->last_seq);
    return stream->name.size % 2;
}
static void on_consumer(void *user, const struct sonde__nats_stream *stream,
                        const struct sonde__nats_consumer *consumer) {
    (void)user;
    require(stream->name.size % 2 && consumer->name.size > 0);
    bounded(consumer->name);
    bounded(consumer->leader);
    number(consumer->pending);
    number(consumer->ack_pending);
    number(consumer->delivered_seq);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct sonde__nats_visitor visitor = {on_stream, on_consumer, NULL};
    struct sonde__nats_identity identity = {.server_name = ""};
    struct sonde__nats_page page;
    char text[64];
    if (sonde__nats_varz_read(data, size, &identity) == 0)
        require(strlen(identity.server_name) < sizeof identity.server_name);
    (void)sonde__nats_jsz_read(data, size, &visitor, &page);
    size_t part = size < sizeof text - 1 ? size : sizeof text - 1;
    if (part)
        memcpy(text, data, part);
    text[part] = '\0';
    (void)sonde__nats_time_read(text);
    return 0;
}
