/* SPDX-License-Identifier: Apache-2.0 */
/* Environment variables: TRACEPARENT, TRACESTATE, BAGGAGE. For programs that are started per task (builds, batch jobs,
 * handlers): the parent puts its context into the child's environment, the child reads it once, at its start. setenv()
 * is not safe beside other threads, so a context is set in a copy of the environment, which is then given to execve()
 * or posix_spawn(). The strings are not copied: the old environment must stay as it is until then.
 *
 *     char *entries[256], text[SONDE_ENVIRONMENT_INJECT_SIZE];
 *     struct sonde_environment copy;
 *     if (sonde_environment_copy(&copy, environ, entries, 256, text, sizeof text) == 0) {
 *         struct sonde_carrier carrier = sonde_environment_carrier(&copy);
 *         (void)sonde_inject(NULL, &carrier);
 *         posix_spawnp(&pid, "job", NULL, NULL, argv, copy.entries);
 *     }
 *
 * Source: OpenTelemetry specification, context/env-carriers.md. */
#ifndef SONDE_CARRIER_ENVIRONMENT_H
#define SONDE_CARRIER_ENVIRONMENT_H

#include <sonde/carrier.h>
#include <sonde/limits.h>

SONDE_BEGIN

/** Room that sonde_inject() needs in `text` in the default formats. */
#define SONDE_ENVIRONMENT_INJECT_SIZE   (256u + SONDE_TRACESTATE_SIZE_MAX + SONDE_BAGGAGE_SIZE_MAX)
/** Bytes of a variable's name, without a NUL; longer ones are not read or written. */
#define SONDE_ENVIRONMENT_NAME_SIZE_MAX 64u

/** An environment: strings "NAME=value", ended by NULL.
 *  entries    borrowed while the carrier is used. NULL is empty.
 *  capacity   entries there is room for, the NULL included; 0 when only extracted from.
 *  text, text_size, text_used  where set copies to; NULL, 0, 0 when only extracted from. The entries point into it. */
struct sonde_environment {
    char **entries;
    size_t capacity;
    char *text;
    size_t text_size, text_used;
};

/** Makes a copy of an environment that can be injected into.
 *  from     borrowed, ended by NULL; its strings must outlive the copy. NULL is empty.
 *  entries  room for `capacity` pointers: those there are, one per field, and the NULL.
 *  text     room for what is set; must live as long as the entries are used.
 *  Returns 0, or SONDE_ETOOBIG when there are too many entries (nothing written). */
SONDE_API int sonde_environment_copy(struct sonde_environment *ret_copy, char *const *from, char **entries,
                                     size_t capacity, char *text, size_t text_size);

/** A carrier of an environment (kept until the carrier is no longer used). Names are turned into those of variables;
 * only such are read, so `traceparent` in lower case is not. Of a repeated name the first is seen, as getenv() does.
 * set: SONDE_ETOOBIG without room, SONDE_EINVALID for a NUL in the value; nothing has changed then. No allocation. */
SONDE_API struct sonde_carrier sonde_environment_carrier(struct sonde_environment *environment);

/** The variable's name of a field: letters in upper case, anything but letters, digits and `_` becomes `_`, and one `_`
 *  goes before a digit at the start or is the whole name when there is none.
 *  ret_text  not NUL-terminated; nothing is written when it is too small.
 *  Returns the size. */
SONDE_API size_t sonde_environment_name(struct sonde_string field, char *ret_text, size_t size);

SONDE_END

#endif
