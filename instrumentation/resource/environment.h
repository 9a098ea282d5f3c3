/* SPDX-License-Identifier: Apache-2.0 */
/* Typed reading of environment variables by the rules of OpenTelemetry: empty is unset, what cannot be read is
 * reported and as if unset, enumerations and booleans do not mind the case.
 * Source: OpenTelemetry specification, configuration/common.md. */
#ifndef SONDE_RESOURCE_ENVIRONMENT_H
#define SONDE_RESOURCE_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>

/** The value, NULL when unset or empty. Borrowed from the environment. */
const char *sonde__environment_text(const char *name);
/** Reports a value that is ignored, with what is accepted. Not for values that may be secret. */
void sonde__environment_refused(const char *name, const char *value, const char *accepted);
/** Copies the value; a longer one is reported and left out. Returns true when set. */
bool sonde__environment_copy(const char *name, char *ret_text, size_t size);
/** "true" is true; all else is false, and what is neither "true" nor "false" is reported. */
bool sonde__environment_bool(const char *name);
/** A whole number >= 0, else `otherwise`. Numbers over `most` become it, and that is reported (SIZE_MAX = any). */
size_t sonde__environment_limit(const char *name, size_t otherwise, size_t most);
/** The same up to `most`. */
bool sonde__decimal_parse(const char *text, double most, double *ret_value);
/** Reads a decimal fraction 0..1 ("0.25", "1", "2.5e-3") whatever the locale. Returns false when it is none. */
bool sonde__ratio_parse(const char *text, double *ret_ratio);

#endif
