/* SPDX-License-Identifier: Apache-2.0 */
/* Instrumentation scopes: described once in the process memory, named by number in every record.
 * Equal scopes are found by their encoded bytes. */
#include "instrumentation/trace/scope.h"
#include "instrumentation/resource/settings.h"
#include "instrumentation/ring/lock.h"
#include "instrumentation/ring/thread.h"
#include "instrumentation/wire/writer.h"
#include <sonde/trace.h>
#include <stdlib.h>
#include <string.h>

/* Fields of InstrumentationScope. Source: common/v1/common.proto. */
enum { SCOPE_NAME = 1, SCOPE_VERSION, SCOPE_ATTRIBUTES, SCOPE_DROPPED };
#define SCOPE_SIZE_MAX 4096u

/* Body, then schema URL. Kept for the life of the process. */
struct scope {
    uint32_t body_size, size;
    uint8_t bytes[];
};
static struct sonde__lock lock;
static struct scope *_Atomic scopes[SONDE_SCOPES_MAX]; /* set under the lock; 0 is the default one, without an entry */

static bool encode(struct sonde__writer *writer, const char *name, const char *version,
                   const struct sonde_attribute *attributes, size_t count) {
    sonde__write_string(writer, SCOPE_NAME, name, strlen(name), SONDE_NAME_SIZE_MAX);
    if (version && *version)
        sonde__write_string(writer, SCOPE_VERSION, version, strlen(version), SONDE_NAME_SIZE_MAX);
    size_t dropped = sonde__write_attributes(writer, SCOPE_ATTRIBUTES, attributes, attributes ? count : 0,
                                             SONDE_SERIES_ATTRIBUTES_MAX, SIZE_MAX);
    if (dropped)
        sonde__write_uint(writer, SCOPE_DROPPED, dropped);
    return !writer->full;
}

/* Under the lock. 0: no room, or the library is off. */
static uint32_t find_or_add(const struct sonde__writer *body, const char *schema_url) {
    uint32_t body_size = (uint32_t)sonde__writer_size(body), extra_size = (uint32_t)strlen(schema_url), number;
    for (number = 1; number < SONDE_SCOPES_MAX && scopes[number]; number++) {
        struct scope *scope = scopes[number];
        if (scope->body_size == body_size && scope->size == body_size + extra_size &&
            memcmp(scope->bytes, body->start, body_size) == 0 &&
            memcmp(scope->bytes + body_size, schema_url, extra_size) == 0)
            return number;
    }
    struct scope *scope = number < SONDE_SCOPES_MAX ? malloc(sizeof *scope + body_size + extra_size) : NULL;
    if (!scope)
        return 0;
    if (sonde__descriptor_append(SONDE__DESCRIPTOR_SCOPE, number, body->start, body_size, schema_url, extra_size) !=
        0) {
        free(scope);
        return 0;
    }
    scope->body_size = body_size;
    scope->size = body_size + extra_size;
    memcpy(scope->bytes, body->start, body_size);
    memcpy(scope->bytes + body_size, schema_url, extra_size);
    atomic_store_explicit(&scopes[number], scope, memory_order_release);
    return number;
}

struct sonde_string sonde__scope_name(uint32_t number) {
    const struct scope *scope =
        number < SONDE_SCOPES_MAX ? atomic_load_explicit(&scopes[number], memory_order_acquire) : NULL;
    if (!scope) /* the name is the first field: its tag, a length of one or two bytes */
        return (struct sonde_string){"", 0};
    const uint8_t *at = scope->bytes + 1;
    size_t size = *at++;
    if (size & 0x80)
        size = (size & 0x7F) | (size_t)*at++ << 7;
    return (struct sonde_string){(const char *)at, size};
}

uint32_t sonde_scope_register(const char *name, const char *version, const char *schema_url,
                              const struct sonde_attribute *attributes, size_t attribute_count) {
    uint8_t buffer[SCOPE_SIZE_MAX];
    struct sonde__writer writer;
    sonde__writer_init(&writer, buffer, sizeof buffer - 16);
    if (!schema_url || strlen(schema_url) > SONDE_NAME_SIZE_MAX ||
        !sonde__utf8_is_valid(schema_url, strlen(schema_url)))
        schema_url = "";
    if (!name || !*name || sonde__settings_get()->disabled ||
        !encode(&writer, name, version, attributes, attribute_count))
        return 0;
    sonde__lock_take(&lock);
    uint32_t number = find_or_add(&writer, schema_url);
    sonde__lock_release(&lock);
    return number;
}
