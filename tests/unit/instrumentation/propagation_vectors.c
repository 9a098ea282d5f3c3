/* SPDX-License-Identifier: Apache-2.0 */
/* Runs rows of tests/vectors/: `propagation_vectors FILE...`. A row is format, carrier, expected, tab-separated; each
 * file's head explains the notation. A format is one row of the table `formats`: how to turn a carrier into the text
 * that the row must equal. Prints the rows that fail and "N passed, N failed, N skipped"; exits 1 when one failed, 2
 * when a file cannot be read or holds no rows. */
#include "tests/unit/instrumentation/propagation_vectors.h"
#include "instrumentation/propagation/tracestate.h"
#include <inttypes.h>
#include <sonde/carrier/redis_streams.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 1 << 20 };

static char buffer[2 * TEXT_MAX]; /* unpacked text of the row at hand */
static size_t buffer_used;

static void put(char c) {
    if (buffer_used < sizeof buffer)
        buffer[buffer_used++] = c;
}

/** One character or escape. Returns what is behind it. */
static const char *unpack_char(const char *text, const char *end, char *ret_char) {
    if (*text != '\\' || text + 1 >= end) {
        *ret_char = *text;
        return text + 1;
    }
    if (text[1] == 'x' && text + 3 < end) {
        char hex[3] = {text[2], text[3], '\0'};
        *ret_char = (char)strtol(hex, NULL, 16);
        return text + 4;
    }
    *ret_char = text[1] == 't' ? '\t' : text[1];
    return text + 2;
}

/** {c*N} or {seq:P:S:N}. Returns what is behind it, or NULL when the brace is a plain character. */
static const char *unpack_brace(const char *text, const char *end) {
    char c;
    const char *close = memchr(text, '}', (size_t)(end - text));
    if (!close || close == text + 1)
        return NULL;
    if (strncmp(text, "{seq:", 5) == 0) {
        const char *prefix = text + 5, *suffix = strchr(prefix, ':');
        const char *number = suffix ? strchr(suffix + 1, ':') : NULL;
        if (!number || number > close)
            return NULL;
        for (long i = 1, count = strtol(number + 1, NULL, 10); i <= count; i++) {
            char digits[24];
            int size = snprintf(digits, sizeof digits, "%ld", i);
            for (const char *p = prefix; p < suffix; p++)
                put(*p);
            for (int d = 0; d < size; d++)
                put(digits[d]);
            for (const char *p = suffix + 1; p < number; p++)
                put(*p);
            if (i < count)
                put(',');
        }
        return close + 1;
    }
    const char *star = unpack_char(text + 1, end, &c);
    char *number_end;
    if (*star != '*')
        return NULL;
    long count = strtol(star + 1, &number_end, 10);
    if (number_end != close)
        return NULL;
    while (count-- > 0)
        put(c);
    return close + 1;
}

static struct sonde_string unpack(const char *text, const char *end) {
    size_t start = buffer_used;
    while (text < end) {
        char c;
        const char *behind = *text == '{' ? unpack_brace(text, end) : NULL;
        if (!behind) {
            behind = unpack_char(text, end, &c);
            put(c);
        }
        text = behind;
    }
    return (struct sonde_string){buffer + start, buffer_used - start};
}

static void unpack_carrier(const char *text, struct row *ret_row) {
    ret_row->count = 0;
    if (strcmp(text, "-") == 0)
        return;
    for (const char *next; text && ret_row->count < PAIRS_MAX; text = next) {
        const char *bar = strstr(text, " | "), *end = bar ? bar : text + strlen(text);
        const char *equals = memchr(text, '=', (size_t)(end - text));
        struct sonde_pair *pair = &ret_row->pairs[ret_row->count++];
        pair->name = unpack(text, equals ? equals : end);
        pair->value = unpack(equals ? equals + 1 : end, end);
        next = bar ? bar + 3 : NULL;
    }
}

const struct sonde_string *row_find(const struct row *row, const char *name) {
    for (size_t i = 0; i < row->count; i++)
        if (row->pairs[i].name.size == strlen(name) && memcmp(row->pairs[i].name.data, name, strlen(name)) == 0)
            return &row->pairs[i].value;
    return NULL;
}

/* What a format gives is written here, in the words of the expected column. */
static char result[TEXT_MAX];
static size_t result_size;

