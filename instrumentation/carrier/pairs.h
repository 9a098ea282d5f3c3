/* SPDX-License-Identifier: Apache-2.0 */
/* The carrier over struct sonde_pairs that the envelopes share; what sets them apart is a rule. */
#ifndef SONDE_INSTRUMENTATION_CARRIER_PAIRS_H
#define SONDE_INSTRUMENTATION_CARRIER_PAIRS_H

#include <sonde/carrier/pairs.h>

enum sonde__pairs_text {
    SONDE__PAIRS_ASCII, /* printable, and tabs */
    SONDE__PAIRS_UTF8,  /* well-formed, without NUL */
    SONDE__PAIRS_BYTES, /* without NUL */
};

/** prefix     stands before every name.
 *  ignore_case names compare without it; they are written in lower case.
 *  last       of several values of a name only the last is seen.
 *  trim       white space round values is not seen.
 *  split_bin  values of names that end in -bin are several, separated by commas.
 *  text       what a value may hold.
 *  name       whether a name may be written; NULL = any that is not empty.
 *  name_max, value_max, count_max  0 = only what there is room for. The name counts with the prefix.
 *  total_max  of all names and values, 32 bytes more for each pair (RFC 9113, 6.5.2); 0 = likewise. */
struct sonde__pairs_rule {
    struct sonde_string prefix;
    bool ignore_case, last, trim, split_bin;
    enum sonde__pairs_text text;
    bool (*name)(struct sonde_string name);
    size_t name_max, value_max, count_max, total_max;
};

bool sonde__pairs_get(const struct sonde_pairs *pairs, const struct sonde__pairs_rule *rule, struct sonde_string name,
                      struct sonde_string *ret_value);
void sonde__pairs_each(const struct sonde_pairs *pairs, const struct sonde__pairs_rule *rule, struct sonde_string name,
                       sonde_carrier_visit visit, void *user);
int sonde__pairs_set(struct sonde_pairs *pairs, const struct sonde__pairs_rule *rule, struct sonde_string name,
                     struct sonde_string value);
void sonde__pairs_remove(struct sonde_pairs *pairs, const struct sonde__pairs_rule *rule, struct sonde_string name);
/** Names without the prefix; those that do not have it are left out. */
void sonde__pairs_keys(const struct sonde_pairs *pairs, const struct sonde__pairs_rule *rule, sonde_carrier_visit visit,
                       void *user);

/** Defines `carrier_ops`, the operations over pairs under a rule. */
#define SONDE__PAIRS_OPS(rule)                                                                                         \
    static bool carrier_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {                    \
        return sonde__pairs_get(self, &(rule), name, ret_value);                                                       \
    }                                                                                                                  \
    static void carrier_each(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user) {            \
        sonde__pairs_each(self, &(rule), name, visit, user);                                                           \
    }                                                                                                                  \
    static int carrier_set(void *self, struct sonde_string name, struct sonde_string value) {                          \
        return sonde__pairs_set(self, &(rule), name, value);                                                           \
    }                                                                                                                  \
    static void carrier_remove(void *self, struct sonde_string name) {                                                 \
        sonde__pairs_remove(self, &(rule), name);                                                                      \
    }                                                                                                                  \
    static void carrier_keys(void *self, sonde_carrier_visit visit, void *user) {                                      \
        sonde__pairs_keys(self, &(rule), visit, user);                                                                 \
    }                                                                                                                  \
    static const struct sonde_carrier_ops carrier_ops = {                                                              \
        .get = carrier_get, .each = carrier_each, .set = carrier_set, .remove = carrier_remove, .keys = carrier_keys}

#endif
