/* SPDX-License-Identifier: Apache-2.0 */
/* Lists as they usually come, told from others in one pass. Three ways to look at bytes with the same results: plain C,
 * SSE2 (every x86-64 has it) and AVX2 (when the processor says so). All are compiled where they can be, so that a test
 * holds one against the other; SONDE_NO_SIMD (-Dsimd=false) selects plain C. */
#ifndef SONDE_INSTRUMENTATION_PROPAGATION_TRACESTATE_PLAIN_H
#define SONDE_INSTRUMENTATION_PROPAGATION_TRACESTATE_PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes behind the text that are written over, and so must belong to the caller. */
#define SONDE__TRACESTATE_PADDING 64u

/** Whether a list can be kept as it is: valid members, no white space and no empty member, no key twice, at most
 *  SONDE_TRACESTATE_MEMBERS_MAX. False also for some lists that could, with very long keys or values: the reader member
 *  by member decides then.
 *  text       size bytes and SONDE__TRACESTATE_PADDING more.
 *  Returns the number of members, 0 = no. */
uint32_t sonde__tracestate_plain(char *text, size_t size);

/* The ways it is done. */
uint32_t sonde__tracestate_plain_c(char *text, size_t size);
#if defined(__SSE2__)
uint32_t sonde__tracestate_plain_sse2(char *text, size_t size);
bool sonde__tracestate_plain_has_avx2(void);
uint32_t sonde__tracestate_plain_avx2(char *text, size_t size); /* only where it is */
#endif

#endif