void result_add(const char *text, size_t size) {
    if (size > sizeof result - result_size)
        size = sizeof result - result_size;
    memcpy(result + result_size, text, size);
    result_size += size;
}
void result_text(const char *text) {
    result_add(text, strlen(text));
}
static void result_hex(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        char hex[3];
        (void)snprintf(hex, sizeof hex, "%02x", bytes[i]);
        result_add(hex, 2);
    }
}

void result_context(const struct sonde_context *context, bool with_tracestate) {
    if (!sonde_span_context_is_valid(&context->span)) {
        result_text("reject");
        return;
    }
    result_hex(context->span.trace_id, 16);
    result_text(",");
    result_hex(context->span.span_id, 8);
    result_text(",");
    result_hex(&context->span.flags, 1);
    if (!with_tracestate)
        return;
    result_text(";ts=");
    result_add(context->tracestate, context->tracestate_length);
    if (context->tracestate_length == 0)
        result_text("-");
}

bool result_extracted(const struct sonde_context *context, enum sonde_extract_reason reason) {
    bool found = reason == SONDE_EXTRACT_OK || reason == SONDE_EXTRACT_TRACESTATE ||
                 reason == SONDE_EXTRACT_TAGS_MALFORMED || reason == SONDE_EXTRACT_TAGS_LENGTH;
    if (found != sonde_span_context_is_valid(&context->span))
        result_text("(the reason does not fit the context)");
    result_context(context, false);
    return found;
}

static void extract(const struct sonde_carrier *carrier, bool with_tracestate) {
    static struct sonde_context context;
    if (result_extracted(&context, sonde_extract(carrier, &context)) && with_tracestate) {
        result_size = 0;
        result_context(&context, true);
    }
}

static void run_http(const struct row *row) {
    struct sonde_http_header headers[PAIRS_MAX];
    for (size_t i = 0; i < row->count; i++)
        headers[i] = (struct sonde_http_header){row->pairs[i].name, row->pairs[i].value};
    struct sonde_http_headers list = {.headers = headers, .count = row->count};
    struct sonde_carrier carrier = sonde_http_carrier(&list);
    extract(&carrier, row_find(row, "tracestate"));
}

static void run_redis(const struct row *row) {
    const char *argv[2 * PAIRS_MAX];
    size_t argvlen[2 * PAIRS_MAX];
    for (size_t i = 0; i < row->count; i++) {
        argv[2 * i] = row->pairs[i].name.data;
        argvlen[2 * i] = row->pairs[i].name.size;
        argv[2 * i + 1] = row->pairs[i].value.data;
        argvlen[2 * i + 1] = row->pairs[i].value.size;
    }
    struct sonde_redis_fields fields = {.argv = argv, .argvlen = argvlen, .count = 2 * row->count};
    struct sonde_carrier carrier = sonde_redis_carrier(&fields);
    extract(&carrier, row_find(row, "tracestate"));
}

void row_unhex(const struct sonde_string *text, uint8_t *ret_bytes, size_t size) {
    for (size_t i = 0; text && i < size && 2 * i + 1 < text->size; i++) {
        char hex[3] = {text->data[2 * i], text->data[2 * i + 1], '\0'};
        ret_bytes[i] = (uint8_t)strtol(hex, NULL, 16);
    }
}

void result_headers(const struct sonde_http_headers *list) {
    result_text("inject:");
    if (list->count == 0)
        result_text("none");
    for (size_t i = 0; i < list->count; i++) {
        result_text(i ? " | " : "");
        result_add(list->headers[i].name.data, list->headers[i].name.size);
        result_text("=");
        result_add(list->headers[i].value.data, list->headers[i].value.size);
    }
}

static void run_inject(const struct row *row) {
    static struct sonde_context context;
    sonde_context_init(&context);
    row_unhex(row_find(row, "trace_id"), context.span.trace_id, 16);
    row_unhex(row_find(row, "span_id"), context.span.span_id, 8);
    row_unhex(row_find(row, "flags"), &context.span.flags, 1);
    struct sonde_http_header headers[PAIRS_MAX];
    char text[SONDE_HTTP_INJECT_SIZE];
    struct sonde_http_headers list = {headers, 0, PAIRS_MAX, text, sizeof text, 0};
    struct sonde_carrier carrier = sonde_http_carrier(&list);
    if (sonde_inject(&context, &carrier))
        list.count = 0;
    result_headers(&list);
}

