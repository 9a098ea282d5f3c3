/* SPDX-License-Identifier: Apache-2.0 */
#include "exporters/prometheus/histogram.h"

/* Up to so many empty buckets are written as such between two that are not. */
#define GAP_MAX 2

bool native_histogram_make(const struct sonde__metric_histogram *histogram, struct native_histogram *ret_native) {
    struct native_histogram *native = ret_native;
    *ret_native = (struct native_histogram){.schema = histogram->scale};
    if (histogram->scale < NATIVE_SCHEMA_MIN)
        return false;
    unsigned shift = 0;
    if (histogram->scale > NATIVE_SCHEMA_MAX)
        shift = (unsigned)(histogram->scale - NATIVE_SCHEMA_MAX);
    native->schema -= (int32_t)shift;
    int64_t last = 0, previous = 0; /* index and count of the bucket written last */
    for (uint32_t i = 0; i < histogram->bucket_count;) {
        int64_t index = (((int64_t)histogram->offset + i) >> shift) + 1;
        uint64_t count = 0;
        for (; i < histogram->bucket_count && (((int64_t)histogram->offset + i) >> shift) + 1 == index; i++)
            count += histogram->buckets[i];
        if (!count)
            continue;
        struct native_span *span = &native->spans[native->span_count];
        if (native->span_count && index - last - 1 <= GAP_MAX) {
            for (int64_t k = last + 1; k < index; k++, previous = 0) {
                native->deltas[native->count++] = -previous;
                span[-1].length++;
            }
            span[-1].length++;
        } else {
            *span = (struct native_span){(int32_t)(native->span_count ? index - last - 1 : index), 1};
            native->span_count++;
        }
        native->deltas[native->count++] = (int64_t)count - previous;
        previous = (int64_t)count;
        last = index;
    }
    return true;
}

/* Numbers of few bits, most of them zero or small; empty buckets at both ends are left out. */
void histogram_pack(const struct sonde__metric_histogram *histogram, struct buffer *to) {
    const double summary[] = {histogram->sum, histogram->min, histogram->max};
    uint32_t first = 0, end = histogram->bucket_count;
    while (end && !histogram->buckets[end - 1])
        end--;
    while (first < end && !histogram->buckets[first])
        first++;
    buffer_put(to, summary, sizeof summary);
    buffer_varint(to, (uint64_t)(uint32_t)histogram->scale);
    buffer_varint(to, (uint64_t)(uint32_t)histogram->offset);
    buffer_varint(to, histogram->zero_count);
    buffer_varint(to, histogram->count);
    buffer_varint(to, histogram->bucket_count);
    buffer_varint(to, first);
    buffer_varint(to, end);
    for (uint32_t i = first; i < end; i++)
        buffer_varint(to, histogram->buckets[i]);
}

const uint8_t *histogram_unpack(const uint8_t *from, struct sonde__metric_histogram *ret_histogram) {
    double summary[3];
    struct sonde__metric_histogram *h = ret_histogram;
    memcpy(summary, from, sizeof summary);
    from += sizeof summary;
    h->sum = summary[0];
    h->min = summary[1];
    h->max = summary[2];
    h->scale = (int32_t)(uint32_t)buffer_varint_read(&from);
    h->offset = (int32_t)(uint32_t)buffer_varint_read(&from);
    h->zero_count = buffer_varint_read(&from);
    h->count = buffer_varint_read(&from);
    h->bucket_count = (uint32_t)buffer_varint_read(&from);
    uint32_t first = (uint32_t)buffer_varint_read(&from), end = (uint32_t)buffer_varint_read(&from);
    memset(h->buckets, 0, sizeof h->buckets);
    for (uint32_t i = first; i < end; i++)
        h->buckets[i] = buffer_varint_read(&from);
    return from;
}

void histogram_add(struct sonde__metric_histogram *to, const struct sonde__metric_histogram *from, bool is_explicit) {
    if (is_explicit) {
        for (uint32_t i = 0; i < from->bucket_count; i++)
            to->buckets[i] += from->buckets[i];
    } else if (from->bucket_count) {
        sonde__metric_histogram_merge(to, from->scale, from->offset, from->buckets, from->bucket_count);
    }
    to->zero_count += from->zero_count;
    to->count += from->count;
    to->sum += from->sum;
    if (from->count) {
        to->min = from->min < to->min ? from->min : to->min;
        to->max = from->max > to->max ? from->max : to->max;
    }
}
