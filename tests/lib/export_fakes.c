/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/export_fakes.h"
#include <libdeflate.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t texts[] = "\x0a\x08resource\x0a\x05scope";

void export_fakes_init(struct export_fakes *fakes) {
    memset(fakes, 0, sizeof *fakes);
    fakes_init(&fakes->fakes);
    http_fake_init(&fakes->http);
}

void export_fakes_deinit(struct export_fakes *fakes) {
    http_fake_deinit(&fakes->http);
    for (size_t i = 0; i < fakes->record_count; i++) {
        free((void *)fakes->records[i].data.data);
        free((void *)fakes->records[i].resource.data);
        free((void *)fakes->records[i].scope.data);
    }
    free(fakes->records);
}

static bool fake_next(void *self, uint32_t cursor, uint64_t after, struct sonde_record_view *ret_record) {
    const struct export_fakes *fakes = self;
    (void)cursor;
    if (after < fakes->released)
        after = fakes->released;
    if (after >= fakes->record_count)
        return false;
    *ret_record = fakes->records[after];
    return true;
}

/* Released bytes are overwritten: whoever still reads them sends rubbish, and a test sees it. */
static void fake_release(void *self, uint32_t cursor, uint64_t sequence) {
    struct export_fakes *fakes = self;
    (void)cursor;
    if (sequence <= fakes->released || sequence > fakes->record_count)
        abort();
    for (uint64_t i = fakes->released; i < sequence; i++)
        memset((void *)fakes->records[i].data.data, 0xEE, fakes->records[i].data.size);
    fakes->released = sequence;
}

static void fake_in_flight(void *self, enum sonde_signal signal, int64_t change) {
    ((struct export_fakes *)self)->in_flight[signal] += change;
}
static void fake_delivered(void *self, enum sonde_signal signal, uint64_t items) {
    ((struct export_fakes *)self)->delivered[signal] += items;
}
static void fake_refused(void *self, enum sonde_signal signal, uint64_t items) {
    ((struct export_fakes *)self)->refused[signal] += items;
}
static void fake_dropped(void *self, enum sonde_signal signal, enum sonde_export_drop reason, uint64_t items) {
    ((struct export_fakes *)self)->dropped[signal][reason] += items;
}
static void fake_wake(void *self) {
    ((struct export_fakes *)self)->wakes++;
}
static void fake_report(void *self, char level, const char *text) {
    struct export_fakes *fakes = self;
    fakes->reports++;
    fakes->report_level = level;
    (void)snprintf(fakes->report_text, sizeof fakes->report_text, "%s", text);
}
static int fake_submit(void *self, void (*work)(void *job), void (*done)(void *job), void *job) {
    struct export_fakes *fakes = self;
    if (fakes->job_count == sizeof fakes->jobs / sizeof *fakes->jobs)
        abort();
    fakes->jobs[fakes->job_count++] = (struct export_job){work, done, job};
    return 0;
}

void export_fakes_work(struct export_fakes *fakes) {
    size_t count = fakes->job_count;
    struct export_job jobs[sizeof fakes->jobs / sizeof *fakes->jobs];
    memcpy(jobs, fakes->jobs, sizeof jobs);
    fakes->job_count = 0;
    for (size_t i = 0; i < count; i++) {
        jobs[i].work(jobs[i].job);
        jobs[i].done(jobs[i].job);
    }
}

struct sonde_exporter_env export_fakes_env(struct export_fakes *fakes) {
    return (struct sonde_exporter_env){.name = "fake",
                                       .seams = fakes_seams(&fakes->fakes),
                                       .http = http_fake_client(&fakes->http),
                                       .log = {fake_next, fake_release, fakes},
                                       .cursor = 0,
                                       .account = {fake_in_flight, fake_delivered, fake_refused, fake_dropped, fakes},
                                       .pool = {fake_submit, fakes},
                                       .wake = fake_wake,
                                       .wake_self = fakes,
                                       .report = fake_report,
                                       .report_self = fakes};
}

static void *copy(const void *data, size_t size) {
    void *memory = malloc(size + 1);
    if (!memory)
        abort();
    if (size)
        memcpy(memory, data, size);
    return memory;
}

static void append(struct export_fakes *fakes, struct sonde_record_view record) {
    if (fakes->record_count == fakes->record_capacity) {
        fakes->record_capacity = fakes->record_capacity ? fakes->record_capacity * 2 : 64;
        fakes->records = realloc(fakes->records, fakes->record_capacity * sizeof *fakes->records);
        if (!fakes->records)
            abort();
    }
    /* Bytes that differ by id: the last letter. */
    uint8_t *resource = copy(texts, 10), *scope = copy(texts + 10, 7);
    resource[9] = (uint8_t)('a' + record.resource_id % 26);
    scope[6] = (uint8_t)('a' + record.scope_id % 26);
    record.sequence = fakes->record_count + 1;
    record.resource = (struct sonde_bytes){resource, 10};
    record.scope = (struct sonde_bytes){scope, 7};
    fakes->records[fakes->record_count++] = record;
}

void export_fakes_append_raw(struct export_fakes *fakes, enum sonde_signal signal, uint32_t count, const void *data,
                             size_t size) {
    append(fakes, (struct sonde_record_view){.signal = signal, .count = count, .data = {copy(data, size), size}});
}

