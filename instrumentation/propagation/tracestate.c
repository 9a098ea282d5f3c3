/* SPDX-License-Identifier: Apache-2.0 */
/* tracestate: members "key=value" joined by commas, newest at the left, others' members passed on as they came.
 * Read wide (level 2's key grammar), written narrow (keys legal in levels 1 and 2). One invalid member, or a 33rd,
 * drops the whole list. Room: when a member does not fit, those over 128 characters go first, right-most first, then
 * members from the right end; done as they arrive, with the result that doing it at the end would give. Source: W3C
 * trace-context, 3.3 (level 2), 3.3.1.5 (limits), 3.5 (mutating). */
#include "instrumentation/propagation/tracestate.h"
#include "instrumentation/context/plain_list.h"
#include <sonde/err.h>
#include <string.h>

enum {
    KEY_SIZE_MAX = 256,
    VALUE_SIZE_MAX = 256,
    TENANT_SIZE_MAX = 241, /* level 1: tenant '@' system */
    SYSTEM_SIZE_MAX = 14,
    LONG_MEMBER = 128, /* "entries larger than 128 characters SHOULD be removed first" */
    /* Bytes looked at over all values of one list. The longest legal list without white space is 16,447; the rest is
     * white space and empty members, which must end somewhere. */
    SCAN_MAX = 32768,
};

/* Classes of bytes; a table, for every byte of every list passes here. */
enum { KEY_START = 1, KEY_CHAR = 2, VALUE_CHAR = 4 };
#define ALL (KEY_START | KEY_CHAR | VALUE_CHAR)
#define KEY (KEY_CHAR | VALUE_CHAR)
static const uint8_t classes[256] = {
    [' ' ... ')'] = VALUE_CHAR, ['*'] = KEY,         ['+'] = VALUE_CHAR,         ['-'] = KEY,
    ['.'] = VALUE_CHAR,         ['/'] = KEY,         ['0' ... '9'] = ALL,        [':' ... '<'] = VALUE_CHAR,
    ['>' ... '?'] = VALUE_CHAR, ['@'] = KEY,         ['A' ... '^'] = VALUE_CHAR, ['_'] = KEY,
    ['`'] = VALUE_CHAR,         ['a' ... 'z'] = ALL, ['{' ... '~'] = VALUE_CHAR,
};
#undef ALL
#undef KEY

static bool is_key_start(char c) {
    return classes[(uint8_t)c] & KEY_START;
}
static bool is_key_char(char c) {
    return classes[(uint8_t)c] & KEY_CHAR;
}
static bool is_value_char(char c) {
    return classes[(uint8_t)c] & VALUE_CHAR;
}
static bool is_space(char c) {
    return c == ' ' || c == '\t';
}

static bool value_is_valid(const char *value, size_t size) {
    if (size == 0 || size > VALUE_SIZE_MAX || value[size - 1] == ' ')
        return false;
    for (size_t i = 0; i < size; i++)
        if (!is_value_char(value[i]))
            return false;
    return true;
}

/** The key's length when the member is valid, else 0. */
static size_t member_check(const char *member, size_t size) {
    if (size < 3 || size > KEY_SIZE_MAX + 1 + VALUE_SIZE_MAX || !is_key_start(member[0]))
        return 0;
    size_t key = 1;
    while (key < size && key <= KEY_SIZE_MAX && is_key_char(member[key]))
        key++;
    if (key > KEY_SIZE_MAX || key == size || member[key] != '=')
        return 0;
    return value_is_valid(member + key + 1, size - key - 1) ? key : 0;
}

/** A key legal in level 1, and so in level 2: what we write ourselves. */
static bool key_is_writable(const char *key, size_t size) {
    if (size == 0 || size > KEY_SIZE_MAX)
        return false;
    const char *at = memchr(key, '@', size);
    size_t tenant = at ? (size_t)(at - key) : size, system = at ? size - tenant - 1 : 0;
    bool start = at ? is_key_start(key[0]) : key[0] >= 'a' && key[0] <= 'z';
    if (!start || (at && (tenant > TENANT_SIZE_MAX || system == 0 || system > SYSTEM_SIZE_MAX)))
        return false;
    if (at && !(at[1] >= 'a' && at[1] <= 'z'))
        return false;
    for (size_t i = 0; i < size; i++)
        if (!is_key_char(key[i]) || (key[i] == '@' && key + i != at))
            return false;
    return true;
}

/** The members of the context's list, which is valid by contract; bounded in any case. Returns their count. */
static uint32_t list_members(const struct sonde_context *context, struct sonde__tracestate_member *ret_members) {
    size_t length = context->tracestate_length, at = 0;
    if (length > SONDE_TRACESTATE_SIZE_MAX)
        return 0;
    uint32_t count = 0;
    while (at < length && count < SONDE_TRACESTATE_MEMBERS_MAX) {
        const char *start = context->tracestate + at;
        const char *comma = memchr(start, ',', length - at);
        size_t size = comma ? (size_t)(comma - start) : length - at;
        const char *equals = memchr(start, '=', size);
        size_t key_size = equals ? (size_t)(equals - start) : size;
        ret_members[count++] = (struct sonde__tracestate_member){(uint16_t)at, (uint16_t)size, (uint16_t)key_size};
        at += size + 1;
    }
    return count;
}

