/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SONDE_TRACE_SCOPE_H
#define SONDE_TRACE_SCOPE_H

#include <sonde/attribute.h>

/** The name of a scope; empty for the default one and for numbers that are none. Static. Any thread, no lock. */
struct sonde_string sonde__scope_name(uint32_t scope);

#endif
