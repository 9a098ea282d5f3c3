/* SPDX-License-Identifier: Apache-2.0 */
/* Reads this thread's ring in the process that writes it, and decodes the records with protobuf-c: the tests' stand-in
 * for the agent. */
#ifndef SONDE_TESTS_RECORDS_H
#define SONDE_TESTS_RECORDS_H

#include "instrumentation/ring/thread.h"
#include "telemetry.pb-c.h"

/** The next record of this thread's ring, or NULL when it is empty. Valid until the next call; tail moves then. */
const struct sonde__record *records_next(void);
/** Takes and forgets everything committed; returns how many records it was. */
size_t records_skip(void);

/** The next record as a span or log; fails the test when there is none, or it does not decode. Free with
 *  pb__span__free_unpacked(span, NULL) and pb__log_record__free_unpacked(log, NULL). */
Pb__Span *records_span(void);
Pb__LogRecord *records_log(void);

/** The one value of a key; NULL when absent; fails the test when the key stands there twice. */
const Pb__AnyValue *records_value(Pb__KeyValue *const *attributes, size_t count, const char *key);

#endif