/** Index of a key among members, or count. */
static uint32_t find_key(const struct sonde_context *context, const struct sonde__tracestate_member *members,
                         uint32_t count, const char *key, size_t key_size) {
    for (uint32_t i = 0; i < count; i++)
        if (members[i].key_size == key_size && memcmp(context->tracestate + members[i].at, key, key_size) == 0)
            return i;
    return count;
}

/** Which members stay (a bit each) so that they and their commas fit into size_max. */
static uint32_t choose(const struct sonde__tracestate_member *members, uint32_t count, size_t size_max) {
    uint32_t keep = count >= 32 ? UINT32_MAX : (1u << count) - 1;
    size_t total = 0;
    for (uint32_t i = 0; i < count; i++)
        total += members[i].size + 1u;
    for (int only_long = 1; only_long >= 0; only_long--) {
        for (uint32_t i = count; i > 0 && total > size_max + 1; i--) {
            if (!(keep >> (i - 1) & 1) || (only_long && members[i - 1].size <= LONG_MEMBER))
                continue;
            keep &= ~(1u << (i - 1));
            total -= members[i - 1].size + 1u;
        }
    }
    return keep;
}

/** Moves the kept members together in the context's bytes. Returns how many; members is rewritten. */
static uint32_t compact(struct sonde_context *context, struct sonde__tracestate_member *members, uint32_t count,
                        uint32_t keep) {
    size_t at = 0;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!(keep >> i & 1))
            continue;
        struct sonde__tracestate_member member = members[i];
        if (kept)
            context->tracestate[at++] = ',';
        memmove(context->tracestate + at, context->tracestate + member.at, member.size);
        member.at = (uint16_t)at;
        at += member.size;
        members[kept++] = member;
    }
    context->tracestate_length = (uint32_t)at;
    return kept;
}

void sonde__tracestate_shorten(struct sonde_context *context, size_t size_max) {
    struct sonde__tracestate_member members[SONDE_TRACESTATE_MEMBERS_MAX];
    uint32_t count = list_members(context, members);
    (void)compact(context, members, count, choose(members, count, size_max));
}

/** Notes a key. Returns whether it may have been noted before; if not, there is no need to look. */
static bool note_key(struct sonde__tracestate_reader *reader, const char *key, size_t size) {
    uint32_t hash = (uint32_t)size * 0x9E3779B1u ^ (uint8_t)key[0] * 0x85EBCA6Bu ^
                    (uint8_t)key[size - 1] * 0xC2B2AE35u ^ (uint8_t)key[size - 1 - (size > 1)] * 0x27D4EB2Fu ^
                    (uint8_t)key[size / 2] * 0x165667B1u;
    hash ^= hash >> 15;
    uint64_t bit = (uint64_t)1 << (hash & 63), *word = &reader->keys[hash >> 6 & 3];
    bool noted = *word & bit;
    *word |= bit;
    return noted;
}

void sonde__tracestate_reader_init(struct sonde__tracestate_reader *reader, struct sonde_context *context) {
    reader->context = context;
    reader->scanned = reader->seen = reader->count = 0;
    reader->failed = reader->dropped_long = reader->dropped_short = reader->is_listed = false;
}

/** Fills in what reading member by member goes by, from the context's list. */
static void reader_list(struct sonde__tracestate_reader *reader) {
    const struct sonde_context *context = reader->context;
    memset(reader->keys, 0, sizeof reader->keys);
    reader->count = reader->seen = list_members(context, reader->members);
    for (uint32_t i = 0; i < reader->count; i++)
        if (reader->members[i].key_size)
            (void)note_key(reader, context->tracestate + reader->members[i].at, reader->members[i].key_size);
    reader->is_listed = true;
}

/** A first value that can stay as it is: copied once, checked there. */
static inline bool reader_take_whole(struct sonde__tracestate_reader *reader, const char *text, size_t size) {
    struct sonde_context *context = reader->context;
    if (context->tracestate_length || reader->is_listed || size > SONDE_TRACESTATE_SIZE_MAX - SONDE__PLAIN_PADDING)
        return false;
    memcpy(context->tracestate, text, size);
    uint32_t count = sonde__plain_tracestate(context->tracestate, size);
    if (!count)
        return false;
    reader->count = reader->seen = count;
    context->tracestate_length = (uint32_t)size;
    return true;
}

