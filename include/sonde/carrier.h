/* SPDX-License-Identifier: Apache-2.0 */
/* A carrier: whatever can hold named text beside a message (HTTP headers, entry fields, ...). Propagators read
 * and write through this interface and know nothing else about the transport.
 * Source: OpenTelemetry specification, context/api-propagators.md#textmap-propagator. */
#ifndef SONDE_CARRIER_H
#define SONDE_CARRIER_H

#include <sonde/attribute.h>

SONDE_BEGIN

/** Called per value or key found; return false to stop. The string is borrowed until the next call. */
typedef bool (*sonde_carrier_visit)(void *user, struct sonde_string text);

/** A carrier that is an array: its names and values in their order, borrowed until the carrier changes.
 *  ignore_case  names compare without it.
 *  trim         optional white space round a value is none of it. */
struct sonde_carrier_pair {
    struct sonde_string name, value;
};
struct sonde_carrier_array {
    const struct sonde_carrier_pair *pairs;
    size_t count;
    bool ignore_case, trim;
};

/** Operations of a carrier. Names passed in are lower case; a case-insensitive carrier compares them so.
 *  get    first value of a name; false when there is none. *ret_value is borrowed until the carrier changes.  (extract)
 *  each   every value of a name in order (repeated headers); stops when visit returns false.                  (extract)
 *  set    replaces all values of a name by one. Returns 0, -ENOMEM, SONDE_ETOOBIG, SONDE_EINVALID.            (inject)
 *  remove all values of a name; absent is fine.                                                               (inject)
 *  keys   every name, repeated ones once or more.                                                             (optional)
 *  array  all of it, to be looked through once: faster than a search per name.                                (optional)
 *  Names that other libraries write in capitals (X-B3-TraceId, X-Amzn-Trace-Id, X-Cloud-Trace-Context) are asked for and
 *  removed in that spelling, too: a carrier whose names have case compares them exactly, any other finds nothing new.
 *  An operation a carrier cannot do is NULL. The carrier trims optional white space round HTTP values. */
struct sonde_carrier_ops {
    bool (*get)(void *self, struct sonde_string name, struct sonde_string *ret_value);
    void (*each)(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user);
    int (*set)(void *self, struct sonde_string name, struct sonde_string value);
    void (*remove)(void *self, struct sonde_string name);
    void (*keys)(void *self, sonde_carrier_visit visit, void *user);
    void (*array)(void *self, struct sonde_carrier_array *ret_array);
};

struct sonde_carrier {
    const struct sonde_carrier_ops *ops; /* static */
    void *self;                          /* borrowed */
};

SONDE_END

#endif
