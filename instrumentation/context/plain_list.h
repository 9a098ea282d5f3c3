/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of members "key=value" as they usually come, told from others in one pass. Three ways to look at bytes with the
 * same results: plain C, SSE2 (every x86-64 has it) and AVX2 (when the processor says so). All are compiled where they
 * can be, so that a test holds one against the other; SONDE_NO_SIMD (-Dsimd=false) selects plain C. */
#ifndef SONDE_CONTEXT_PLAIN_LIST_H
#define SONDE_CONTEXT_PLAIN_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes behind the text that are written over, and so must belong to the caller. */
#define SONDE__PLAIN_PADDING 64u

/* Whether a list can be kept as it is: valid members, no white space and no empty member, no key twice, not too many
 * (and of baggage: no metadata). False also for some lists that could, with very long keys or values: the reader member
 * by member decides then.
 *  text       size bytes and SONDE__PLAIN_PADDING more.
 *  Both return the number of members, 0 = no. */
uint32_t sonde__plain_tracestate(char *text, size_t size);
uint32_t sonde__plain_baggage(char *text, size_t size);

/* The ways it is done. */
uint32_t sonde__plain_tracestate_c(char *text, size_t size);
uint32_t sonde__plain_baggage_c(char *text, size_t size);
#if defined(__SSE2__)
uint32_t sonde__plain_tracestate_sse2(char *text, size_t size);
uint32_t sonde__plain_baggage_sse2(char *text, size_t size);
bool sonde__plain_has_avx2(void);
uint32_t sonde__plain_tracestate_avx2(char *text, size_t size); /* only where it is */
uint32_t sonde__plain_baggage_avx2(char *text, size_t size);
#endif

#endif
