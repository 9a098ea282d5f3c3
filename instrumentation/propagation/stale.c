/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/propagation/stale.h"
#include "instrumentation/context/baggage.h"

#define NAMES_MAX 256u /* taken out in one call */

static bool stop(void *user, struct sonde_string value) {
    (void)value;
    *(bool *)user = true;
    return false;
}

bool sonde__stale_is_context(const struct sonde__propagator *row, const struct sonde_carrier *carrier) {
    uint32_t field = sonde__stale_context_field(row);
    struct sonde_string value;
    bool found = false;
    if (!field)
        return false;
    struct sonde_string name = sonde__field_names[__builtin_ctz(field)];
    if (carrier->ops->get)
        return carrier->ops->get(carrier->self, name, &value) ||
               (field & SONDE__CANONICAL_FIELDS && !carrier->ops->array &&
                carrier->ops->get(carrier->self, sonde__field_canonical[__builtin_ctz(field)], &value));
    if (carrier->ops->each)
        carrier->ops->each(carrier->self, name, stop, &found);
    return found;
}

void sonde__stale_remove_canonical(uint32_t fields, const struct sonde_carrier *carrier) {
    struct sonde_string value;
    if (!fields || carrier->ops->array || !carrier->ops->get || !carrier->ops->remove)
        return; /* arrays compare without case (HTTP) */
    if (!carrier->ops->get(carrier->self, sonde__field_canonical[__builtin_ctz(fields)], &value))
        return;
    for (; fields; fields &= fields - 1)
        carrier->ops->remove(carrier->self, sonde__field_canonical[__builtin_ctz(fields)]);
}

struct search {
    const struct sonde_context *context;
    struct sonde_string prefix;
    size_t size; /* of the name found; 0 = none yet */
    char name[64 + SONDE__REST_MAX], as_found[64 + SONDE__REST_MAX];
};

/* Names of entries were written in lower case. */
static bool is_entry(const struct sonde_context *context, struct sonde_string name) {
    struct sonde_baggage_entry entry;
    for (uint32_t at = 0; context && context->baggage_length && sonde_baggage_next(context, &at, &entry);) {
        size_t i = 0;
        while (i < name.size && entry.key.size == name.size && sonde__lower(entry.key.data[i]) == name.data[i])
            i++;
        if (i == name.size && entry.key.size == name.size)
            return true;
    }
    return false;
}

static bool find(void *user, struct sonde_string text) {
    struct search *search = user;
    size_t head = search->prefix.size;
    if (text.size <= head || text.size > sizeof search->name)
        return true;
    for (size_t i = 0; i < text.size; i++)
        search->name[i] = sonde__lower(text.data[i]);
    if (memcmp(search->name, search->prefix.data, head) != 0 ||
        is_entry(search->context, (struct sonde_string){search->name + head, text.size - head}))
        return true;
    memcpy(search->as_found, text.data, text.size);
    search->size = text.size;
    return false;
}

void sonde__stale_remove_prefixed(const struct sonde__propagator *row, const struct sonde_context *context,
                                  const struct sonde_carrier *carrier) {
    struct search search = {.context = context, .prefix = row->prefix};
    if (!row->prefix.size || !carrier->ops->keys || !carrier->ops->remove)
        return;
    for (unsigned i = 0; i < NAMES_MAX; i++) { /* one at a time, since removing moves the others */
        search.size = 0;
        carrier->ops->keys(carrier->self, find, &search);
        if (!search.size)
            return;
        carrier->ops->remove(carrier->self, (struct sonde_string){search.name, search.size});
        if (memcmp(search.name, search.as_found, search.size) != 0) /* a carrier with case */
            carrier->ops->remove(carrier->self, (struct sonde_string){search.as_found, search.size});
    }
}
