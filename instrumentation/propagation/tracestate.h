/* SPDX-License-Identifier: Apache-2.0 */
/* tracestate as a list of members in a context's bytes, and the reading of several header values as one list. */
#ifndef SONDE_INSTRUMENTATION_PROPAGATION_TRACESTATE_H
#define SONDE_INSTRUMENTATION_PROPAGATION_TRACESTATE_H

#include <sonde/propagation.h>

/** Where a member "key=value" stands in the context's bytes. */
struct sonde__tracestate_member {
    uint16_t at, size, key_size;
};

/** State over the header values of one carrier. Zero it (sonde__tracestate_reader_init) and feed values in order. */
struct sonde__tracestate_reader {
    struct sonde_context *context; /* borrowed; its list is the result so far */
    size_t scanned;                /* bytes looked at */
    uint32_t seen;                 /* members, dropped and repeated ones included */
    uint32_t count;                /* members kept */
    bool failed;                   /* for good: the list is dropped */
    bool is_listed;                /* members and keys are filled in */
    bool dropped_long;             /* for room: a member over 128 characters; later such ones go too */
    bool dropped_short;            /* for room, from the right end: all later ones go too */
    uint64_t keys[4];              /* which keys there may be already, a bit each by a hash */
    struct sonde__tracestate_member members[SONDE_TRACESTATE_MEMBERS_MAX];
};

/** Starts with the context's present list. */
void sonde__tracestate_reader_init(struct sonde__tracestate_reader *reader, struct sonde_context *context);
/** One header value. Returns false when the list is dropped; the context's list is then empty and stays so. */
bool sonde__tracestate_reader_feed(struct sonde__tracestate_reader *reader, const char *text, size_t size);
/** Shortens a list to at most size_max bytes, by whole members: those over 128 characters first, right-most first, then
 *  from the right end. */
void sonde__tracestate_shorten(struct sonde_context *context, size_t size_max);

#endif
