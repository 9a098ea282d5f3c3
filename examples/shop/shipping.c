/* SPDX-License-Identifier: Apache-2.0 */
/* shipping: a consumer of the group "shipping" on the stream of orders. In a saga without a leader (order.h) shipping is
 * the last step: it ends the saga, or, when a parcel cannot be sent, says so on `orders.unshipped` for those before it.
 * REDIS_PORT and SHIPPING_CONSUMER say where and who, SHIPPING_FAIL_RATE (0..1) how many parcels of such sagas fail. */
#include "order.h"
#include "stream.h"
#include <stdio.h>
#include <stdlib.h>

static double fail_rate;

static void log_parcel(const struct shop_entry *entry, const char *what) {
    char text[160];
    int size = snprintf(text, sizeof text, "order %.64s %s", shop_entry_field(entry, "order"), what);
    struct sonde_attribute id[] = {SHOP_STRING("messaging.message.id", entry->id)};
    sonde_log(SONDE_SEVERITY_INFO, text, (size_t)size, id, 1);
}

/* Spread evenly. */
static const char *parcel_send(void) {
    static unsigned count;
    count++;
    return (unsigned)(count * fail_rate) > (unsigned)((count - 1) * fail_rate) ? "NoParcel" : NULL;
}

static void tell_unshipped(struct shop_consumer *consumer, const struct shop_entry *entry,
                           const struct sonde_saga *saga) {
    static const char *const names[] = {"order", "amount", "payment"};
    const char *pairs[6];
    for (size_t i = 0; i < 3; i++) {
        pairs[2 * i] = names[i];
        pairs[2 * i + 1] = shop_entry_field(entry, names[i]);
    }
    (void)sonde_saga_put(saga, NULL, NULL);
    (void)shop_stream_append(&consumer->redis, SHOP_UNSHIPPED, pairs, 6);
    sonde_saga_remove(NULL);
}

/* The saga came with the message; the step links to the one before. */
static void take_part(struct shop_consumer *consumer, const struct shop_entry *entry, struct sonde_saga *saga) {
    struct sonde_saga_step_options options = SONDE_SAGA_STEP_OPTIONS_INIT;
    struct sonde_saga_step step;
    options.kind = SONDE_SPAN_KIND_CONSUMER;
    sonde_saga_step_begin(saga, &step, "ship", &options);
    const char *error = parcel_send();
    sonde_saga_step_end(saga, &step, error);
    log_parcel(entry, error ? "not shipped" : "shipped");
    if (error)
        tell_unshipped(consumer, entry, saga);
    else
        sonde_saga_end(saga, SONDE_SAGA_COMPLETED);
}

static void ship(struct shop_consumer *consumer, const struct shop_entry *entry) {
    struct sonde_context context;
    struct sonde_saga saga;
    (void)sonde_extract(&entry->carrier, &context);
    if (sonde_saga_join_as(&saga, &context, SHOP_SAGA_BY_STREAM) == 0)
        take_part(consumer, entry, &saga);
    else
        log_parcel(entry, "shipped"); /* orders leads, and has ended its step when we had the message */
}

int main(void) {
    struct shop_consumer consumer = {.redis = {.host = "127.0.0.1"},
                                     .stream = SHOP_STREAM,
                                     .group = SHOP_GROUP,
                                     .handle = ship,
                                     .stopped = shop_stop_requested};
    consumer.name = shop_env("SHIPPING_CONSUMER", "shipping-1");
    consumer.redis.port = (int)shop_env_number("REDIS_PORT", 6379);
    fail_rate = shop_env_number("SHIPPING_FAIL_RATE", 0);
    shop_stop_prepare();

    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.service_name = "shipping";
    options.service_namespace = "shop";
    (void)sonde_start(&options);
    (void)shop_consumer_join(&consumer);
    printf("shipping: consumes %s as %s\n", consumer.stream, consumer.name);
    (void)fflush(stdout);
    shop_consumer_run(&consumer);
    (void)sonde_shutdown(2000);
    return EXIT_SUCCESS;
}
