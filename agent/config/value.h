/* SPDX-License-Identifier: Apache-2.0 */
/* One value of a row (exporters/option.h): text to memory and back. */
#ifndef SONDE_AGENT_CONFIG_VALUE_H
#define SONDE_AGENT_CONFIG_VALUE_H

#include "exporters/option.h"
#include "exporters/seam.h"

/** Parses text into the row's place in config, freeing what stood there. Lists: "a,b"; maps: "k=v,k2=v2"; spaces round
 *  items are dropped. Returns 0; SONDE_EINVALID with a sentence in error_text, config unchanged; -ENOMEM. */
int sonde__value_parse(const struct sonde_option *row, const char *text, const struct sonde_alloc *alloc, void *config,
                       char *error_text, size_t error_text_size);

/* Lists and maps item by item; strings borrowed, copied. -ENOMEM leaves the list as it was. */
int sonde__list_add(struct sonde_string_list *list, const struct sonde_alloc *alloc, const char *item, size_t size);
int sonde__map_add(struct sonde_string_map *map, const struct sonde_alloc *alloc, const char *key, size_t key_size,
                   const char *value, size_t value_size);

/** Frees what the row's value owns and empties it. */
void sonde__value_clear(const struct sonde_option *row, const struct sonde_alloc *alloc, void *config);

/** A scalar row's value as text that parses to the same value ("5s", "4MiB"); lists and maps give "". Not hidden. */
void sonde__value_format(const struct sonde_option *row, const void *config, char *text, size_t text_size);

/** What the row accepts, for messages and the reference: "duration 1ms..1h", "gzip | none". */
void sonde__value_describe(const struct sonde_option *row, char *text, size_t text_size);
const char *sonde__option_type_name(enum sonde_option_type type); /* static */

#endif
