/* SPDX-License-Identifier: Apache-2.0 */
/* Every name that a propagator reads or writes, numbered, so that a set of names is a word of bits. */
#ifndef SONDE_INSTRUMENTATION_PROPAGATION_FIELDS_H
#define SONDE_INSTRUMENTATION_PROPAGATION_FIELDS_H

#include <sonde/attribute.h>

/* number, name in lower case */
#define SONDE__FIELDS(X)                                                                                               \
    X(SONDE__FIELD_TRACEPARENT, "traceparent")                                                                         \
    X(SONDE__FIELD_TRACESTATE, "tracestate")                                                                           \
    X(SONDE__FIELD_BAGGAGE, "baggage")                                                                                 \
    X(SONDE__FIELD_B3, "b3")                                                                                           \
    X(SONDE__FIELD_B3_TRACE_ID, "x-b3-traceid")                                                                        \
    X(SONDE__FIELD_B3_SPAN_ID, "x-b3-spanid")                                                                          \
    X(SONDE__FIELD_B3_PARENT_ID, "x-b3-parentspanid")                                                                  \
    X(SONDE__FIELD_B3_SAMPLED, "x-b3-sampled")                                                                         \
    X(SONDE__FIELD_B3_FLAGS, "x-b3-flags")                                                                             \
    X(SONDE__FIELD_JAEGER, "uber-trace-id")                                                                            \
    X(SONDE__FIELD_JAEGER_BAGGAGE, "jaeger-baggage")                                                                   \
    X(SONDE__FIELD_JAEGER_DEBUG, "jaeger-debug-id")                                                                    \
    X(SONDE__FIELD_XRAY, "x-amzn-trace-id")                                                                            \
    X(SONDE__FIELD_GCLOUD, "x-cloud-trace-context")                                                                    \
    X(SONDE__FIELD_DATADOG_TRACE_ID, "x-datadog-trace-id")                                                             \
    X(SONDE__FIELD_DATADOG_PARENT_ID, "x-datadog-parent-id")                                                           \
    X(SONDE__FIELD_DATADOG_PRIORITY, "x-datadog-sampling-priority")                                                    \
    X(SONDE__FIELD_DATADOG_ORIGIN, "x-datadog-origin")                                                                 \
    X(SONDE__FIELD_DATADOG_TAGS, "x-datadog-tags")                                                                     \
    X(SONDE__FIELD_OT_TRACE_ID, "ot-tracer-traceid")                                                                   \
    X(SONDE__FIELD_OT_SPAN_ID, "ot-tracer-spanid")                                                                     \
    X(SONDE__FIELD_OT_SAMPLED, "ot-tracer-sampled")                                                                    \
    X(SONDE__FIELD_GRPC_TRACE_BIN, "grpc-trace-bin")

enum sonde__field {
#define SONDE__FIELD_ENUM(number, name) number,
    SONDE__FIELDS(SONDE__FIELD_ENUM)
#undef SONDE__FIELD_ENUM
        SONDE__FIELD_COUNT
};
_Static_assert(SONDE__FIELD_COUNT <= 32, "sets are 32 bits");
#define SONDE__FIELD_BIT(field) (1u << (field))

extern const struct sonde_string sonde__field_names[SONDE__FIELD_COUNT];
/* The spelling that other libraries write, where it is another one than ours: size 0 = it is not. */
extern const struct sonde_string sonde__field_canonical[SONDE__FIELD_COUNT];
#define SONDE__CANONICAL_FIELDS                                                                                        \
    (SONDE__FIELD_BIT(SONDE__FIELD_B3_TRACE_ID) | SONDE__FIELD_BIT(SONDE__FIELD_B3_SPAN_ID) |                          \
     SONDE__FIELD_BIT(SONDE__FIELD_B3_PARENT_ID) | SONDE__FIELD_BIT(SONDE__FIELD_B3_SAMPLED) |                         \
     SONDE__FIELD_BIT(SONDE__FIELD_B3_FLAGS) | SONDE__FIELD_BIT(SONDE__FIELD_XRAY) |                                   \
     SONDE__FIELD_BIT(SONDE__FIELD_GCLOUD))

#endif
