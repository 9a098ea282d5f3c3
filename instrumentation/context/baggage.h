/* SPDX-License-Identifier: Apache-2.0 */
/* Baggage as the text it is sent as: members "key=value[;metadata]" joined by commas, values percent-coded, without
 * white space but in metadata, no key twice. Kept so in contexts, so that passing it on is copying it. */
#ifndef SONDE_CONTEXT_BAGGAGE_H
#define SONDE_CONTEXT_BAGGAGE_H

#include <sonde/baggage.h>

/** State over the header values of one list. */
struct sonde__baggage_reader {
    struct sonde_context *context; /* borrowed; its baggage is the result so far */
    size_t scanned;                /* bytes looked at */
    uint32_t count;                /* entries kept */
    bool partial;                  /* something was bad, or too much */
    bool is_listed;                /* count and keys are filled in */
    uint64_t keys[4];              /* which keys there may be already, a bit each by a hash */
};

/** Starts with the context's present baggage. */
void sonde__baggage_reader_init(struct sonde__baggage_reader *reader, struct sonde_context *context);
/** One header value. A bad member is left out alone; of two with the same key the later one stays. */
void sonde__baggage_reader_feed(struct sonde__baggage_reader *reader, const char *text, size_t size);
/** One entry whose value is coded already (and may be bad: then it is left out). */
void sonde__baggage_add_coded(struct sonde_context *context, struct sonde_string key, struct sonde_string value);

/** All bytes printable ASCII, and no space at the ends: fit for a header as they are. */
bool sonde__is_plain(const char *text, size_t size);
static inline char sonde__lower(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

#endif
