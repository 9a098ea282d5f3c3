/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ledger/ledger.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const signal_names[SONDE_SIGNAL_COUNT] = {"traces", "logs", "metrics"};

void sonde_ledger_init(struct sonde_ledger *ledger) {
    memset(ledger, 0, sizeof *ledger);
}

void sonde_ledger_appended(struct sonde_ledger *ledger, enum sonde_signal signal, uint64_t items) {
    ledger->intake[signal].received += items;
    ledger->intake[signal].appended += items;
    for (uint32_t e = 0; e < ledger->exporter_count; e++)
        if (ledger->exporter_signals[e] & (1u << signal))
            ledger->exporters[e][signal].appended += items;
}

void sonde_ledger_dropped(struct sonde_ledger *ledger, enum sonde_signal signal, enum sonde_intake_drop reason,
                          uint64_t items) {
    ledger->intake[signal].received += items;
    ledger->intake[signal].dropped[reason] += items;
}

/* The account's self is the exporter's row, one struct per signal. */
static void account_in_flight(void *self, enum sonde_signal signal, int64_t change) {
    ((struct sonde_ledger_exporter *)self)[signal].in_flight += (uint64_t)change;
}
static void account_delivered(void *self, enum sonde_signal signal, uint64_t items) {
    ((struct sonde_ledger_exporter *)self)[signal].delivered += items;
}
static void account_refused(void *self, enum sonde_signal signal, uint64_t items) {
    ((struct sonde_ledger_exporter *)self)[signal].refused += items;
}
static void account_dropped(void *self, enum sonde_signal signal, enum sonde_export_drop reason, uint64_t items) {
    ((struct sonde_ledger_exporter *)self)[signal].dropped[reason] += items;
}

struct sonde_export_account sonde_ledger_exporter_add(struct sonde_ledger *ledger, uint32_t cursor, const char *name,
                                                      uint32_t signals) {
    assert(cursor < SONDE_LEDGER_EXPORTERS_MAX);
    struct sonde_ledger_exporter *row = ledger->exporters[cursor];
    for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++)
        (void)snprintf(row[s].name, sizeof row[s].name, "%s", name);
    ledger->exporter_signals[cursor] = signals;
    if (ledger->exporter_count <= cursor)
        ledger->exporter_count = cursor + 1;
    return (struct sonde_export_account){.in_flight = account_in_flight,
                                         .delivered = account_delivered,
                                         .refused = account_refused,
                                         .dropped = account_dropped,
                                         .self = row};
}

const char *sonde_intake_drop_name(enum sonde_intake_drop reason) {
    static const char *const names[SONDE_INTAKE_DROP_COUNT] = {"ring_full", "no_slot", "no_memory", "too_big",
                                                               "busy",      "invalid", "evicted"};
    return (unsigned)reason < SONDE_INTAKE_DROP_COUNT ? names[reason] : "unknown";
}
const char *sonde_export_drop_name(enum sonde_export_drop reason) {
    static const char *const names[SONDE_EXPORT_DROP_COUNT] = {"rejected", "too_big", "queue_full", "shutdown"};
    return (unsigned)reason < SONDE_EXPORT_DROP_COUNT ? names[reason] : "unknown";
}

static uint64_t settled(const struct sonde_ledger_exporter *account) {
    uint64_t sum = account->delivered + account->refused;
    for (unsigned r = 0; r < SONDE_EXPORT_DROP_COUNT; r++)
        sum += account->dropped[r];
    return sum;
}

uint64_t sonde_ledger_queued(const struct sonde_ledger_exporter *account) {
    return account->appended - account->in_flight - settled(account);
}

static bool intake_balances(const struct sonde_ledger *ledger, const struct sonde_queue *queue,
                            enum sonde_signal signal, char *text, size_t text_size) {
    const struct sonde_ledger_intake *intake = &ledger->intake[signal];
    uint64_t dropped = 0;
    for (unsigned r = 0; r < SONDE_INTAKE_DROP_COUNT; r++)
        dropped += intake->dropped[r];
    if (intake->received != intake->appended + dropped) {
        (void)snprintf(text, text_size,
                       "intake %s: received %" PRIu64 " is not appended %" PRIu64 " + dropped %" PRIu64,
                       signal_names[signal], intake->received, intake->appended, dropped);
        return false;
    }
    if (queue && intake->appended != sonde_queue_appended(queue, signal)) {
        (void)snprintf(text, text_size, "intake %s: appended %" PRIu64 " but the queue took %" PRIu64,
                       signal_names[signal], intake->appended, sonde_queue_appended(queue, signal));
        return false;
    }
    return true;
}

static bool exporter_balances(const struct sonde_ledger *ledger, const struct sonde_queue *queue, uint32_t exporter,
                              enum sonde_signal signal, char *text, size_t text_size) {
    const struct sonde_ledger_exporter *account = &ledger->exporters[exporter][signal];
    uint64_t done = settled(account), held;
    if (account->in_flight > account->appended || done > account->appended - account->in_flight) {
        (void)snprintf(text, text_size,
                       "exporter %s %s: settled %" PRIu64 " + in flight %" PRId64 " is over appended %" PRIu64,
                       account->name, signal_names[signal], done, (int64_t)account->in_flight, account->appended);
        return false;
    }
    if (!queue)
        return true;
    held = sonde_queue_items(queue, exporter, signal);
    if (held > account->appended || account->appended - done > held) {
        (void)snprintf(text, text_size,
                       "exporter %s %s: appended %" PRIu64 " - settled %" PRIu64 " is over the %" PRIu64
                       " the queue holds",
                       account->name, signal_names[signal], account->appended, done, held);
        return false;
    }
    return true;
}

bool sonde_ledger_balances(const struct sonde_ledger *ledger, const struct sonde_queue *queue, char *text,
                           size_t text_size) {
    if (text_size)
        text[0] = '\0';
    for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++)
        if (!intake_balances(ledger, queue, (enum sonde_signal)s, text, text_size))
            return false;
    for (uint32_t e = 0; e < ledger->exporter_count; e++)
        for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++)
            if ((ledger->exporter_signals[e] & (1u << s)) &&
                !exporter_balances(ledger, queue, e, (enum sonde_signal)s, text, text_size))
                return false;
    return true;
}
