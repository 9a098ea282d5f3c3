/* SPDX-License-Identifier: Apache-2.0 */
/* Status and name: the fields that may be set again. The new one takes the place of the old one in one step, so that a
 * killed process leaves one of them. */
#include "instrumentation/trace/slot.h"
#include "instrumentation/wire/writer.h"

/* Fields of Status. Source: trace/v1/trace.proto. */
enum { STATUS_MESSAGE = 2, STATUS_CODE = 3 };

void sonde_span_set_status(struct sonde_span *span, enum sonde_status status, const char *description) {
    struct sonde__edit edit;
    struct sonde__writer writer;
    struct sonde__field old = {.size = 0};
    if ((status != SONDE_STATUS_OK && status != SONDE_STATUS_ERROR) || !sonde__edit_begin(&edit, span))
        return;
    struct sonde__slot *slot = edit.slot;
    if (slot->status != SONDE_STATUS_OK) {
        bool had = slot->status && sonde__slot_find_field(slot, SONDE__TAG_STATUS, &old);
        sonde__writer_init(&writer, edit.thread->scratch, SONDE_SPAN_SIZE_MAX);
        uint8_t *begin = sonde__write_begin(&writer, SONDE__TAG_STATUS >> 3);
        if (status == SONDE_STATUS_ERROR && description && *description)
            sonde__write_string(&writer, STATUS_MESSAGE, description, strlen(description),
                                SONDE_STATUS_DESCRIPTION_SIZE_MAX);
        sonde__write_uint(&writer, STATUS_CODE, status);
        sonde__write_end(&writer, begin);
        if (sonde__slot_replace(slot, old.at, had ? old.size : 0, writer.start, (uint32_t)sonde__writer_size(&writer)))
            slot->status = (uint8_t)status;
        else
            sonde__count_attributes_dropped(1);
    }
    sonde__edit_end(&edit);
}

void sonde_span_set_name(struct sonde_span *span, struct sonde_key name) {
    struct sonde__edit edit;
    struct sonde__writer writer;
    struct sonde__field old = {.size = 0};
    if (!sonde__edit_begin(&edit, span))
        return;
    struct sonde__slot *slot = edit.slot;
    uint32_t length = sonde__slot_length(slot);
    sonde__writer_init(&writer, edit.thread->scratch, SONDE_SPAN_SIZE_MAX);
    sonde__write_string(&writer, SONDE__TAG_NAME >> 3, name.text, name.length, SONDE_NAME_SIZE_MAX);
    bool had = sonde__slot_field(slot, slot->name_offset, &old) && old.tag == SONDE__TAG_NAME;
    if (name.length > SONDE_NAME_SIZE_MAX)
        sonde__count_attributes_dropped(1);
    uint32_t gone = had ? old.size : 0;
    if (length <= UINT16_MAX &&
        sonde__slot_replace(slot, old.at, gone, writer.start, (uint32_t)sonde__writer_size(&writer)))
        slot->name_offset = (uint16_t)(length - gone);
    else
        sonde__count_attributes_dropped(1);
    sonde__edit_end(&edit);
}
