/* SPDX-License-Identifier: Apache-2.0 */
/* What the shop's programs share: settings from the environment, a clean stop, and an HTTP server and client which put
 * a span and a measurement round each request.
 *
 *   load --HTTP--> orders --HTTP--> payments        (payment.c: retries, a breaker, a fallback)
 *                  |    ^
 *                  |    +--XREADGROUP-- Redis stream "orders.unshipped" <--XADD--+    (order.h: sagas in two forms)
 *                  +--XADD--> Redis stream "orders" --XREADGROUP--> shipping ----+
 *
 * Names are OpenTelemetry's semantic conventions (HTTP stable; messaging in development). */
#ifndef SHOP_H
#define SHOP_H

#include <jansson.h>
#include <sonde/resilience/idempotency.h>
#include <sonde/resilience/policy.h>
#include <sonde/sonde.h>

#define SHOP_STREAM "orders"
#define SHOP_GROUP  "shipping"

/** A setting; fallback when the variable is unset or empty. Static or borrowed from the environment. */
const char *shop_env(const char *name, const char *fallback);
double shop_env_number(const char *name, double fallback);

/** Blocks SIGTERM and SIGINT; call before any thread is made. Then wait for one of them. */
void shop_stop_prepare(void);
void shop_stop_wait(void);
/** True when one of them has arrived; waits for it up to timeout_ms. */
bool shop_stop_requested(int timeout_ms);

/** Monotonic seconds, for durations. */
double shop_seconds(void);
/** A string attribute of a literal key, shorter than the full name. */
#define SHOP_STRING(key, value) sonde_attribute_string(SONDE_KEY(key), value)
#define SHOP_INT(key, value)    sonde_attribute_int64(SONDE_KEY(key), value)

/** Says what went wrong on the span: an exception event and status ERROR. */
void shop_span_fail(struct sonde_span *span, const char *type, const char *message);

/* --- http_server.c: libmicrohttpd --- */

/** body is JSON and borrowed; NULL when the request had none or it was not JSON. */
struct shop_request {
    json_t *body;
    struct sonde_span *span;          /* the server span, current during the call */
    struct sonde_idempotency_key key; /* of the header Idempotency-Key; size 0 = none */
};
/** Returns the status; *ret_body is the JSON answer, owned by the server then. */
typedef unsigned (*shop_handler)(const struct shop_request *request, json_t **ret_body);
/** route is both the exact path and the http.route. */
struct shop_route {
    const char *method, *route; /* "POST", "/orders" */
    shop_handler handle;
};

struct shop_server;
/** Listens on 127.0.0.1:port (0 = any) and prints "<name>: listening on 127.0.0.1:<port>". NULL on failure, told on
 * stderr. routes: static, ended by a row whose method is NULL. */
struct shop_server *shop_server_start(const char *name, unsigned port, const struct shop_route *routes);
void shop_server_stop(struct shop_server *server);

/* --- http_client.c: libcurl --- */

/** Posts JSON with a client span of its own and the trace context in the headers.
 *  key            borrowed: goes with it as Idempotency-Key, the same for every attempt.
 *  call           borrowed: which attempt this is, and how long it may take.
 *  ret_timed_out  set to true when it took longer.
 *  Returns the status; 0 when there was no answer. */
long shop_post(const char *url, const char *json, const struct sonde_idempotency_key *key,
               const struct sonde_policy_call *call, bool *ret_timed_out);

/* --- payment.c: the guarded call of `payments` --- */

enum shop_payment {
    SHOP_PAID = 0,
    SHOP_ON_ACCOUNT, /* the fallback: to be paid later */
    SHOP_UNPAID,
};

/** Makes the policy. url: of the service; borrowed. */
void shop_payment_prepare(const char *url);
/** Has an order paid, once however often it is tried. Blocks: up to three attempts of at most 2 s, and the waits between
 * them. Any thread. key: of this payment; borrowed. */
enum shop_payment shop_payment_take(const json_t *order, const struct sonde_idempotency_key *key);
/** Gives the money back, once. Likewise, without a fallback: it waits for an open breaker, 10 s in all. */
bool shop_payment_refund(const json_t *order, const struct sonde_idempotency_key *key);

#endif
