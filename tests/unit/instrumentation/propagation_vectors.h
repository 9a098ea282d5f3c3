/* SPDX-License-Identifier: Apache-2.0 */
/* What the formats of propagation_vectors are given and how they answer. */
#ifndef SONDE_TESTS_PROPAGATION_VECTORS_H
#define SONDE_TESTS_PROPAGATION_VECTORS_H

#include <sonde/carrier/http.h>
#include <sonde/carrier/pairs.h>
#include <sonde/propagation.h>

enum { PAIRS_MAX = 64 };

/** A row's carrier, unpacked. */
struct row {
    struct sonde_pair pairs[PAIRS_MAX];
    size_t count;
};

/** A format: turns the carrier into the text that the row must equal, by result_add() and result_text(). */
struct format {
    const char *name;
    void (*run)(const struct row *row);
};

/* propagation_vectors_carriers.c, _propagators.c, _sampling.c; the last has no name. */
extern const struct format carrier_formats[], propagator_formats[], sampling_formats[];

/** Value of the first pair of a name, or NULL. */
const struct sonde_string *row_find(const struct row *row, const char *name);
/** Hex digits of a value, which may be NULL, as bytes. */
void row_unhex(const struct sonde_string *text, uint8_t *ret_bytes, size_t size);
void result_add(const char *text, size_t size);
void result_text(const char *text);
/** Ids and flags, and the tracestate if asked for; "reject" without ids. */
void result_context(const struct sonde_context *context, bool with_tracestate);
/** The same, and whether the reason of the extraction fits. Returns whether there is a context. */
bool result_extracted(const struct sonde_context *context, enum sonde_extract_reason reason);
/** What headers hold after an injection: "inject:name=value | .." or "inject:none". */
void result_headers(const struct sonde_http_headers *headers);

#endif
