/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resilience/timeout.h"
#include "instrumentation/resilience/clock.h"
#include "instrumentation/resilience/table.h"
#include <sonde/err.h>
#include <string.h>

static struct timeout {
    char name[SONDE__KIT_NAME_SIZE_MAX + 1];
    struct sonde__timeout_view view;
    struct sonde_series scopes[SONDE__TIMEOUT_SCOPE_COUNT];
} timeouts[SONDE_TIMEOUTS_MAX];
static struct sonde__kit_table table = {
    .capacity = SONDE_TIMEOUTS_MAX, .element_size = sizeof timeouts[0], .elements = timeouts};

static void fill(void *at, const void *options) {
    static const char *const texts[SONDE__TIMEOUT_SCOPE_COUNT] = {"attempt", "overall"};
    struct timeout *timeout = at;
    const struct sonde_timeout_options *o = options;
    timeout->view = (struct sonde__timeout_view){o->overall_ns, o->attempt_ns, o->clock, o->user};
    sonde__kit_series(SONDE__RESILIENCE_TIMEOUT, "sonde.resilience.name", timeout->name, "sonde.resilience.scope",
                      texts, SONDE__TIMEOUT_SCOPE_COUNT, timeout->scopes);
}

int sonde_timeout_create(const struct sonde_timeout_options *options, struct sonde_timeout *ret_timeout) {
    struct sonde_timeout_options o = SONDE_TIMEOUT_OPTIONS_INIT;
    memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    ret_timeout->index = 0;
    return sonde__kit_find_or_make(&table, o.name, fill, &o, &ret_timeout->index);
}

struct sonde__timeout_view sonde__timeout_view(struct sonde_timeout handle) {
    const struct timeout *timeout = sonde__kit_get(&table, handle.index);
    return timeout ? timeout->view : (struct sonde__timeout_view){0};
}
void sonde__timeout_count(struct sonde_timeout handle, enum sonde__timeout_scope scope) {
    const struct timeout *timeout = sonde__kit_get(&table, handle.index);
    if (timeout)
        sonde_counter_add(timeout->scopes[scope], 1);
}

struct sonde_deadline sonde_deadline_in(uint64_t left_ns) {
    if (!left_ns || left_ns == SONDE_TIMEOUT_NONE)
        return (struct sonde_deadline){0};
    return sonde__deadline_at(sonde__kit_now(), left_ns);
}
uint64_t sonde_deadline_left_ns(struct sonde_deadline deadline) {
    return deadline.monotonic_ns ? sonde__deadline_left(deadline, sonde__kit_now()) : SONDE_TIMEOUT_NONE;
}

struct sonde_deadline sonde_timeout_begin(struct sonde_timeout handle, struct sonde_deadline outer) {
    struct sonde__timeout_view view = sonde__timeout_view(handle);
    if (!view.overall_ns)
        return outer;
    return sonde_deadline_earlier(sonde__deadline_at(sonde__kit_now_by(view.clock, view.user), view.overall_ns), outer);
}

uint64_t sonde_timeout_attempt_ns(struct sonde_timeout handle, struct sonde_deadline deadline) {
    struct sonde__timeout_view view = sonde__timeout_view(handle);
    uint64_t own_ns = view.attempt_ns ? view.attempt_ns : SONDE_TIMEOUT_NONE;
    if (!deadline.monotonic_ns)
        return own_ns;
    uint64_t left_ns = sonde__deadline_left(deadline, sonde__kit_now_by(view.clock, view.user));
    return left_ns < own_ns ? left_ns : own_ns;
}

void sonde_timeout_record(struct sonde_timeout handle, struct sonde_deadline deadline) {
    struct sonde__timeout_view view = sonde__timeout_view(handle);
    bool is_over = deadline.monotonic_ns && sonde__kit_now_by(view.clock, view.user) >= deadline.monotonic_ns;
    sonde__timeout_count(handle, is_over ? SONDE__TIMEOUT_OVERALL : SONDE__TIMEOUT_ATTEMPT);
}

/* ---- on the wire ---- */

#define GRPC_DIGITS 8
#define MS_DIGITS   10 /* as the Connect protocol bounds it */
#define MS          UINT64_C(1000000)

static const struct {
    char letter;
    uint64_t ns;
} units[] = {{'n', 1}, {'u', 1000}, {'m', MS}, {'S', 1000 * MS}, {'M', 60 * 1000 * MS}, {'H', 3600000 * MS}};
#define UNIT_COUNT (sizeof units / sizeof units[0])

static size_t digits_write(uint64_t value, char *text) {
    char backwards[20];
    size_t size = 0;
    do {
        backwards[size++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    for (size_t i = 0; i < size; i++)
        text[i] = backwards[size - 1 - i];
    text[size] = '\0';
    return size;
}
/* 1..most digits and nothing else; at most 10, so that it cannot overflow. */
static bool digits_read(const char *text, size_t size, size_t most, uint64_t *ret_value) {
    uint64_t value = 0;
    if (size < 1 || size > most)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *ret_value = value;
    return true;
}

size_t sonde_timeout_grpc_write(uint64_t left_ns, char ret_text[SONDE_TIMEOUT_TEXT_SIZE]) {
    size_t unit = 0;
    ret_text[0] = '\0';
    if (left_ns == 0 || left_ns == SONDE_TIMEOUT_NONE)
        return 0;
    while (left_ns / units[unit].ns > 99999999) /* 2^64 ns are five million hours: the last one always fits */
        unit++;
    size_t size = digits_write(left_ns / units[unit].ns, ret_text);
    ret_text[size] = units[unit].letter;
    ret_text[size + 1] = '\0';
    return size + 1;
}

int sonde_timeout_grpc_read(const char *text, size_t size, uint64_t *ret_left_ns) {
    uint64_t value;
    if (size < 2 || !digits_read(text, size - 1, GRPC_DIGITS, &value))
        return SONDE_EMALFORMED;
    for (size_t unit = 0; unit < UNIT_COUNT; unit++) {
        if (units[unit].letter != text[size - 1])
            continue;
        const uint64_t most = SONDE_TIMEOUT_NONE - 1;
        *ret_left_ns = value > most / units[unit].ns ? most : value * units[unit].ns;
        return 0;
    }
    return SONDE_EMALFORMED;
}

size_t sonde_timeout_ms_write(uint64_t left_ns, char ret_text[SONDE_TIMEOUT_TEXT_SIZE]) {
    const uint64_t most = UINT64_C(9999999999);
    ret_text[0] = '\0';
    if (left_ns == 0 || left_ns == SONDE_TIMEOUT_NONE)
        return 0;
    uint64_t ms = left_ns / MS ? left_ns / MS : 1;
    return digits_write(ms < most ? ms : most, ret_text);
}
int sonde_timeout_ms_read(const char *text, size_t size, uint64_t *ret_left_ns) {
    uint64_t value;
    if (!digits_read(text, size, MS_DIGITS, &value))
        return SONDE_EMALFORMED;
    *ret_left_ns = value * MS; /* 10^10 of them are 10^16 ns */
    return 0;
}