void export_fakes_append(struct export_fakes *fakes, enum sonde_signal signal, uint32_t resource_id, uint32_t scope_id,
                         uint32_t uid, uint32_t count, size_t item_size) {
    uint8_t *data = calloc(count, item_size + 6);
    if (!data)
        abort();
    uint8_t *at = data;
    for (uint32_t i = 0; i < count; i++) {
        *at++ = 0x12;
        size_t size = item_size;
        for (; size >= 0x80; size >>= 7)
            *at++ = (uint8_t)(size | 0x80);
        *at++ = (uint8_t)size;
        uint32_t sequence = (uint32_t)fakes->record_count + 1;
        for (int b = 0; b < 4; b++) {
            at[b] = (uint8_t)(sequence >> (24 - 8 * b));
            at[4 + b] = (uint8_t)(i >> (24 - 8 * b));
        }
        at += item_size;
    }
    append(fakes, (struct sonde_record_view){.signal = signal,
                                             .resource_id = resource_id,
                                             .scope_id = scope_id,
                                             .uid = uid,
                                             .count = count,
                                             .data = {data, (size_t)(at - data)}});
}

bool export_fakes_balance(const struct export_fakes *fakes) {
    bool ok = true;
    for (int signal = 0; signal < SONDE_SIGNAL_COUNT; signal++) {
        uint64_t appended = 0, queued = 0, ended = fakes->delivered[signal] + fakes->refused[signal];
        for (size_t i = 0; i < fakes->record_count; i++) {
            if (fakes->records[i].signal != (enum sonde_signal)signal)
                continue;
            appended += fakes->records[i].count;
            queued += i >= fakes->released ? fakes->records[i].count : 0;
        }
        for (int reason = 0; reason < SONDE_EXPORT_DROP_COUNT; reason++)
            ended += fakes->dropped[signal][reason];
        ok = ok && appended == queued + ended && fakes->in_flight[signal] >= 0 &&
             (uint64_t)fakes->in_flight[signal] <= queued;
    }
    return ok;
}

/* One length-delimited field at the front of *bytes, taken off it. Returns its number, 0 = malformed. */
static unsigned take_field(struct sonde_bytes *bytes, struct sonde_bytes *ret_value) {
    if (bytes->size < 2 || (bytes->data[0] & 7) != 2)
        return 0;
    unsigned field = bytes->data[0] >> 3;
    size_t length = 0, at = 1;
    unsigned shift = 0;
    do {
        if (at == bytes->size || shift > 28)
            return 0;
        length |= (size_t)(bytes->data[at] & 0x7f) << shift;
        shift += 7;
    } while (bytes->data[at++] & 0x80);
    if (length > bytes->size - at)
        return 0;
    *ret_value = (struct sonde_bytes){bytes->data + at, length};
    *bytes = (struct sonde_bytes){bytes->data + at + length, bytes->size - at - length};
    return field;
}

static uint32_t big_endian(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void read_scope(struct sonde_bytes bytes, char resource, struct export_request *request) {
    struct sonde_bytes value;
    char scope = '?';
    size_t before = request->count;
    request->scopes++;
    while (bytes.size) {
        unsigned field = take_field(&bytes, &value);
        if (field == 1 && value.size == 7) {
            scope = (char)value.data[6];
        } else if (field == 2 && value.size >= 8) {
            if (request->count == sizeof request->items / sizeof *request->items)
                abort();
            request->items[request->count++] =
                (struct export_item){big_endian(value.data), big_endian(value.data + 4), resource, scope};
        } else if (field != 3) {
            request->malformed = true;
            return;
        }
    }
    request->malformed = request->malformed || request->count == before;
}

static void read_resource(struct sonde_bytes bytes, struct export_request *request) {
    struct sonde_bytes value;
    char resource = '?';
    size_t before = request->scopes;
    request->resources++;
    while (bytes.size) {
        unsigned field = take_field(&bytes, &value);
        if (field == 1 && value.size == 10) {
            resource = (char)value.data[9];
        } else if (field == 2) {
            read_scope(value, resource, request);
        } else {
            request->malformed = true;
            return;
        }
    }
    request->malformed = request->malformed || request->scopes == before;
}

void export_fakes_read(const struct http_fake_exchange *exchange, struct export_request *ret_request) {
    struct sonde_bytes bytes = {exchange->body, exchange->body_size}, value;
    uint8_t *plain = NULL;
    ret_request->count = ret_request->resources = ret_request->scopes = 0;
    ret_request->malformed = bytes.size == 0;
    if (strcmp(exchange->content_encoding, "gzip") == 0) {
        const size_t size_max = 8u << 20;
        struct libdeflate_decompressor *decompressor = libdeflate_alloc_decompressor();
        plain = malloc(size_max);
        if (!plain || !decompressor)
            abort();
        ret_request->malformed =
            libdeflate_gzip_decompress(decompressor, bytes.data, bytes.size, plain, size_max, &bytes.size) != 0;
        bytes.data = plain;
        libdeflate_free_decompressor(decompressor);
    }
    while (bytes.size && !ret_request->malformed) {
        if (take_field(&bytes, &value) == 1)
            read_resource(value, ret_request);
        else
            ret_request->malformed = true;
    }
    free(plain);
}
