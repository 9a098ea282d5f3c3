/* SPDX-License-Identifier: Apache-2.0 */
/* SQL comments: a comment behind the statement, which ends up in the database's log, statistics and traces.
 *
 *     char sql[512] = "SELECT 1";
 *     struct sonde_sql statement = {.text = sql, .size = 8, .capacity = sizeof sql};
 *     struct sonde_carrier carrier = sonde_sql_carrier(&statement);
 *     (void)sonde_inject(NULL, &carrier);       // SELECT 1, and traceparent='00-...-01' in a comment behind it
 *
 * Only where you want it: each text differs, so caches of prepared statements no longer help. A statement that holds a
 * comment already (or what looks like one, in a string) is left alone, and so is what you did not write yourself. Keys
 * are sorted; keys and values are percent-coded, so that nothing in them can end the comment. A semicolon at the end
 * stays the end. Baggage does not go into statements. Beside comments, traceparent alone fits SQL Server's CONTEXT_INFO
 * (128 bytes) and Oracle's V$SESSION.ACTION (64): sonde_traceparent_write() makes the 55 bytes. Source: sqlcommenter
 * specification; OpenTelemetry semantic conventions, db/database-spans.md. */
#ifndef SONDE_CARRIER_SQL_H
#define SONDE_CARRIER_SQL_H

#include <sonde/carrier.h>

SONDE_BEGIN

/** Room for decoded values; more is not seen. */
#define SONDE_SQL_DECODED_SIZE 2048u

/** A statement. Zero the rest; `decoded` need not be.
 *  text      borrowed while the carrier is used; no NUL is needed, kept or written.
 *  size      bytes; grows and shrinks when fields are set and removed.
 *  capacity  bytes of the buffer; 0 when only extracted from: then the text is not written.
 *  comment_size  bytes of the comment that was injected, with its space; 0 = none. Only such a one is changed. */
struct sonde_sql {
    char *text;
    size_t size, capacity;
    size_t comment_size;
    size_t decoded_used;
    char decoded[SONDE_SQL_DECODED_SIZE];
};

/** A carrier of a statement's comment: the last of the statement (kept until the carrier is no longer used). set:
 *  SONDE_ETOOBIG without room; SONDE_EINVALID when there is a comment of somebody else's, for baggage, and for names
 * that are empty; the statement is then unchanged. Not thread-safe; no allocation. */
SONDE_API struct sonde_carrier sonde_sql_carrier(struct sonde_sql *statement);

SONDE_END

#endif
