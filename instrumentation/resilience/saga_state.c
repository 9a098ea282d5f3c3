/* SPDX-License-Identifier: Apache-2.0 */
/* A saga as text. Written down:
 *   1 ID TYPE START SHORT ROOT_TIME INDEX FLAGS ROOT LAST { NAME INDEX STATE ATTEMPTS UNDOS SPAN UNDOING_SPAN }
 * separated by one space each; times in ms, numbers decimal, contexts as traceparents or "-", texts with %xx for what is
 * no visible ASCII. */
#include "instrumentation/propagation/hex.h"
#include "instrumentation/resilience/saga.h"
#include <sonde/err.h>
#include <sonde/propagation.h>

#define MS 1000000u

/* What sonde_saga_save() writes at most, each with the space behind it. */
#define TEXT_SIZE_MAX    (3u * SONDE_SAGA_TEXT_SIZE_MAX + 1u)
#define TIME_SIZE_MAX    (14u + 1u) /* 2^64 ns in ms */
#define INDEX_SIZE_MAX   (5u + 1u)
#define CONTEXT_SIZE_MAX (SONDE_TRACEPARENT_SIZE + 1u)
#define HEAD_SIZE_MAX    (2u + 2 * TEXT_SIZE_MAX + 3 * TIME_SIZE_MAX + INDEX_SIZE_MAX + 3u + 2 * CONTEXT_SIZE_MAX)
#define STEP_SIZE_MAX    (TEXT_SIZE_MAX + INDEX_SIZE_MAX + 2u + 2 * (3u + 1u) + 2 * CONTEXT_SIZE_MAX)
_Static_assert(HEAD_SIZE_MAX + SONDE_SAGA_STEPS_MAX * STEP_SIZE_MAX <= SONDE_SAGA_STATE_SIZE_MAX,
               "the largest saga fits");
_Static_assert((SONDE__SAGA_FLAGS << 1 | 1) < 100 && SONDE__STEP_STATE_MAX < 10, "digits");

void sonde__saga_text(char ret_text[SONDE_SAGA_TEXT_SIZE_MAX + 1u], const char *text, size_t size) {
    if (size > SONDE_SAGA_TEXT_SIZE_MAX)
        for (size = SONDE_SAGA_TEXT_SIZE_MAX; size && ((unsigned char)text[size] & 0xC0) == 0x80;)
            size--;
    memset(ret_text, 0, SONDE_SAGA_TEXT_SIZE_MAX + 1u);
    if (size)
        memcpy(ret_text, text, size);
}

/* ---- writing ---- */

/* What does not fit is counted, not written. */
struct writer {
    char *text;
    size_t room, size;
};
static void put(struct writer *writer, char c) {
    if (writer->size < writer->room)
        writer->text[writer->size] = c;
    writer->size++;
}
static void put_number(struct writer *writer, uint64_t number) {
    char digits[20], *at = digits + sizeof digits;
    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    while (at < digits + sizeof digits)
        put(writer, *at++);
    put(writer, ' ');
}
static void put_text(struct writer *writer, const char *text) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c > 0x20 && c < 0x7F && c != '%') {
            put(writer, *text);
            continue;
        }
        put(writer, '%');
        put(writer, "0123456789abcdef"[c >> 4]);
        put(writer, "0123456789abcdef"[c & 15]);
    }
    put(writer, ' ');
}
static void put_context(struct writer *writer, const struct sonde_span_context *context) {
    char text[SONDE_TRACEPARENT_SIZE];
    bool is_valid = sonde_traceparent_write(context, text);
    for (size_t i = 0; is_valid && i < sizeof text; i++)
        put(writer, text[i]);
    if (!is_valid)
        put(writer, '-');
    put(writer, ' ');
}

/* Returns the bytes it takes, without the last space. */
static size_t saga_write(const struct sonde_saga *saga, char *text, size_t room) {
    struct writer writer = {text, room, 0};
    put_number(&writer, 1);
    put_text(&writer, saga->id);
    put_text(&writer, saga->type);
    put_number(&writer, saga->start_unix_ns / MS);
    put_number(&writer, saga->short_ns / MS);
    put_number(&writer, saga->root_unix_ns / MS);
    put_number(&writer, saga->index);
    put_number(&writer, (saga->flags & SONDE__SAGA_FLAGS) << 1 | saga->is_compensating);
    put_context(&writer, &saga->root);
    put_context(&writer, &saga->last);
    for (uint32_t i = 0; i < saga->step_count; i++) {
        const struct sonde_saga_done *step = &saga->steps[i];
        put_text(&writer, step->name);
        put_number(&writer, step->index);
        put_number(&writer, step->state);
        put_number(&writer, step->attempts);
        put_number(&writer, step->compensations);
        put_context(&writer, &step->span);
        put_context(&writer, &step->compensation);
    }
    return writer.size - 1;
}

