/* SPDX-License-Identifier: Apache-2.0 */
/* The entries of a context's baggage: finding, decoding, changing. */
#include "instrumentation/context/baggage.h"
#include "instrumentation/context/baggage_class.h"
#include "instrumentation/context/context.h"
#include "instrumentation/wire/writer.h"
#include <sonde/err.h>
#include <string.h>

static const struct sonde_string no_text = {"", 0};

/** The list of a context, or of the current one, whose text stays until the stack changes. */
static struct sonde_string list_of(const struct sonde_context *context) {
    if (context)
        return context->baggage_length <= SONDE_BAGGAGE_SIZE_MAX
                   ? (struct sonde_string){context->baggage, context->baggage_length}
                   : no_text;
    struct sonde__thread *thread = sonde__thread_enter();
    if (!thread)
        return no_text;
    const struct sonde__texts *texts = &thread->stack[thread->depth].texts;
    struct sonde_string list = {thread->baggages + texts->baggage_at, texts->baggage_length};
    sonde__thread_leave(thread);
    return list;
}

/** The entry at `at`, which is moved behind it and its comma. False at the end. */
static bool next_entry(struct sonde_string list, uint32_t *at, struct sonde_baggage_entry *ret_entry) {
    if (*at >= list.size)
        return false;
    const char *start = list.data + *at, *comma = memchr(start, ',', list.size - *at);
    size_t size = comma ? (size_t)(comma - start) : list.size - *at;
    const char *equals = memchr(start, '=', size), *end = start + size;
    if (!equals) /* cannot be in a list of ours */
        equals = end;
    const char *value = equals < end ? equals + 1 : end, *semicolon = memchr(value, ';', (size_t)(end - value));
    ret_entry->key = (struct sonde_string){start, (size_t)(equals - start)};
    ret_entry->value = (struct sonde_string){value, (size_t)((semicolon ? semicolon : end) - value)};
    ret_entry->metadata =
        semicolon ? (struct sonde_string){semicolon + 1, (size_t)(end - semicolon - 1)} : (struct sonde_string){end, 0};
    *at += (uint32_t)size + (comma != NULL);
    return true;
}

static bool find_entry(struct sonde_string list, struct sonde_string key, struct sonde_baggage_entry *ret_entry) {
    uint32_t at = 0;
    while (next_entry(list, &at, ret_entry))
        if (ret_entry->key.size == key.size && memcmp(ret_entry->key.data, key.data, key.size) == 0)
            return true;
    return false;
}

bool sonde_baggage_find(const struct sonde_context *context, struct sonde_string key,
                        struct sonde_baggage_entry *ret_entry) {
    struct sonde_baggage_entry entry;
    if (!find_entry(list_of(context), key, &entry))
        return false;
    *ret_entry = entry;
    return true;
}

bool sonde_baggage_next(const struct sonde_context *context, uint32_t *position,
                        struct sonde_baggage_entry *ret_entry) {
    return next_entry(list_of(context), position, ret_entry);
}

/* ---- values ---- */

