/* SPDX-License-Identifier: Apache-2.0 */
/* Members of an object inside a JSON text. Reading walks the text each time; writing opens a gap in place. */
#include "instrumentation/wire/json.h"
#include "instrumentation/wire/writer.h"
#include <sonde/carrier/json.h>
#include <sonde/err.h>

#define TEXT(literal)                                                                                                  \
    (struct sonde_string) {                                                                                            \
        literal, sizeof(literal) - 1                                                                                   \
    }

/* Names on the way to the object, outermost first. */
static const struct {
    struct sonde_string names[2];
    unsigned count;
} paths[] = {
    [SONDE_JSON_TOP] = {{{NULL, 0}, {NULL, 0}}, 0},
    [SONDE_JSON_PARAMS_META] = {{{"params", 6}, {"_meta", 5}}, 2},
    [SONDE_JSON_PAYLOAD] = {{{"payload", 7}, {NULL, 0}}, 1},
    [SONDE_JSON_PAYLOAD_EXTENSIONS] = {{{"payload", 7}, {"extensions", 10}}, 2},
    [SONDE_JSON_EXTENSIONS] = {{{"extensions", 10}, {NULL, 0}}, 1},
    [SONDE_JSON_SNS] = {{{"MessageAttributes", 17}, {NULL, 0}}, 1},
};

void sonde_json_read(struct sonde_json *ret_json, const char *text, size_t size, enum sonde_json_place place) {
    struct sonde_string value, type;
    ret_json->text = text;
    ret_json->room = NULL;
    ret_json->size = ret_json->capacity = size;
    ret_json->place = place;
    ret_json->unescaped_used = 0;
    ret_json->is_json = text && sonde__json_check(text, size, &value) && *value.data == '{';
    if (ret_json->is_json && place == SONDE_JSON_SNS)
        ret_json->is_json = sonde__json_find(value, TEXT("Type"), &type) && sonde__json_string(type, &type) &&
                            sonde__json_equals(type, TEXT("Notification"));
}

void sonde_json_edit(struct sonde_json *ret_json, char *text, size_t size, size_t capacity,
                     enum sonde_json_place place) {
    sonde_json_read(ret_json, text, size, place);
    ret_json->room = place == SONDE_JSON_SNS ? NULL : text;
    ret_json->capacity = capacity;
}

/* How far the path is there. */
struct spot {
    struct sonde_string value; /* the innermost value that is there */
    unsigned depth;            /* names of the path that were found */
};

/** Returns whether the object is there. Else spot.value is an object that lacks a name, a null, or in the way. */
static bool locate(const struct sonde_json *json, struct spot *ret_spot) {
    struct sonde_string value = {json->text, json->size}, inner;
    unsigned depth = 0;
    if (!json->is_json)
        return false;
    while (value.size && *value.data != '{') { /* white space before it */
        value.data++;
        value.size--;
    }
    while (depth < paths[json->place].count && sonde__json_find(value, paths[json->place].names[depth], &inner)) {
        value = inner;
        depth++;
    }
    *ret_spot = (struct spot){value, depth};
    return depth == paths[json->place].count && *value.data == '{';
}

/** The text of a string value, its escapes resolved; false for other kinds. */
static bool text_of(struct sonde_json *json, struct sonde_string value, struct sonde_string *ret_text) {
    struct sonde_string inside;
    size_t size;
    if (!sonde__json_string(value, &inside))
        return false;
    if (inside.size == 0 || !memchr(inside.data, '\\', inside.size)) {
        *ret_text = inside;
        return true;
    }
    char *to = json->unescaped + json->unescaped_used;
    if (!sonde__json_unescape(inside, to, sizeof json->unescaped - json->unescaped_used, &size))
        return false;
    json->unescaped_used += size;
    *ret_text = (struct sonde_string){to, size};
    return true;
}

/** An SNS attribute: {"Type": "String", "Value": "..."}. */
static bool sns_value(struct sonde_string attribute, struct sonde_string *ret_value) {
    struct sonde_string type;
    return sonde__json_find(attribute, TEXT("Type"), &type) && sonde__json_string(type, &type) &&
           sonde__json_equals(type, TEXT("String")) && sonde__json_find(attribute, TEXT("Value"), ret_value);
}

static void json_each(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user) {
    struct sonde_json *json = self;
    struct sonde__json_member member;
    struct sonde_string text;
    struct spot spot;
    size_t position = 0;
    if (!locate(json, &spot))
        return;
    while (sonde__json_member_next(spot.value, &position, &member)) {
        if (!sonde__json_equals(member.key, name))
            continue;
        if (json->place == SONDE_JSON_SNS && !sns_value(member.value, &member.value))
            continue;
        if (text_of(json, member.value, &text) && !visit(user, text))
            return;
    }
}

static bool keep_first(void *user, struct sonde_string text) {
    *(struct sonde_string *)user = text;
    return false;
}

static bool json_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {
    struct sonde_string value = {NULL, 0};
    json_each(self, name, keep_first, &value);
    if (!value.data)
        return false;
    *ret_value = value;
    return true;
}

static void json_keys(void *self, sonde_carrier_visit visit, void *user) {
    struct sonde__json_member member;
    struct spot spot;
    size_t position = 0;
    if (!locate(self, &spot))
        return;
    while (sonde__json_member_next(spot.value, &position, &member)) {
        bool plain = member.key.size == 0 || !memchr(member.key.data, '\\', member.key.size);
        if (plain && !visit(user, member.key))
            return;
    }
}

