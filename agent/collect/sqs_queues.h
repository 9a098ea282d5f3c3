/* SPDX-License-Identifier: Apache-2.0 */
/* The queues of an SQS collector: found by name, kept from poll to poll, and what their attributes say. */
#ifndef SONDE_AGENT_COLLECT_SQS_QUEUES_H
#define SONDE_AGENT_COLLECT_SQS_QUEUES_H

#include "exporters/seam.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

enum sonde__sqs_need { SONDE__SQS_URL, SONDE__SQS_ATTRIBUTES, SONDE__SQS_NOTHING };

struct sonde__sqs_queue {
    STAILQ_ENTRY(sonde__sqs_queue) link;      /* of all */
    STAILQ_ENTRY(sonde__sqs_queue) work_link; /* of those that need something */
    struct sonde__sqs_queue *next_same;       /* of one bucket */
    char name[88], account[16];               /* account "" = our own */
    char url[512], arn[256];
    enum sonde__sqs_need need;
    bool seen;  /* in this poll */
    bool shown; /* was looked for: not only another's dead-letter queue */
    bool known; /* attributes of this poll are here */
    int64_t ready, unacked, scheduled;
    struct sonde__sqs_queue *dead_letters; /* where its messages go, or NULL; of this poll */
    uint32_t sources;                      /* queues whose messages come here when they are given up */
    double age_s;                          /* of the oldest message, by CloudWatch */
    int64_t age_minute_s;                  /* when that was so; 0 = unknown */
    int64_t empty_s;                       /* when none was there last: what is older is not of those there now */
};
STAILQ_HEAD(sonde__sqs_queue_list, sonde__sqs_queue);

#define SONDE__SQS_BUCKETS 256u

struct sonde__sqs_queues {
    const struct sonde_alloc *alloc;
    struct sonde__sqs_queue_list all, work;
    struct sonde__sqs_queue *buckets[SONDE__SQS_BUCKETS];
    size_t count, max;
};

void sonde__sqs_queues_init(struct sonde__sqs_queues *queues, const struct sonde_alloc *alloc, size_t max);
void sonde__sqs_queues_deinit(struct sonde__sqs_queues *queues);
/** A poll begins: nothing is seen, no work. */
void sonde__sqs_queues_unsee(struct sonde__sqs_queues *queues);
/** Those that were not seen go. */
void sonde__sqs_queues_sweep(struct sonde__sqs_queues *queues);
/** A queue is there: finds it or adds it, and puts it to work once in a poll. url "" = unknown.
 *  Returns NULL: the name is none of SQS's, max is reached, or no memory (ret_error: SONDE_EINVALID, SONDE_EFULL,
 *  -ENOMEM). */
struct sonde__sqs_queue *sonde__sqs_queues_see(struct sonde__sqs_queues *queues, const char *name, const char *account,
                                               const char *url, int *ret_error);
/** The next that needs something, or NULL. */
struct sonde__sqs_queue *sonde__sqs_queues_work(struct sonde__sqs_queues *queues);
/** It needs something again: its attributes, after its URL. */
void sonde__sqs_queues_again(struct sonde__sqs_queues *queues, struct sonde__sqs_queue *queue);

/** The name in an URL or ARN: what is behind the last '/' or ':'. */
const char *sonde__sqs_name_of(const char *text);

/* What comes back; text that is too long or of another kind is as good as absent. */
/** GetQueueAttributes. ret_dead_letter_arn: at least 256 bytes, "" = none. Returns false when numbers are missing. */
bool sonde__sqs_attributes_read(const json_t *root, struct sonde__sqs_queue *queue, char *ret_dead_letter_arn,
                                size_t size);
/** Splits "arn:aws:SERVICE:REGION:ACCOUNT:NAME", of "sqs" say. Returns false when it is none. */
bool sonde__sqs_arn_read(const char *arn, const char *service, char *ret_account, size_t account_size,
                         const char **ret_name);

#endif
