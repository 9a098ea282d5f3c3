/* SPDX-License-Identifier: Apache-2.0 */
/* Headers that an operator adds to requests of ours. */
#ifndef SONDE_EXPORTERS_HTTP_HEADERS_H
#define SONDE_EXPORTERS_HTTP_HEADERS_H

#include "exporters/option.h"

/** Checks names (tokens of RFC 9110, 5.6.2, none of `reserved`) and values (one line, no control characters).
 *  reserved    lower case, ended by NULL: what we set ourselves.
 *  error_text  written on an error, NUL-terminated: what is wrong, without values, which are secrets.
 *  Returns 0 or SONDE_EINVALID. */
int sonde__http_headers_check(const struct sonde_string_map *headers, const char *const *reserved, char *error_text,
                              size_t error_size);

/** True when a text has no control characters: it stays on its line. */
bool sonde__http_is_line(const char *text);

#endif