/** Keeps a checked member if there is room, or makes room as the rules say. */
static void reader_keep(struct sonde__tracestate_reader *reader, const char *member, size_t size, size_t key_size) {
    struct sonde_context *context = reader->context;
    bool is_long = size > LONG_MEMBER;
    if (reader->dropped_short || (is_long && reader->dropped_long))
        return;
    /* The newcomer takes part in the choice as the right-most. At most 31 others: `seen` counts it already. */
    struct sonde__tracestate_member newcomer = {0, (uint16_t)size, (uint16_t)key_size};
    reader->members[reader->count] = newcomer;
    if (context->tracestate_length + (reader->count ? 1 : 0) + size > SONDE_TRACESTATE_SIZE_MAX) {
        uint32_t keep = choose(reader->members, reader->count + 1, SONDE_TRACESTATE_SIZE_MAX);
        bool stays = keep >> reader->count & 1;
        if (stays || is_long)
            reader->dropped_long = true; /* something long went: a member before, or the newcomer */
        else
            reader->dropped_short = true;
        reader->count = compact(context, reader->members, reader->count, keep);
        if (!stays)
            return;
    }
    size_t at = context->tracestate_length;
    if (reader->count)
        context->tracestate[at++] = ',';
    memcpy(context->tracestate + at, member, size);
    newcomer.at = (uint16_t)at;
    reader->members[reader->count++] = newcomer;
    context->tracestate_length = (uint32_t)(at + size);
}

static bool reader_fail(struct sonde__tracestate_reader *reader) {
    reader->failed = true;
    reader->context->tracestate_length = 0;
    return false;
}

bool sonde__tracestate_reader_feed(struct sonde__tracestate_reader *reader, const char *text, size_t size) {
    if (reader->failed || size >= SCAN_MAX - reader->scanned)
        return reader_fail(reader);
    reader->scanned += size + 1; /* + 1: values without bytes must end somewhere too */
    if (reader_take_whole(reader, text, size))
        return true;
    if (!reader->is_listed)
        reader_list(reader);
    const char *end = text + size;
    while (text < end) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        const char *next = comma ? comma + 1 : end, *last = comma ? comma : end;
        while (text < last && is_space(*text))
            text++;
        while (last > text && is_space(last[-1]))
            last--;
        size_t member_size = (size_t)(last - text);
        if (member_size) {
            size_t key_size = member_check(text, member_size);
            if (key_size == 0 || ++reader->seen > SONDE_TRACESTATE_MEMBERS_MAX)
                return reader_fail(reader);
            if (!note_key(reader, text, key_size) ||
                find_key(reader->context, reader->members, reader->count, text, key_size) == reader->count)
                reader_keep(reader, text, member_size, key_size);
        }
        text = next;
    }
    return true;
}

bool sonde_tracestate_append(struct sonde_context *context, const char *text, size_t size) {
    struct sonde__tracestate_reader reader;
    sonde__tracestate_reader_init(&reader, context);
    return sonde__tracestate_reader_feed(&reader, text, size);
}

bool sonde_tracestate_get(const struct sonde_context *context, const char *key, size_t key_size,
                          struct sonde_string *ret_value) {
    struct sonde__tracestate_member members[SONDE_TRACESTATE_MEMBERS_MAX];
    uint32_t count = list_members(context, members), i = find_key(context, members, count, key, key_size);
    if (i == count || members[i].key_size == members[i].size)
        return false;
    size_t value_at = members[i].at + members[i].key_size + 1u;
    *ret_value = (struct sonde_string){context->tracestate + value_at, members[i].size - members[i].key_size - 1u};
    return true;
}

int sonde_tracestate_set(struct sonde_context *context, const char *key, size_t key_size, const char *value,
                         size_t value_size) {
    if (!key_is_writable(key, key_size) || !value_is_valid(value, value_size))
        return SONDE_EINVALID;
    char fresh[KEY_SIZE_MAX + 1 + VALUE_SIZE_MAX]; /* key and value may point into the list that is about to move */
    memcpy(fresh, key, key_size);
    fresh[key_size] = '=';
    memcpy(fresh + key_size + 1, value, value_size);
    size_t size = key_size + 1 + value_size;

    sonde_tracestate_remove(context, fresh, key_size);
    struct sonde__tracestate_member members[SONDE_TRACESTATE_MEMBERS_MAX];
    uint32_t count = list_members(context, members);
    if (count == SONDE_TRACESTATE_MEMBERS_MAX)
        count--;                                        /* the 33rd: the right-most goes */
    size_t room = SONDE_TRACESTATE_SIZE_MAX - size - 1; /* at least 510: the newcomer itself always fits */
    count = compact(context, members, count, choose(members, count, room));
    if (count) {
        memmove(context->tracestate + size + 1, context->tracestate, context->tracestate_length);
        context->tracestate[size] = ',';
        context->tracestate_length += 1;
    }
    memcpy(context->tracestate, fresh, size);
    context->tracestate_length += (uint32_t)size;
    return 0;
}

void sonde_tracestate_remove(struct sonde_context *context, const char *key, size_t key_size) {
    struct sonde__tracestate_member members[SONDE_TRACESTATE_MEMBERS_MAX];
    uint32_t count = list_members(context, members), i = find_key(context, members, count, key, key_size);
    if (i < count)
        (void)compact(context, members, count, ~(1u << i));
}
