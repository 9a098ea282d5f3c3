/* SPDX-License-Identifier: Apache-2.0 */
/* Baggage: named values that travel with a request to every service behind this one. It is sent in clear to all of
 * them and to third parties: put no secrets and no personal data in it, and take it off (sonde_baggage_clear())
 * before a call to a peer you do not trust. It is never copied to spans by itself.
 *
 *     struct sonde_context context;
 *     sonde_context_current(&context);
 *     (void)sonde_baggage_set(&context, sonde_text("tenant"), sonde_text("a b"), sonde_text(""));
 *     struct sonde_context_token token = sonde_context_attach(&context);
 *     ...                                   // spans started and requests injected here carry tenant=a%20b
 *     sonde_context_detach(token);
 *
 * Wherever a function takes a context, NULL means the thread's current one, changed in place until it is detached
 * or its span ends. Names are RFC 7230 tokens, with case; values any bytes, meant as UTF-8.
 * Source: W3C Baggage, 3; OpenTelemetry specification, baggage/api.md. */
#ifndef SONDE_BAGGAGE_H
#define SONDE_BAGGAGE_H

#include <sonde/attribute.h>
#include <sonde/context.h>

SONDE_BEGIN

/** An entry as it lies in the context; borrowed until that context changes.
 *  value     as it is sent: bytes that may not stand in a header are %XX; sonde_baggage_decode() gives them back.
 *  metadata  properties behind the value, as they came ("ttl=3; secret"); often empty. */
struct sonde_baggage_entry {
    struct sonde_string key, value, metadata;
};

/** A C string as text with a length. */
static inline struct sonde_string sonde_text(const char *text) {
    struct sonde_string string;
    string.data = text;
    string.size = strlen(text);
    return string;
}

/** Value of an entry, decoded; bytes that are not UTF-8 become U+FFFD. May hold NUL and line ends.
 *  ret_text  room for `size` bytes; may be NULL with size 0. No NUL is added.
 *  ret_size  bytes of the value; written on 0 and SONDE_ETOOBIG.
 *  Returns 0, SONDE_ENOTFOUND, SONDE_ETOOBIG (nothing copied). Never blocks, no allocation. */
SONDE_API int sonde_baggage_get(const struct sonde_context *context, struct sonde_string key, char *ret_text,
                                size_t size, size_t *ret_size);

/** The entry as it lies there. Returns false when absent. */
SONDE_API bool sonde_baggage_find(const struct sonde_context *context, struct sonde_string key,
                                  struct sonde_baggage_entry *ret_entry);

/** The entry at *position (0 at first), which is moved on. Returns false at the end. No entry may be changed between. */
SONDE_API bool sonde_baggage_next(const struct sonde_context *context, uint32_t *position,
                                  struct sonde_baggage_entry *ret_entry);

/** Decodes an entry's value. ret_text may be NULL with size 0. Returns the bytes it takes; nothing is written when
 *  they are more than size. */
SONDE_API size_t sonde_baggage_decode(struct sonde_string value, char *ret_text, size_t size);

/** Adds or replaces an entry; it is then the last.
 *  value     any bytes; coded as needed.
 *  metadata  properties as W3C writes them (printable ASCII without comma), without the first semicolon; or empty.
 *  Returns 0; SONDE_EINVALID (key no token, metadata not sendable); SONDE_ETOOBIG (SONDE_BAGGAGE_SIZE_MAX bytes or
 *  SONDE_BAGGAGE_ENTRIES_MAX entries would be passed); SONDE_ENOTFOUND (context is NULL and nothing is current). On an
 *  error nothing has changed. */
SONDE_API int sonde_baggage_set(struct sonde_context *context, struct sonde_string key, struct sonde_string value,
                                struct sonde_string metadata);

/** Takes an entry out. Returns false when there was none. */
SONDE_API bool sonde_baggage_remove(struct sonde_context *context, struct sonde_string key);

/** Takes all entries out. */
SONDE_API void sonde_baggage_clear(struct sonde_context *context);

SONDE_END

#endif
