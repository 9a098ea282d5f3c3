/* SPDX-License-Identifier: Apache-2.0 */
/* Records that never reached the queue (a ring was full, a record was bad) have no exporter that would tell of them:
 * the log says so when it begins, and once a minute while it goes on. */
#include "agent/daemon/daemon.h"
#include "agent/log.h"
#include <inttypes.h>

#define LOOK_NS UINT64_C(5000000000)
#define TELL_NS UINT64_C(60000000000)

void sonde__losses_tell(struct sonde_daemon *daemon) {
    static const char *const signals[SONDE_SIGNAL_COUNT] = {"traces", "logs", "metrics"};
    for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++) {
        for (unsigned r = 0; r < SONDE_INTAKE_DROP_COUNT; r++) {
            uint64_t now = daemon->ledger.intake[s].dropped[r], told = daemon->losses_told[s][r];
            if (now == told)
                continue;
            sonde_agent_log(SONDE_LOG_WARN, "records were lost before the queue (told once a minute)",
                            "signal=%s reason=%s records=%" PRIu64 " queued_bytes=%" PRIu64, signals[s],
                            sonde_intake_drop_name(r), now - told, sonde_queue_size(daemon->queue));
            daemon->losses_told[s][r] = now;
            daemon->losses_next_ns = daemon->seams->time.monotonic_ns(daemon->seams->time.self) + TELL_NS;
        }
    }
}

static void look(void *user) {
    struct sonde_daemon *daemon = user;
    uint64_t now_ns = daemon->seams->time.monotonic_ns(daemon->seams->time.self);
    if (now_ns >= daemon->losses_next_ns)
        sonde__losses_tell(daemon);
    sonde_timer_set(daemon->losses_timer, now_ns + LOOK_NS);
}

int sonde__losses_watch(struct sonde_daemon *daemon) {
    int error = sonde_timer_create(daemon->loop, look, daemon, &daemon->losses_timer);
    if (!error)
        look(daemon);
    return error;
}
