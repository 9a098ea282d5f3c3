/* SPDX-License-Identifier: Apache-2.0 */
/* The query of a URL: name=value pairs between ampersands, percent-coded, with plus for space. */
#include "instrumentation/carrier/first.h"
#include "instrumentation/carrier/percent.h"
#include <sonde/carrier/websocket.h>
#include <string.h>

void sonde_query_read(struct sonde_query *ret_query, const char *url, size_t size) {
    const char *mark = size ? memchr(url, '?', size) : NULL;
    ret_query->text = NULL;
    ret_query->size = ret_query->decoded_used = 0;
    if (!mark)
        return;
    ret_query->text = mark + 1;
    ret_query->size = size - (size_t)(mark + 1 - url);
    if (ret_query->size > SONDE_QUERY_SIZE_MAX)
        ret_query->size = SONDE_QUERY_SIZE_MAX;
    const char *end = memchr(ret_query->text, '#', ret_query->size);
    if (end)
        ret_query->size = (size_t)(end - ret_query->text);
}

/** The value of a pair, decoded behind what was decoded before; false when it is bad or there is no room. */
static bool decode(struct sonde_query *query, struct sonde_string coded, struct sonde_string *ret_value) {
    char *to = query->decoded + query->decoded_used;
    size_t room = sizeof query->decoded - query->decoded_used, size;
    if (coded.size > room)
        return false;
    for (size_t i = 0; i < coded.size; i++)
        to[i] = coded.data[i] == '+' ? ' ' : coded.data[i];
    if (!sonde__percent_decode((struct sonde_string){to, coded.size}, to, room, &size)) /* never gets ahead of itself */
        return false;
    query->decoded_used += size;
    *ret_value = (struct sonde_string){to, size};
    return true;
}

static void query_each(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user) {
    struct sonde_query *query = self;
    size_t left = query->size;
    for (const char *at = query->text; left;) {
        const char *end = memchr(at, '&', left);
        size_t size = end ? (size_t)(end - at) : left;
        if (size > name.size && at[name.size] == '=' && memcmp(at, name.data, name.size) == 0) {
            struct sonde_string value = {at + name.size + 1, size - name.size - 1};
            if (decode(query, value, &value) && !visit(user, value))
                return;
        }
        size += end != NULL;
        at += size;
        left -= size;
    }
}

static bool keep_first(void *user, struct sonde_string text) {
    *(struct sonde_string *)user = text;
    return false;
}

static bool query_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {
    struct sonde_string value = {NULL, 0};
    query_each(self, name, keep_first, &value);
    if (!value.data)
        return false;
    *ret_value = value;
    return true;
}

struct sonde_carrier sonde_query_carrier(struct sonde_query *query) {
    static const struct sonde_carrier_ops ops = {.get = query_get, .each = query_each};
    return (struct sonde_carrier){&ops, query};
}

enum sonde_extract_reason sonde_websocket_extract(const struct sonde_carrier *headers, const char *target, size_t size,
                                                  struct sonde_context *ret_context) {
    struct sonde__first first;
    struct sonde_query query;
    sonde__first_init(&first, ret_context);
    if (sonde__first_ask(&first, headers, NULL) || !target)
        return first.reason;
    sonde_query_read(&query, target, size);
    struct sonde_carrier carrier = sonde_query_carrier(&query);
    (void)sonde__first_ask(&first, &carrier, NULL);
    return first.reason;
}
