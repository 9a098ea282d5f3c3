/* SPDX-License-Identifier: Apache-2.0 */
#include <sonde/ffi.h>

struct sonde_key sonde_ffi_key(const char *text, size_t length) {
    return sonde_key_n(text, length);
}
