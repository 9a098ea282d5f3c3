/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/kafka_progress.h"

const char *const sonde__kafka_progress_names[SONDE__KAFKA_PROGRESS_COUNT] = {
    [SONDE__KAFKA_OK] = "ok",       [SONDE__KAFKA_WARNING] = "warning", [SONDE__KAFKA_REWIND] = "rewind",
    [SONDE__KAFKA_STALL] = "stall", [SONDE__KAFKA_STOP] = "stop",
};

static uint16_t count_up(uint16_t count) {
    return count == UINT16_MAX ? count : (uint16_t)(count + 1);
}

static void note_back(struct sonde__kafka_progress *progress, int64_t committed, unsigned window) {
    if (committed < progress->committed) {
        if (!progress->back || progress->committed > progress->peak)
            progress->peak = progress->committed;
        progress->back = 1;
    } else if (progress->back) {
        progress->back = committed >= progress->peak ? 0 : count_up(progress->back);
    }
    if (progress->back > window) /* it is out of the window: where it reads now is where it is */
        progress->back = 0;
}

static void note(struct sonde__kafka_progress *progress, struct sonde__kafka_sight sight, unsigned window,
                 int64_t lag_allowed) {
    if (progress->polls) {
        note_back(progress, sight.committed, window);
        progress->still = sight.committed == progress->committed ? count_up(progress->still) : 0;
    }
    bool first = progress->polls == 0;
    if (first || sight.lag < progress->lag || sight.lag <= lag_allowed) {
        progress->growing = 0;
        progress->least = sight.lag;
    } else {
        progress->growing = count_up(progress->growing);
    }
    progress->behind = sight.lag <= lag_allowed ? 0 : count_up(progress->behind);
    progress->polls = count_up(progress->polls);
    progress->committed = sight.committed;
    progress->lag = sight.lag;
}

enum sonde__kafka_progress_state sonde__kafka_progress_see(struct sonde__kafka_progress *progress,
                                                           struct sonde__kafka_sight sight, unsigned window,
                                                           int64_t lag_allowed) {
    note(progress, sight, window, lag_allowed);
    if (sight.lag <= lag_allowed)
        return SONDE__KAFKA_OK;
    bool still = progress->behind >= window && progress->still + 1u >= window;
    if (still && !sight.has_members)
        return SONDE__KAFKA_STOP;
    if (progress->back)
        return SONDE__KAFKA_REWIND;
    if (still)
        return SONDE__KAFKA_STALL;
    if (progress->behind >= window && progress->growing + 1u >= window && progress->lag > progress->least)
        return SONDE__KAFKA_WARNING;
    return SONDE__KAFKA_OK;
}
