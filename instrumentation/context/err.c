/* SPDX-License-Identifier: Apache-2.0 */
#include <sonde/err.h>
#include <string.h>

const char *sonde_strerror(int code) {
    if (code == 0)
        return "success";
    switch (code) {
#define ERROR_CASE(name, number, text)                                                                                 \
    case number:                                                                                                       \
        return text;
        SONDE_ERRORS(ERROR_CASE)
#undef ERROR_CASE
    default:
        break;
    }
    if (code < 0 && code > -4096) {
#ifdef __GLIBC__
        const char *text = strerrordesc_np(-code); /* static and thread-safe, unlike glibc's strerror() */
#else
        const char *text = strerror(-code); /* musl's is static and thread-safe */
#endif
        if (text)
            return text;
    }
    return "unknown error";
}
