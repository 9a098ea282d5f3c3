/* SPDX-License-Identifier: Apache-2.0 */
/* rabbitmq-c's headers table (AMQP 0-9-1) as a carrier, to send and to receive. Header-only, and of rabbitmq-c only
 * types are used.
 *
 *     amqp_table_entry_t entries[16];
 *     char text[SONDE_RABBITMQ_INJECT_SIZE];
 *     struct sonde_rabbitmq_table table;
 *     if (sonde_rabbitmq_copy(&table, &properties.headers, entries, 16, text, sizeof text) == 0) {
 *         struct sonde_carrier carrier = sonde_rabbitmq_carrier(&table);
 *         (void)sonde_inject(NULL, &carrier);
 *         properties.headers = table.table;
 *         properties._flags |= AMQP_BASIC_HEADERS_FLAG;
 *     }
 *
 *     struct sonde_rabbitmq_table table;                              // a consumer
 *     sonde_rabbitmq_read(&table, &envelope.message.properties.headers);
 *     struct sonde_carrier carrier = sonde_rabbitmq_carrier(&table);
 *     (void)sonde_extract(&carrier, &context);
 *
 * Values are written as long strings; long strings and byte arrays are read, since many clients send text as the
 * latter. The properties with all headers must fit one frame (131,072 bytes by default). Source: AMQP 0-9-1, 4.2.5.5;
 * amqp.h. */
#ifndef SONDE_CARRIER_RABBITMQ_H
#define SONDE_CARRIER_RABBITMQ_H

#include <amqp.h>
#include <sonde/carrier.h>
#include <sonde/err.h>
#include <sonde/limits.h>
#include <string.h>

SONDE_BEGIN

/** Room in `text` for one context in the default formats. */
#define SONDE_RABBITMQ_INJECT_SIZE (256u + SONDE_TRACESTATE_SIZE_MAX + SONDE_BAGGAGE_SIZE_MAX)

/** A table. text: where names and values that are set are copied; filled from the front and never moved. */
struct sonde_rabbitmq_table {
    amqp_table_t table;
    int capacity; /* entries; 0 = only to extract from */
    char *text;
    size_t text_size, text_used;
};

/** For extraction. from: borrowed while the carrier is used. */
static inline void sonde_rabbitmq_read(struct sonde_rabbitmq_table *ret_table, const amqp_table_t *from) {
    memset(ret_table, 0, sizeof *ret_table);
    ret_table->table = *from;
}

/** For injection: copies the entries, not what they point to, so that the application's table stays as it is.
 *  from           borrowed; what its entries point to must live as long as the copy. May be NULL.
 *  entries, text  room; must live until the message is published.
 *  Returns 0, or SONDE_ETOOBIG when there are more than `capacity` entries (nothing written). */
static inline int sonde_rabbitmq_copy(struct sonde_rabbitmq_table *ret_table, const amqp_table_t *from,
                                      amqp_table_entry_t *entries, int capacity, char *text, size_t text_size) {
    int count = from ? from->num_entries : 0;
    if (count > capacity)
        return SONDE_ETOOBIG;
    if (count)
        memmove(entries, from->entries, SONDE_CAST(size_t, count) * sizeof *entries);
    ret_table->table.num_entries = count;
    ret_table->table.entries = entries;
    ret_table->capacity = capacity;
    ret_table->text = text;
    ret_table->text_size = text_size;
    ret_table->text_used = 0;
    return 0;
}

static inline bool sonde_rabbitmq_named(const amqp_table_entry_t *entry, struct sonde_string name) {
    return entry->key.len == name.size && memcmp(entry->key.bytes, name.data, name.size) == 0;
}

