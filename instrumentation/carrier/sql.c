/* SPDX-License-Identifier: Apache-2.0 */
/* One comment at the end of a statement, key='value' pairs between commas. */
#include "instrumentation/carrier/percent.h"
#include "instrumentation/wire/writer.h"
#include <sonde/carrier/sql.h>
#include <sonde/err.h>
#include <string.h>

/* A pair as it lies there, coded. */
struct entry {
    struct sonde_string key, value;
    const char *start, *end; /* the pair without commas */
};

/** Unreserved in URLs. A quote, a star, a slash are coded and cannot end the value or the comment. */
static bool is_plain(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.' || c == '~';
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/** Where the statement ends, less white space and a semicolon. */
static size_t end_of(const struct sonde_sql *statement) {
    size_t end = statement->size;
    while (end && is_space(statement->text[end - 1]))
        end--;
    if (end && statement->text[end - 1] == ';')
        end--;
    while (end && is_space(statement->text[end - 1]))
        end--;
    return end;
}

/** The inside of the last comment, if the statement ends in one. */
static bool comment_of(const struct sonde_sql *statement, struct sonde_string *ret_inside) {
    size_t end = statement->text ? end_of(statement) : 0;
    if (end < 4 || memcmp(statement->text + end - 2, "*/", 2) != 0)
        return false;
    for (size_t start = end - 4;; start--) {
        if (memcmp(statement->text + start, "/*", 2) == 0) {
            *ret_inside = (struct sonde_string){statement->text + start + 2, end - 2 - (start + 2)};
            return true;
        }
        if (start == 0)
            return false;
    }
}

/** The next pair. at: its start; moved behind it. Returns false at the end and for what is not one. */
static bool entry_next(struct sonde_string inside, size_t *at, struct entry *ret_entry) {
    const char *end = inside.data + inside.size, *start = inside.data + *at;
    while (start < end && (is_space(*start) || *start == ','))
        start++;
    const char *equals = start < end ? memchr(start, '=', (size_t)(end - start)) : NULL;
    if (!equals || equals + 1 >= end || equals[1] != '\'')
        return false;
    const char *value = equals + 2, *quote = value;
    while (quote < end && *quote != '\'')
        quote += *quote == '\\' ? 2 : 1; /* others escape instead of coding */
    if (quote >= end)
        return false;
    *ret_entry = (struct entry){{start, (size_t)(equals - start)}, {value, (size_t)(quote - value)}, start, quote + 1};
    *at = (size_t)(quote + 1 - inside.data);
    return true;
}

/** Whether a coded key is this name. */
static bool is_named(const struct entry *entry, struct sonde_string name) {
    char key[128];
    size_t size;
    return sonde__percent_decode(entry->key, key, sizeof key, &size) && size == name.size &&
           memcmp(key, name.data, size) == 0;
}

static void sql_each(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user) {
    struct sonde_sql *statement = self;
    struct sonde_string inside;
    struct entry entry;
    size_t at = 0, size;
    if (!comment_of(statement, &inside))
        return;
    while (entry_next(inside, &at, &entry)) {
        if (!is_named(&entry, name))
            continue;
        char *to = statement->decoded + statement->decoded_used;
        if (!sonde__percent_decode(entry.value, to, sizeof statement->decoded - statement->decoded_used, &size))
            continue;
        statement->decoded_used += size;
        if (!visit(user, (struct sonde_string){to, size}))
            return;
    }
}

static bool keep_first(void *user, struct sonde_string text) {
    *(struct sonde_string *)user = text;
    return false;
}

static bool sql_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {
    struct sonde_string value = {NULL, 0};
    sql_each(self, name, keep_first, &value);
    if (!value.data)
        return false;
    *ret_value = value;
    return true;
}

static void sql_keys(void *self, sonde_carrier_visit visit, void *user) {
    struct sonde_string inside;
    struct entry entry;
    size_t at = 0;
    if (!comment_of(self, &inside))
        return;
    while (entry_next(inside, &at, &entry))
        if (!visit(user, entry.key))
            return;
}

/* ---- writing ---- */

static bool has_comment(const struct sonde_sql *statement) {
    return memmem(statement->text, statement->size, "/*", 2) || memmem(statement->text, statement->size, "--", 2);
}

static char *open_gap(struct sonde_sql *statement, size_t at, size_t old, size_t fresh) {
    if (fresh > old && fresh - old > statement->capacity - statement->size)
        return NULL;
    memmove(statement->text + at + fresh, statement->text + at + old, statement->size - at - old);
    statement->size = statement->size - old + fresh;
    return statement->text + at;
}

/** Takes a pair out, with the comma beside it, and the comment with its last pair. */
static void sql_remove(void *self, struct sonde_string name) {
    struct sonde_sql *statement = self;
    struct sonde_string inside;
    struct entry entry;
    size_t at = 0;
    if (!statement->comment_size || !comment_of(statement, &inside))
        return;
    while (entry_next(inside, &at, &entry)) {
        if (!is_named(&entry, name))
            continue;
        const char *start = entry.start, *end = entry.end;
        if (start == inside.data && end == inside.data + inside.size) {
            start -= 3; /* the space before it, too */
            end += 2;
        } else if (start == inside.data) {
            end++;
        } else {
            start--;
        }
        size_t size = (size_t)(end - start);
        (void)open_gap(statement, (size_t)(start - statement->text), size, 0);
        statement->comment_size -= size;
        return; /* ours holds a name once */
    }
}

static size_t put_pair(struct sonde_string name, struct sonde_string value, char *to) {
    size_t used = sonde__percent_encode(name, is_plain, to);
    if (to)
        memcpy(to + used, "='", 2);
    used += 2;
    used += sonde__percent_encode(value, is_plain, to ? to + used : NULL);
    if (to)
        to[used] = '\'';
    return used + 1;
}

/** Where a name belongs among those that are there: before the first that is greater. */
static const char *place_of(struct sonde_string inside, struct sonde_string coded) {
    struct entry entry;
    size_t at = 0;
    while (entry_next(inside, &at, &entry)) {
        size_t size = entry.key.size < coded.size ? entry.key.size : coded.size;
        int order = memcmp(entry.key.data, coded.data, size);
        if (order > 0 || (order == 0 && entry.key.size > coded.size))
            return entry.start;
    }
    return inside.data + inside.size;
}

static int add(struct sonde_sql *statement, struct sonde_string name, struct sonde_string value) {
    struct sonde_string inside;
    char coded[384];
    size_t pair = put_pair(name, value, NULL), size = pair + 1;
    if (!statement->comment_size) {
        size_t at = end_of(statement);
        char *to = open_gap(statement, at, 0, pair + 5);
        if (!to)
            return SONDE_ETOOBIG;
        memcpy(to, " /*", 3);
        (void)put_pair(name, value, to + 3);
        memcpy(to + 3 + pair, "*/", 2);
        statement->comment_size = pair + 5;
        return 0;
    }
    if (!comment_of(statement, &inside))
        return SONDE_EINVALID; /* the caller changed the text meanwhile */
    struct sonde_string key = {coded, sonde__percent_encode(name, is_plain, coded)};
    const char *place = place_of(inside, key);
    bool last = place == inside.data + inside.size;
    char *to = open_gap(statement, (size_t)(place - statement->text), 0, size);
    if (!to)
        return SONDE_ETOOBIG;
    if (last)
        *to = ',';
    (void)put_pair(name, value, to + last);
    if (!last)
        to[pair] = ',';
    statement->comment_size += size;
    return 0;
}

static int sql_set(void *self, struct sonde_string name, struct sonde_string value) {
    struct sonde_sql *statement = self;
    struct sonde_string old;
    if (name.size == 0 || name.size > 128 || (name.size == 7 && memcmp(name.data, "baggage", 7) == 0) ||
        !sonde__utf8_is_valid(value.data, value.size) || !sonde__utf8_is_valid(name.data, name.size))
        return SONDE_EINVALID; /* coded it would go out, but not be read again */
    if (statement->capacity == 0 || !statement->text || (!statement->comment_size && has_comment(statement)))
        return SONDE_EINVALID;
    statement->decoded_used = 0;
    if (statement->comment_size && sql_get(statement, name, &old)) {
        size_t was = put_pair(name, old, NULL), now = put_pair(name, value, NULL);
        if (now > was && now - was > statement->capacity - statement->size)
            return SONDE_ETOOBIG;
        sql_remove(statement, name);
    }
    return add(statement, name, value);
}

struct sonde_carrier sonde_sql_carrier(struct sonde_sql *statement) {
    static const struct sonde_carrier_ops ops = {
        .get = sql_get, .each = sql_each, .set = sql_set, .remove = sql_remove, .keys = sql_keys};
    return (struct sonde_carrier){&ops, statement};
}
