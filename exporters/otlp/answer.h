/* SPDX-License-Identifier: Apache-2.0 */
/* What a backend's HTTP answer means. The table, by OTLP's specification (docs/specification.md, OTLP/HTTP response):
 *   2xx                      delivered; the body may tell of a partial success, which is never retried. A body that is
 *                            not such a message changes nothing: the status is the acknowledgement
 *   429 502 503 504          again later, after Retry-After where told
 *   no answer, lost, late    again later
 *   413                      too large: split, smaller from now on
 *   400 422                  something in the content: split until found
 *   any other, redirects     final for the whole batch
 *   a body over the limit    final, whatever the status (the specification says so) */
#ifndef SONDE_EXPORTERS_OTLP_ANSWER_H
#define SONDE_EXPORTERS_OTLP_ANSWER_H

#include "exporters/delivery/delivery.h"
#include "exporters/http.h"

/* Answers over this are not read (OTLP 1.11: a client MUST refuse larger ones). */
#define SONDE__OTLP_RESPONSE_SIZE_MAX (4u << 20)

/** What a status alone means. status 0..999. Pure. */
enum sonde__answer sonde__otlp_status_answer(int status);

/** Reads an answer.
 *  response   borrowed.
 *  alloc      borrowed; decoding takes at most 8 KiB more than the body's size of it.
 *  unix_ns    wall time, for Retry-After.
 *  text       filled with a sentence for people, control characters replaced; ret_outcome points into it.
 *  ret_outcome  the transport adds the byte counts. */
void sonde__otlp_answer_read(const struct sonde_http_response *response, const struct sonde_alloc *alloc,
                             uint64_t unix_ns, char *text, size_t text_size, struct sonde__outcome *ret_outcome);

#endif
