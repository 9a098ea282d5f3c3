/* SPDX-License-Identifier: Apache-2.0 */
/* Each single-header format into and out of a carrier that holds one value, without the search that a real one makes:
 * what the format itself costs. inject_http, extract_http and extract_composite of bench_propagation are the whole. */
#include "instrumentation/propagation/propagator.h"
#include "tests/bench/bench.h"
#include <sonde/err.h>

enum { VARIANTS = 1024 };

static struct sonde_context contexts[VARIANTS];
static struct slot {
    char text[256];
    size_t size, name_size;
} slots[VARIANTS], out;
static volatile uint64_t sink;

static int slot_set(void *self, struct sonde_string name, struct sonde_string value) {
    struct slot *slot = self;
    slot->name_size = name.size;
    if (value.size > sizeof slot->text)
        return SONDE_ETOOBIG;
    memcpy(slot->text, value.data, value.size);
    slot->size = value.size;
    return 0;
}
static bool slot_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {
    struct slot *slot = self;
    *ret_value = (struct sonde_string){slot->text, slot->size};
    return name.size == slot->name_size;
}
static const struct sonde_carrier_ops ops = {.get = slot_get, .set = slot_set};

static void inject(const struct sonde__propagator *propagator, uint64_t count) {
    struct sonde_carrier carrier = {&ops, &out};
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += (uint64_t)propagator->inject(&contexts[i % VARIANTS], &carrier) + (uint8_t)out.text[20];
    sink += sum;
}

static void extract(const struct sonde__propagator *propagator, uint64_t count) {
    static struct sonde_context context;
    struct sonde__source source;
    uint64_t sum = 0;
    sonde_context_init(&context);
    for (uint64_t i = 0; i < count; i++) {
        struct sonde_carrier carrier = {&ops, &slots[i % VARIANTS]};
        sonde__source_init(&source, &carrier, propagator->reads);
        sum += (uint64_t)propagator->extract(&source, &context) + context.span.span_id[3];
    }
    sink += sum;
}

static const struct sonde__propagator *current;

/* What was written must be read as the same; also fills the slots that extract reads. */
static void prepare(const struct sonde__propagator *propagator) {
    if (current == propagator)
        return;
    current = propagator;
    for (int i = 0; i < VARIANTS; i++) {
        struct sonde_carrier carrier = {&ops, &slots[i]};
        (void)propagator->inject(&contexts[i], &carrier);
    }
}
static const char *check(void) {
    for (int i = 0; i < VARIANTS; i++) {
        struct sonde_carrier carrier = {&ops, &slots[i]};
        static struct sonde_context back;
        struct sonde__source source;
        sonde_context_init(&back);
        sonde__source_init(&source, &carrier, current->reads);
        if (current->extract(&source, &back) != SONDE_EXTRACT_OK || memcmp(&back.span, &contexts[i].span, 24) != 0 ||
            ((back.span.flags ^ contexts[i].span.flags) & SONDE_TRACE_FLAG_SAMPLED))
            return "a context did not come back as it was written";
    }
    return NULL;
}

#define FORMAT(name)                                                                                                   \
    static void inject_##name(uint64_t count) {                                                                        \
        prepare(&sonde__propagator_##name);                                                                            \
        inject(&sonde__propagator_##name, count);                                                                      \
    }                                                                                                                  \
    static void extract_##name(uint64_t count) {                                                                       \
        prepare(&sonde__propagator_##name);                                                                            \
        extract(&sonde__propagator_##name, count);                                                                     \
    }
FORMAT(b3)
FORMAT(jaeger)
FORMAT(xray)
FORMAT(gcloud)
FORMAT(grpc_trace_bin)

int main(int argc, char **argv) {
#define ROWS(name)                                                                                                     \
    {"inject_" #name, inject_##name, 1000000, check, NULL, NULL}, {                                                    \
        "extract_" #name, extract_##name, 1000000, check, NULL, NULL                                                   \
    }
    static const struct bench_row rows[] = {ROWS(b3), ROWS(jaeger), ROWS(xray), ROWS(gcloud), ROWS(grpc_trace_bin)};
    srand(1);
    for (int i = 0; i < VARIANTS; i++) {
        sonde_context_init(&contexts[i]);
        for (int b = 0; b < 16; b++)
            contexts[i].span.trace_id[b] = (uint8_t)(1 + rand() % 255);
        for (int b = 0; b < 8; b++)
            contexts[i].span.span_id[b] = (uint8_t)(1 + rand() % 255);
        contexts[i].span.flags = (uint8_t)(i & 3);
    }
    return bench_main(argc, argv, rows, sizeof rows / sizeof *rows);
}
