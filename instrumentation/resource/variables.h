/* SPDX-License-Identifier: Apache-2.0 */
/* Every environment variable that the library reads, and of OpenTelemetry's those that it does not, with the reason:
 * one row each, which is the parser and the documentation (include/sonde/environment.md is printed from the rows).
 * Source: OpenTelemetry specification, configuration/sdk-environment-variables.md, protocol/exporter.md. */
#ifndef SONDE_RESOURCE_VARIABLES_H
#define SONDE_RESOURCE_VARIABLES_H

#include "instrumentation/resource/settings.h"

enum sonde__variable_type {
    SONDE__VARIABLE_BOOL,      /* bool at `at`: "true", else false */
    SONDE__VARIABLE_LIMIT,     /* size_t at `at`: 0..most; unset: what is at `general`, if that is less */
    SONDE__VARIABLE_TEXT,      /* char[most] at `at` */
    SONDE__VARIABLE_ENUM,      /* uint32_t at `at`: index into values; unset: 0 */
    SONDE__VARIABLE_LIST,      /* `read` looks at it */
    SONDE__VARIABLE_ELSEWHERE, /* read by whoever needs it, when that is; here for the documentation */
    SONDE__VARIABLE_AGENT,     /* not the library's, but sonded's; told when set (an info report) */
    SONDE__VARIABLE_NOT_READ,  /* neither's; told when set */
};

struct sonde__variable {
    const char *name; /* "*" in it stands for nothing, TRACES_, METRICS_ and LOGS_ */
    enum sonde__variable_type type;
    size_t at, general, most;  /* offsets in struct sonde__settings; 0 = none */
    const char *const *values; /* ENUM: names, NULL-terminated */
    void (*read)(const struct sonde__variable *variable, const char *value);
    bool secure;          /* a set-uid program is not told by its caller */
    const char *accepted; /* for the documentation; of ENUM: which one is the default */
    const char *sentence;
};
/* Ends with a row without a name. */
extern const struct sonde__variable sonde__variables[] __attribute__((visibility("hidden")));

/** Fills sonde__settings, defaults included, and reports what is bad. Under the settings' lock. */
void sonde__variables_read(void);

#endif
