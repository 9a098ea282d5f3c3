/* SPDX-License-Identifier: Apache-2.0 */
/* What an exporter is given, faked: a log filled by hand, accounts that are added up, a pool that works when told. */
#ifndef SONDE_TESTS_EXPORT_FAKES_H
#define SONDE_TESTS_EXPORT_FAKES_H

#include "exporters/exporter.h"
#include "tests/lib/fakes.h"
#include "tests/lib/http_fake.h"

struct export_job {
    void (*work)(void *job);
    void (*done)(void *job);
    void *job;
};

struct export_fakes {
    struct fakes fakes;
    struct http_fake http;
    struct sonde_record_view *records; /* owned, their data too; sequence = index + 1 */
    size_t record_count, record_capacity;
    uint64_t released; /* sequence */
    int64_t in_flight[SONDE_SIGNAL_COUNT];
    uint64_t delivered[SONDE_SIGNAL_COUNT], refused[SONDE_SIGNAL_COUNT];
    uint64_t dropped[SONDE_SIGNAL_COUNT][SONDE_EXPORT_DROP_COUNT];
    struct export_job jobs[256];
    size_t job_count;
    uint32_t wakes, reports;
    char report_level, report_text[512]; /* the last one */
};

void export_fakes_init(struct export_fakes *fakes);
void export_fakes_deinit(struct export_fakes *fakes);
struct sonde_exporter_env export_fakes_env(struct export_fakes *fakes);

/** Appends a record of `count` items with `item_size` bytes of payload each. An item is field 2 with a payload that
 * begins with its number: record sequence (4 bytes, big-endian) and index (4 bytes); item_size >= 8. Resource and scope
 * bytes are made from their ids. */
void export_fakes_append(struct export_fakes *fakes, enum sonde_signal signal, uint32_t resource_id, uint32_t scope_id,
                         uint32_t uid, uint32_t count, size_t item_size);
/** Appends a record with data as given. */
void export_fakes_append_raw(struct export_fakes *fakes, enum sonde_signal signal, uint32_t count, const void *data,
                             size_t size);
/* An item as it is found in a request: its number, and the last letter of its resource and scope. */
struct export_item {
    uint32_t sequence, index;
    char resource, scope;
};
struct export_request {
    struct export_item items[16384];
    size_t count;
    size_t resources, scopes; /* Resource* and Scope* messages */
    bool malformed;           /* or an empty envelope */
};
/** Reads the body of a request (gunzipped where the exchange says so). */
void export_fakes_read(const struct http_fake_exchange *exchange, struct export_request *ret_request);

/** Does all jobs of the pool. */
void export_fakes_work(struct export_fakes *fakes);
/** Items appended and not released; with what was accounted: the exporter's equation of the ledger. */
bool export_fakes_balance(const struct export_fakes *fakes);

#endif