size_t sonde_saga_save(const struct sonde_saga *saga, char *ret_text, size_t size) {
    const size_t used = saga_write(saga, NULL, 0);
    if (used <= size)
        (void)saga_write(saga, ret_text, used);
    return used;
}

/* ---- reading ---- */

struct parser {
    const char *at, *end;
    bool is_bad;
};
static struct sonde_string word_take(struct parser *parser) {
    struct sonde_string word = {parser->at, 0};
    while (parser->at < parser->end && *parser->at != ' ')
        parser->at++;
    word.size = (size_t)(parser->at - word.data);
    if (parser->at < parser->end)
        parser->at++;
    if (word.size == 0)
        parser->is_bad = true;
    return word;
}
/* Decimal, up to 15 digits and max. */
static bool number_read(struct sonde_string text, uint64_t max, uint64_t *ret_number) {
    uint64_t number = 0;
    if (text.size < 1 || text.size > 15)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    *ret_number = number;
    return number <= max;
}
static uint64_t number_take(struct parser *parser, uint64_t max) {
    uint64_t number = 0;
    if (!number_read(word_take(parser), max, &number))
        parser->is_bad = true;
    return parser->is_bad ? 0 : number;
}
static void text_take(struct parser *parser, char ret_text[SONDE_SAGA_TEXT_SIZE_MAX + 1u]) {
    struct sonde_string word = word_take(parser);
    char text[SONDE_SAGA_TEXT_SIZE_MAX];
    size_t size = 0;
    for (size_t i = 0; i < word.size && !parser->is_bad; i++) {
        int c = (unsigned char)word.data[i];
        if (c == '%' && word.size - i > 2) {
            int high = sonde__hex_digit(word.data[i + 1]), low = sonde__hex_digit(word.data[i + 2]);
            c = high < 0 || low < 0 ? 0 : high << 4 | low;
            i += 2;
        } else if (c == '%') {
            c = 0;
        }
        if (c == 0 || size == sizeof text)
            parser->is_bad = true;
        else
            text[size++] = (char)c;
    }
    sonde__saga_text(ret_text, text, parser->is_bad ? 0 : size);
}
static void context_take(struct parser *parser, struct sonde_span_context *ret_context) {
    struct sonde_string word = word_take(parser);
    memset(ret_context, 0, sizeof *ret_context);
    if (!(word.size == 1 && word.data[0] == '-') &&
        sonde_traceparent_read(word.data, word.size, ret_context) != SONDE_EXTRACT_OK)
        parser->is_bad = true;
}

static void step_take(struct parser *parser, struct sonde_saga_done *step) {
    text_take(parser, step->name);
    step->index = (uint16_t)number_take(parser, UINT16_MAX);
    step->state = (uint8_t)number_take(parser, SONDE__STEP_STATE_MAX);
    step->attempts = (uint8_t)number_take(parser, UINT8_MAX);
    step->compensations = (uint8_t)number_take(parser, UINT8_MAX);
    context_take(parser, &step->span);
    context_take(parser, &step->compensation);
    if (step->state == SONDE__STEP_OPEN || step->state == SONDE__STEP_DOUBTFUL) /* nobody will say how it ended */
        step->state = SONDE__STEP_UNKNOWN;
    else if (step->state == SONDE__STEP_UNDOING)
        step->state = SONDE__STEP_UNDO_FAILED;
}

int sonde__saga_load(struct sonde_saga *saga, struct sonde_string state) {
    static const uint64_t ms_max = UINT64_MAX / MS;
    struct parser parser = {state.data, state.data + state.size, false};
    if (number_take(&parser, 1) != 1)
        return SONDE_EMALFORMED;
    text_take(&parser, saga->id);
    text_take(&parser, saga->type);
    saga->start_unix_ns = number_take(&parser, ms_max) * MS;
    saga->short_ns = number_take(&parser, ms_max) * MS;
    saga->root_unix_ns = number_take(&parser, ms_max) * MS;
    saga->index = (uint32_t)number_take(&parser, UINT16_MAX);
    uint32_t flags = (uint32_t)number_take(&parser, SONDE__SAGA_FLAGS << 1 | 1);
    saga->is_compensating = flags & 1;
    saga->flags = flags >> 1;
    context_take(&parser, &saga->root);
    context_take(&parser, &saga->last);
    while (!parser.is_bad && parser.at < parser.end && saga->step_count < SONDE_SAGA_STEPS_MAX)
        step_take(&parser, &saga->steps[saga->step_count++]);
    return parser.is_bad || parser.at < parser.end ? SONDE_EMALFORMED : 0;
}

/* ---- baggage ---- */

