/* SPDX-License-Identifier: Apache-2.0 */
/* The time a message lay in a queue: the producer's clock travels in the tracestate member `sonde=s:HEX`, Unix time in
 * microseconds. The value is a list "key:value;key:value", so that it can grow. */
#ifndef SONDE_CONVENTIONS_QUEUE_TIME_H
#define SONDE_CONVENTIONS_QUEUE_TIME_H

#include "instrumentation/conventions/conventions.h"

/** Puts the time now into a context that is about to go into a message. */
void sonde__queue_time_put(struct sonde_context *context);

/** Takes the time out of a context that came with a message, so that it goes no further.
 *  Returns Unix time in microseconds; 0 when there was none, or no number. */
uint64_t sonde__queue_time_take(struct sonde_context *context);
/** Whether there is nothing in the list but, perhaps, the time: then it is that, or 0. */
bool sonde__queue_time_is_all(const struct sonde_context *context, uint64_t *ret_us);

/** False when SONDE_MESSAGING_SEND_TIME=false. */
bool sonde__queue_time_is_wanted(void);

/* Where the messages of one operation are measured. */
struct sonde__queue_time {
    struct sonde_series time;
    uint64_t now_us; /* 0 = nothing was measured yet */
    uint64_t skewed; /* messages of the future */
};

/** Measures one message. set  the attributes of both metrics. */
void sonde__queue_time_measure(struct sonde__queue_time *queue, uint64_t sent_us, const struct sonde__set *set);
/** When all messages are measured. */
void sonde__queue_time_finish(const struct sonde__queue_time *queue, const struct sonde__set *set);

#endif
