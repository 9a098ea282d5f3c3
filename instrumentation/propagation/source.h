/* SPDX-License-Identifier: Apache-2.0 */
/* What propagators read from: a carrier, which is looked through once beforehand when it is an array, since several
 * formats of several names each would otherwise each search the lot. Values are borrowed from the carrier. */
#ifndef SONDE_INSTRUMENTATION_PROPAGATION_SOURCE_H
#define SONDE_INSTRUMENTATION_PROPAGATION_SOURCE_H

#include "instrumentation/propagation/fields.h"
#include <sonde/carrier.h>

/* More values than this of known names are not gathered: the carrier is then asked name by name. */
#define SONDE__GATHERED_MAX 24u

struct sonde__source {
    const struct sonde_carrier *carrier;
    uint32_t gathered; /* bits of the fields that were looked for; others are asked of the carrier */
    uint32_t present;  /* of those, which have a value */
    uint32_t count;
    bool ignore_case;                                            /* the carrier is known to compare names so */
    uint8_t first[SONDE__FIELD_COUNT], last[SONDE__FIELD_COUNT]; /* of a field that is present, which value */
    struct {
        struct sonde_string value;
        uint32_t next; /* of the same field, unless this is the last */
    } values[SONDE__GATHERED_MAX];
};

/** Starts reading; fields: bits of all that will be asked for. */
void sonde__source_init(struct sonde__source *source, const struct sonde_carrier *carrier, uint32_t fields);
/** Which of the fields are there in a carrier that is an array (has ops->array), as bits; looks through it once. */
uint32_t sonde__source_present(const struct sonde_carrier *carrier, uint32_t fields);
/** Asks the carrier. */
bool sonde__source_ask(const struct sonde__source *source, enum sonde__field field, struct sonde_string *ret_value);
/** Asks a carrier whose names have case for the canonical spelling: for a field that has one and was not found. */
bool sonde__source_ask_canonical(const struct sonde__source *source, enum sonde__field field,
                                 struct sonde_string *ret_value);
/** First value of a field; false when there is none. */
static inline bool sonde__source_get(const struct sonde__source *source, enum sonde__field field,
                                     struct sonde_string *ret_value) {
    if (!(source->gathered & SONDE__FIELD_BIT(field)))
        return sonde__source_ask(source, field, ret_value);
    if (!(source->present & SONDE__FIELD_BIT(field)))
        return false;
    *ret_value = source->values[source->first[field]].value;
    return true;
}
void sonde__source_ask_each(const struct sonde__source *source, enum sonde__field field, sonde_carrier_visit visit,
                            void *user);
/** Every value of a field in order, until visit returns false. */
static inline void sonde__source_each(const struct sonde__source *source, enum sonde__field field,
                                      sonde_carrier_visit visit, void *user) {
    if (!(source->gathered & SONDE__FIELD_BIT(field))) {
        sonde__source_ask_each(source, field, visit, user);
        return;
    }
    uint32_t i = source->first[field];
    if (source->present & SONDE__FIELD_BIT(field))
        while (visit(user, source->values[i].value) && i != source->last[field])
            i = source->values[i].next;
}
/** Every name that begins with a prefix (lower case), as `rest` of it in lower case (at most SONDE__REST_MAX bytes;
 *  longer ones are left out), with its first value; at most `most` of them. */
#define SONDE__REST_MAX 240u
typedef void (*sonde__source_visit_rest)(void *user, struct sonde_string rest, struct sonde_string value);
void sonde__source_prefixed(const struct sonde__source *source, struct sonde_string prefix, unsigned most,
                            sonde__source_visit_rest visit, void *user);

#endif
