/* SPDX-License-Identifier: Apache-2.0 */
/* A burst leaves a heap as large as its largest moment. When nothing was appended for a while and the queue is empty,
 * what is free of it goes back to the system. While records come this costs one look every few seconds. */
#include "agent/daemon/daemon.h"

/* Behind the exporters' batch time-out and the receiver's own buffers, which go after 5 s. */
#define REST_NS UINT64_C(8000000000)

static uint64_t appended(const struct sonde_daemon *daemon) {
    uint64_t sum = 0;
    for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++)
        sum += sonde_queue_appended(daemon->queue, s);
    return sum;
}

static void look_later(struct sonde_daemon *daemon) {
    daemon->rest_set = true;
    daemon->rest_appended = appended(daemon);
    sonde_timer_set(daemon->rest_timer, daemon->seams->time.monotonic_ns(daemon->seams->time.self) + REST_NS);
}

static void look(void *user) {
    struct sonde_daemon *daemon = user;
    daemon->rest_set = false;
    if (appended(daemon) != daemon->rest_appended || sonde_queue_size(daemon->queue) > 0)
        look_later(daemon);
    else
        sonde_heap_trim();
}

int sonde__rest_create(struct sonde_daemon *daemon) {
    return sonde_timer_create(daemon->loop, look, daemon, &daemon->rest_timer);
}

void sonde__rest_after(struct sonde_daemon *daemon) {
    if (!daemon->rest_set)
        look_later(daemon);
}
