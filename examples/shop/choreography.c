/* SPDX-License-Identifier: Apache-2.0 */
/* The saga without a leader, on the side of orders. The saga's id travels in the baggage of the messages; what a
 * participant needs to undo its own steps it keeps itself. */
#include "order.h"
#include "stream.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

/* What orders did for the last so many sagas. A real shop would have it beside the order in its database, by
 * sonde_saga_save(). */
#define KEPT_MAX 256u
static struct kept {
    struct sonde_saga saga;
    bool is_undone;
} kept[KEPT_MAX];
static unsigned kept_next;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

static void keep(const struct sonde_saga *saga) {
    pthread_mutex_lock(&kept_lock);
    kept[kept_next++ % KEPT_MAX] = (struct kept){*saga, false};
    pthread_mutex_unlock(&kept_lock);
}

/* Gives the steps out to be undone, once: shipping may tell of a saga twice, in two entries. */
enum found { UNKNOWN, TO_UNDO, UNDONE };
static enum found take(const char *id, struct sonde_saga *ret_saga) {
    enum found found = UNKNOWN;
    pthread_mutex_lock(&kept_lock);
    for (unsigned i = 0; i < KEPT_MAX && found == UNKNOWN; i++) {
        if (strcmp(kept[i].saga.id, id) != 0)
            continue;
        found = kept[i].is_undone ? UNDONE : TO_UNDO;
        *ret_saga = kept[i].saga;
        kept[i].is_undone = true;
    }
    pthread_mutex_unlock(&kept_lock);
    return found;
}

unsigned shop_order_by_stream(struct shop_order *order, const char **ret_error) {
    struct sonde_saga saga;
    int failed = SHOP_SHIP;
    sonde_saga_begin(&saga, SHOP_SAGA_BY_STREAM, NULL);
    *ret_error = shop_steps_make(&saga, order, SHOP_SHIP, &failed);
    if (!*ret_error) {
        keep(&saga);
        (void)sonde_saga_put(&saga, NULL, NULL); /* from here on the message has it */
        *ret_error = shop_steps[SHOP_SHIP].make(order);
        sonde_saga_remove(NULL);
        failed = SHOP_SHIP;
    }
    if (!*ret_error)
        return 201;
    shop_steps_undo(&saga, order); /* nobody else has heard of it */
    return shop_steps[failed].status;
}

/* --- what shipping could not do --- */

static void unshipped(struct shop_consumer *consumer, const struct shop_entry *entry) {
    struct sonde_context context;
    struct sonde_saga saga, mine;
    (void)consumer;
    (void)sonde_extract(&entry->carrier, &context);
    if (sonde_saga_join_as(&saga, &context, SHOP_SAGA_BY_STREAM) != 0)
        return;
    enum found found = take(saga.id, &mine);
    if (found == UNKNOWN)
        sonde_saga_end(&saga, SONDE_SAGA_FAILED); /* we came after: somebody must look at it */
    if (found != TO_UNDO)
        return;
    bool on_account = strcmp(shop_entry_field(entry, "payment"), "account") == 0;
    struct shop_order order = {.id = shop_entry_field(entry, "order"),
                               .amount = strtod(shop_entry_field(entry, "amount"), NULL),
                               .payment = on_account ? SHOP_ON_ACCOUNT : SHOP_PAID};
    order.json = json_pack("{s:s, s:f}", "order", order.id, "amount", order.amount);
    shop_steps_undo(&mine, &order);
    json_decref(order.json);
}

static atomic_bool stopping;
static pthread_t thread;
static bool has_thread;

static bool stopped(int timeout_ms) {
    for (; timeout_ms > 0 && !atomic_load(&stopping); timeout_ms -= 50)
        (void)nanosleep(&(struct timespec){0, 50000000}, NULL);
    return atomic_load(&stopping);
}

static struct shop_consumer consumer = {
    .stream = SHOP_UNSHIPPED, .group = "orders", .name = "orders-1", .handle = unshipped, .stopped = stopped};

static void *consume(void *unused) {
    (void)unused;
    shop_consumer_run(&consumer);
    return NULL;
}

void shop_choreography_start(const char *host, int port) {
    consumer.redis.host = host;
    consumer.redis.port = port;
    has_thread = pthread_create(&thread, NULL, consume, NULL) == 0;
}

void shop_choreography_stop(void) {
    atomic_store(&stopping, true);
    if (has_thread)
        (void)pthread_join(thread, NULL);
}
