/* SPDX-License-Identifier: Apache-2.0 */
/* Azure Service Bus and Event Hubs: application properties of AMQP 1.0, in which Azure's own clients write the
 * traceparent as `Diagnostic-Id` (older ones a form of their own, `|root.1.`, which is not a context). Take a carrier
 * of the properties from amqp.h or proton.h. Source: Azure SDK, distributed tracing conventions; Service Bus
 * documentation, end-to-end tracing. */
#ifndef SONDE_CARRIER_SERVICEBUS_H
#define SONDE_CARRIER_SERVICEBUS_H

#include <sonde/carrier/pairs.h>
#include <sonde/propagation.h>

SONDE_BEGIN

/** Puts a context into the properties of a message.
 *  context             borrowed; NULL = the current one.
 *  properties          borrowed; a carrier that can be written.
 *  with_diagnostic_id  for receivers that know only that: writes Diagnostic-Id as well.
 *  Returns as sonde_inject(). */
SONDE_API int sonde_servicebus_inject(const struct sonde_context *context, const struct sonde_carrier *properties,
                                      bool with_diagnostic_id);

/** Reads a context: traceparent and the other configured formats, or when they give none that is good, Diagnostic-Id.
 *  ret_context  as of sonde_extract(), whose reasons are returned. */
SONDE_API enum sonde_extract_reason sonde_servicebus_extract(const struct sonde_carrier *properties,
                                                             struct sonde_context *ret_context);

SONDE_END

#endif
