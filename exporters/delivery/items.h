/* SPDX-License-Identifier: Apache-2.0 */
/* Framed items: the data of a record is `0x12 length bytes` again and again (field 2 of a Scope* message). */
#ifndef SONDE_EXPORTERS_ITEMS_H
#define SONDE_EXPORTERS_ITEMS_H

#include "exporters/record_log.h"

/** Size of the first item with its framing, 0 when the bytes do not begin with one whole item. Pure. */
size_t sonde__item_size(struct sonde_bytes data);

/** Finds where to cut: the longest run of leading items with at most `count_max` items and `size_max` bytes.
 *  ret_size  its size; ret_count  its items; both may be 0.
 *  Returns 0, SONDE_EMALFORMED (the bytes are not framed items up to there). Pure. */
int sonde__items_cut(struct sonde_bytes data, uint32_t count_max, size_t size_max, size_t *ret_size,
                     uint32_t *ret_count);

#endif
