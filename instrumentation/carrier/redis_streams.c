/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of a Redis Streams entry: arguments in pairs behind the command's own. */
#include "instrumentation/carrier/text.h"
#include <sonde/carrier/redis_streams.h>
#include <sonde/err.h>

/** Where the pairs end; an argument without a partner is not one. */
static size_t pairs_end(const struct sonde_redis_fields *fields) {
    return fields->count <= fields->first ? fields->first : fields->count - ((fields->count - fields->first) & 1);
}

static bool is_field(const struct sonde_redis_fields *fields, size_t at, struct sonde_string name) {
    return fields->argvlen[at] == name.size && memcmp(fields->argv[at], name.data, name.size) == 0;
}

/** Index of the first field of a name at or after `from`, or the end. */
static size_t find(const struct sonde_redis_fields *fields, struct sonde_string name, size_t from) {
    size_t at = from, end = pairs_end(fields);
    while (at < end && !is_field(fields, at, name))
        at += 2;
    return at;
}

static struct sonde_string value_at(const struct sonde_redis_fields *fields, size_t at) {
    return (struct sonde_string){fields->argv[at + 1], fields->argvlen[at + 1]};
}

static bool redis_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {
    const struct sonde_redis_fields *fields = self;
    size_t at = find(fields, name, fields->first);
    if (at >= pairs_end(fields))
        return false;
    *ret_value = value_at(fields, at);
    return true;
}

static void redis_each(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user) {
    const struct sonde_redis_fields *fields = self;
    size_t end = pairs_end(fields);
    for (size_t at = find(fields, name, fields->first); at < end; at = find(fields, name, at + 2))
        if (!visit(user, value_at(fields, at)))
            return;
}

static void remove_from(struct sonde_redis_fields *fields, struct sonde_string name, size_t from) {
    size_t end = pairs_end(fields), kept = from;
    for (size_t at = from; at < end; at += 2) {
        if (is_field(fields, at, name))
            continue;
        for (size_t i = 0; i < 2; i++, kept++) {
            fields->argv[kept] = fields->argv[at + i];
            fields->argvlen[kept] = fields->argvlen[at + i];
        }
    }
    fields->count = kept;
}

static void redis_remove(void *self, struct sonde_string name) {
    struct sonde_redis_fields *fields = self;
    size_t at = find(fields, name, fields->first);
    if (at < pairs_end(fields))
        remove_from(fields, name, at);
}

static int redis_set(void *self, struct sonde_string name, struct sonde_string value) {
    struct sonde_redis_fields *fields = self;
    struct sonde__text text = {fields->text, fields->text_size, &fields->text_used};
    size_t at = find(fields, name, fields->first), end = pairs_end(fields);
    if (at >= end) {
        if (end != fields->count || end + 2 > fields->capacity || !sonde__text_fits(&text, name.size + value.size + 2))
            return SONDE_ETOOBIG;
        fields->argv[end] = sonde__text_put(&text, name);
        fields->argvlen[end] = name.size;
        fields->argv[end + 1] = sonde__text_put(&text, value);
        fields->argvlen[end + 1] = value.size;
        fields->count = end + 2;
        return 0;
    }
    if (!sonde__text_replace(&text, value_at(fields, at), value)) {
        if (!sonde__text_fits(&text, value.size + 1))
            return SONDE_ETOOBIG;
        fields->argv[at + 1] = sonde__text_put(&text, value);
    }
    fields->argvlen[at + 1] = value.size;
    remove_from(fields, name, at + 2);
    return 0;
}

static void redis_keys(void *self, sonde_carrier_visit visit, void *user) {
    const struct sonde_redis_fields *fields = self;
    size_t end = pairs_end(fields);
    for (size_t at = fields->first; at < end; at += 2)
        if (!visit(user, (struct sonde_string){fields->argv[at], fields->argvlen[at]}))
            return;
}

struct sonde_carrier sonde_redis_carrier(struct sonde_redis_fields *fields) {
    static const struct sonde_carrier_ops ops = {
        .get = redis_get, .each = redis_each, .set = redis_set, .remove = redis_remove, .keys = redis_keys};
    return (struct sonde_carrier){&ops, fields};
}
