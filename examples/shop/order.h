/* SPDX-License-Identifier: Apache-2.0 */
/* An order and the steps of its saga, which runs in one of two forms:
 *
 *   orchestration   type `order`: orders leads. It has each step made, and undoes them when one fails.
 *   choreography    type `order-by-stream`: nobody leads. orders reserves and charges, and hands the saga over with the
 *                   message; shipping ships and ends it. When it cannot, it says so on the stream `orders.unshipped`;
 *                   orders hears that, undoes what it did, and ends the saga. */
#ifndef SHOP_ORDER_H
#define SHOP_ORDER_H

#include "shop.h"
#include <sonde/resilience/saga.h>

#define SHOP_UNSHIPPED      "orders.unshipped"
#define SHOP_SAGA           "order"
#define SHOP_SAGA_BY_STREAM "order-by-stream"

struct shop_order {
    json_t *json; /* {"order": id, "amount": n}; borrowed */
    const char *id;
    double amount;
    enum shop_payment payment;
    struct sonde_idempotency_key key; /* of the step that is being made or undone */
};

/** A step. make and undo give NULL, or what went wrong. */
struct shop_step {
    const char *name;
    const char *(*make)(struct shop_order *order), *(*undo)(struct shop_order *order);
    unsigned status; /* of the answer, when it fails */
    bool is_asked;   /* another service is asked for it, with an idempotency key */
};
enum { SHOP_RESERVE = 0, SHOP_CHARGE, SHOP_SHIP, SHOP_STEP_COUNT };

/* steps.c */
extern const struct shop_step shop_steps[SHOP_STEP_COUNT];
/** Where Redis is, and how many orders the shelf is good for. */
void shop_steps_prepare(const char *host, int port, long stock);
void shop_steps_close(void);
/** Makes the steps from..to-1. Returns NULL, or what went wrong with step *ret_failed. */
const char *shop_steps_make(struct sonde_saga *saga, struct shop_order *order, int to, int *ret_failed);
/** Undoes what was done, the last first, and ends the saga. */
void shop_steps_undo(struct sonde_saga *saga, struct shop_order *order);

/* choreography.c */
/** Hears what shipping could not do; on a thread of its own. */
void shop_choreography_start(const char *host, int port);
void shop_choreography_stop(void);
/** Returns the status of the answer; *ret_error is what went wrong, or NULL. */
unsigned shop_order_by_stream(struct shop_order *order, const char **ret_error);

#endif
