/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resilience/idempotency.h"
#include "instrumentation/resilience/instruments.h"
#include "instrumentation/ring/fd.h"
#include "instrumentation/wire/sha256.h"
#include <sonde/err.h>
#include <sonde/resilience/idempotency.h>
#include <string.h>

static const struct sonde_string name = {"idempotency-key", 15};
static const char *const texts[SONDE_IDEMPOTENCY_RESULT_COUNT] = {"first", "replay", "conflict", "in_flight"};

const char *const *sonde__idempotency_texts(void) {
    return texts;
}

/* ---- keys ---- */

void sonde__hex_write(const uint8_t *bytes, size_t size, char *ret_text) {
    for (size_t i = 0; i < size; i++) {
        ret_text[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        ret_text[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
}

void sonde_idempotency_key_make(struct sonde_idempotency_key *ret_key) {
    static const uint8_t groups[5] = {4, 2, 2, 2, 6};
    uint8_t bytes[16];
    char *at = ret_key->text;
    memset(ret_key, 0, sizeof *ret_key);
    sonde__random_fill(bytes, sizeof bytes);
    bytes[6] = (uint8_t)((bytes[6] & 0x0F) | 0x40); /* RFC 9562, 5.4 */
    bytes[8] = (uint8_t)((bytes[8] & 0x3F) | 0x80);
    for (size_t i = 0, done = 0; i < sizeof groups; done += groups[i], i++) {
        if (i)
            *at++ = '-';
        sonde__hex_write(bytes + done, groups[i], at);
        at += (size_t)2 * groups[i];
    }
    ret_key->size = 36;
}

void sonde_idempotency_key_derive(const struct sonde_string *parts, size_t count,
                                  struct sonde_idempotency_key *ret_key) {
    struct sonde__sha256 hash;
    uint8_t digest[SONDE__SHA256_SIZE];
    sonde__sha256_init(&hash);
    for (size_t i = 0; i < count; i++) {
        uint8_t size[8];
        for (int byte = 0; byte < 8; byte++)
            size[byte] = (uint8_t)((uint64_t)parts[i].size >> (56 - 8 * byte));
        sonde__sha256_add(&hash, size, sizeof size);
        sonde__sha256_add(&hash, parts[i].data, parts[i].size);
    }
    sonde__sha256_finish(&hash, digest);
    memset(ret_key, 0, sizeof *ret_key);
    sonde__hex_write(digest, 16, ret_key->text);
    ret_key->size = 32;
}

/* ---- carriers ---- */

static bool is_printable(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (text[i] < 0x20 || text[i] > 0x7E)
            return false;
    return true;
}

int sonde_idempotency_key_write(const struct sonde_idempotency_key *key, enum sonde_idempotency_form form,
                                const struct sonde_carrier *carrier) {
    char text[2 + 2 * SONDE_IDEMPOTENCY_KEY_SIZE_MAX];
    size_t size = 0;
    if (!key->size || !is_printable(key->text, key->size) || !carrier->ops->set)
        return SONDE_EINVALID;
    if (form == SONDE_IDEMPOTENCY_MESSAGE)
        return carrier->ops->set(carrier->self, name, (struct sonde_string){key->text, key->size});
    text[size++] = '"';
    for (size_t i = 0; i < key->size; i++) {
        if (key->text[i] == '"' || key->text[i] == '\\')
            text[size++] = '\\';
        text[size++] = key->text[i];
    }
    text[size++] = '"';
    return carrier->ops->set(carrier->self, name, (struct sonde_string){text, size});
}

/* One more character of a key that is read. Returns 0 or SONDE_ETOOBIG. */
static int put(struct sonde_idempotency_key *key, char c) {
    if (key->size == SONDE_IDEMPOTENCY_KEY_SIZE_MAX)
        return SONDE_ETOOBIG;
    key->text[key->size++] = c;
    return 0;
}

/* RFC 9651, 4.2.5: after the quote; behind it only parameters. */
static int parse_quoted(const char *at, const char *end, struct sonde_idempotency_key *key) {
    int error = 0;
    for (; !error && at < end && *at != '"'; at++) {
        if (*at == '\\' && (++at == end || (*at != '"' && *at != '\\')))
            return SONDE_EMALFORMED;
        error = put(key, *at);
    }
    if (error)
        return error;
    if (at == end || (end - at > 1 && at[1] != ';'))
        return SONDE_EMALFORMED;
    return 0;
}

static int parse(struct sonde_string value, struct sonde_idempotency_key *key) {
    const char *at = value.data, *end = value.data + value.size;
    int error = 0;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    while (at < end && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    if (at == end || !is_printable(at, (size_t)(end - at)))
        return SONDE_EMALFORMED;
    if (*at == '"')
        error = parse_quoted(at + 1, end, key);
    else
        for (; at < end && !error; at++)
            error = put(key, *at);
    return error ? error : key->size ? 0 : SONDE_EMALFORMED;
}

struct reading {
    struct sonde_idempotency_key *key;
    uint32_t count;
    int error;
};
static bool read_one(void *user, struct sonde_string value) {
    struct reading *reading = user;
    struct sonde_idempotency_key key;
    memset(&key, 0, sizeof key);
    reading->error = parse(value, &key);
    if (!reading->error && reading->count++ && strcmp(key.text, reading->key->text) != 0)
        reading->error = SONDE_EMALFORMED;
    *reading->key = key;
    return reading->error == 0;
}

int sonde_idempotency_key_read(const struct sonde_carrier *carrier, struct sonde_idempotency_key *ret_key) {
    struct reading reading = {ret_key, 0, 0};
    struct sonde_string value;
    memset(ret_key, 0, sizeof *ret_key);
    if (carrier->ops->each)
        carrier->ops->each(carrier->self, name, read_one, &reading);
    else if (carrier->ops->get && carrier->ops->get(carrier->self, name, &value))
        (void)read_one(&reading, value);
    if (reading.error)
        memset(ret_key, 0, sizeof *ret_key);
    return reading.error ? reading.error : ret_key->size ? 0 : SONDE_ENOTFOUND;
}

/* ---- telemetry ---- */

uint64_t sonde_idempotency_fingerprint(const void *payload, size_t size) {
    uint8_t digest[SONDE__SHA256_SIZE];
    uint64_t print = 0;
    sonde__sha256(payload, size, digest);
    for (int i = 0; i < 8; i++)
        print = print << 8 | digest[i];
    return print ? print : 1;
}

void sonde__idempotency_key_hash(struct sonde_string key, char ret_text[SONDE__KEY_HASH_SIZE]) {
    uint8_t digest[SONDE__SHA256_SIZE];
    sonde__sha256(key.data, key.size, digest);
    sonde__hex_write(digest, SONDE__KEY_HASH_SIZE / 2, ret_text);
}

void sonde_idempotency_describe(struct sonde_span *span, struct sonde_string key,
                                enum sonde_idempotency_result result) {
    char text[SONDE__KEY_HASH_SIZE];
    if ((unsigned)result >= SONDE_IDEMPOTENCY_RESULT_COUNT || !sonde_span_is_recording(span))
        return;
    sonde__idempotency_key_hash(key, text);
    sonde_span_set_string(span, SONDE_KEY("sonde.idempotency.key"), text, sizeof text);
    sonde_span_set_cstr(span, SONDE_KEY("sonde.idempotency.result"), texts[result]);
}

void sonde_idempotency_record(struct sonde_span *span, struct sonde_string key, enum sonde_idempotency_result result) {
    if ((unsigned)result >= SONDE_IDEMPOTENCY_RESULT_COUNT)
        return;
    const struct sonde_attribute attribute =
        sonde_attribute_string(SONDE_KEY("sonde.idempotency.result"), texts[result]);
    sonde_instrument_add(sonde__resilience_instrument(SONDE__RESILIENCE_IDEMPOTENCY), 1, &attribute, 1);
    if (span)
        sonde_idempotency_describe(span, key, result);
}
