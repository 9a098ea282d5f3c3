/* SPDX-License-Identifier: Apache-2.0 */
/* Percent-coding of text carriers (RFC 3986, 2.1). What may stand uncoded differs, so the caller tells. */
#ifndef SONDE_INSTRUMENTATION_CARRIER_PERCENT_H
#define SONDE_INSTRUMENTATION_CARRIER_PERCENT_H

#include <sonde/attribute.h>

/** Decodes a text. Returns false when a % is not followed by two hex digits, the text is not UTF-8 then, or it does not
 *  fit. */
bool sonde__percent_decode(struct sonde_string text, char *ret_text, size_t size, size_t *ret_size);
/** Encodes what is not plain; ret_text NULL only counts. Returns the size. */
size_t sonde__percent_encode(struct sonde_string text, bool (*is_plain)(char c), char *ret_text);

#endif
