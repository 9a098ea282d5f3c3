/* SPDX-License-Identifier: Apache-2.0 */
/* Where ids of traces and spans come from. The library draws them at random; a generator of your own is given in
 * sonde_options.id_generator. Source: OpenTelemetry specification, trace/sdk.md#id-generators. */
#ifndef SONDE_ID_H
#define SONDE_ID_H

#include <sonde/api.h>

SONDE_BEGIN

/** Both functions are called on the thread that starts a span, by many threads at once, within sonde_span_start(): they
 *  must not block or call the library. An id of zeros is replaced by a random one and counted
 *  (sonde_stats.ids_replaced).
 *  trace_id  fills 16 bytes, big-endian; NULL = the library's.
 *  span_id   fills 8 bytes; NULL = the library's. With one every span takes the slower way.
 *  random    the last 7 bytes of its trace ids are as good as random: sets the flag of that name (W3C Trace Context
 *            level 2). Without it roots draw randomness of their own for samplers and send it (ot=rv). */
struct sonde_id_generator {
    size_t size;
    void (*trace_id)(void *user, uint8_t ret_id[16]);
    void (*span_id)(void *user, uint8_t ret_id[8]);
    void *user;
    bool random;
};
#ifdef __cplusplus
#define SONDE_ID_GENERATOR_INIT { sizeof(struct sonde_id_generator), nullptr, nullptr, nullptr, false }
#else
#define SONDE_ID_GENERATOR_INIT { .size = sizeof(struct sonde_id_generator) }
#endif

/** Trace ids that AWS X-Ray takes: seconds since 1970 in the first 4 bytes, the rest random. */
SONDE_API const struct sonde_id_generator *sonde_id_generator_xray(void);

SONDE_END

#endif
