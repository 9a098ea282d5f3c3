/* SPDX-License-Identifier: Apache-2.0 */
/* Which names a collector looks at: POSIX extended regular expressions that match a whole name. Nothing included = all;
 * what is excluded wins. */
#ifndef SONDE_AGENT_COLLECT_FILTER_H
#define SONDE_AGENT_COLLECT_FILTER_H

#include "exporters/option.h"
#include "exporters/seam.h"
#include <regex.h>

#define SONDE__FILTER_PATTERNS_MAX 64u /* of each */

struct sonde__patterns {
    regex_t *compiled; /* owned */
    size_t count;
};
/** all-zero = everything passes. */
struct sonde__filter {
    struct sonde__patterns include, exclude;
};

/** error_text: says which pattern, and why. alloc: kept until deinit.
 *  Returns 0, SONDE_EINVALID, -ENOMEM; nothing is left behind on an error. */
int sonde__patterns_init(struct sonde__patterns *patterns, const struct sonde_alloc *alloc, const char *key,
                         const struct sonde_string_list *texts, char *error_text, size_t error_size);
void sonde__patterns_deinit(struct sonde__patterns *patterns, const struct sonde_alloc *alloc);
bool sonde__patterns_match(const struct sonde__patterns *patterns, const char *name); /* any of them */

int sonde__filter_init(struct sonde__filter *filter, const struct sonde_alloc *alloc,
                       const struct sonde_string_list *include, const struct sonde_string_list *exclude,
                       char *error_text, size_t error_size);
void sonde__filter_deinit(struct sonde__filter *filter, const struct sonde_alloc *alloc);
bool sonde__filter_passes(const struct sonde__filter *filter, const char *name);

#endif
