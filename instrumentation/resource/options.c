/* SPDX-License-Identifier: Apache-2.0 */
/* Start, flush and end of the library, as the service sees them. */
#include "instrumentation/context/monotonic.h"
#include "instrumentation/link/link.h"
#include "instrumentation/link/puller.h"
#include "instrumentation/resource/settings.h"
#include "instrumentation/ring/process.h"
#include <sonde/err.h>

int sonde_start(const struct sonde_options *options) {
    int result = sonde__settings_start(options);
    (void)sonde__process_get();
    return result;
}

int sonde_flush(uint32_t timeout_ms) {
    struct sonde__process *process = sonde__process_get();
    if (atomic_load_explicit(&sonde__registry.run, memory_order_relaxed) == SONDE__OFF)
        return SONDE_EDISABLED;
    return process ? sonde__link_flush(timeout_ms) : SONDE_ENOAGENT;
}

static uint32_t left_ms(uint64_t deadline) {
    const uint64_t now = sonde__monotonic_ms();
    return now < deadline ? (uint32_t)(deadline - now) : 0;
}

int sonde_shutdown(uint32_t timeout_ms) {
    const uint64_t deadline = sonde__monotonic_ms() + timeout_ms;
    if (sonde__process_get()) /* of their own in a forked child */
        sonde__puller_finish(timeout_ms / 2u);
    int result = sonde_flush(left_ms(deadline));
    if (result == SONDE_EDISABLED)
        return result;
    sonde__process_stop();
    sonde__link_stop(left_ms(deadline));
    return result;
}