#define KEY_ID   ((struct sonde_string){"saga.id", 7})
#define KEY_TYPE ((struct sonde_string){"saga.type", 9})
#define KEY_STEP ((struct sonde_string){"saga.step", 9})

/* INDEX.START.TRACEPARENT; without the last when there is no context. */
static size_t step_write(const struct sonde_saga *saga, const struct sonde_saga_step *step, char *text, size_t size) {
    struct writer writer = {text, size, 0};
    const struct sonde_span_context *context = step ? &step->span.context : &saga->last;
    put_number(&writer, step && step->index ? step->index : saga->index);
    text[writer.size - 1] = '.';
    put_number(&writer, saga->start_unix_ns / MS);
    text[writer.size - 1] = '.';
    if (sonde_traceparent_write(context, text + writer.size))
        writer.size += SONDE_TRACEPARENT_SIZE;
    return writer.size;
}

static void step_read(struct sonde_saga *saga, struct sonde_string text) {
    const char *dot = memchr(text.data, '.', text.size);
    uint64_t index, start_ms;
    if (!dot)
        return;
    const size_t left = text.size - (size_t)(dot + 1 - text.data);
    const char *second = memchr(dot + 1, '.', left);
    if (!second || !number_read((struct sonde_string){text.data, (size_t)(dot - text.data)}, UINT16_MAX, &index) ||
        !number_read((struct sonde_string){dot + 1, (size_t)(second - dot - 1)}, UINT64_MAX / MS, &start_ms))
        return;
    saga->index = (uint32_t)index;
    saga->start_unix_ns = start_ms * MS;
    if (sonde_traceparent_read(second + 1, left - (size_t)(second - dot), &saga->last) != SONDE_EXTRACT_OK)
        memset(&saga->last, 0, sizeof saga->last);
}

int sonde_saga_put(const struct sonde_saga *saga, const struct sonde_saga_step *step, struct sonde_context *context) {
    const struct sonde_string none = {"", 0};
    char text[64 + SONDE_TRACEPARENT_SIZE];
    int error = sonde_baggage_set(context, KEY_ID, sonde_text(saga->id), none);
    if (!error)
        error = sonde_baggage_set(context, KEY_TYPE, sonde_text(saga->type), none);
    if (!error) {
        size_t size = step_write(saga, step, text, sizeof text);
        error = sonde_baggage_set(context, KEY_STEP, (struct sonde_string){text, size}, none);
    }
    return error;
}

void sonde_saga_remove(struct sonde_context *context) {
    (void)sonde_baggage_remove(context, KEY_ID);
    (void)sonde_baggage_remove(context, KEY_TYPE);
    (void)sonde_baggage_remove(context, KEY_STEP);
}

/* A member as text of at most 63 bytes; empty when absent or longer. */
static void member_get(const struct sonde_context *context, struct sonde_string key,
                       char ret_text[SONDE_SAGA_TEXT_SIZE_MAX + 1u]) {
    char text[SONDE_SAGA_TEXT_SIZE_MAX];
    size_t size;
    if (sonde_baggage_get(context, key, text, sizeof text, &size) || memchr(text, 0, size))
        size = 0;
    sonde__saga_text(ret_text, text, size);
}

/* A saga whose calls do nothing. */
static int refuse(struct sonde_saga *saga, int error) {
    memset(saga, 0, sizeof *saga);
    saga->flags = SONDE__SAGA_ENDED;
    return error;
}

int sonde_saga_join_as(struct sonde_saga *ret_saga, const struct sonde_context *context, const char *type) {
    char text[64 + SONDE_TRACEPARENT_SIZE];
    size_t size;
    memset(ret_saga, 0, sizeof *ret_saga);
    ret_saga->short_ns = SONDE__SAGA_SHORT_NS;
    ret_saga->flags = SONDE__SAGA_PARTIAL;
    member_get(context, KEY_ID, ret_saga->id);
    if (!ret_saga->id[0])
        return refuse(ret_saga, SONDE_ENOTFOUND);
    member_get(context, KEY_TYPE, ret_saga->type);
    if (!ret_saga->type[0])
        memcpy(ret_saga->type, "unknown", 8);
    if (type && strcmp(ret_saga->type, type) != 0)
        return refuse(ret_saga, SONDE_EINVALID);
    if (sonde_baggage_get(context, KEY_STEP, text, sizeof text, &size) == 0)
        step_read(ret_saga, (struct sonde_string){text, size});
    ret_saga->root = context ? context->span : sonde_context_current_span();
    ret_saga->root_unix_ns = ret_saga->start_unix_ns;
    return 0;
}

int sonde_saga_join(struct sonde_saga *ret_saga, const struct sonde_context *context) {
    return sonde_saga_join_as(ret_saga, context, NULL);
}