static inline void sonde_rabbitmq_each(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user) {
    const amqp_table_t *table = &SONDE_CAST(struct sonde_rabbitmq_table *, self)->table;
    int i;
    for (i = 0; i < table->num_entries; i++) {
        const amqp_table_entry_t *entry = &table->entries[i];
        struct sonde_string value;
        if ((entry->value.kind != AMQP_FIELD_KIND_UTF8 && entry->value.kind != AMQP_FIELD_KIND_BYTES) ||
            !sonde_rabbitmq_named(entry, name))
            continue;
        value.data = SONDE_CAST(const char *, entry->value.value.bytes.bytes);
        value.size = entry->value.value.bytes.len;
        if (!visit(user, value))
            return;
    }
}

static inline bool sonde_rabbitmq_first(void *user, struct sonde_string text) {
    *SONDE_CAST(struct sonde_string *, user) = text;
    return false;
}

static inline bool sonde_rabbitmq_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {
    struct sonde_string value = {NULL, SIZE_MAX};
    sonde_rabbitmq_each(self, name, sonde_rabbitmq_first, &value);
    if (value.size == SIZE_MAX)
        return false;
    *ret_value = value;
    return true;
}

static inline void sonde_rabbitmq_remove(void *self, struct sonde_string name) {
    struct sonde_rabbitmq_table *table = SONDE_CAST(struct sonde_rabbitmq_table *, self);
    int i, kept = 0;
    for (i = 0; table->capacity && i < table->table.num_entries; i++)
        if (!sonde_rabbitmq_named(&table->table.entries[i], name))
            table->table.entries[kept++] = table->table.entries[i];
    if (table->capacity)
        table->table.num_entries = kept;
}

static inline int sonde_rabbitmq_set(void *self, struct sonde_string name, struct sonde_string value) {
    struct sonde_rabbitmq_table *table = SONDE_CAST(struct sonde_rabbitmq_table *, self);
    amqp_table_entry_t *entry;
    int i = 0;
    if (name.size == 0 || name.size > 255 || (value.size && memchr(value.data, '\0', value.size)))
        return SONDE_EINVALID;
    while (i < table->table.num_entries && !sonde_rabbitmq_named(&table->table.entries[i], name))
        i++;
    if ((i == table->table.num_entries && i >= table->capacity) || table->capacity == 0 ||
        name.size + value.size > table->text_size - table->text_used)
        return SONDE_ETOOBIG;
    sonde_rabbitmq_remove(self, name);
    entry = &table->table.entries[table->table.num_entries++];
    memcpy(table->text + table->text_used, name.data, name.size);
    memcpy(table->text + table->text_used + name.size, value.data, value.size);
    entry->key.bytes = table->text + table->text_used;
    entry->key.len = name.size;
    entry->value.kind = AMQP_FIELD_KIND_UTF8;
    entry->value.value.bytes.bytes = table->text + table->text_used + name.size;
    entry->value.value.bytes.len = value.size;
    table->text_used += name.size + value.size;
    return 0;
}

static inline void sonde_rabbitmq_keys(void *self, sonde_carrier_visit visit, void *user) {
    const amqp_table_t *table = &SONDE_CAST(struct sonde_rabbitmq_table *, self)->table;
    int i;
    for (i = 0; i < table->num_entries; i++) {
        struct sonde_string name;
        name.data = SONDE_CAST(const char *, table->entries[i].key.bytes);
        name.size = table->entries[i].key.len;
        if (!visit(user, name))
            return;
    }
}

/** A carrier of a table. Borrowed while the carrier is used. set: SONDE_ETOOBIG without room, SONDE_EINVALID for a NUL;
 * the table is then unchanged. */
static inline struct sonde_carrier sonde_rabbitmq_carrier(struct sonde_rabbitmq_table *table) {
    static const struct sonde_carrier_ops ops = {sonde_rabbitmq_get,    sonde_rabbitmq_each, sonde_rabbitmq_set,
                                                 sonde_rabbitmq_remove, sonde_rabbitmq_keys, NULL};
    struct sonde_carrier carrier = {&ops, table};
    return carrier;
}

SONDE_END

#endif
