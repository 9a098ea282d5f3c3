/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns of names: '*' stands for any run of bytes, '?' for one. */
#ifndef SONDE_CONTEXT_PATTERN_H
#define SONDE_CONTEXT_PATTERN_H

#include <sonde/attribute.h>

/* Of a text from outside no more is looked at: the time that a pattern takes is bounded. */
#define SONDE__PATTERN_TEXT_MAX 256u

/** pattern NUL-terminated; text borrowed. any_case: ASCII letters fit in either case. Pure. */
bool sonde__pattern_fits(const char *pattern, struct sonde_string text, bool any_case);

#endif
