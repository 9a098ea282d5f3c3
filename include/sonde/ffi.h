/* SPDX-License-Identifier: Apache-2.0 */
/* For bindings of other languages: what C programs get from macros and inline functions, as functions. All else of the
 * API takes plain structs and numbers already; examples/ffi/ has programs in Python, Rust and Go. */
#ifndef SONDE_FFI_H
#define SONDE_FFI_H

#include <sonde/key.h>

SONDE_BEGIN

/** A key or name from a pointer and a length: sonde_key_n(). 16 bytes, returned and passed by value (two registers on
 *  x86-64 and AArch64). Borrowed: the text must live as long as the key is used; make a key once and keep both. */
SONDE_API struct sonde_key sonde_ffi_key(const char *text, size_t length);

SONDE_END

#endif
