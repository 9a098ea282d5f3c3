/* SPDX-License-Identifier: Apache-2.0 */
/* The log, as exporters see it: records in order of sequence, read by a cursor of one's own.
 * A record is a run of OTLP items of one signal, one resource and one scope, already framed for the wire: the bytes are
 * the repeated field 2 (spans, log_records, metrics) of a ScopeSpans / ScopeLogs / ScopeMetrics message, so a request
 * is made by putting headers in front and records one behind the other. Nothing is parsed to be sent. agent/queue/
 * implements it, in memory now and on disk later; single-threaded, on the loop. */
#ifndef SONDE_EXPORTERS_RECORD_LOG_H
#define SONDE_EXPORTERS_RECORD_LOG_H

#include <sonde/options.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sonde_bytes {
    const uint8_t *data;
    size_t size;
};

/** A record, borrowed until the cursor releases it. */
struct sonde_record_view {
    uint64_t sequence; /* 1, 2, 3, ... */
    enum sonde_signal signal;
    uint32_t count; /* items in data */
    uint32_t resource_id, scope_id;
    uint32_t uid;                /* user the resource belongs to; requests do not mix users */
    struct sonde_bytes resource; /* encoded Resource message */
    struct sonde_bytes scope;    /* encoded InstrumentationScope message, may be empty */
    struct sonde_bytes schema_url;
    struct sonde_bytes data;
};

struct sonde_record_log {
    /** First record with sequence > after that the cursor has not released; false when there is none yet. */
    bool (*next)(void *self, uint32_t cursor, uint64_t after, struct sonde_record_view *ret_record);
    /** All records up to and including sequence are done with for this cursor (delivered, or dropped by name). */
    void (*release)(void *self, uint32_t cursor, uint64_t sequence);
    void *self;
};

#endif
