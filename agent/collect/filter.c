/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/filter.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define PATTERN_SIZE_MAX 1024u

static int compile(regex_t *ret_compiled, const char *key, const char *text, char *error_text, size_t error_size) {
    char whole[PATTERN_SIZE_MAX + 8], why[128];
    if (strlen(text) > PATTERN_SIZE_MAX) {
        (void)snprintf(error_text, error_size, "%s: a pattern has more than %u bytes", key, PATTERN_SIZE_MAX);
        return SONDE_EINVALID;
    }
    (void)snprintf(whole, sizeof whole, "^(%s)$", text);
    int result = regcomp(ret_compiled, whole, REG_EXTENDED | REG_NOSUB);
    if (!result)
        return 0;
    if (result == REG_ESPACE)
        return -ENOMEM;
    (void)regerror(result, ret_compiled, why, sizeof why);
    (void)snprintf(error_text, error_size, "%s: \"%.80s\" is no POSIX extended regular expression: %s", key, text, why);
    return SONDE_EINVALID;
}

int sonde__patterns_init(struct sonde__patterns *patterns, const struct sonde_alloc *alloc, const char *key,
                         const struct sonde_string_list *texts, char *error_text, size_t error_size) {
    *patterns = (struct sonde__patterns){.count = 0};
    if (texts->count > SONDE__FILTER_PATTERNS_MAX) {
        (void)snprintf(error_text, error_size, "%s: more than %u patterns", key, SONDE__FILTER_PATTERNS_MAX);
        return SONDE_EINVALID;
    }
    if (texts->count == 0)
        return 0;
    patterns->compiled = sonde_alloc_new(alloc, texts->count * sizeof *patterns->compiled);
    int error = patterns->compiled ? 0 : -ENOMEM;
    for (size_t i = 0; !error && i < texts->count; i++) {
        error = compile(&patterns->compiled[i], key, texts->items[i], error_text, error_size);
        patterns->count += !error;
    }
    if (error)
        sonde__patterns_deinit(patterns, alloc);
    return error;
}

void sonde__patterns_deinit(struct sonde__patterns *patterns, const struct sonde_alloc *alloc) {
    for (size_t i = 0; i < patterns->count; i++)
        regfree(&patterns->compiled[i]);
    sonde_alloc_free(alloc, patterns->compiled);
    *patterns = (struct sonde__patterns){.count = 0};
}

bool sonde__patterns_match(const struct sonde__patterns *patterns, const char *name) {
    for (size_t i = 0; i < patterns->count; i++)
        if (regexec(&patterns->compiled[i], name, 0, NULL, 0) == 0)
            return true;
    return false;
}

int sonde__filter_init(struct sonde__filter *filter, const struct sonde_alloc *alloc,
                       const struct sonde_string_list *include, const struct sonde_string_list *exclude,
                       char *error_text, size_t error_size) {
    int error = sonde__patterns_init(&filter->include, alloc, "include", include, error_text, error_size);
    if (error)
        return error;
    error = sonde__patterns_init(&filter->exclude, alloc, "exclude", exclude, error_text, error_size);
    if (error)
        sonde__patterns_deinit(&filter->include, alloc);
    return error;
}

void sonde__filter_deinit(struct sonde__filter *filter, const struct sonde_alloc *alloc) {
    sonde__patterns_deinit(&filter->include, alloc);
    sonde__patterns_deinit(&filter->exclude, alloc);
}

bool sonde__filter_passes(const struct sonde__filter *filter, const char *name) {
    if (sonde__patterns_match(&filter->exclude, name))
        return false;
    return filter->include.count == 0 || sonde__patterns_match(&filter->include, name);
}
