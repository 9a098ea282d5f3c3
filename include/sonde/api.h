/* SPDX-License-Identifier: Apache-2.0 */
/* What every public header needs: export marks, C and C++ glue, the version.
 * Nothing here has state. Compiles alone as C11 and as C++11. */
#ifndef SONDE_API_H
#define SONDE_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SONDE_VERSION_MAJOR 0
#define SONDE_VERSION_MINOR 1
#define SONDE_VERSION_PATCH 0
#define SONDE_VERSION       "0.1.0"

#if defined(__GNUC__)
#define SONDE_API        __attribute__((visibility("default")))
#define SONDE_MUST_CHECK __attribute__((warn_unused_result))
#else
#define SONDE_API
#define SONDE_MUST_CHECK
#endif

/* Calls that take a few nanoseconds go straight through the caller's own table of addresses, without the jump in
 * between that a shared library's functions have by default. */
#define SONDE_API_HOT SONDE_API
#if defined(__has_attribute)
#if __has_attribute(noplt)
#undef SONDE_API_HOT
#define SONDE_API_HOT SONDE_API __attribute__((noplt))
#endif
#endif

#ifdef __cplusplus
#define SONDE_BEGIN             extern "C" {
#define SONDE_END               }
#define SONDE_CAST(type, value) static_cast<type>(value)
#else
#define SONDE_BEGIN
#define SONDE_END
#define SONDE_CAST(type, value) ((type)(value))
#endif

#endif
