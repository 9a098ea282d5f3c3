/* SPDX-License-Identifier: Apache-2.0 */
/* Status and name: the fields that may be set again. The new one is appended before the old one goes, so that a killed
 * process leaves one of them (of two, the last one counts by protobuf's rules). */
#include "instrumentation/trace/slot.h"
#include "instrumentation/wire/writer.h"

/* Fields of Status. Source: trace/v1/trace.proto. */
enum { STATUS_MESSAGE = 2, STATUS_CODE = 3 };

/* What is kept of a description: as much as of a long attribute, so that a dump does not eat the span. */
#define DESCRIPTION_SIZE_MAX 16384u

void sonde_span_set_status(struct sonde_span *span, enum sonde_status status, const char *description) {
    struct sonde__edit edit;
    struct sonde__writer writer;
    struct sonde__field old;
    if ((status != SONDE_STATUS_OK && status != SONDE_STATUS_ERROR) || !sonde__edit_begin(&edit, span))
        return;
    struct sonde__slot *slot = edit.slot;
    if (slot->status != SONDE_STATUS_OK) {
        bool had = slot->status && sonde__slot_find_field(slot, SONDE__TAG_STATUS, &old);
        sonde__writer_init(&writer, edit.thread->scratch, SONDE_SPAN_SIZE_MAX);
        uint8_t *begin = sonde__write_begin(&writer, SONDE__TAG_STATUS >> 3);
        if (status == SONDE_STATUS_ERROR && description && *description)
            sonde__write_string(&writer, STATUS_MESSAGE, description, strlen(description), DESCRIPTION_SIZE_MAX);
        sonde__write_uint(&writer, STATUS_CODE, status);
        sonde__write_end(&writer, begin);
        if (sonde__slot_append(slot, writer.start, (uint32_t)sonde__writer_size(&writer))) {
            if (had)
                sonde__slot_remove(slot, old.at, old.size);
            slot->status = (uint8_t)status;
        } else {
            sonde__count_attributes_dropped(1);
        }
    }
    sonde__edit_end(&edit);
}

void sonde_span_set_name(struct sonde_span *span, struct sonde_key name) {
    struct sonde__edit edit;
    struct sonde__writer writer;
    struct sonde__field old;
    if (!sonde__edit_begin(&edit, span))
        return;
    struct sonde__slot *slot = edit.slot;
    uint32_t at = sonde__slot_length(slot);
    sonde__writer_init(&writer, edit.thread->scratch, SONDE_SPAN_SIZE_MAX);
    sonde__write_string(&writer, SONDE__TAG_NAME >> 3, name.text, name.length, SONDE_NAME_SIZE_MAX);
    bool had = sonde__slot_field(slot, slot->name_offset, &old) && old.tag == SONDE__TAG_NAME;
    if (name.length > SONDE_NAME_SIZE_MAX)
        sonde__count_attributes_dropped(1);
    if (at <= UINT16_MAX && sonde__slot_append(slot, writer.start, (uint32_t)sonde__writer_size(&writer))) {
        slot->name_offset = (uint16_t)at;
        if (had)
            sonde__slot_remove(slot, old.at, old.size); /* moves name_offset along */
    } else {
        sonde__count_attributes_dropped(1);
    }
    sonde__edit_end(&edit);
}
