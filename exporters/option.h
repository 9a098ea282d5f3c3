/* SPDX-License-Identifier: Apache-2.0 */
/* One row per configuration key: the row is the parser, the documentation, the schema and `sonde check`.
 * A component declares a config struct and rows that point into it; the default is text that goes through the same
 * parser, so the default is itself tested. */
#ifndef SONDE_EXPORTERS_OPTION_H
#define SONDE_EXPORTERS_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sonde_option_type {
    SONDE_OPTION_BOOL,        /* bool */
    SONDE_OPTION_INT,         /* int64_t, min..max */
    SONDE_OPTION_DOUBLE,      /* double, min..max */
    SONDE_OPTION_DURATION,    /* uint64_t ns; text "500ms", "10s", "5m", "1h"; min..max in ms */
    SONDE_OPTION_SIZE,        /* uint64_t bytes; text "64KiB", "4MiB", plain number; min..max in bytes */
    SONDE_OPTION_STRING,      /* char *, owned by the config, NUL-terminated; "" when empty */
    SONDE_OPTION_ENUM,        /* int: index into values */
    SONDE_OPTION_STRING_LIST, /* struct sonde_string_list */
    SONDE_OPTION_STRING_MAP,  /* struct sonde_string_map (headers, say) */
};

struct sonde_string_list {
    char **items; /* owned, NUL-terminated each */
    size_t count;
};
struct sonde_string_map {
    char **keys, **values; /* owned */
    size_t count;
};

/** One key. All pointers static. */
struct sonde_option {
    const char *key;
    enum sonde_option_type type;
    size_t offset;             /* in the component's config struct */
    double min, max;           /* both 0 = no range */
    const char *default_text;  /* NULL = the key must be given; "" = empty */
    const char *const *values; /* ENUM: names, NULL-terminated */
    bool reloadable;
    bool secret;          /* printed as ***; only ${env:} or ${file:} or a literal, never logged */
    const char *sentence; /* what it does, one sentence with the unit */
};
#define SONDE_OPTION_END                                                                                               \
    { .key = NULL }

#endif
