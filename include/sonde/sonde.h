/* SPDX-License-Identifier: Apache-2.0 */
/* Everything but the carriers of client libraries (sonde/carrier/...). Begin reading at sonde/trace.h. */
#ifndef SONDE_SONDE_H
#define SONDE_SONDE_H

#include <sonde/api.h>
#include <sonde/attribute.h>
#include <sonde/baggage.h>
#include <sonde/carrier.h>
#include <sonde/context.h>
#include <sonde/conventions/graphql.h>
#include <sonde/conventions/http.h>
#include <sonde/conventions/messaging.h>
#include <sonde/conventions/rpc.h>
#include <sonde/err.h>
#include <sonde/ffi.h>
#include <sonde/id.h>
#include <sonde/key.h>
#include <sonde/limits.h>
#include <sonde/log.h>
#include <sonde/metric.h>
#include <sonde/options.h>
#include <sonde/propagation.h>
#include <sonde/sampler.h>
#include <sonde/trace.h>
#include <sonde/view.h>

#endif
