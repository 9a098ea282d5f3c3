/* SPDX-License-Identifier: Apache-2.0 */
/* Azure Service Bus: a carrier that spells traceparent Diagnostic-Id and holds nothing else. */
#include "instrumentation/carrier/first.h"
#include <sonde/carrier/servicebus.h>
#include <sonde/err.h>

static const struct sonde_string diagnostic_id = {"Diagnostic-Id", 13};

static bool is_traceparent(struct sonde_string name) {
    return name.size == 11 && memcmp(name.data, "traceparent", 11) == 0;
}

static bool id_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {
    const struct sonde_carrier *inner = self;
    return is_traceparent(name) && inner->ops->get && inner->ops->get(inner->self, diagnostic_id, ret_value);
}

static void id_each(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user) {
    const struct sonde_carrier *inner = self;
    if (is_traceparent(name) && inner->ops->each)
        inner->ops->each(inner->self, diagnostic_id, visit, user);
}

static const struct sonde_carrier_ops id_ops = {.get = id_get, .each = id_each};

int sonde_servicebus_inject(const struct sonde_context *context, const struct sonde_carrier *properties,
                            bool with_diagnostic_id) {
    char text[SONDE_TRACEPARENT_SIZE];
    int error = sonde_inject(context, properties);
    if (!with_diagnostic_id)
        return error;
    struct sonde_span_context span = context ? context->span : sonde_context_current_span();
    if (!properties->ops->set)
        return error ? error : SONDE_EINVALID;
    if (!sonde_traceparent_write(&span, text))
        return error;
    int second = properties->ops->set(properties->self, diagnostic_id, (struct sonde_string){text, sizeof text});
    return error ? error : second;
}

enum sonde_extract_reason sonde_servicebus_extract(const struct sonde_carrier *properties,
                                                   struct sonde_context *ret_context) {
    struct sonde_carrier id = {&id_ops, (void *)properties};
    struct sonde__first first;
    sonde__first_init(&first, ret_context);
    if (!sonde__first_ask(&first, properties, NULL))
        (void)sonde__first_ask(&first, &id, "tracecontext");
    return first.reason;
}
