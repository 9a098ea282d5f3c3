/* SPDX-License-Identifier: Apache-2.0 */
/* orders: POST /orders {"order": "id", "amount": 12.5}. A saga of three steps, reserve, charge and ship (order.h): led
 * from here, or, for the share of orders that ORDERS_BY_STREAM says (0..1), by nobody. 201 means: paid or on account, and
 * in the stream. PAYMENTS_URL and REDIS_PORT say where these are, ORDERS_STOCK how many orders the shelf is good for. */
#include "order.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static double by_stream_share;

static void log_order(const char *id, double amount) {
    char text[160];
    int size = snprintf(text, sizeof text, "order %s accepted", id);
    struct sonde_attribute attributes[] = {
        SHOP_STRING("shop.order.id", id),
        sonde_attribute_double(SONDE_KEY("shop.order.amount"), amount),
    };
    sonde_log(SONDE_SEVERITY_INFO, text, (size_t)size, attributes, 2);
}

/* Makes the steps of an order. Returns the status of the answer; *ret_error is what went wrong, or NULL. */
static unsigned order_lead(struct shop_order *order, const char **ret_error) {
    struct sonde_saga saga;
    int failed = 0;
    sonde_saga_begin(&saga, SHOP_SAGA, NULL);
    *ret_error = shop_steps_make(&saga, order, SHOP_STEP_COUNT, &failed);
    if (*ret_error) {
        shop_steps_undo(&saga, order);
        return shop_steps[failed].status;
    }
    sonde_saga_end(&saga, SONDE_SAGA_COMPLETED);
    return 201;
}

/* Spread evenly. */
static bool is_by_stream(void) {
    static atomic_uint count;
    unsigned number = atomic_fetch_add(&count, 1);
    return (unsigned)((number + 1) * by_stream_share) > (unsigned)(number * by_stream_share);
}

static unsigned post_orders(const struct shop_request *request, json_t **ret_body) {
    struct shop_order order = {.json = request->body,
                               .id = json_string_value(json_object_get(request->body, "order")),
                               .amount = json_number_value(json_object_get(request->body, "amount"))};
    const char *error;
    if (!order.id || strlen(order.id) > 64 || order.amount <= 0)
        return 400;
    sonde_span_set_cstr(request->span, SONDE_KEY("shop.order.id"), order.id);
    sonde_span_set_double(request->span, SONDE_KEY("shop.order.amount"), order.amount);
    unsigned status = is_by_stream() ? shop_order_by_stream(&order, &error) : order_lead(&order, &error);
    if (error) {
        sonde_span_record_exception(request->span, error, "the order was not accepted", NULL);
        return status;
    }
    sonde_span_set_cstr(request->span, SONDE_KEY("shop.payment.method"),
                        order.payment == SHOP_PAID ? "card" : "account");
    log_order(order.id, order.amount);
    *ret_body = json_pack("{s:s}", "accepted", order.id);
    return status;
}

int main(void) {
    static const struct shop_route routes[] = {{"POST", "/orders", post_orders}, {0}};
    const int redis_port = (int)shop_env_number("REDIS_PORT", 6379);
    by_stream_share = shop_env_number("ORDERS_BY_STREAM", 0);
    shop_steps_prepare("127.0.0.1", redis_port, (long)shop_env_number("ORDERS_STOCK", 1e6));
    shop_stop_prepare();

    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.service_name = "orders";
    options.service_namespace = "shop";
    (void)sonde_start(&options); /* the service works without telemetry: nothing to do on an error */
    shop_payment_prepare(shop_env("PAYMENTS_URL", "http://127.0.0.1:8081"));
    if (by_stream_share > 0)
        shop_choreography_start("127.0.0.1", redis_port);

    struct shop_server *server = shop_server_start("orders", (unsigned)shop_env_number("ORDERS_PORT", 0), routes);
    if (!server)
        return EXIT_FAILURE;
    shop_stop_wait();
    shop_server_stop(server);
    shop_choreography_stop();
    shop_steps_close();
    (void)sonde_shutdown(2000);
    return EXIT_SUCCESS;
}