static void run_tracestate_update(const struct row *row) {
    static struct sonde_context context;
    sonde_context_init(&context);
    const struct sonde_string *in = row_find(row, "in"), *set = row_find(row, "set"), *del = row_find(row, "del");
    const struct sonde_string *max = row_find(row, "max");
    bool ok = in && sonde_tracestate_append(&context, in->data, in->size);
    if (ok && set) {
        const char *equals = memchr(set->data, '=', set->size);
        size_t key_size = equals ? (size_t)(equals - set->data) : 0;
        ok = equals && sonde_tracestate_set(&context, set->data, key_size, equals + 1, set->size - key_size - 1) == 0;
    }
    if (del)
        sonde_tracestate_remove(&context, del->data, del->size);
    if (max) {
        char digits[16];
        (void)snprintf(digits, sizeof digits, "%.*s", (int)max->size, max->data);
        sonde__tracestate_shorten(&context, (size_t)strtoul(digits, NULL, 10));
    }
    result_text(ok ? "ts=" : "refused");
    result_add(context.tracestate, context.tracestate_length);
    if (context.tracestate_length == 0)
        result_text("-");
}

static const struct format own_formats[] = {
    {"http1", run_http},         {"inject-w3c", run_inject},
    {"redis-stream", run_redis}, {"ts-update", run_tracestate_update},
    {"w3c", run_http},           {NULL, NULL},
};

static const struct format *const tables[] = {own_formats, carrier_formats, propagator_formats, sampling_formats};

static const struct format *find_format(const char *name) {
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const struct format *format = tables[i]; format->name; format++)
            if (strcmp(format->name, name) == 0)
                return format;
    return NULL;
}

static unsigned passed, failed, skipped;

/** The expected column without its remark, unpacked; of a rejection only the fact counts, the reason is advice. */
static struct sonde_string unpack_expected(char *text) {
    char *remark = strstr(text, " #");
    if (remark)
        *remark = '\0';
    if (strncmp(text, "reject:", 7) == 0)
        text[6] = '\0';
    return unpack(text, text + strlen(text));
}

/** Compares `want` with the result, names of headers without case. */
static bool equal_but_names(struct sonde_string want) {
    bool in_name = true;
    for (size_t i = 0; i < want.size; i++) {
        char c = want.data[i];
        if (in_name && c >= 'A' && c <= 'Z')
            c = (char)(c + ('a' - 'A'));
        if (c != result[i])
            return false;
        in_name = (in_name && c != '=') || (i >= 2 && memcmp(want.data + i - 2, " | ", 3) == 0);
    }
    return true;
}

static void run_row(const char *file, unsigned line_number, char *line) {
    static struct row row;
    char *carrier = strchr(line, '\t'), *expected = carrier ? strchr(carrier + 1, '\t') : NULL;
    if (!expected) {
        printf("%s:%u: not a row\n", file, line_number);
        failed++;
        return;
    }
    *carrier++ = *expected++ = '\0';
    const struct format *format = find_format(line);
    if (!format) {
        printf("%s:%u: skipped: format %s is not known to this program\n", file, line_number, line);
        skipped++;
        return;
    }
    buffer_used = result_size = 0;
    unpack_carrier(carrier, &row);
    struct sonde_string want = unpack_expected(expected);
    format->run(&row);
    /* What is sent has names in lower case, which a row need not have. */
    if (want.size == result_size &&
        (strncmp(line, "inject-", 7) == 0 ? equal_but_names(want) : memcmp(want.data, result, result_size) == 0)) {
        passed++;
        return;
    }
    failed++;
    printf("%s:%u: %s %.200s\n  want %.*s\n  have %.*s\n", file, line_number, line, carrier,
           (int)(want.size > 300 ? 300 : want.size), want.data, (int)(result_size > 300 ? 300 : result_size), result);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "r");
        char *line = NULL;
        size_t capacity = 0;
        ssize_t size;
        unsigned before = passed + failed + skipped;
        for (unsigned number = 1; file && (size = getline(&line, &capacity, file)) > 0; number++) {
            if (line[size - 1] == '\n')
                line[size - 1] = '\0';
            if (line[0] != '#' && line[0] != '\0')
                run_row(argv[i], number, line);
        }
        free(line);
        if (file)
            (void)fclose(file);
        if (passed + failed + skipped == before) {
            (void)fprintf(stderr, "%s: no rows\n", argv[i]);
            return 2;
        }
    }
    printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
    return failed ? 1 : argc < 2 ? 2 : 0;
}