/* ---- writing ---- */

/** Puts `fresh` bytes of room in the place of `old` bytes at `at`. Returns it, or NULL when the buffer is too small. */
static char *open_gap(struct sonde_json *json, const char *at, size_t old, size_t fresh) {
    size_t offset = (size_t)(at - json->text), rest = json->size - offset - old;
    if (fresh > old && fresh - old > json->capacity - json->size)
        return NULL;
    memmove(json->room + offset + fresh, json->room + offset + old, rest);
    json->size = json->size - old + fresh;
    return json->room + offset;
}

/** Takes the members of a name out but for the first `keep`, in one pass: what is kept moves to the front. */
static void remove_members(struct sonde_json *json, struct sonde_string name, size_t keep) {
    struct sonde__json_member member;
    struct spot spot;
    size_t position = 0, used = 1;
    bool any = false;
    if (!locate(json, &spot))
        return;
    char *object = json->room + (spot.value.data - json->text);
    /* A piece is a member, the comma before it and the white space round it. */
    for (size_t start = 1; sonde__json_member_next(spot.value, &position, &member); start = position) {
        bool matches = sonde__json_equals(member.key, name);
        if (matches && keep == 0)
            continue;
        keep -= matches;
        size_t from = start + (!any && object[start] == ',');
        memmove(object + used, object + from, position - from);
        used += position - from;
        any = true;
    }
    if (position)
        (void)open_gap(json, spot.value.data + used, position - used, 0);
}

static void json_remove(void *self, struct sonde_string name) {
    struct sonde_json *json = self;
    if (json->room)
        remove_members(json, name, 0);
}

/* What is to be written; with `to` NULL it is only counted. */
struct output {
    char *to;
    size_t size;
};

static void put(struct output *output, struct sonde_string text) {
    if (output->to)
        memcpy(output->to + output->size, text.data, text.size);
    output->size += text.size;
}

static void put_string(struct output *output, struct sonde_string text) {
    put(output, TEXT("\""));
    output->size += sonde__json_escape(text, output->to ? output->to + output->size : NULL);
    put(output, TEXT("\""));
}

/** The member, with the objects of the path that are missing; a null in their place becomes the first of them. */
static void put_member(struct output *output, const struct sonde_json *json, const struct spot *spot,
                       struct sonde_string name, struct sonde_string value, bool replaces_null) {
    unsigned depth = spot->depth, count = paths[json->place].count;
    if (replaces_null)
        put(output, TEXT("{"));
    for (unsigned i = depth; i < count; i++) {
        put_string(output, paths[json->place].names[i]);
        put(output, TEXT(":{"));
    }
    put_string(output, name);
    put(output, TEXT(":"));
    put_string(output, value);
    for (unsigned i = depth; i < count; i++)
        put(output, TEXT("}"));
    if (replaces_null)
        put(output, TEXT("}"));
}

/** Adds a member, and the objects that are missing round it. */
static int add(struct sonde_json *json, const struct spot *spot, struct sonde_string name, struct sonde_string value) {
    struct sonde__json_member member;
    struct output output = {NULL, 0};
    bool is_null = *spot->value.data == 'n';
    const char *at = spot->value.data;
    size_t old = is_null ? spot->value.size : 0, position = 0;
    bool comma = false;
    if (!is_null) {
        for (at++; sonde__json_member_next(spot->value, &position, &member); comma = true)
            at = member.value.data + member.value.size;
        if (comma)
            put(&output, TEXT(","));
    }
    put_member(&output, json, spot, name, value, is_null);
    char *to = open_gap(json, at, old, output.size);
    if (!to)
        return SONDE_ETOOBIG;
    output = (struct output){to, 0};
    if (comma)
        put(&output, TEXT(","));
    put_member(&output, json, spot, name, value, is_null);
    return 0;
}

/** Writes over a value. */
static int replace(struct sonde_json *json, struct sonde_string old, struct sonde_string value) {
    struct output output = {NULL, 0};
    put_string(&output, value);
    char *to = open_gap(json, old.data, old.size, output.size);
    if (!to)
        return SONDE_ETOOBIG;
    output = (struct output){to, 0};
    put_string(&output, value);
    return 0;
}

static int json_set(void *self, struct sonde_string name, struct sonde_string value) {
    struct sonde_json *json = self;
    struct sonde_string old;
    struct spot spot;
    if (!json->room || !json->is_json || !sonde__utf8_is_valid(value.data, value.size) ||
        !sonde__utf8_is_valid(name.data, name.size))
        return SONDE_EINVALID;
    bool found = locate(json, &spot);
    json->unescaped_used = 0;
    if (!found && *spot.value.data != '{' && *spot.value.data != 'n')
        return SONDE_EINVALID; /* a value of another kind is in the way */
    if (!found || !sonde__json_find(spot.value, name, &old))
        return add(json, &spot, name, value);
    int error = replace(json, old, value);
    if (!error)
        remove_members(json, name, 1);
    return error;
}

struct sonde_carrier sonde_json_carrier(struct sonde_json *json) {
    static const struct sonde_carrier_ops ops = {
        .get = json_get, .each = json_each, .set = json_set, .remove = json_remove, .keys = json_keys};
    return (struct sonde_carrier){&ops, json};
}
