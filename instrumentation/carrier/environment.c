/* SPDX-License-Identifier: Apache-2.0 */
/* Environments as arrays of "NAME=value". */
#include "instrumentation/carrier/text.h"
#include <sonde/carrier/environment.h>
#include <sonde/err.h>

size_t sonde_environment_name(struct sonde_string field, char *ret_text, size_t size) {
    bool head = field.size == 0 || (*field.data >= '0' && *field.data <= '9');
    size_t want = field.size + head;
    if (want > size)
        return want;
    if (head)
        *ret_text++ = '_';
    for (size_t i = 0; i < field.size; i++) {
        char c = field.data[i];
        if (c >= 'a' && c <= 'z')
            c = (char)(c - ('a' - 'A'));
        else if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9'))
            c = '_';
        ret_text[i] = c;
    }
    return want;
}

/* A name as a variable's. */
struct variable {
    char name[SONDE_ENVIRONMENT_NAME_SIZE_MAX];
    size_t size;
};

static bool variable_of(struct sonde_string name, struct variable *ret_variable) {
    ret_variable->size = sonde_environment_name(name, ret_variable->name, sizeof ret_variable->name);
    return ret_variable->size <= sizeof ret_variable->name;
}

static bool is_of(const char *entry, const struct variable *variable) {
    return strncmp(entry, variable->name, variable->size) == 0 && entry[variable->size] == '=';
}

/** Index of the first entry of a name at or after `from`, or of the NULL. */
static size_t find(const struct sonde_environment *environment, const struct variable *variable, size_t from) {
    char *const *entries = environment->entries;
    while (entries[from] && !is_of(entries[from], variable))
        from++;
    return from;
}

static bool environment_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {
    const struct sonde_environment *environment = self;
    struct variable variable;
    if (!environment->entries || !variable_of(name, &variable))
        return false;
    const char *entry = environment->entries[find(environment, &variable, 0)];
    if (!entry)
        return false;
    const char *value = entry + variable.size + 1;
    *ret_value = (struct sonde_string){value, strlen(value)};
    return true;
}

static void environment_each(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user) {
    struct sonde_string value;
    if (environment_get(self, name, &value))
        (void)visit(user, value);
}

/** Takes out the entries of a name at or after `from`. */
static void remove_from(struct sonde_environment *environment, const struct variable *variable, size_t from) {
    char **entries = environment->entries;
    size_t kept = from;
    for (size_t at = from; entries[at]; at++)
        if (!is_of(entries[at], variable))
            entries[kept++] = entries[at];
    entries[kept] = NULL;
}

static void environment_remove(void *self, struct sonde_string name) {
    struct sonde_environment *environment = self;
    struct variable variable;
    if (environment->entries && environment->capacity && variable_of(name, &variable))
        remove_from(environment, &variable, 0);
}

static int environment_set(void *self, struct sonde_string name, struct sonde_string value) {
    struct sonde_environment *environment = self;
    struct sonde__text text = {environment->text, environment->text_size, &environment->text_used};
    struct variable variable;
    if (!environment->entries || (value.size && memchr(value.data, '\0', value.size)))
        return SONDE_EINVALID;
    if (!variable_of(name, &variable))
        return SONDE_ETOOBIG;
    size_t at = find(environment, &variable, 0);
    char *old = environment->entries[at];
    struct sonde_string room = {old ? old + variable.size + 1 : NULL, old ? strlen(old) - variable.size - 1 : 0};
    if (old && sonde__text_replace(&text, room, value)) {
        remove_from(environment, &variable, at + 1);
        return 0;
    }
    size_t count = at;
    while (environment->entries[count])
        count++;
    if ((!old && count + 1 >= environment->capacity) || environment->capacity == 0 ||
        !sonde__text_fits(&text, variable.size + value.size + 2))
        return SONDE_ETOOBIG;
    char *entry = environment->text + environment->text_used;
    memcpy(entry, variable.name, variable.size);
    entry[variable.size] = '=';
    environment->text_used += variable.size + 1;
    (void)sonde__text_put(&text, value);
    environment->entries[at] = entry;
    if (old)
        remove_from(environment, &variable, at + 1);
    else
        environment->entries[at + 1] = NULL;
    return 0;
}

static void environment_keys(void *self, sonde_carrier_visit visit, void *user) {
    const struct sonde_environment *environment = self;
    for (size_t i = 0; environment->entries && environment->entries[i]; i++) {
        const char *entry = environment->entries[i], *equals = strchr(entry, '=');
        if (equals && !visit(user, (struct sonde_string){entry, (size_t)(equals - entry)}))
            return;
    }
}

int sonde_environment_copy(struct sonde_environment *ret_copy, char *const *from, char **entries, size_t capacity,
                           char *text, size_t text_size) {
    size_t count = 0;
    while (from && from[count])
        count++;
    if (count >= capacity)
        return SONDE_ETOOBIG;
    if (count)
        memcpy(entries, from, count * sizeof *entries);
    entries[count] = NULL;
    *ret_copy = (struct sonde_environment){entries, capacity, text, text_size, 0};
    return 0;
}

struct sonde_carrier sonde_environment_carrier(struct sonde_environment *environment) {
    static const struct sonde_carrier_ops ops = {.get = environment_get,
                                                 .each = environment_each,
                                                 .set = environment_set,
                                                 .remove = environment_remove,
                                                 .keys = environment_keys};
    return (struct sonde_carrier){&ops, environment};
}
