/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/kafka_lag.h"

static int64_t at_least_0(int64_t value) {
    return value > 0 ? value : 0;
}

struct sonde__kafka_lag sonde__kafka_lag_of(const struct sonde__kafka_offsets *offsets, int64_t committed,
                                            bool to_stable) {
    struct sonde__kafka_lag lag = {.lag = -1, .expired = -1, .next = committed};
    if (committed < 0)
        return lag;
    if (offsets->earliest >= 0) {
        lag.expired = at_least_0(offsets->earliest - committed);
        if (lag.expired)
            lag.next = offsets->earliest;
    }
    int64_t end = to_stable ? offsets->stable : offsets->end;
    if (end >= 0)
        lag.lag = at_least_0(end - lag.next);
    return lag;
}

void sonde__kafka_sum_add(struct sonde__kafka_sum *sum, const struct sonde__kafka_lag *lag,
                          struct sonde__kafka_age age) {
    sum->committed++;
    if (lag->lag < 0)
        sum->lag_unknown = true;
    else
        sum->lag += lag->lag;
    if (lag->expired < 0)
        sum->expired_unknown = true;
    else
        sum->expired += lag->expired;
    if (lag->expired > 0)
        sum->expired_partitions++;
    if (lag->lag < 0 || (lag->lag > 0 && age.estimate == SONDE__KAFKA_UNKNOWN)) {
        sum->age_unknown = true;
        return;
    }
    if (lag->lag == 0) /* the label says how it is told, not that it is 0 now: it shall not flap */
        age = (struct sonde__kafka_age){
            age.estimate == SONDE__KAFKA_EXACT ? SONDE__KAFKA_EXACT : SONDE__KAFKA_INTERPOLATED, 0};
    if (sum->age.estimate == SONDE__KAFKA_UNKNOWN || age.seconds > sum->age.seconds)
        sum->age = age;
}

struct sonde__kafka_age sonde__kafka_sum_age(const struct sonde__kafka_sum *sum) {
    struct sonde__kafka_age age = sum->age;
    if (sum->age_unknown && age.seconds == 0)
        return (struct sonde__kafka_age){SONDE__KAFKA_UNKNOWN, 0};
    if (sum->age_unknown)
        age.estimate = SONDE__KAFKA_FLOOR;
    return age;
}
