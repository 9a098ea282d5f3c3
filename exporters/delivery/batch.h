/* SPDX-License-Identifier: Apache-2.0 */
/* A batch: what one request will carry, as references into the log. One signal, one user; pieces (records, or parts of
 * them) in groups of equal resource and scope, so that a request has each resource and scope once. No data is copied
 * here; the bytes stay put until the window lets the records go. */
#ifndef SONDE_EXPORTERS_BATCH_H
#define SONDE_EXPORTERS_BATCH_H

#include "exporters/record_log.h"
#include "exporters/seam.h"
#include <sonde/resilience/retry.h>

/* Groups of one batch; one more seals it. Keeps the search for a group and the building short. */
#define SONDE__BATCH_GROUPS_MAX 128u
#define SONDE__PIECE_NONE       UINT32_MAX

struct sonde__piece {
    struct sonde_bytes data;
    uint64_t position; /* of its record in the window */
    uint32_t count;
    uint32_t group;
    uint32_t next; /* of the same group, SONDE__PIECE_NONE = last */
};
struct sonde__group {
    uint32_t resource_id, scope_id;
    struct sonde_bytes resource, scope, schema_url;
    size_t data_size;
    uint32_t first, last; /* pieces */
};

/* READY: may be sent from not_before_ns on. BUSY: handed to the transport. */
enum sonde__batch_state { SONDE__BATCH_OPEN = 0, SONDE__BATCH_READY, SONDE__BATCH_BUSY };

/* What the parts of one refused batch share: see delivery.c. */
struct sonde__bisect {
    uint32_t refs, requests_left, refused;
    bool delivered;
};

struct sonde__batch {
    enum sonde_signal signal;
    uint32_t uid;
    struct sonde__piece *pieces; /* owned */
    struct sonde__group *groups; /* owned */
    uint32_t piece_count, piece_capacity, group_count, group_capacity;
    uint64_t items;
    size_t size; /* upper bound of the encoded request */

    /* The delivery's part. */
    enum sonde__batch_state state;
    uint64_t opened_ns, not_before_ns, sent_ns;
    struct sonde_retry_call call;       /* retry.index 0 = not begun */
    struct sonde_breaker_permit permit; /* BUSY: of the request */
    bool tried;
    struct sonde__bisect *bisect;
    struct sonde__batch *previous, *next;
    void *attached; /* the transport's, NULL at first; see struct sonde__transport */
};

/** Returns an empty batch or NULL (out of memory). Owned; free with sonde__batch_destroy(). */
struct sonde__batch *sonde__batch_create(const struct sonde_alloc *alloc, enum sonde_signal signal, uint32_t uid);
void sonde__batch_destroy(const struct sonde_alloc *alloc, struct sonde__batch *batch); /* NULL is fine */

/** By how much `data` of this record would make the request larger, at most. */
size_t sonde__batch_growth(const struct sonde__batch *batch, const struct sonde_record_view *record, size_t data_size);
/** Adds data (all or part of the record's, whole items).
 *  Returns 0, -ENOMEM, SONDE_EFULL (no more groups); on an error nothing was changed. */
int sonde__batch_add(const struct sonde_alloc *alloc, struct sonde__batch *batch,
                     const struct sonde_record_view *record, struct sonde_bytes data, uint32_t count,
                     uint64_t position);
/** Splits into two halves of about equal items: between records, or inside the only one. The batch itself is unchanged.
 *  ret_left, ret_right  owned.
 *  Returns 0, -ENOMEM, SONDE_EINVALID (one item, or bytes that are not framed items: cannot be split). */
int sonde__batch_split(const struct sonde_alloc *alloc, const struct sonde__batch *batch,
                       struct sonde__batch **ret_left, struct sonde__batch **ret_right);

#endif
