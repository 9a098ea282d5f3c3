/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the retries: budgets, which hedges use too, and what a policy asks. */
#ifndef SONDE_RESILIENCE_RETRY_INTERNAL_H
#define SONDE_RESILIENCE_RETRY_INTERNAL_H

#include <sonde/resilience/retry.h>

/* retry_budget.c */
struct sonde__retry_budget;
/** NULL for none; so all of these take NULL. */
struct sonde__retry_budget *sonde__retry_budget(struct sonde_retry_budget handle);
/** Counts a call that may be retried. Returns false when nothing is counted: no _call_end() then. */
bool sonde__retry_budget_call_begin(struct sonde__retry_budget *budget);
void sonde__retry_budget_call_end(struct sonde__retry_budget *budget);
/** How an attempt ended. */
void sonde__retry_budget_result(struct sonde__retry_budget *budget, enum sonde_outcome outcome);
/** True when one more retry may go out; it is under way until _retry_end(). */
bool sonde__retry_budget_allows(struct sonde__retry_budget *budget);
void sonde__retry_budget_retry_end(struct sonde__retry_budget *budget);

/* retry.c: for policies */
/** As sonde_retry_begin(), by a reading of sonde__kit_now() that is at hand; 0 = none is. */
void sonde__retry_begin_at(struct sonde_retry retry, uint64_t now_ns, uint64_t left_ns,
                           struct sonde_retry_call *ret_call);
enum sonde__refuser { SONDE__REFUSED_BY_BREAKER = 0, SONDE__REFUSED_BY_BULKHEAD, SONDE__REFUSED_BY_RATE_LIMIT };
/** As sonde_retry_rejected(), and who refused. */
enum sonde_retry_decision sonde__retry_refused(struct sonde_retry_call *call, enum sonde__refuser refuser,
                                               uint64_t retry_after_ns, uint64_t *ret_wait_ns);

#endif
