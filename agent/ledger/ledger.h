/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger: every record accounted for, per signal, since this agent started.
 *   at intake      received = rejected(reason) + dropped(reason) + appended
 *   per exporter   appended = queued + in flight + delivered + dropped(reason) + refused
 * Ring-full drops of services count as received and dropped. Retries count once. Exported, shown, and asserted by every
 * integration test. Loop thread only. */
#ifndef SONDE_AGENT_LEDGER_H
#define SONDE_AGENT_LEDGER_H

#include "agent/queue/queue.h"
#include "exporters/exporter.h"

#define SONDE_LEDGER_EXPORTERS_MAX 32u

/** Why intake did not append. Names are label values of sonde_agent_dropped_records_total; see ledger.c. */
enum sonde_intake_drop {
    SONDE_INTAKE_RING_FULL = 0, /* these five are counted by the service: enum sonde_drop_reason */
    SONDE_INTAKE_NO_SLOT,
    SONDE_INTAKE_NO_MEMORY,
    SONDE_INTAKE_TOO_BIG,
    SONDE_INTAKE_BUSY,
    SONDE_INTAKE_INVALID, /* rejected: bytes that are not the message they claim to be */
    SONDE_INTAKE_EVICTED, /* rejected: what an evicted peer's ring still held, where it can be counted */
    SONDE_INTAKE_DROP_COUNT,
};

struct sonde_ledger_intake {
    uint64_t received, appended;
    uint64_t dropped[SONDE_INTAKE_DROP_COUNT];
};
struct sonde_ledger_exporter {
    char name[64];
    uint64_t appended; /* items offered to its cursor */
    uint64_t in_flight, delivered, refused;
    uint64_t dropped[SONDE_EXPORT_DROP_COUNT];
};
struct sonde_ledger {
    struct sonde_ledger_intake intake[SONDE_SIGNAL_COUNT];
    struct sonde_ledger_exporter exporters[SONDE_LEDGER_EXPORTERS_MAX][SONDE_SIGNAL_COUNT];
    uint32_t exporter_signals[SONDE_LEDGER_EXPORTERS_MAX]; /* mask; 0 = no such exporter */
    uint32_t exporter_count;
    uint64_t evictions;         /* peers cut off after three violations */
    uint64_t pulls, pulls_late; /* services that were asked for values; answers that did not come in time */
    uint64_t early_released;    /* records whose ring space was given back before every exporter had its 2xx */
};

void sonde_ledger_init(struct sonde_ledger *ledger);
/** Adds to received and to appended or dropped: intake always goes through these. */
void sonde_ledger_appended(struct sonde_ledger *ledger, enum sonde_signal signal, uint64_t items);
void sonde_ledger_dropped(struct sonde_ledger *ledger, enum sonde_signal signal, enum sonde_intake_drop reason,
                          uint64_t items);
/** An exporter's accounts; the name is copied. Its cursor number is its index. */
struct sonde_export_account sonde_ledger_exporter_add(struct sonde_ledger *ledger, uint32_t cursor, const char *name,
                                                      uint32_t signals);
const char *sonde_intake_drop_name(enum sonde_intake_drop reason); /* static */
const char *sonde_export_drop_name(enum sonde_export_drop reason); /* static */
/** Items an exporter has neither settled nor in flight: appended - in flight - delivered - dropped - refused. */
uint64_t sonde_ledger_queued(const struct sonde_ledger_exporter *account);
/** True when every equation holds. The queue is the second witness: it counts what was appended and what each cursor
 * has not released. Requests settle out of order but release in order, so a cursor may hold items that are settled; it
 * never holds fewer than those still queued and in flight. On false text says which equation and by how much. queue may
 * be NULL: only the ledger's own equations. Not to be called between an append and its accounting. */
bool sonde_ledger_balances(const struct sonde_ledger *ledger, const struct sonde_queue *queue, char *text,
                           size_t text_size);

#endif
