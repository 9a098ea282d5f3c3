/* SPDX-License-Identifier: Apache-2.0 */
/* Error codes. A fallible function returns int: 0 for success, -errno for a failure of the system,
 * one of SONDE_E* (range [-5999, -5000]) for a failure of Sonde's own, and a positive value for a
 * condition that is documented beside that one function. */
#ifndef SONDE_ERR_H
#define SONDE_ERR_H

#include <sonde/api.h>

SONDE_BEGIN

/* name, code, text */
#define SONDE_ERRORS(X)                                                                            \
    X(SONDE_EINVALID, -5001, "invalid argument or value")                                          \
    X(SONDE_ETOOBIG, -5002, "larger than the limit allows")                                        \
    X(SONDE_EMALFORMED, -5003, "bytes do not follow the format")                                   \
    X(SONDE_ENOTFOUND, -5004, "no such thing")                                                     \
    X(SONDE_EDISABLED, -5005, "disabled by configuration")                                         \
    X(SONDE_ENOAGENT, -5006, "no agent is connected")                                              \
    X(SONDE_EVERSION, -5007, "the other side speaks another version")                              \
    X(SONDE_EREFUSED, -5008, "the other side refused")                                             \
    X(SONDE_EFULL, -5009, "no room left")

enum sonde_error {
#define SONDE_ERROR_ENUM(name, code, text) name = code,
    SONDE_ERRORS(SONDE_ERROR_ENUM)
#undef SONDE_ERROR_ENUM
};

/** Text for an error code.
 *  code     0, -errno or SONDE_E*; anything else gives "unknown error".
 *  Returns  static, NUL-terminated, English, never NULL; for -errno the system's text, which may live
 *           in a thread-local buffer until the next call.
 *  Any thread, never blocks. */
SONDE_API const char *sonde_strerror(int code);

SONDE_END

#endif
