/* SPDX-License-Identifier: Apache-2.0 */
/* Classes of bytes in baggage. Source: W3C Baggage, 3.3.1.1; RFC 7230, 3.2.6. */
#ifndef SONDE_CONTEXT_BAGGAGE_CLASS_H
#define SONDE_CONTEXT_BAGGAGE_CLASS_H

#include <stdint.h>

enum {
    SONDE__BAGGAGE_KEY = 1,   /* of a token */
    SONDE__BAGGAGE_VALUE = 2, /* stands for itself in a value: a baggage-octet but '%' */
    SONDE__BAGGAGE_META = 4,  /* of properties: what a header may hold but ',' '"' and '\\' */
};

extern const uint8_t sonde__baggage_class[256];

#endif
