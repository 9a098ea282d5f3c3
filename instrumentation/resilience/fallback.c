/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resilience/table.h"
#include <sonde/resilience/fallback.h>

static struct fallback {
    char name[SONDE__KIT_NAME_SIZE_MAX + 1];
    struct sonde_series outcomes[2]; /* success, failure */
} fallbacks[SONDE_FALLBACKS_MAX];
static struct sonde__kit_table table = {
    .capacity = SONDE_FALLBACKS_MAX, .element_size = sizeof fallbacks[0], .elements = fallbacks};

static void fill(void *at, const void *unused) {
    static const char *const texts[2] = {"success", "failure"};
    struct fallback *fallback = at;
    (void)unused;
    sonde__kit_series(SONDE__RESILIENCE_FALLBACK, "sonde.resilience.name", fallback->name, "sonde.resilience.outcome",
                      texts, 2, fallback->outcomes);
}

int sonde_fallback_create(const char *name, struct sonde_fallback *ret_fallback) {
    return sonde__kit_find_or_make(&table, name, fill, NULL, &ret_fallback->index);
}

void sonde_fallback_record(struct sonde_fallback handle, enum sonde_outcome outcome) {
    const struct fallback *fallback = sonde__kit_get(&table, handle.index);
    if (fallback)
        sonde_counter_add(fallback->outcomes[outcome != SONDE_OUTCOME_SUCCESS], 1);
}