static unsigned hex_value(char c) {
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

size_t sonde_baggage_decode(struct sonde_string value, char *ret_text, size_t size) {
    char decoded[SONDE_BAGGAGE_SIZE_MAX];
    size_t used = 0;
    if (value.size > sizeof decoded)
        value.size = sizeof decoded;
    if (!memchr(value.data, '%', value.size)) { /* plain ASCII */
        if (value.size <= size && value.size)
            memcpy(ret_text, value.data, value.size);
        return value.size;
    }
    for (size_t i = 0; i < value.size; i++) {
        char c = value.data[i];
        if (c == '%' && value.size - i >= 3) { /* with two hex digits behind, in a list of ours */
            c = (char)(hex_value(value.data[i + 1]) << 4 | (hex_value(value.data[i + 2]) & 15));
            i += 2;
        }
        decoded[used++] = c;
    }
    size_t need = sonde__utf8_repaired_size(decoded, used);
    if (need <= size && need)
        sonde__utf8_repair((uint8_t *)ret_text, decoded, used);
    return need;
}

int sonde_baggage_get(const struct sonde_context *context, struct sonde_string key, char *ret_text, size_t size,
                      size_t *ret_size) {
    struct sonde_baggage_entry entry;
    if (!find_entry(list_of(context), key, &entry))
        return SONDE_ENOTFOUND;
    *ret_size = sonde_baggage_decode(entry.value, ret_text, size);
    return *ret_size <= size ? 0 : SONDE_ETOOBIG;
}

bool sonde__is_plain(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (text[i] < 0x20 || text[i] > 0x7e)
            return false;
    return size == 0 || (text[0] != ' ' && text[size - 1] != ' ');
}

static bool all_of(struct sonde_string text, unsigned class) {
    for (size_t i = 0; i < text.size; i++)
        if (!(sonde__baggage_class[(uint8_t)text.data[i]] & class))
            return false;
    return true;
}

static size_t coded_size(struct sonde_string value) {
    size_t size = value.size;
    for (size_t i = 0; i < value.size; i++)
        size += sonde__baggage_class[(uint8_t)value.data[i]] & SONDE__BAGGAGE_VALUE ? 0 : 2;
    return size;
}

static size_t encode(struct sonde_string value, char *ret_text) {
    static const char digits[16] = {'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'};
    size_t used = 0;
    for (size_t i = 0; i < value.size; i++) {
        uint8_t byte = (uint8_t)value.data[i];
        if (sonde__baggage_class[byte] & SONDE__BAGGAGE_VALUE) {
            ret_text[used++] = (char)byte;
            continue;
        }
        ret_text[used] = '%';
        ret_text[used + 1] = digits[byte >> 4];
        ret_text[used + 2] = digits[byte & 15];
        used += 3;
    }
    return used;
}

/* ---- changing ---- */

static void take_out(struct sonde_context *context, const struct sonde_baggage_entry *entry) {
    size_t at = (size_t)(entry->key.data - context->baggage);
    size_t end = (size_t)(entry->metadata.data + entry->metadata.size - context->baggage);
    if (end < context->baggage_length)
        end++; /* its comma */
    else if (at > 0)
        at--; /* the one before: it was the last */
    memmove(context->baggage + at, context->baggage + end, context->baggage_length - end);
    context->baggage_length -= (uint32_t)(end - at);
}

static uint32_t count_entries(struct sonde_string list) {
    struct sonde_baggage_entry entry;
    uint32_t count = 0;
    for (uint32_t at = 0; next_entry(list, &at, &entry);)
        count++;
    return count;
}

static int set_in(struct sonde_context *context, struct sonde_string key, struct sonde_string value,
                  struct sonde_string metadata) {
    char fresh[SONDE_BAGGAGE_SIZE_MAX]; /* the arguments may lie in the list that is about to move */
    struct sonde_baggage_entry old;
    struct sonde_string list = list_of(context);
    if (!key.size || !all_of(key, SONDE__BAGGAGE_KEY) || !all_of(metadata, SONDE__BAGGAGE_META))
        return SONDE_EINVALID;
    bool replaces = find_entry(list, key, &old);
    size_t old_size = replaces ? (size_t)(old.metadata.data + old.metadata.size - old.key.data) : 0;
    size_t others = list.size > old_size ? list.size - old_size : 0; /* with one comma for the newcomer, if any */
    if (value.size > sizeof fresh || key.size > sizeof fresh || metadata.size > sizeof fresh)
        return SONDE_ETOOBIG;
    size_t size = key.size + 1 + coded_size(value) + (metadata.size ? metadata.size + 1 : 0);
    if (size + others + (others && !replaces) > SONDE_BAGGAGE_SIZE_MAX)
        return SONDE_ETOOBIG;
    if (!replaces && count_entries(list) >= SONDE_BAGGAGE_ENTRIES_MAX)
        return SONDE_ETOOBIG;
    memcpy(fresh, key.data, key.size);
    size_t used = key.size;
    fresh[used++] = '=';
    used += encode(value, fresh + used);
    if (metadata.size) {
        fresh[used++] = ';';
        memcpy(fresh + used, metadata.data, metadata.size);
        used += metadata.size;
    }
    context->baggage_length = (uint32_t)list.size;
    if (replaces)
        take_out(context, &old);
    if (context->baggage_length)
        context->baggage[context->baggage_length++] = ',';
    memcpy(context->baggage + context->baggage_length, fresh, used);
    context->baggage_length += (uint32_t)used;
    return 0;
}

static bool remove_from(struct sonde_context *context, struct sonde_string key) {
    struct sonde_baggage_entry entry;
    if (!find_entry(list_of(context), key, &entry))
        return false;
    take_out(context, &entry);
    return true;
}

/* The current context is changed by way of a copy, which takes the place of the old text. */
static void copy_current(struct sonde_context *ret_context) {
    struct sonde_string list = list_of(NULL);
    memcpy(ret_context->baggage, list.data, list.size);
    ret_context->baggage_length = (uint32_t)list.size;
}

int sonde_baggage_set(struct sonde_context *context, struct sonde_string key, struct sonde_string value,
                      struct sonde_string metadata) {
    struct sonde_context copy;
    if (context)
        return set_in(context, key, value, metadata);
    copy_current(&copy);
    int error = set_in(&copy, key, value, metadata);
    return error ? error : sonde__context_replace_baggage(copy.baggage, copy.baggage_length);
}

bool sonde_baggage_remove(struct sonde_context *context, struct sonde_string key) {
    struct sonde_context copy;
    if (context)
        return remove_from(context, key);
    copy_current(&copy);
    return remove_from(&copy, key) && sonde__context_replace_baggage(copy.baggage, copy.baggage_length) == 0;
}

void sonde_baggage_clear(struct sonde_context *context) {
    if (context)
        context->baggage_length = 0;
    else
        (void)sonde__context_replace_baggage("", 0);
}
